"""The allocation strategy of a trial in its train.py, and the files of ours that it needs."""

from collections.abc import Mapping
from pathlib import Path

from autopeft.domain.allocation import growth, rank_budget
from autopeft.domain.space import Json
from autopeft.domain.strategies import STRATEGIES
from autopeft.domain.trial import Trial
from autopeft.export.source import literal

ALLOCATION = "allocation"
"""The package beside train.py that holds the strategy, under this name."""

_MODULES: Mapping[str, tuple[str, ...]] = {
    "adalora": ("adalora",),
    "increlora": ("grown", "increlora", "strategy"),
    "ist": ("ist", "probing", "strategy", "suppression"),
    "lisa": ("lisa", "strategy"),
    "owlore": ("lisa", "owlore", "strategy"),
}
"""The modules of `autopeft.allocation` that a strategy needs; they import nothing else of ours."""

_CLASSES = {
    "adalora": "AdaLoraCallback",
    "increlora": "IncreLora",
    "ist": "ImportanceSparseTuning",
    "lisa": "Lisa",
    "owlore": "OwLore",
}


def strategy_values(trial: Trial, name: str) -> dict[str, str]:
    """What the templates say of the strategy: imports, how it is added, how weights are saved.

    name: of the strategy; "adalora" also where the module itself is of that type.
    """
    if name not in _MODULES:
        return {}
    imports = [f"from {ALLOCATION}.{name} import {_CLASSES[name]}"]
    before, arguments = "", ""
    values = {}
    if name == "ist":
        imports.append(f"from {ALLOCATION}.probing import probe_batches")
        before = "\n    probes = probe_batches(trainer, seed=SEED)"
        arguments = "trainer.model, probes, seed=SEED"
    elif name == "increlora":
        imports.insert(0, f"from {ALLOCATION}.grown import save_grown")
        arguments = _call(["trainer.model"], _growth(trial))
        values["save"] = "save_grown(trainer.model, strategy.ranks, OUTPUT)"
    elif name != "adalora":
        options = {**STRATEGIES[name].options, **trial.configuration.architecture.allocation[1]}
        arguments = _call(["trainer.model", "seed=SEED"], options)
    made = f"{before}\n    strategy = {_CLASSES[name]}({arguments})"
    return values | {
        "import_strategy": "\n".join(imports),
        "add_callback": f"{made}\n    trainer.add_callback(strategy)",
    }


def strategy_files(name: str) -> dict[str, str]:
    """The modules of the strategy by file name."""
    folder = Path(__file__).parents[1] / "allocation"
    modules = ("__init__", *_MODULES[name]) if name in _MODULES else ()
    return {
        f"{ALLOCATION}/{module}.py": (folder / f"{module}.py")
        .read_text(encoding="utf-8")
        .replace("from autopeft.allocation", f"from {ALLOCATION}")
        .replace("  # type: ignore[misc]", "")
        for module in modules
    }


def _growth(trial: Trial) -> dict[str, Json]:
    architecture = trial.configuration.architecture
    (module,) = architecture.modules
    budget = rank_budget(architecture, module)
    plan = growth(architecture, trial.provenance["total_steps"])
    return {"target_r": budget.r, "init_r": budget.lowest, **vars(plan)}


def _call(first: list[str], options: Mapping[str, Json]) -> str:
    return ", ".join([*first, *(f"{name}={literal(value)}" for name, value in options.items())])
