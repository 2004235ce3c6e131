"""Where MLflow is not installed: events stay in the store's outbox until `autopeft sync`."""

import logging

_log = logging.getLogger("autopeft")


class Untracked:
    """Stands in for `MlflowTracker`; delivers nothing, and says so once."""

    def start(self) -> None:
        _log.warning(
            "MLflow is not installed: the study is in the store alone; "
            "`pip install mlflow`, then `autopeft sync STUDY` delivers it"
        )

    def close(self, *, timeout_s: float) -> int:
        """What the store keeps is nothing to warn of again."""
        return 0
