"""Metrics that a trial measures only where an objective or a constraint is about them."""

import copy
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import general_rows
from autopeft.training.loading.model import Base
from autopeft.training.scoring.batches import UNLABELLED
from autopeft.training.scoring.measure import language_losses
from autopeft.tuners.composite import is_composite

_WARM_UP, _TIMED = 5, 15  # forward passes
_BATCH = 8  # rows of the general corpus
_LENGTH = 512  # tokens of them


@dataclass(frozen=True)
class General:
    """A corpus that the model may forget. batches: tokenised. before: nat a token, of the base."""

    batches: tuple[Mapping[str, torch.Tensor], ...]
    before: float

    @classmethod
    def of(cls, spec: StudySpec, base: Base, device: torch.device) -> "General":
        """data.general, and what the untrained model makes of it."""
        rows = general_rows(spec.data, folder=spec.folder, task=spec.task)
        texts = [_text(row, base.processor) for row in rows]
        batches = tuple(
            _batch(texts[i : i + _BATCH], base.processor) for i in range(0, len(texts), _BATCH)
        )
        model = base.copy(0).to(device)
        return cls(batches, float(language_losses(model, batches, device).mean()))


def asked_metrics(
    wanted: Set[str], trainer: Any, general: General | None, *, merges: bool
) -> dict[str, float]:
    """Those of the wanted metrics that cost something to measure.

    trainer: after training. merges: whether the trained architecture can be merged.
    """
    model, device = trainer.model, trainer.args.device
    found: dict[str, float] = {}
    if wanted & {"inference_ms", "inference_merged_ms"}:
        row = _middle_row(trainer)
        if "inference_ms" in wanted:
            found["inference_ms"] = forward_ms(model, row, device)
        if "inference_merged_ms" in wanted:
            served = merged(model) if merges else model
            found["inference_merged_ms"] = forward_ms(served, row, device)
    if "forgetting" in wanted:
        assert general is not None  # checked with the file
        after = float(language_losses(model, general.batches, device).mean())
        found["forgetting"] = after - general.before
    return found


def forward_ms(model: Any, row: Mapping[str, torch.Tensor], device: torch.device) -> float:
    """Median time of a forward pass of one row, (1, tokens), without gradients."""
    model.eval()
    inputs = {name: value.to(device) for name, value in row.items()}
    seconds = []
    with torch.no_grad():
        for _ in range(_WARM_UP + _TIMED):
            _wait(device)
            began = time.perf_counter()
            model(**inputs)
            _wait(device)
            seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds[_WARM_UP:])


def merged(model: Any) -> Any:
    """A copy whose adapters are in its weights; the model as it is where it has none."""
    if isinstance(model, PeftModel):
        return copy.deepcopy(model).merge_and_unload()
    if not is_composite(model):
        return model
    plain = copy.deepcopy(model)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(plain.get_submodule(parent), child, layer.get_base_layer())
    return plain


def _middle_row(trainer: Any) -> dict[str, torch.Tensor]:
    """A training row of middle length as a batch of one, without its label."""
    rows = trainer.train_dataset
    some = rows.select(range(min(len(rows), 101)))
    if "input_ids" in some.column_names:
        lengths = [len(ids) for ids in some["input_ids"]]
        chosen = sorted(range(len(lengths)), key=lengths.__getitem__)[len(lengths) // 2]
    else:
        chosen = 0
    batch = next(iter(trainer.get_test_dataloader(some.select([chosen]))))
    return {name: value for name, value in batch.items() if name != "labels"}


def _text(row: Mapping[str, Any], tokenizer: Any) -> str:
    if "messages" in row:
        return str(tokenizer.apply_chat_template(row["messages"], tokenize=False))
    return "".join(row[name] for name in ("prompt", "completion", "text") if name in row)


def _batch(texts: list[str], tokenizer: Any) -> Mapping[str, torch.Tensor]:
    found = tokenizer(texts, truncation=True, max_length=_LENGTH, padding=True, return_tensors="pt")
    labels = found["input_ids"].masked_fill(found["attention_mask"] == 0, UNLABELLED)
    return {
        "input_ids": found["input_ids"],
        "attention_mask": found["attention_mask"],
        "labels": labels,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
