"""How long the training rows are, in the model's tokens: what the estimates of cost start from."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoTokenizer

from autopeft.domain.estimates import Corpus
from autopeft.domain.study import StudySpec
from autopeft.training.data import load_data
from autopeft.training.evaluator import DEFAULT_MAX_LENGTH
from autopeft.training.model import resolve_model

_SAMPLE = 512  # rows that are counted, evenly spaced
_LANGUAGE_LENGTH = 1024  # where the recipe does not say: SFTConfig's own


def corpus_of(spec: StudySpec) -> Corpus:
    """The study's training rows: how many, and the token lengths of a sample."""
    data = load_data(spec.data, folder=spec.folder, task_type=spec.model["task_type"])
    name = resolve_model(spec.model["model_name_or_path"], folder=spec.folder)
    tokenizer = AutoTokenizer.from_pretrained(
        name, trust_remote_code=spec.model.get("trust_remote_code", False)
    )
    if spec.model["task_type"] == "SEQ_CLS":
        most = int(spec.data.get("max_length", DEFAULT_MAX_LENGTH))
    else:
        most = int(spec.training.get("max_length") or _LANGUAGE_LENGTH)
    count = len(data.train)
    rows = data.train.select(range(0, count, max(1, count // _SAMPLE)))
    found = [min(most, _length(row, tokenizer)) for row in rows]
    return Corpus(count, tuple(max(1, length) for length in found))


def _length(row: Mapping[str, Any], tokenizer: Any) -> int:
    if "messages" in row:
        return len(tokenizer.apply_chat_template(row["messages"], return_dict=False))
    texts: Sequence[str] = [
        row[name] for name in ("text", "text_pair", "prompt", "completion") if row.get(name)
    ]
    if "label" in row:
        return len(tokenizer(*texts)["input_ids"])
    return sum(len(tokenizer(text)["input_ids"]) for text in texts)
