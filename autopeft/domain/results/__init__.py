"""What trials reached: fronts, replicates, picks, and what the pick would cost to run."""
