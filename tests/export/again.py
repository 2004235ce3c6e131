"""What is asked of every exported trial: its script, and what it trains again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exports import forked
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

RUFF = Path(sys.executable).parent / "ruff"


def also_long(short, long):
    """The names as parameters, those of the second list among the long tests."""
    return [*short, *(pytest.param(name, marks=pytest.mark.long) for name in long)]


def check_script(done):
    """It is formatted, short and free of autopeft."""
    options = ["--line-length", "100", "--no-cache", "--isolated"]
    checked = [
        subprocess.run(
            [RUFF, *verb, *options, "train.py"], cwd=done.folder, capture_output=True, text=True
        )
        for verb in (["format", "--diff"], ["check", "--select", "F,I,B,UP"])
    ]
    assert [ran.returncode for ran in checked] == [0, 0], [ran.stdout for ran in checked]
    lines = (done.folder / "train.py").read_text().splitlines()
    assert len(lines) < 190
    assert not any("import" in line and "autopeft" in line for line in lines)


def check_bits(done):
    """It trains to the bits of the trial. Some of the trials paused twice; the script never does."""
    metrics = json.loads(forked("train.py", cwd=done.folder))
    assert repr(metrics["eval_loss"]) == repr(done.trial.metrics["eval_loss"])
    assert metrics.get("accuracy") == done.trial.metrics.get("accuracy")
    weights = [
        path.relative_to(done.folder) for path in done.files if path.suffix == ".safetensors"
    ]
    assert weights
    for path in weights:
        again = done.folder / "retrained" / path
        assert again.read_bytes() == (done.folder / path).read_bytes()


def check_predictions(done):
    """It loads with PEFT alone and predicts what the trial did."""
    base = AutoModelForSequenceClassification.from_pretrained(
        done.prepared.model, num_labels=2, ignore_mismatched_sizes=True
    )
    model = PeftModel.from_pretrained(base, done.folder).eval()
    with (done.folder / "data" / "validation.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    encoded = AutoTokenizer.from_pretrained(done.prepared.model)(
        [row["text"] for row in rows],
        [row["text_pair"] for row in rows],
        truncation=True,
        max_length=24,
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**encoded).logits
    labels = torch.tensor([row["label"] for row in rows])
    hits = (logits.argmax(-1) == labels).sum().item()
    assert hits / len(rows) == done.trial.metrics["accuracy"]
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert loss == pytest.approx(done.trial.metrics["eval_loss"], rel=1e-5)
