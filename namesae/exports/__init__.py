"""Formats in which named features leave: a module each, with what writes it."""
