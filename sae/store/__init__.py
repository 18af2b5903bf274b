"""Activations on disk: what was read at the hook points of a backbone, traceable, checked, shuffled."""
