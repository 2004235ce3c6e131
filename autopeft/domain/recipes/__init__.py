"""Training arguments: what they amount to, when they stop, over how many processes they go."""
