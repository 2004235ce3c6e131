"""A study that trains in a second: a tiny BERT and a few rows of two classes."""

import json
from pathlib import Path

from tiny_models import make_model

_HEAD = """
autopeft: 1
model: {model_name_or_path: bert, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
  max_length: 8
"""


def write_study(folder: Path, space: str, *, rows: int = 48, data: str = "", **model: int) -> Path:
    """The folder with model, rows and `space.yaml`.

    space: what the file says beside model and data. data: one more line of its `data:`.
    model: changes of the model's config.
    """
    make_model("bert", folder / "bert", "SEQ_CLS", **model)
    texts = [
        {"text": f"{i} {'lovely' if i % 2 else 'dull'} film", "label": str(i % 2)}
        for i in range(rows)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, texts)))
    (folder / "space.yaml").write_text(_HEAD + (f"  {data}\n" if data else "") + space)
    return folder
