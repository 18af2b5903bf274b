"""Reading dictionaries that others published, in the form each of them writes."""
