"""Trial events to MLflow."""
