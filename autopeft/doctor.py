"""What `autopeft doctor` looks at: one row a part, good, broken, or worth knowing."""

import importlib
import os
import platform
import shutil
import socket
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal
from urllib.parse import urlsplit

from autopeft.artifacts import Artifacts, artifacts_url
from autopeft.home import Home
from autopeft.hygiene import public_url

_PACKAGES = ("torch", "peft", "transformers", "datasets", "optuna", "botorch", "ray", "mlflow")
_EXTRAS = {"trl": "language models", "bitsandbytes": "load_in_4bit", "rouge-score": "rouge metrics"}
_TIMEOUT_S = 3.0  # of what is asked over the network
_COLUMNS = 80

State = Literal["ok", "note", "BAD"]


@dataclass(frozen=True)
class Check:
    """One part. state: `BAD` is what no search works without; a `note` is worth knowing."""

    part: str
    state: State
    text: str

    def lines(self) -> list[str]:
        """For people, in 80 columns."""
        head = f"{self.state:<4} {self.part:<9} "
        indent = " " * len(head)
        text = self.text if self.text else "-"
        return textwrap.wrap(
            text, _COLUMNS, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False
        )


def checks(home: Home) -> Iterator[Check]:
    """Look at every part, each when it is asked for."""
    for part, look in _LOOKS.items():
        try:
            state, text = look(home)
        except Exception as error:  # whatever is broken is what the verb is there to show
            said = str(error).splitlines()
            state, text = "BAD", f"{type(error).__name__}: {said[0] if said else ''}"
        yield Check(part, state, text)


def _autopeft(_: Home) -> tuple[State, str]:
    python = ".".join(map(str, sys.version_info[:3]))
    try:
        ours = version("autopeft")
    except PackageNotFoundError:
        ours = "a checkout that is not installed"
    return "ok", f"{ours}, Python {python}, {platform.system()} {platform.machine()}"


def _versions(_: Home) -> tuple[State, str]:
    found, missing = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(f"{package} is not installed")
    return ("BAD" if missing else "ok"), ", ".join([*missing, *found])


def _extras(_: Home) -> tuple[State, str]:
    found, missing = [], []
    for package, need in _EXTRAS.items():
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(f"{package} is not installed ({need})")
    return ("note" if missing else "ok"), ", ".join([*found, *missing])


def _devices(_: Home) -> tuple[State, str]:
    import torch

    cpu = f"{len(os.sched_getaffinity(0))} CPU cores" + _memory()
    if not torch.cuda.is_available():
        why = (
            f"this torch is built for CUDA {torch.version.cuda}, and " if torch.version.cuda else ""
        )
        return "ok", f"{why}no GPU is seen; {cpu}"
    gpus = []
    for i in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(i)
        gpus.append(f"{seen.name} ({seen.total_memory / 2**30:.0f} GiB)")
    bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
    return "ok", f"{', '.join(gpus)}, CUDA {torch.version.cuda}, {bf16}; {cpu}"


def _memory() -> str:
    import psutil

    return f", {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"


def _hub(_: Home) -> tuple[State, str]:
    """A hub that is away breaks nothing: models and data may be local."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "note", "HF_HUB_OFFLINE is set: local folders and what is cached"
    from huggingface_hub.constants import ENDPOINT

    endpoint = os.environ.get("HF_ENDPOINT", ENDPOINT)
    answers: list[str] = []

    def ask() -> None:
        began = time.monotonic()
        request = urllib.request.Request(endpoint, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError):
            return
        answers.append(f"{(time.monotonic() - began) * 1000:.0f} ms")

    # A thread, for the name of a host is looked up without any limit of time.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_TIMEOUT_S + 1)
    if not answers:
        return "note", f"{endpoint} does not answer: give local folders for models and data"
    return "ok", f"{endpoint} answers in {answers[0]}"


def _folder(home: Home) -> tuple[State, str]:
    home.folder.mkdir(parents=True, exist_ok=True)
    probe = home.folder / ".doctor"
    probe.write_text("")
    probe.unlink()
    return "ok", f"{home.folder}, {shutil.disk_usage(home.folder).free / 2**30:.0f} GiB free"


def _store(home: Home) -> tuple[State, str]:
    from autopeft.build import open_store

    where = public_url(home.store_url)
    if _unmade(home.store_url):
        return "ok", f"{where}, made by the first search"
    count = len(open_store(home).studies())
    return "ok", f"{where}, {count} {'study' if count == 1 else 'studies'}"


def _artifacts(home: Home) -> tuple[State, str]:
    if home.artifacts is None:
        return "ok", "in the studies' folders"
    url = artifacts_url(home.artifacts)
    Artifacts(url, hasty=True).check()
    return "ok", f"{url}, can be written, read and deleted"


def _mlflow(home: Home) -> tuple[State, str]:
    where = public_url(home.mlflow_uri)
    if _unmade(home.mlflow_uri):
        importlib.import_module("mlflow")
        return "ok", f"{where}, made by the first search"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{_TIMEOUT_S:.0f}")
    from mlflow import MlflowClient

    count = len(MlflowClient(home.mlflow_uri).search_experiments())
    return "ok", f"{where}, {count} experiments"


def _ray(_: Home) -> tuple[State, str]:
    import ray

    from autopeft.orchestrator.ray_cluster import check_address

    address = os.environ.get("RAY_ADDRESS")
    if not address:
        return "ok", f"{ray.__version__}, a local one is started for a search"
    if not address.startswith(("http://", "https://")):
        check_address(address)
        return "ok", f"{ray.__version__}, cluster {address}"
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((str(parts.hostname), port), timeout=_TIMEOUT_S).close()
    return "ok", f"{ray.__version__}, job server {address} answers, for --submit"


def _unmade(url: str) -> bool:
    """Whether a URL names a file of SQLite that is not there yet."""
    path = url.removeprefix("sqlite:///")
    return path != url and not os.path.exists(path)


_LOOKS: dict[str, Callable[[Home], tuple[State, str]]] = {
    "autopeft": _autopeft,
    "versions": _versions,
    "extras": _extras,
    "devices": _devices,
    "hub": _hub,
    "folder": _folder,
    "store": _store,
    "artifacts": _artifacts,
    "mlflow": _mlflow,
    "ray": _ray,
}
