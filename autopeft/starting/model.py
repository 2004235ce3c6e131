"""The user's model, by its config and tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import TaskKind
from autopeft.starting.data import relative
from autopeft.starting.seen import Family, SeenModel
from autopeft.training.loading.model import resolve_model
from autopeft.training.tasks.task import tokenizer

_LOOKED_AT = 500
_LONG = 0.99  # of the rows are read whole
_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)


def see_model(given: str, *, folder: Path) -> SeenModel:
    """A model by its config.

    given: a folder from the working directory, `package:NAME/FOLDER`, or a name on the hub.
    folder: of the space file.

    Raises:
        AutopeftError: there is no such model.
    """
    path = Path(given).expanduser()
    name = given
    if path.is_dir():
        name = relative(path, folder)
        name = name if name.startswith(".") else f"./{name}"
    where = resolve_model(name, folder=str(folder))
    try:
        config = AutoConfig.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise AutopeftError(
            f"model {given!r} cannot be loaded: {str(error).splitlines()[0]} "
            "(give a local folder where the hub is out of reach)"
        ) from error
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return SeenModel(name, _family(config), str(config.model_type), most)


def _family(config: Any) -> Family:
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    named = " ".join(config.architectures or ())
    if "ForCausalLM" in named or "LMHeadModel" in named:
        return "decoder"
    reads = kind in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    if kind in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES and not reads:
        return "vision"
    writes = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return "decoder" if writes and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES else "encoder"


def see_lengths(
    model: SeenModel, kind: TaskKind, columns: Mapping[str, str], rows: Dataset, *, folder: Path
) -> dict[str, int]:
    """Tokens that a row, and what is to be written for it, are cut to: `max_length` and so on.

    The shortest round length that 99 of 100 rows keep to, and that the model reads.

    Raises:
        AutopeftError: the data are chats, and the tokenizer has no template for them.
    """
    if "image" in kind.columns:
        return {}
    reads = tokenizer(resolve_model(model.name, folder=str(folder)), trust_remote_code=False)
    sample = rows.select(range(0, len(rows), max(1, len(rows) // _LOOKED_AT)))
    if "messages" in columns and not getattr(reads, "chat_template", None):
        raise AutopeftError(
            f"the data are chats, and the tokenizer of {model.name} has no chat template: take a "
            "chat model, or data with prompt and completion"
        )
    target = [columns[key] for key in ("target",) if key in columns]
    read = [columns[k] for k in columns if k not in ("target", "label", "tags", "answer")]
    found = {"max_length": _length(reads, sample, read, model.most)}
    if target:
        found["max_target_length"] = _length(reads, sample, target, model.most)
    return found


def _length(reads: Any, sample: Dataset, columns: list[str], most: int | None) -> int:
    lengths = sorted(sum(_tokens(reads, row[c]) for c in columns) for row in sample)
    long = lengths[min(len(lengths) - 1, int(_LONG * len(lengths)))] + 2  # what stands around it
    limit = most or _LENGTHS[-1]
    fitting = [length for length in _LENGTHS if length <= limit] or [limit]
    return next((length for length in fitting if length >= long), fitting[-1])


def _tokens(reads: Any, value: Any) -> int:
    if isinstance(value, str):
        return len(reads(value, verbose=False)["input_ids"])
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return len(reads.apply_chat_template(value, return_dict=False))
    if isinstance(value, list) and value and isinstance(value[0], str):
        pieces = [len(reads(word, verbose=False)["input_ids"]) for word in value]
        return sum(pieces)
    return 0
