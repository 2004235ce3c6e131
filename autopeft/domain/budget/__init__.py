"""What a study may spend, what that buys, what was spent and what was saved."""
