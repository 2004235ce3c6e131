"""The tasks of the protocol: their data, the space file of each, and the pairs made of CLINC150."""

import json
import random
from pathlib import Path
from typing import Any

from autopeft.config.reading import read

SPACE = Path(__file__).with_name("space.yaml")
DATA = Path(__file__).parents[3] / "shared" / "data"
LIMIT = {"train": 1000, "validation": 400, "test": 600}


def _json(task: str, split: str) -> dict[str, Any]:
    return {"path": "json", "data_files": str(DATA / task / f"{split}.jsonl")}


def _texts(task: str) -> dict[str, Any]:
    columns = {"text": "text", "label": "label"}
    splits = {split: _json(task, split) for split in LIMIT}
    return {**splits, "columns": columns, "limit": LIMIT, "max_length": 24}


_PAIR = {"text": "text_a", "text_pair": "text_b", "label": "label"}
TASKS: dict[str, dict[str, Any]] = {
    "ag_news": _texts("ag_news"),
    # Two requests: is it the same intent? Written by `write_pairs`.
    "pairs": {
        **{split: {"path": "json", "data_files": f"pairs/{split}.jsonl"} for split in LIMIT},
        "columns": _PAIR,
        "limit": LIMIT,
        "max_length": 32,
    },
    "sst2": _texts("sst2"),
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
    if task == "pairs":
        write_pairs(home / "pairs")
    path = home / f"{task}.yaml"
    path.write_text(json.dumps({**document, "study": task, "data": TASKS[task]}, indent=2))
    return path  # JSON is YAML


def write_pairs(folder: Path) -> None:
    """Pairs of requests of CLINC150, half of them of one intent; no text is in two splits."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in LIMIT.items():
        rows = map(json.loads, (DATA / "clinc150" / f"{split}.jsonl").read_text().splitlines())
        text = "".join(json.dumps(row) + "\n" for row in pairs_of(list(rows), count, seed=split))
        (folder / f"{split}.jsonl").write_text(text)


def pairs_of(rows: list[dict[str, Any]], count: int, *, seed: str) -> list[dict[str, Any]]:
    """`count` pairs of texts with label 1 where both have the same `label_name`."""
    by_intent: dict[str, list[str]] = {}
    for row in rows:
        by_intent.setdefault(row["label_name"], []).append(row["text"])
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
