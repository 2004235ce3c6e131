"""What a trial does before and while it trains, in its train.py, and the files that it needs.

That is its allocation strategy and a start by data.
"""

from collections.abc import Mapping

from autopeft.domain.architecture import Architecture
from autopeft.domain.methods.strategies import STRATEGIES
from autopeft.domain.networks.allocation import growth, rank_budget
from autopeft.domain.networks.data_inits import data_init, rewrites_base
from autopeft.domain.space import Json
from autopeft.domain.trial import Trial
from autopeft.export.beside import package_files
from autopeft.export.source import literal

ALLOCATION = "allocation"
"""The package beside train.py that holds both, under this name."""

_MODULES: Mapping[str, tuple[str, ...]] = {
    "adalora": ("adalora",),
    "increlora": ("grown", "increlora", "saving", "strategy"),
    "ist": ("ist", "probing", "strategy", "suppression"),
    "lisa": ("lisa", "strategy"),
    "owlore": ("lisa", "owlore", "strategy"),
}
"""The modules of `autopeft.allocation` that each needs; they import nothing else of ours."""

_BY_DATA = ("data_inits", "probing", "saving")
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


def start_values(architecture: Architecture) -> dict[str, str]:
    """What the templates say of a start by data: how the model is made, how weights are saved."""
    if not _by_data(architecture):
        return {}
    names = ["inject_by_data"]
    values = {
        "look": "\n    # It starts where rows of the training split say; a trainer collates them.",
        "trained": "inject_by_data(make_trainer(model, tokenizer), PEFT, seed=SEED)",
    }
    if any(rewrites_base(module) for module in architecture.modules):
        names = ["initial_adapter", *names, "save_plain_lora"]
        values["keep_initial"] = "\n    initial = initial_adapter(trainer.model)"
        values["save"] = "save_plain_lora(trainer.model, initial, OUTPUT)"
    return values | {"import_start": f"from {ALLOCATION}.data_inits import {', '.join(names)}"}


def allocation_files(architecture: Architecture, strategy: str) -> dict[str, str]:
    """The modules of the strategy and of a start by data, by file name."""
    modules = set(_MODULES.get(strategy, ()))
    if _by_data(architecture):
        modules |= set(_BY_DATA)
    if modules:
        modules.add("__init__")
    return package_files(ALLOCATION, modules)


def _by_data(architecture: Architecture) -> bool:
    return any(data_init(module) for module in architecture.modules)


def _growth(trial: Trial) -> dict[str, Json]:
    architecture = trial.configuration.architecture
    (module,) = architecture.modules
    budget = rank_budget(architecture, module)
    plan = growth(architecture, trial.provenance["total_steps"])
    return {"target_r": budget.r, "init_r": budget.lowest, **vars(plan)}


def _call(first: list[str], options: Mapping[str, Json]) -> str:
    return ", ".join([*first, *(f"{name}={literal(value)}" for name, value in options.items())])
