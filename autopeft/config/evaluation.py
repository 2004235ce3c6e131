"""The checks of `evaluation:`."""

from collections.abc import Collection, Mapping
from typing import Any

from autopeft.config.names import check_names
from autopeft.config.tree import Complain, told
from autopeft.config.values import is_whole
from autopeft.domain.generation import GENERATED, OPTIONS, Generation
from autopeft.domain.tasks import TaskKind

COUNTS = ("rows", "max_new_tokens", "batch_size")
EVALUATION = ("generate", "lm_eval")
GENERATE = (*COUNTS, *OPTIONS)
_DRAWN = ("do_sample", "temperature", "top_k", "top_p", "typical_p", "min_p", "epsilon_cutoff")
_PATH = "evaluation.generate"


def check_evaluation(
    given: Any,
    task: TaskKind | None,
    asked: Collection[str],
    complain: Complain,
    *,
    own: Collection[str] = (),
) -> Generation:
    """How texts are generated; the defaults where the file does not say.

    asked: the metrics that are measured. own: those of the user's functions, which read texts.
    """
    if given is None:
        return Generation()
    if not isinstance(given, Mapping):
        complain("evaluation", f"takes {{generate: {{rows: 200, ...}}}}, got {told(given)}")
        return Generation()
    check_names("evaluation", given, EVALUATION, "evaluation", complain)
    if "generate" not in given:
        return Generation()
    generate = given["generate"]
    if not isinstance(generate, Mapping):
        complain(_PATH, f"takes {{rows, max_new_tokens, ...}}, got {told(generate)}")
        return Generation()
    known = [metric for metric in GENERATED if task is None or metric in task.metrics]
    if task and not known:
        complain(_PATH, f"{task.task_type} generates no text", "remove it")
        return Generation()
    if generate and not {*known, *own} & set(asked):
        rule = "generates texts that no objective and no constraint reads"
        complain(_PATH, rule, f"an objective on {' or '.join(known)}, or remove it")
    for name in _DRAWN:
        if name in generate:
            rule = f"draws no token, so that a model has one score: got {name}"
            complain(f"{_PATH}.{name}", rule, "remove it")
    rest = [name for name in generate if name not in _DRAWN]
    check_names(_PATH, rest, GENERATE, "generate", complain)
    return Generation(**_counts(generate, complain), options=_options(generate, complain))


def _counts(generate: Mapping[str, Any], complain: Complain) -> dict[str, int]:
    sound = {}
    for name in (name for name in COUNTS if name in generate):
        value = generate[name]
        if not is_whole(value, 1):
            complain(f"{_PATH}.{name}", f"takes a whole number from 1, got {told(value)}")
        else:
            sound[name] = value
    return sound


def _options(generate: Mapping[str, Any], complain: Complain) -> dict[str, Any]:
    sound = {}
    for name in (name for name in OPTIONS if name in generate):
        value, types = generate[name], OPTIONS[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(kind.__name__ for kind in types)
            complain(f"{_PATH}.{name}", f"takes {wanted}, got {told(value)}")
        else:
            sound[name] = value
    return sound
