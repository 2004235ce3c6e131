"""What people look at in a terminal: the live view of a search, and a study or a trial in text."""
