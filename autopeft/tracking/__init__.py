"""Trial events to MLflow; the search never waits for it."""

import os

# MLflow reads it while it is imported: a study reports to nobody but its own tracking server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
