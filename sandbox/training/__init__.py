"""Seeded training scripts of the sandbox's models; each restarts from where it was stopped."""
