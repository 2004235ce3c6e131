"""How long the training rows are, in the model's tokens: what the estimates of cost start from."""

from collections.abc import Mapping
from typing import Any

from transformers import AutoConfig

from autopeft.domain.estimates import LANGUAGE_LENGTH, Corpus
from autopeft.domain.study import StudySpec
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_processor, resolve_model
from autopeft.training.loading.trust import source
from autopeft.training.tasks import task_of

_SAMPLE = 512  # rows that are counted, evenly spaced


def corpus_of(spec: StudySpec) -> Corpus:
    """The study's training rows: how many, and the token lengths of a sample.

    An image has a token for each of its patches, and one more; rows without tokens count as of one
    length.
    """
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    task = task_of(spec.task)
    if "image" in spec.task.columns:
        path = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
        config = AutoConfig.from_pretrained(path, **source(spec.model))
        side, patch = getattr(config, "image_size", None), getattr(config, "patch_size", None)
        if not isinstance(side, int) or not isinstance(patch, int):
            return Corpus(len(data.train))
        return Corpus(len(data.train), ((side // patch) ** 2 + 1,))
    processor = load_processor(spec.model, folder=spec.folder)
    count = len(data.train)
    sample = data.train.select(range(0, count, max(1, count // _SAMPLE)))
    rows = task.inputs(sample, processor, spec.data)
    if "input_ids" in rows.column_names:
        return Corpus(count, tuple(len(ids) for ids in rows["input_ids"]))
    most = int(spec.training.get("max_length") or LANGUAGE_LENGTH)
    lengths = [min(most, _length(row, processor)) for row in rows]
    return Corpus(count, tuple(lengths)) if any(lengths) else Corpus(count)


def _length(row: Mapping[str, Any], tokenizer: Any) -> int:
    """Of a row that the trainer tokenizes itself; 0 where it has no text."""
    texts = [row[name] for name in ("text", "prompt", "completion") if row.get(name)]
    if "messages" in row:
        texts = [row["messages"]]
    return sum(_tokens(text, tokenizer) for text in texts)


def _tokens(text: Any, tokenizer: Any) -> int:
    if isinstance(text, str):
        return len(tokenizer(text)["input_ids"])
    return len(tokenizer.apply_chat_template(text, return_dict=False))
