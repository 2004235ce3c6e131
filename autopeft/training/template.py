"""What a recipe asks of a language model's tokenizer: tokens that it has, marks in its template."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from autopeft.domain.recipes.recipe import Refusal
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.training.inject import UnfitError
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_processor

_FILES = (".j2", ".jinja")
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


def template_path(name: str, *, folder: str) -> str:
    """The file, the folder or the hub name that TRL reads a chat template from.

    A relative path starts from `folder`; what is no path is a hub name.

    Raises:
        UnfitError: no such file or folder.
    """
    path = Path(folder) / name
    if path.exists():
        return str(path.resolve())
    if name.startswith((".", "/", "~")) or name.endswith(_FILES):
        raise UnfitError(f"chat_template_path names a file that does not exist: {path}")
    return name


def refusal_of(spec: StudySpec) -> Refusal:
    """What SFTTrainer refuses of the study's tokenizer and rows; they load when they are asked for.

    A template that the recipe takes from elsewhere is not looked at, nor is a full path, which may
    be there where the trials run alone.
    """

    @cache
    def tokenizer() -> Any:
        return load_processor(spec.model, folder=spec.folder)

    def refusal(field: str, value: Json, recipe: Mapping[str, Json]) -> str:
        own = recipe.get("chat_template_path") is None  # with another one come its tokens
        if field == "eos_token" or (field == "pad_token" and own):
            return _without(tokenizer(), field, value)
        if field == "chat_template_path" and isinstance(value, str) and value[:1] != "/":
            return _missing(value, spec.folder)
        if field == "assistant_only_loss" and value is True:
            row = load_data(spec.data, folder=spec.folder, task=spec.task).train[0]
            return _unspoken(row) or (_unmarked(tokenizer()) if own else "")
        return ""

    return refusal


def _missing(name: str, folder: str) -> str:
    try:
        template_path(name, folder=folder)
    except UnfitError as error:
        return str(error)
    return ""


def _without(tokenizer: Any, field: str, token: Json) -> str:
    if not isinstance(token, str) or token in tokenizer.get_vocab():
        return ""
    return f"{field} is a token of the model's vocabulary, got {token!r}: take one that it has"


def _unspoken(row: Mapping[str, Any]) -> str:
    if "messages" in row or isinstance(row.get("prompt"), list):
        return ""
    return (
        f"assistant_only_loss needs rows of messages, got {', '.join(row)}: remove it "
        "(of prompt and completion only the completion counts)"
    )


def _unmarked(tokenizer: Any) -> str:
    """Templates that TRL knows, it marks itself."""
    from trl.chat_template_utils import get_training_chat_template

    template = tokenizer.chat_template
    template = template.get("default") if isinstance(template, dict) else template
    if template and _MARKS.search(template):
        return ""
    lacking = "assistant_only_loss needs {% generation %} marks in the model's chat template"
    if not template:
        return f"{lacking}, and it has none: name one by chat_template_path, or remove it"
    try:
        get_training_chat_template(tokenizer)
    except ValueError:  # of one that it does not know
        return f"{lacking}, which has none: name one by chat_template_path, or remove it"
    return ""
