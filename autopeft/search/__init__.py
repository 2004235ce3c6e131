"""How to choose the next configuration."""
