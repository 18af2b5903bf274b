"""Where in an image a feature looks: maps of relevance by several methods, and what to think of each."""
