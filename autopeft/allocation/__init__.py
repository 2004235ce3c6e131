"""Budget strategies while training, as Trainer callbacks."""
