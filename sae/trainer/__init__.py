"""Training dictionaries: recipes, the coder that is trained, what it is trained by, checkpoints."""
