"""Budget strategies, before training or while training; a module for each names its paper."""
