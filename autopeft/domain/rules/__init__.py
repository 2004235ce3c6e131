"""What goes together, and what is refused before a trial."""
