"""Process managers: what happens to a message, one story a file, each read from top to bottom."""
