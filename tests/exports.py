"""An exported folder as its reader uses it: its scripts run there, loaded as its card says.

To import torch, transformers and trl takes a process longer than to train a tiny model. Where many
scripts run, they run in forks of one process that has imported what they do (`forked`).
"""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["torch", "transformers.trainer", "datasets", "peft.auto", "safetensors.torch", "trl.trainer"]
)
_MEASURE = """
import json
import torch
from transformers import AutoTokenizer

rows = [json.loads(line) for line in open("data/validation.jsonl")]
encoded = AutoTokenizer.from_pretrained(base.config._name_or_path)(
    [row["text"] for row in rows], [row["text_pair"] for row in rows],
    truncation=True, max_length=24, padding=True, return_tensors="pt",
)
with torch.no_grad():
    logits = model.eval()(**encoded).logits
labels = torch.tensor([row["label"] for row in rows])
hits = (logits.argmax(-1) == labels).sum().item()
loss = torch.nn.functional.cross_entropy(logits, labels).item()
print(json.dumps({"accuracy": hits / len(rows), "loss": loss}))
"""


def python(
    *arguments: str, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def printed(script: str, *, cwd: Path, environment: Mapping[str, str]) -> str:
    """The last line of what a script prints."""
    done = python(script, cwd=cwd, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def forked(script: str, *, cwd: Path) -> str:
    """The same in a fork that cannot import autopeft."""
    process = _FORKS.Process(target=_run, args=(script, str(cwd)))
    process.start()
    process.join(300)
    assert process.exitcode == 0, (cwd / "stderr").read_text()
    return (cwd / "stdout").read_text().splitlines()[-1]


class Blocker:
    """Finds no autopeft."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "autopeft":
            raise ModuleNotFoundError("autopeft is blocked")


def _run(script: str, cwd: str) -> None:
    os.chdir(cwd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    assert not any(name.partition(".")[0] == "autopeft" for name in sys.modules)
    sys.meta_path.insert(0, Blocker())
    sys.path.insert(0, cwd)  # as Python does for a script
    runpy.run_path(script, run_name="__main__")


def measured_as_the_card_says(folder: Path, run: Callable[..., str]) -> dict[str, float]:
    """Accuracy and loss on the validation rows (pairs of texts) of what the README loads.

    run: `forked`, or `printed` with its environment.
    """
    card = (folder / "README.md").read_text()
    load = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", ".")
    script = folder / "load.py"
    script.write_text(load + _MEASURE)
    found = json.loads(run(script.name, cwd=folder))
    script.unlink()
    return found
