"""The space file that is written: its values by the model's modules and the rows, and why."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autopeft.domain.model import ModelShape
from autopeft.domain.tasks import TaskKind
from autopeft.starting.seen import SeenData, SeenModel

_PLAIN = re.compile(r"[A-Za-z_./-][\w./-]*")
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
_RANKS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Settings:
    """What the user says, or the machine. gpus: that are here; cores: of the CPU."""

    study: str
    trials: int
    gpus: int
    cores: int
    bf16: bool = False


def space_text(
    model: SeenModel,
    shape: ModelShape,
    data: SeenData,
    kind: TaskKind,
    columns: Mapping[str, str],
    lengths: Mapping[str, int],
    settings: Settings,
) -> str:
    """A commented space file.

    shape: of the model with the task's head. columns: the task's names -> the data's.
    lengths: `max_length` and so on.
    """
    parts = [
        _head(model, data, kind, settings),
        _model(model, kind, settings),
        _data(data, kind, columns, lengths),
        _training(data, kind, lengths, settings),
        _space(shape, kind),
        _goals(kind, columns),
        _search(data, kind, settings),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case Mapping():
            return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case float() if value <= 1e-2:
            return f"{value:.0e}".replace("e-0", "e-")
        case _:
            return json.dumps(value, ensure_ascii=False)


def _head(model: SeenModel, data: SeenData, kind: TaskKind, settings: Settings) -> list[str]:
    return [
        f"# {kind.name} with {model.name} ({model.model_type}) on {data.rows:,} rows: a beginning,",
        "# written by `autopeft init`. Change what you know better; docs/space-file.md has every",
        "# key, and `autopeft config-schema` makes editors complete them.",
        "#   autopeft validate THIS_FILE    checks it, and shows what is wrong where",
        "#   autopeft plan THIS_FILE        what it holds, what a trial takes and a budget buys",
        "#   autopeft search THIS_FILE      searches; Ctrl-C pauses, `autopeft resume` goes on",
        "autopeft: 1",
        f"study: {flow(settings.study)}",
    ]


def _model(model: SeenModel, kind: TaskKind, settings: Settings) -> list[str]:
    lines = [
        "model:",
        f"  model_name_or_path: {flow(model.name)}",
        f"  task_type: {kind.task_type}",
    ]
    if kind.problem_type:
        lines.append(f"  problem_type: {kind.problem_type}")
    if kind.task_type == "CAUSAL_LM":
        if settings.bf16:
            lines.append("  dtype: bfloat16")
        lines.append("  # load_in_4bit: true           # QLoRA, where memory is short; on a GPU")
    return lines


def _data(
    data: SeenData, kind: TaskKind, columns: Mapping[str, str], lengths: Mapping[str, int]
) -> list[str]:
    lines = ["data:"]
    for split, source in data.sources.items():
        said = "   # a share of the training rows" if "carve" in source else ""
        lines.append(f"  {split}: {flow(source)}{said}")
    if "test" not in data.sources:
        lines.append("  # test: {carve: 0.1, from: train, seed: 1}   # only ever reported")
    others = [c.name for c in data.columns if c.name not in columns.values()]
    unread = f"   # not read: {', '.join(others)}" if others else ""
    lines.append(f"  columns: {flow(dict(columns))}{unread[:80]}")
    if kind.max_length is not None:
        lines += [f"  {name}: {length}" for name, length in lengths.items()]
        lines[-1] += "   # tokens: 99 of 100 rows have no more, or the model reads no more"
    return lines


def epochs_of(data: SeenData, kind: TaskKind) -> int:
    """Few rows are seen more often."""
    if kind.task_type == "CAUSAL_LM":
        return 3 if data.rows < 1000 else 2
    return 3 if data.rows > 20_000 else 5 if data.rows > 5_000 else 10


def _training(
    data: SeenData, kind: TaskKind, lengths: Mapping[str, int], settings: Settings
) -> list[str]:
    large = kind.task_type in ("CAUSAL_LM", "SEQ_2_SEQ_LM")
    batch = 4 if large else 32 if data.rows >= 2000 else 16 if data.rows >= 200 else 8
    name = {"trl.SFTTrainer": "trl.SFTConfig"}.get(kind.trainer, "transformers.TrainingArguments")
    lines = [
        f"training:   # fields of {name}; any of them may vary",
        f"  num_train_epochs: {epochs_of(data, kind)}",
        f"  per_device_train_batch_size: {batch}",
    ]
    if large:
        steps = 4 if data.rows >= 500 else 1
        lines.append(f"  gradient_accumulation_steps: {steps}")
    if kind.max_length is None and "max_length" in lengths:
        lines.append(
            f"  max_length: {lengths['max_length']}   # tokens: 99 of 100 rows have no more, or "
            "the model reads no more"
        )
    lines += ["  warmup_steps: 0.1   # below 1: a share of the run", "  lr_scheduler_type: linear"]
    if settings.bf16:
        lines.append("  bf16: true")
    return lines


def _space(shape: ModelShape, kind: TaskKind) -> list[str]:
    """The branches, their modules chosen by what they do in the model."""
    names = _names_by_role(shape)
    targets = _targets(names)
    least = min((min(m.inputs, m.outputs) for m in shape.modules if m.linear), default=_RANKS[-1])
    ranks = [rank for rank in _RANKS if rank <= least] or [1]
    rates = {"low": 1e-5, "high": 2e-3 if kind.task_type == "CAUSAL_LM" else 1e-2, "log": True}
    lines = ["space:   # branches: a trial takes one"]
    if names:
        lines.append(
            "  # Modules by what they do, and what this model calls them; both names work:"
        )
        lines += [f"  #   {role:<22} {', '.join(found)}" for role, found in names.items()]
    lines += [
        "  lora:",
        *_layers(shape),
        "    modules:",
        "      - peft_type: LORA",
        f"        r: {flow({'choice': ranks})}",
        '        lora_alpha: {expr: "2 * r"}   # follows the rank',
        "        target_modules:",
        "          choice:",
        *(f"            - {flow(target)}" for target in targets),
        f"    training: {flow({'learning_rate': rates})}",
    ]
    if ia3 := _scaled(names):
        rates = {"low": 1e-4, "high": 1e-1, "log": True}
        module = {"peft_type": "IA3", "target_modules": ia3}
        if "feed_forward.down" in ia3:
            module["feedforward_modules"] = ["feed_forward.down"]
        lines += [
            "  ia3:   # scales activations: the fewest parameters",
            *_layers(shape),
            "    modules:",
            *_block(module),
            f"    training: {flow({'learning_rate': rates})}",
        ]
    return lines


def _block(module: Mapping[str, Any]) -> list[str]:
    """A module, a field a line."""
    lines = [f"{key}: {flow(value)}" for key, value in module.items()]
    return [f"      {'-' if i == 0 else ' '} {line}" for i, line in enumerate(lines)]


def _layers(shape: ModelShape) -> list[str]:
    n = shape.layers
    counts = sorted({max(1, n // 4), max(1, n // 2), n})
    if len(counts) == 1:
        return []
    return [f"    layers: {{last: {flow({'choice': counts})}}}   # of {n}"]


def _names_by_role(shape: ModelShape) -> dict[str, list[str]]:
    """role -> what this model calls such linear maps."""
    found: dict[str, dict[str, None]] = {}
    for module in shape.modules:
        if module.linear and module.role:
            found.setdefault(module.role, {})[module.kind] = None
    return {role: list(kinds) for role, kinds in found.items()}


def _targets(names: Mapping[str, Sequence[str]]) -> list[Any]:
    """From few modules to all; of an attention that reads an encoder too."""
    blocks = [
        b for b in ("attention", "cross_attention") if any(r.startswith(f"{b}.") for r in names)
    ]
    options = []
    for parts in (("query", "value", "qkv"), ("query", "key", "value", "qkv", "output")):
        roles = [f"{b}.{part}" for b in blocks for part in parts if f"{b}.{part}" in names]
        if roles and roles not in options:
            options.append(roles)
    return [*options, "all-linear"]


def _scaled(names: Mapping[str, Sequence[str]]) -> list[str]:
    """IA3's own choice (Liu et al. 2022, arXiv 2205.05638): keys, values, inner activations."""
    wanted = ("attention.key", "attention.value", "attention.qkv", "feed_forward.down")
    found = [role for role in wanted if role in names]
    return found if any(role.startswith("attention") for role in found) else []


def _goals(kind: TaskKind, columns: Mapping[str, str]) -> list[str]:
    metric = next(m for m in _METRICS[kind.name] if m in kind.metrics)
    if "choices" in columns:
        metric = "accuracy"
    return [
        "objectives:   # what is traded off",
        f"  - {{metric: {metric}}}",
        "  - {metric: adapter_params, scale: log}   # without the head",
        '# constraints: ["peak_memory_gib <= 8"]     # limits: what breaks one is not chosen',
        "# The baseline is LoRA r=8 on all linear layers at its best learning rate, unless",
        "# `baselines:` names others.",
    ]


_METRICS: Mapping[str, Sequence[str]] = {
    "SEQ_CLS": ("accuracy",),
    "SEQ_CLS regression": ("mae",),
    "SEQ_CLS multi_label_classification": ("f1",),
    "TOKEN_CLS": ("f1",),
    "SEQ_2_SEQ_LM": ("eval_loss",),
    "IMAGE_CLS": ("accuracy",),
    "CAUSAL_LM": ("eval_loss",),
}
"""What is measured first; losses where a better metric needs generated texts."""


def _search(data: SeenData, kind: TaskKind, settings: Settings) -> list[str]:
    epochs = epochs_of(data, kind)
    rungs = [1, 3] if epochs >= 10 else [1] if epochs >= 3 else [0.5]
    parallel = settings.gpus or max(1, min(4, settings.cores))
    resources = {"cpus_per_trial": 1, "gpus_per_trial": 1 if settings.gpus else 0}
    return [
        f"budget: {{trials: {settings.trials}}}   # or gpu_hours, wall_hours: whichever ends first",
        f"resources: {flow(resources)}   # of one trial; price_per_hour: of a device",
        "search:",
        f"  parallel: {parallel}   # trials at a time",
        f"  rungs: {flow({'epochs': rungs})}   # where trials are compared, and most end early",
        "  seed: 0",
    ]
