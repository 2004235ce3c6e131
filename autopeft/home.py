"""Where studies live: one folder, its store and its MLflow database.

<home>/                 ./autopeft-studies, or AUTOPEFT_HOME
  autopeft.db           the store, unless AUTOPEFT_STORE names another
  mlflow.db mlartifacts/    unless MLFLOW_TRACKING_URI names a server
  <study>/checkpoints/trial-<n>/rung-<m>/   paused trials
  <study>/adapters/trial-<n>/               completed trials of the front and the baselines
  .sent/<digest>/       what came with `--submit`

With AUTOPEFT_ARTIFACTS the last two lie there instead (`autopeft.artifacts`), and here:

  <study>/fetched/trial-<n>-<digest>/       copies of adapters that were asked for
"""

import os
import shutil
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

    @property
    def artifacts(self) -> str | None:
        """What AUTOPEFT_ARTIFACTS says, for studies that begin."""
        return os.environ.get("AUTOPEFT_ARTIFACTS") or None

    def study(self, name: str) -> Path:
        return self.folder / name

    def adapter(self, study: str, trial: int) -> Path:
        return StudyFolder(self.study(study)).adapter(trial)


@dataclass(frozen=True)
class StudyFolder:
    """What the trials of one study leave on disk, on the driver and on its workers."""

    path: Path

    def checkpoints(self, trial: int) -> Path:
        return self.path / "checkpoints" / f"trial-{trial}"

    def checkpoint(self, trial: int, rung: int) -> Path:
        """The state after a rung. One a rung: until a result is told, the one before counts."""
        return self.checkpoints(trial) / f"rung-{rung}"

    def adapter(self, trial: int) -> Path:
        return self.path / "adapters" / f"trial-{trial}"

    def forget(self, trial: int, *, after: int) -> None:
        """Delete the checkpoints older than the one that rung `after` came from."""
        for rung in range(after - 1):
            shutil.rmtree(self.checkpoint(trial, rung), ignore_errors=True)
