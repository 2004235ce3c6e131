"""The kind of task, and which column is what: from names and contents, else by asking."""

from collections.abc import Mapping, Sequence

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS, TaskKind
from autopeft.starting.seen import Ask, Column, Family, SeenData

_LABEL = (
    *("label", "labels", "class", "category", "target", "sentiment", "intent", "topic"),
    *("emotion", "score", "rating", "stars", "gold", "y"),
)
_TEXT = (
    *("text", "sentence", "content", "review", "document", "body", "tweet", "comment", "title"),
    *("utterance", "query", "question", "input", "source", "article", "prompt", "instruction"),
)
_PAIRS = (
    *(("text", "text_pair"), ("text_a", "text_b"), ("text1", "text2")),
    *(("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("premise", "hypothesis")),
    *(("question1", "question2"), ("question", "sentence"), ("question", "passage")),
    *(("question", "context"), ("query", "passage"), ("signature", "docstring")),
)
_WRITTEN = (
    *("target", "summary", "highlights", "translation", "completion", "response", "output"),
    *("answer", "answers"),
)
_PROMPT = ("prompt", "instruction", "question", "input", "query")
_COMPLETION = ("completion", "response", "output", "answer", "target")
_MESSAGES = ("messages", "conversations", "conversation", "chat")
_TAGS = ("tags", "ner_tags", "pos_tags", "labels", "upos", "chunk_tags")
_IDS = ("id", "idx", "index", "guid", "uuid", "uid")
_MOST_LABELS = 100
_FITS: Mapping[str, Sequence[Family]] = {
    "SEQ_CLS": ("encoder", "decoder", "encoder-decoder"),
    "TOKEN_CLS": ("encoder", "decoder"),
    "SEQ_2_SEQ_LM": ("encoder-decoder",),
    "IMAGE_CLS": ("vision",),
    "CAUSAL_LM": ("decoder",),
}
_TASK_FLAG = "--task"


def kind_for(data: SeenData, family: Family, given: str | None, ask: Ask) -> TaskKind:
    """The kind of task; given: by its name, or by its problem type.

    Raises:
        AutopeftError: no such kind, one that the model is not for, or nobody to ask.
    """
    name = given or _guessed(data, family)
    if name is None:
        fitting = [n for n, kind in KINDS.items() if family in _FITS[kind.task_type]]
        name = ask("which kind of task this is", fitting, _TASK_FLAG)
    named = {**{k.problem_type: k for k in KINDS.values() if k.problem_type}, **KINDS}
    if name not in named:
        raise AutopeftError(f"{_TASK_FLAG} takes one of {', '.join(KINDS)}, got {name!r}")
    kind = named[name]
    if family not in _FITS[kind.task_type]:
        wanted = " or ".join(_FITS[kind.task_type])
        raise AutopeftError(
            f"{kind.name} is for a model that is {_a(wanted)}, got {_a(family)}: take another "
            f"model, or name the task by {_TASK_FLAG}"
        )
    return kind


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _guessed(data: SeenData, family: Family) -> str | None:
    """The name of a kind; None where data and model do not tell."""
    if _holding(data, "image"):
        return "IMAGE_CLS"
    if _holding(data, "messages"):
        return "CAUSAL_LM"
    words = _holding(data, "texts")
    if (
        any(c.name.lower() in _TAGS for c in words + _holding(data, "numbers"))
        and len(words + _holding(data, "numbers")) > 1
    ):
        return "TOKEN_CLS"
    prompt, completion = _by_name(data, _PROMPT, "text"), _by_name(data, _COMPLETION, "text")
    if family == "decoder" and prompt and (data.named("choices") or completion):
        return "CAUSAL_LM"
    if family == "encoder-decoder" and len(_holding(data, "text")) > 1:
        return "SEQ_2_SEQ_LM"
    label = _label(data)
    if label is not None:
        if label.holds in ("texts", "numbers"):
            return "SEQ_CLS multi_label_classification"
        return "SEQ_CLS regression" if label.holds == "number" else "SEQ_CLS"
    if family == "decoder" and _holding(data, "text"):
        return "CAUSAL_LM"
    return None


def columns_for(
    kind: TaskKind, data: SeenData, given: Mapping[str, str], ask: Ask
) -> dict[str, str]:
    """The task's names of columns -> the data's.

    given: those that the user names.

    Raises:
        AutopeftError: a name that is not there, or nobody to ask.
    """
    for key, name in given.items():
        if key not in kind.columns:
            raise AutopeftError(
                f"--column takes {', '.join(kind.columns)} of {kind.name}, got {key!r}"
            )
        if data.named(name) is None:
            names = ", ".join(column.name for column in data.columns)
            raise AutopeftError(f"the data have no column {name!r}: they have {names}")
    if kind.task_type == "CAUSAL_LM":
        found = _of_language(data, given, ask)
    elif kind.task_type == "SEQ_2_SEQ_LM":
        target = _one(data, "target", _WRITTEN, ("text",), given, ask)
        found = {
            "text": _one(data, "text", _TEXT, ("text",), given, ask, but=target),
            "target": target,
        }
    elif kind.task_type == "TOKEN_CLS":
        tags = _one(data, "tags", _TAGS, ("texts", "numbers"), given, ask)
        found = {
            "tokens": _one(data, "tokens", ("tokens",), ("texts",), given, ask, but=tags),
            "tags": tags,
        }
    elif kind.task_type == "IMAGE_CLS":
        found = {"image": _one(data, "image", ("image",), ("image",), given, ask)}
        found["label"] = _labelled(data, given, ask)
    else:
        found = _of_texts(data, given, ask)
    return {**found, **given}


def _of_texts(data: SeenData, given: Mapping[str, str], ask: Ask) -> dict[str, str]:
    label = _labelled(data, given, ask)
    names = {c.name.lower(): c.name for c in _holding(data, "text") if c.name != label}
    pair = next(((names[a], names[b]) for a, b in _PAIRS if a in names and b in names), None)
    if pair is not None and not {"text", "text_pair"} & set(given):
        return {"text": pair[0], "text_pair": pair[1], "label": label}
    return {"text": _one(data, "text", _TEXT, ("text",), given, ask, but=label), "label": label}


def _of_language(data: SeenData, given: Mapping[str, str], ask: Ask) -> dict[str, str]:
    """Chats, prompts with what is to follow, prompts with choices, or plain texts."""
    if given:
        return {}
    if chats := _holding(data, "messages"):
        return {"messages": _one(data, "messages", _MESSAGES, (chats[0].holds,), given, ask)}
    prompt = _by_name(data, _PROMPT, "text")
    choices, answer = data.named("choices"), data.named("answer")
    if prompt and choices and answer:
        return {"prompt": prompt.name, "choices": "choices", "answer": "answer"}
    completion = _by_name(data, _COMPLETION, "text")
    if prompt and completion and prompt != completion:
        return {"prompt": prompt.name, "completion": completion.name}
    return {"text": _one(data, "text", _TEXT, ("text",), given, ask)}


def _labelled(data: SeenData, given: Mapping[str, str], ask: Ask) -> str:
    if "label" in given:
        return given["label"]
    if (found := _label(data)) is not None:
        return found.name
    return ask("which column holds the label", _names(data), "--column label=NAME")


def _label(data: SeenData) -> Column | None:
    """By its name, else the one column that holds few values, each several times."""
    lists: tuple[str, ...] = ("texts", "numbers")
    plain = [c for c in _useful(data) if c.holds in ("class", "truth", "whole", "number", "text")]
    few = [
        c for c in plain if c.holds == "number" or c.distinct <= min(_MOST_LABELS, data.sampled / 2)
    ]
    for name in _LABEL:
        for column in [*few, *(c for c in _useful(data) if c.holds in lists)]:
            if column.name.lower() == name:
                return column
    classes = [c for c in few if c.holds in ("class", "truth")] or few
    return classes[0] if len(classes) == 1 else None


def _one(
    data: SeenData,
    key: str,
    names: Sequence[str],
    holds: Sequence[str],
    given: Mapping[str, str],
    ask: Ask,
    *,
    but: str = "",
) -> str:
    """The column for a key: the user's, the one of such a name, the only one of such contents."""
    if key in given:
        return given[key]
    taken = {but, *given.values()}
    fitting = [c.name for c in _useful(data) if c.holds in holds and c.name not in taken]
    for name in names:
        for column in fitting:
            if column.lower() == name:
                return column
    if len(fitting) == 1:
        return fitting[0]
    return ask(f"which column holds the {key}", fitting or _names(data), f"--column {key}=NAME")


def _by_name(data: SeenData, names: Sequence[str], holds: str) -> Column | None:
    there = {c.name.lower(): c for c in data.columns if c.holds == holds}
    return next((there[name] for name in names if name in there), None)


def _holding(data: SeenData, holds: str) -> list[Column]:
    return [column for column in _useful(data) if column.holds == holds]


def _useful(data: SeenData) -> list[Column]:
    """All but the numbers of rows."""
    return [
        c for c in data.columns if c.name.lower() not in _IDS and not c.name.lower().endswith("_id")
    ]


def _names(data: SeenData) -> list[str]:
    return [column.name for column in data.columns]
