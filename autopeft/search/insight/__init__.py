"""What the surrogate says to people."""
