"""A real MLflow server, which can be killed and started again."""

import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
from ports import free_port
from processes import end, plain


class MlflowServer:
    """`mlflow server` with one worker, on a port of its own. It does not run before `start`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port = folder, free_port()
        self.uri, self.database = f"http://127.0.0.1:{self._port}", folder / "mlflow.db"
        self._process: psutil.Popen | None = None

    def start(self) -> None:
        """Start it, where it does not run."""
        if self._process is not None:
            return
        with (self._folder / "log").open("a") as log:
            self._process = psutil.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                    *("--backend-store-uri", f"sqlite:///{self.database}"),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                ],
                env={**plain(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._folder,
            )

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    def wait(self, timeout_s: float = 120) -> None:
        """Until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; with the end of its log.
        """
        until = time.monotonic() + timeout_s
        while not self.answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > until:
                self.kill()
                said = (self._folder / "log").read_text()[-2000:]
                raise RuntimeError(f"MLflow {'ended' if ended else 'does not answer'}: {said}")
            time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process.wait()
            self._process = None
