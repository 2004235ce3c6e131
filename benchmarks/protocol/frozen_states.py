"""The frozen encoder as a baseline: logistic regression, converged, on its states."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def frozen(task: str, space: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The row of a task: CLS or mean pooling and the strength are chosen by validation.

    A head trained on CLS by a few dozen steps would be far below it, and flatter everything else.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from autopeft import config
    from autopeft.training.loading.data import load_data
    from autopeft.training.loading.model import resolve_model

    spec = config.load(space, overrides)
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    path = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    train, validation, test = (
        _states(split, path, spec.data["max_length"])
        for split in (data.train, data.validation, data.test)
    )
    tried = []
    for pooling in train:
        for strength in STRENGTHS:
            fit = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
            fit.fit(train[pooling], data.train["label"])
            seen = fit.score(validation[pooling], data.validation["label"])
            tried.append((seen, pooling, strength, fit))
    seen, pooling, strength, fit = max(tried, key=lambda one: one[0])
    return {
        "kind": "frozen",
        "task": task,
        "name": f"logistic regression on {pooling} states, C={strength:g}",
        "trainable_params": int(fit[-1].coef_.size + fit[-1].intercept_.size),
        "accuracy": float(seen),
        "test": float(fit.score(test[pooling], data.test["label"])),
        "test_rows": len(data.test),
    }


def _states(split: Any, path: Path, longest: int) -> dict[str, Any]:
    """pooling -> (n, d) states of the last layer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    texts = [list(split[name]) for name in ("text", "text_pair") if name in split.column_names]
    found: dict[str, list[Any]] = {"CLS": [], "mean": []}
    for i in range(0, len(split), 64):
        batch = tokenizer(
            *(column[i : i + 64] for column in texts),
            truncation=True,
            max_length=longest,
            padding=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state  # (64, tokens, d)
        mask = batch["attention_mask"][..., None]
        found["CLS"].append(hidden[:, 0])
        found["mean"].append((hidden * mask).sum(1) / mask.sum(1))
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}
