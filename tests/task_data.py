"""Small generated data of every kind of task that a transformers trainer trains, learnable at once.

Every kind: the model's family, what stands under `model` and `data`, and a file or folder of rows.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_models import make_model

from autopeft.domain.tasks import KINDS

COLOURS = ("red", "green", "blue")
TAGS = {"what": "B-ASK", "comes": "I-ASK", "after": "B-POS", "question": "O"}
ROWS = 48


@dataclass(frozen=True)
class Example:
    """family: of the model; model, data: more of the file's keys; targets: of a LoRA."""

    family: str
    data: dict
    targets: tuple[str, ...] = ("query", "value")


def _words(i: int) -> list[str]:
    return ["what", "comes", "after", "question", "after"][: 2 + i % 4]


def rows_of(name: str) -> list[dict]:
    """JSON rows of a kind."""
    words = [_words(i) for i in range(ROWS)]
    match name:
        case "SEQ_CLS":
            return [{"text": " ".join(w), "label": ["short", "long"][len(w) > 3]} for w in words]
        case "SEQ_CLS regression":
            return [{"text": " ".join(w), "label": len(w) / 2} for w in words]
        case "SEQ_CLS multi_label_classification":
            kinds = [["long"] * (len(w) > 3) + ["odd"] * (len(w) % 2) for w in words]
            return [{"text": " ".join(w), "label": k} for w, k in zip(words, kinds, strict=True)]
        case "TOKEN_CLS":
            return [{"tokens": w, "tags": [TAGS[word] for word in w]} for w in words]
        case "SEQ_2_SEQ_LM":
            return [{"text": " ".join(w), "target": w[-1]} for w in words]
    raise ValueError(f"{name} has no rows of JSON")


EXAMPLES = {
    "SEQ_CLS": Example("bert", {}),
    "SEQ_CLS regression": Example("bert", {}),
    "SEQ_CLS multi_label_classification": Example("bert", {}),
    "TOKEN_CLS": Example("bert", {}),
    "SEQ_2_SEQ_LM": Example("t5", {"max_length": 16, "max_target_length": 8}, ("q", "v")),
    "IMAGE_CLS": Example("vit", {}, ("q_proj", "v_proj")),
}


def write_task(folder: Path, name: str) -> dict:
    """Put model and rows into the folder; gives the space file's `model` and `data`."""
    kind, example = KINDS[name], EXAMPLES[name]
    make_model(example.family, folder / "model", kind.task_type)
    model = {"model_name_or_path": "model", "task_type": kind.task_type}
    if kind.problem_type:
        model["problem_type"] = kind.problem_type
    if name == "IMAGE_CLS":
        write_images(folder / "images")
        train = {"path": "imagefolder", "data_dir": "images"}
    else:
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows_of(name))))
        train = {"path": "json", "data_files": "rows.jsonl"}
    carved = {"carve": 0.25, "from": "train", "seed": 0}
    return {"model": model, "data": {"train": train, "validation": carved, **example.data}}


def write_images(folder: Path) -> None:
    """An image folder: squares of a colour with some noise."""
    rng = np.random.default_rng(0)
    for channel, colour in enumerate(COLOURS):
        (folder / colour).mkdir(parents=True)
        for i in range(ROWS // len(COLOURS)):
            pixels = rng.integers(0, 120, size=(20, 24, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / colour / f"{i}.png")
