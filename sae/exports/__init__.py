"""Writing dictionaries in the forms that other libraries read."""
