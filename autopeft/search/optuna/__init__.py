"""Optuna behind our port, and our studies in Optuna's words."""
