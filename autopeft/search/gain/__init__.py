"""What a trial is worth: expected hypervolume, of new trials, of paused ones, of further seeds."""
