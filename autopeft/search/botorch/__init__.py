"""BoTorch: the samplers that are measured against, and what `as_optuna` takes of it."""
