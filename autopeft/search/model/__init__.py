"""What a search believes: configurations as vectors, priors, a process, what was told."""
