"""A table of methods as a landscape: the PEFT project's method comparison, one batch of it.

MetaMathQA on Llama-3.2-3B, the largest group of runs of one month, device and PEFT version: 40
hand-picked configurations, most of them trained twice. Accuracy is on the test set; the stderr that
is told is that of its 1,319 rows. A configuration is read from a run's own PEFT config: type, plain
fields, targets, in all layers; what is stored is looked up, since some of these methods are counted
otherwise now. Reference: the worst of the table in both objectives.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscapes import Landscape, Row, over_rows

from autopeft.domain.architecture import Architecture, Configuration, Module
from autopeft.domain.errors import AutopeftError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape, TargetModule
from autopeft.domain.objective import Objective
from autopeft.domain.roles import role_of
from autopeft.importing.suite import read_suite, recipe

RUNS = Path(__file__).parents[2].parent / "shared" / "data" / "peft-suite" / "runs.jsonl"
TEST_ROWS = 1319
_LAYERS, _WIDTH, _KV_WIDTH, _INNER = 28, 3072, 1024, 8192
_BACKBONE = 3_212_749_824
_OBJECTIVES = (
    Objective("accuracy", "maximize"),
    Objective("adapter_bytes", "minimize", scale="log"),
)
_NOT_FIELDS = (
    "peft_type",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "task_type",
    "inference_mode",
    "target_modules",
)
Run = Mapping[str, Any]


def landscape(file: Path = RUNS) -> Landscape:
    """The batch as a space of one choice.

    Raises:
        AutopeftError: the file is missing.
    """
    by_name, shape = batch(file), _shape()
    rows = {name: _row(shape, by_name[name]) for name in sorted(by_name)}
    reference = {
        "accuracy": min(row.mean["accuracy"] for row in rows.values()),
        "adapter_bytes": max(row.known["adapter_bytes"] for row in rows.values()),
    }
    return over_rows("suite", rows, _OBJECTIVES, shape, reference)


def batch(file: Path = RUNS) -> dict[str, list[Run]]:
    """The runs of the batch by the name of their experiment.

    Raises:
        AutopeftError: the file is missing.
    """
    if not file.is_file():
        raise AutopeftError(f"the suite's runs are not at {file}: leave problem suite out")
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in read_suite(file).runs:
        by_name[run["experiment"]].append(run)
    return by_name


def configuration(run: Run) -> Configuration:
    """What a run of the batch trained."""
    return _configuration(_shape(), run)


def _row(shape: ModelShape, runs: Sequence[Run]) -> Row:
    first = runs[0]
    accuracies = [run["test_accuracy"] for run in runs]
    mean = sum(accuracies) / len(runs)
    return Row(
        configuration=_configuration(shape, first),
        known={"adapter_bytes": float(first["adapter_bytes"])},
        runs=[{"accuracy": accuracy} for accuracy in accuracies],
        stderr={"accuracy": float((mean * (1 - mean) / TEST_ROWS) ** 0.5)},
        seconds=float(first["train_seconds"]),
    )


def _configuration(shape: ModelShape, run: Run) -> Configuration:
    if run["peft_config"] is None:
        architecture = Architecture(full_fine_tuning=True)
    else:
        architecture = Architecture((_module(shape, run["peft_config"]),))
    return Configuration("table", architecture, recipe(run))


def _module(shape: ModelShape, config: Mapping[str, Any]) -> Module:
    default = PEFT_DEFAULTS.get(config["peft_type"], {})
    fields = {
        name: value
        for name, value in sorted(config.items())
        if name not in _NOT_FIELDS
        and isinstance(value, bool | int | float | str)
        and not (name in default and default[name] == value)
    }
    entries = config.get("target_modules")
    entries = entries if isinstance(entries, list) else []
    targets = [m.name for m in shape.modules if any(m.kind.endswith(e) for e in entries)]
    return Module(config["peft_type"], fields, tuple(targets), tuple(range(_LAYERS)))


def _shape() -> ModelShape:
    widths = {
        "self_attn.q_proj": (_WIDTH, _WIDTH),
        "self_attn.k_proj": (_WIDTH, _KV_WIDTH),
        "self_attn.v_proj": (_WIDTH, _KV_WIDTH),
        "self_attn.o_proj": (_WIDTH, _WIDTH),
        "mlp.gate_proj": (_WIDTH, _INNER),
        "mlp.up_proj": (_WIDTH, _INNER),
        "mlp.down_proj": (_INNER, _WIDTH),
    }
    norms = dict.fromkeys(("input_layernorm", "post_attention_layernorm"), (_WIDTH, _WIDTH))
    modules = tuple(
        TargetModule(
            name=f"model.layers.{layer}.{kind}",
            layer=layer,
            kind=kind,
            type="Linear" if kind in widths else "LlamaRMSNorm",
            inputs=i,
            outputs=o,
            parameters=i * o if kind in widths else o,
            bias=False,
            role=role_of(kind),
        )
        for layer in range(_LAYERS)
        for kind, (i, o) in {**widths, **norms}.items()
    )
    return ModelShape("llama", _LAYERS, modules, _KV_WIDTH, ("lm_head",), 0, _BACKBONE)
