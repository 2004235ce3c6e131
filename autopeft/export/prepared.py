"""What export has to be told of a trial's surroundings: only `training/` can resolve it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from autopeft.domain.space import Json


@dataclass(frozen=True)
class Prepared:
    """The model and the rows that a study's trials use, ready.

    model: the folder or hub name that transformers loads.
    load_arguments: what `from_pretrained` is given besides.
    labels: names of the classes by id; empty for language models.
    splits: rows by split, `train` and `validation` at least, labels as integers; they are written
        into the export, so `test` is best left out. An image is one of PIL.
    max_length: tokens of a row; None where the trainer truncates, or there are none.
    max_target_length: the same of what is to be written.
    processor_arguments: what the tokenizer is given to load besides.
    data_fingerprint: of the data as they are now; export refuses other rows than the trial had,
        as far as `domain.fingerprints` can tell.
    """

    model: str
    load_arguments: Mapping[str, Json]
    labels: tuple[str, ...]
    splits: Mapping[str, Iterable[Mapping[str, Json]]]
    max_length: int | None = None
    max_target_length: int | None = None
    processor_arguments: Mapping[str, Json] = field(default_factory=dict)
    data_fingerprint: str | None = None
