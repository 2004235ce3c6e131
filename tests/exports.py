"""An exported folder as its reader uses it: its scripts run there, loaded as its card says."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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


def measured_as_the_card_says(folder: Path, *, environment: Mapping[str, str]) -> dict[str, float]:
    """Accuracy and loss on the validation rows (pairs of texts) of what the README loads."""
    card = (folder / "README.md").read_text()
    load = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", ".")
    script = folder / "load.py"
    script.write_text(load + _MEASURE)
    found = json.loads(printed(script.name, cwd=folder, environment=environment))
    script.unlink()
    return found
