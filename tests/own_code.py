"""Studies of the user's own code, run by the command line in this process."""

import sys
from pathlib import Path

from autopeft import cli
from autopeft.domain.study import StudySpec

TRAIN = """
def evaluate(configuration, context):
    {body}


def score(parameters):
    return 0.5 - (parameters["rank"] - 8) ** 2 / 1000 - abs(parameters["lr"] - 1e-3)
"""
FINE = """p = configuration.parameters
    return {"rouge": (score(p), 0.01), "size": p["rank"], "extra": 3}"""
SPACE = """
autopeft: 1
study: free
evaluator: my_package.train:evaluate
parameters:
  rank: {choice: [2, 4, 8, 16, 32]}
  lr: {low: 1e-5, high: 1e-1, log: true}
  targets: {subset: [q, k, v]}
metrics:
  rouge: {goal: maximize, unit: share}
  size: {goal: minimize, unit: MB}
objectives: [rouge, size]
budget: {trials: 8}
search: {sampler: random}
"""


def write(folder: Path, body: str = FINE, *, space: str = SPACE) -> Path:
    """A space file and `my_package/train.py` with this body, beside it."""
    package = folder / "my_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(TRAIN.replace("{body}", body))
    (folder / "space.yaml").write_text(space)
    return folder / "space.yaml"


def autopeft(monkeypatch, *arguments: str) -> int:
    """The exit code of a command, as a process of its own would give it."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "my_package"]:
        del sys.modules[name]
    monkeypatch.setattr(sys, "argv", ["autopeft", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def at_home(monkeypatch, folder: Path) -> None:
    """In a folder of its own, with MLflow away: what a search says without it."""
    for name in ("AUTOPEFT_HOME", "AUTOPEFT_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.chdir(folder)


def parsed(folder: Path, **changes) -> StudySpec:
    """The spec of the space file that `write` wrote."""
    from autopeft.config import load

    return load(folder / "space.yaml", [f"{key}={value}" for key, value in changes.items()])
