"""What a dictionary is worth: fit, density, geometry, meaning, use, and the controls beside them."""
