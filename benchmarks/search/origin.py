"""What a record was made with: study, versions, fingerprints, machine."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autopeft.domain.study import StudySpec

_PACKAGES = ("autopeft", "torch", "peft", "transformers", "datasets", "accelerate", "numpy")
_UNUSED = ("study", "objectives", "constraints", "budget", "search")  # of the file, by a run


def origin(spec: StudySpec) -> dict[str, Any]:
    """Everything beside the configuration and the seed that a run depends on.

    Rungs are in it; what only a search reads (objectives, budget, sampler) is not.
    """
    from autopeft.training.loading.data import load_data
    from autopeft.training.loading.model import model_fingerprint, resolve_model

    model = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    rungs = spec.search.rungs
    return {
        "file": {k: v for k, v in spec.document.items() if k not in (*_UNUSED, "space")},
        "rungs": None if rungs is None else {rungs.unit: list(rungs.at)},
        "rows": {"train": len(data.train), "validation": len(data.validation)},
        "labels": len(data.labels),
        "model_fingerprint": model_fingerprint(model),
        "data_fingerprint": data.fingerprint,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "commit": _commit(),
        "processor": _processor(),
        "threads": 1,
    }


def _commit() -> str:
    """The commit of this checkout; "" where git does not know it."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    """The processor as Linux names it; elsewhere as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named: Mapping[str, str] = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return named.get("model name", platform.processor())
