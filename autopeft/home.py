"""Where studies live: one folder, its store and its MLflow database.

<home>/                 ./autopeft-studies, or AUTOPEFT_HOME
  autopeft.db           the store, unless AUTOPEFT_STORE names another
  mlflow.db mlartifacts/    unless MLFLOW_TRACKING_URI names a server
  <study>/checkpoints/trial-<n>/    paused trials
  <study>/adapters/trial-<n>/       completed trials of the front and the baselines
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder of the studies, and the addresses that go with it."""

    folder: Path

    @classmethod
    def from_environment(cls) -> "Home":
        return cls(Path(os.environ.get("AUTOPEFT_HOME", "autopeft-studies")).resolve())

    @property
    def store_url(self) -> str:
        return os.environ.get("AUTOPEFT_STORE") or f"sqlite:///{self.folder / 'autopeft.db'}"

    @property
    def mlflow_uri(self) -> str:
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path | None:
        """The artifact root of the default MLflow store; a server has its own."""
        return None if os.environ.get("MLFLOW_TRACKING_URI") else self.folder / "mlartifacts"

    def study(self, name: str) -> Path:
        return self.folder / name

    def checkpoint(self, study: str, trial: int) -> Path:
        return self.study(study) / "checkpoints" / f"trial-{trial}"

    def adapter(self, study: str, trial: int) -> Path:
        return self.study(study) / "adapters" / f"trial-{trial}"
