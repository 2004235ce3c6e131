"""The tasks of the protocol: their data, the space file of each, and what is made of CLINC150."""

import json
import random
from pathlib import Path
from typing import Any

from autopeft.config.reading import read

SPACE = Path(__file__).with_name("space.yaml")
DATA = Path(__file__).parents[3] / "shared" / "data"
INTENTS = 20
LIMIT = {"train": 1000, "validation": 400, "test": 600}

Rows = list[dict[str, Any]]


def _json(task: str, split: str) -> dict[str, Any]:
    return {"path": "json", "data_files": str(DATA / task / f"{split}.jsonl")}


def _made(task: str) -> dict[str, Any]:
    """Written beside the space file by `_WRITTEN`."""
    return {split: {"path": "json", "data_files": f"{task}/{split}.jsonl"} for split in LIMIT}


_TEXT = {"columns": {"text": "text", "label": "label"}, "limit": LIMIT, "max_length": 24}
_PAIR = {"text": "text_a", "text_pair": "text_b", "label": "label"}
TASKS: dict[str, dict[str, Any]] = {
    "ag_news": {**{split: _json("ag_news", split) for split in LIMIT}, **_TEXT},
    # Two requests: is it the same intent?
    "pairs": {**_made("pairs"), "columns": _PAIR, "limit": LIMIT, "max_length": 32},
    "sst2": {**{split: _json("sst2", split) for split in LIMIT}, **_TEXT},
    # A request: which of twenty intents?
    "intents": {**_made("intents"), **_TEXT},
    # The labels of the test split are not public: the published validation split is the test here.
    "rte": {
        "train": _json("rte", "train"),
        "validation": {"carve": 0.16, "from": "train", "seed": 0},
        "test": _json("rte", "validation"),
        "columns": _PAIR,
        "max_length": 64,
    },
}


def space_file(task: str, home: Path) -> Path:
    """Write the space file of a task, and its data where they are made; returns the file."""
    document, _ = read(SPACE)
    if task in _WRITTEN:
        _write(task, home / task)
    path = home / f"{task}.yaml"
    path.write_text(json.dumps({**document, "study": task, "data": TASKS[task]}, indent=2))
    return path  # JSON is YAML


def pairs_of(rows: Rows, count: int, *, seed: str) -> Rows:
    """`count` pairs of texts with label 1 where both have the same `label_name`."""
    by_intent = _by_intent(rows)
    rng = random.Random(seed)
    found = []
    for i in range(count):
        one, other = rng.sample(sorted(by_intent), 2)
        a, b = rng.sample(by_intent[one], 2)
        if i % 2:
            b = rng.choice(by_intent[other])
        found.append({"text_a": a, "text_b": b, "label": 1 - i % 2})
    rng.shuffle(found)
    return found


def intents_of(rows: Rows, count: int, *, seed: str) -> Rows:
    """`count` requests of the first intents by name, as many of each."""
    rng = random.Random(seed)
    found = []
    for label, (_, texts) in enumerate(sorted(_by_intent(rows).items())[:INTENTS]):
        found += [{"text": t, "label": label} for t in rng.sample(texts, count // INTENTS)]
    rng.shuffle(found)
    return found


def _by_intent(rows: Rows) -> dict[str, list[str]]:
    by_intent: dict[str, list[str]] = {}
    for row in rows:
        by_intent.setdefault(row["label_name"], []).append(row["text"])
    return by_intent


_WRITTEN = {"pairs": pairs_of, "intents": intents_of}


def _write(task: str, folder: Path) -> None:
    """The splits of a task made of CLINC150's; no text is in two of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in LIMIT.items():
        rows = list(
            map(json.loads, (DATA / "clinc150" / f"{split}.jsonl").read_text().splitlines())
        )
        made = _WRITTEN[task](rows, count, seed=split)
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
