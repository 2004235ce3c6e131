"""What `autopeft doctor` looks at: one line a part, good or not."""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

from autopeft.home import Home

_PACKAGES = ("torch", "peft", "transformers", "datasets", "optuna", "botorch", "ray", "mlflow")


def checks(home: Home) -> Iterator[tuple[str, bool, str]]:
    """Yield (part, good, text) for every part."""
    for name, look in _LOOKS.items():
        try:
            yield name, True, look(home)
        except Exception as error:  # whatever is broken is what the verb is there to show
            yield name, False, f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _versions(_: Home) -> str:
    found = []
    for package in (*_PACKAGES, "trl"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            if package in _PACKAGES:
                raise
            found.append(f"{package} is not installed (needed for trl.SFTTrainer)")
    return ", ".join(found)


def _devices(_: Home) -> str:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(names)
    return f"no GPU, {len(os.sched_getaffinity(0))} CPU cores"


def _folder(home: Home) -> str:
    home.folder.mkdir(parents=True, exist_ok=True)
    probe = home.folder / ".doctor"
    probe.write_text("")
    probe.unlink()
    return f"{home.folder}, {shutil.disk_usage(home.folder).free / 2**30:.0f} GiB free"


def _store(home: Home) -> str:
    from autopeft.build import open_store

    return f"{len(open_store(home).studies())} studies"


def _mlflow(home: Home) -> str:
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    count = len(MlflowClient(home.mlflow_uri).search_experiments())
    return f"{home.mlflow_uri}, {count} experiments"


def _ray(_: Home) -> str:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    where = f"cluster {address}" if address else "a local one is started for a search"
    return f"ray {ray.__version__}, {where}"


_LOOKS: dict[str, Callable[[Home], str]] = {
    "versions": _versions,
    "devices": _devices,
    "folder": _folder,
    "store": _store,
    "mlflow": _mlflow,
    "ray": _ray,
}
