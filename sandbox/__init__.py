"""A small drawn world whose every concept is known, and real small models of it."""
