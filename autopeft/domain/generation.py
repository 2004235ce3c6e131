"""How texts are generated for the metrics that read them, and which metrics do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GENERATED = ("exact_match", "rouge1", "rougeL", "numeric_answer")
"""Metrics that compare a generated text with the row's own."""

CHOSEN = ("accuracy", "accuracy_norm")
"""Metrics of a language model that chooses among a row's texts by their likelihood."""

OPTIONS: Mapping[str, tuple[type, ...]] = {
    "early_stopping": (bool, str),
    "length_penalty": (float, int),
    "min_new_tokens": (int,),
    "no_repeat_ngram_size": (int,),
    "num_beams": (int,),
    "repetition_penalty": (float, int),
    "stop_strings": (str, list),
}
"""Fields of transformers' GenerationConfig, and their types: those that leave the generated text a
function of the model alone."""


@dataclass(frozen=True)
class Generation:
    """What bounds the time that generating takes.

    rows: of the validation split, evenly spread over it; all of them where there are no more.
    max_new_tokens: of each text.
    batch_size: prompts at a time; None: the trainer's `per_device_eval_batch_size`.
    options: fields of GenerationConfig, of `OPTIONS`.
    """

    rows: int = 200
    max_new_tokens: int = 64
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
