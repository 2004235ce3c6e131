"""Ray Jobs: a search handed to the cluster that RAY_ADDRESS names, and what is known of it there.

Only HTTP to the cluster's job server is spoken here; this process never joins the cluster.
"""

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from autopeft import job_entry
from autopeft.domain.errors import StudyError
from autopeft.parcel import Parcel

_STOP_S = 60
"""For SIGTERM to become a pause: checkpoints, the store, MLflow. Ray's own is 3 s."""

_CONNECT_S = 5
_AGENT_S = 60
_YOUNG = "No available agent"
"""What Ray 2.60 says for some seconds after the head has begun, with `please try again later`."""

_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_TOKEN = (
    "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"
)
_SERVER = (
    "on its head, `ray start --head --dashboard-host=0.0.0.0` of ray[default] starts one at port "
    "8265: RAY_ADDRESS=http://HEAD:8265"
)


@dataclass(frozen=True)
class JobState:
    """status: Ray's word, as RUNNING. said: Ray's message on how it stands."""

    status: str
    said: str

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    @property
    def failed(self) -> bool:
        return self.ended and self.status != "SUCCEEDED"


class Jobs:
    """The job server of the cluster that RAY_ADDRESS names.

    Raises:
        StudyError: no address, nobody there, the wrong token, no job server.
    """

    def __init__(self) -> None:
        self._address = _address()
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with self._said():
            from ray.dashboard.modules import dashboard_sdk
            from ray.dashboard.modules.job import sdk
            from ray.job_submission import JobSubmissionClient

            for module in (dashboard_sdk, sdk):  # an upload and the end of a log are no news
                module.logger.setLevel(logging.ERROR)
            self._client = JobSubmissionClient(self._address)

    def submit(self, job: str, package: Path, variables: Mapping[str, str]) -> None:
        """Start `entry.py` of a package on the head.

        job: the id that it gets. package: a zip. variables: for its environment.

        Raises:
            StudyError: the cluster refuses it.
        """
        wait = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_S)}
        patient_until = time.monotonic() + _AGENT_S
        with self._said():
            while True:
                try:
                    self._client.submit_job(
                        entrypoint="exec python -P entry.py",
                        submission_id=job,
                        runtime_env={"working_dir": str(package), "env_vars": wait | {**variables}},
                    )
                    return
                except RuntimeError as error:
                    if _YOUNG not in str(error) or time.monotonic() > patient_until:
                        raise
                time.sleep(1)

    def state(self, job: str) -> JobState:
        """Raises:
        StudyError: the cluster does not know the job, or does not answer.
        """
        with self._said(job):
            found = self._client.get_job_info(job)
        return JobState(str(found.status.value), found.message or "")

    def logs(self, job: str) -> str:
        """What the job has printed so far."""
        with self._said(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str) -> Iterator[str]:
        """What the job prints from its beginning, in pieces, until it ends."""
        with self._said(job), asyncio.Runner() as runner:
            pieces = self._client.tail_job_logs(job)
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    yield runner.run(anext(pieces))

    @contextlib.contextmanager
    def _said(self, job: str = "") -> Iterator[None]:
        """Ray's errors as one message each."""
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise StudyError(f"the cluster at {self._address} wants its token: {_TOKEN}") from error
        except (ConnectionError, requests.RequestException) as error:
            raise StudyError(
                f"no job server answers at {self._address} ({_first(error)}): {_SERVER}"
            ) from error
        except (RuntimeError, ValueError) as error:
            text = _first(error)
            if "ray[default]" in text:
                text = "Ray's jobs need ray[default]: pip install 'autopeft[service]'"
            elif job and ("404" in text or "does not exist" in text):
                text = (
                    f"the cluster at {self._address} does not know job {job}: it was started on "
                    "another one, or that one was started anew since"
                )
            elif _YOUNG in text:
                text = (
                    f"the cluster at {self._address} has no agent that could start a job: is its "
                    "port free on the head (`ray start --dashboard-agent-listen-port`, 52365)?"
                )
            else:
                text = f"the cluster at {self._address} refused: {text}"
            raise StudyError(text) from error


@contextlib.contextmanager
def packaged(request: str, parcel: Parcel) -> Iterator[Path]:
    """What is sent with a job, as a zip: the request, who reads it first, and the files."""
    entry = Path(job_entry.__file__).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="autopeft-") as scratch:
        target = Path(scratch) / "job.zip"
        parcel.write(target, {"entry.py": entry, job_entry.REQUEST: request})
        yield target


def _address() -> str:
    """`http://host:port` of the job server.

    Raises:
        StudyError: there is no RAY_ADDRESS, or one that leads nowhere.
    """
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS", "")
    rule = "RAY_ADDRESS names the cluster's job server by HTTP"
    if not address:
        raise StudyError(f"{rule}, it is not set: RAY_ADDRESS=http://HEAD:8265")
    if not address.startswith(("http://", "https://")):
        host = address.removeprefix("ray://").rpartition(":")[0] or "HEAD"
        raise StudyError(f"{rule}, got {address}: RAY_ADDRESS=http://{host}:8265")
    address = address.rstrip("/")
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:  # a client of HTTP would wait for minutes
        socket.create_connection((str(parts.hostname), port), _CONNECT_S).close()
    except OSError as error:
        raise StudyError(f"no job server answers at {address} ({error}): {_SERVER}") from error
    return address


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
