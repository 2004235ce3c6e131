"""What a model says of rows, and metrics of it: logits, likelihoods, texts that it writes."""
