"""The PEFT modules of a trial as Python source, and the tuners of ours that it needs."""

from collections.abc import Iterable, Mapping, Sequence

from autopeft.domain.model import ModelShape
from autopeft.domain.networks.data_inits import DATA_INITS
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.space import Json
from autopeft.export.beside import package_files
from autopeft.export.configs import config_class
from autopeft.export.source import call, literal, module_names

TUNERS = "tuners"
"""The package beside train.py that holds the tuners of ours, under this name."""

_MODULE_LISTS = ("target_modules", "feedforward_modules")


def peft_values(
    described: Sequence[Mapping[str, Json]], shape: ModelShape, imports: Sequence[str] = ()
) -> dict[str, str]:
    """What the templates say of the modules: imports, constants, how they are put in and saved.

    imports: what else the script needs of PEFT.
    """
    if len(described) == 1:
        (arguments,) = described
        by_data = arguments.get("init_lora_weights") in DATA_INITS
        constants, source = _config(arguments, shape, "")
        return {
            "import_peft": _theirs(described, *([] if by_data else ["get_peft_model"]), *imports),
            "import_ours": "\n".join(_ours(described)),
            "peft": "\n" + "\n".join([*constants, f"PEFT = {source}"]) + "\n",
            "trained": "get_peft_model(model, PEFT)",
        }
    lines, names = [], []
    for i, arguments in enumerate(described):
        constants, source = _config(arguments, shape, f"_{i}")
        names.append(f"MODULE_{i}")
        lines += [*constants, f"MODULE_{i} = {source}"]
    ours = [*_ours(described), f"from {TUNERS}.composite import inject_composite, save_composite"]
    head = ", head=HEAD" if shape.head else ""
    return {
        "import_peft": _theirs(described, *imports),
        "import_ours": "\n".join(ours),
        "peft": "\n" + "\n".join([*lines, f"MODULES = [{', '.join(names)}]"]) + "\n",
        "trained": f"inject_composite(model, MODULES{head})",
        "save": "save_composite(trainer.model, OUTPUT)",
    }


def tuner_files(described: Sequence[Mapping[str, Json]]) -> dict[str, str]:
    """The package of our tuners by file name, where a module or the composite needs it."""
    if len(described) < 2 and not any(module["peft_type"] in OWN for module in described):
        return {}
    return package_files(TUNERS)


def _config(arguments: Mapping[str, Json], shape: ModelShape, suffix: str) -> tuple[list[str], str]:
    """The constants that a config uses, and the call that makes it."""
    names = [name for name in _MODULE_LISTS if arguments.get(name)]
    constants = [module_names(f"{name.upper()}{suffix}", arguments[name], shape) for name in names]
    sources = [
        (
            name,
            f"{name.upper()}{suffix}"
            if name in names
            else literal(value, indent=4, used=len(name) + 2),
        )
        for name, value in arguments.items()
        if name != "peft_type"
    ]
    return constants, call(config_class(arguments["peft_type"]).__name__, sources)


def _theirs(described: Iterable[Mapping[str, Json]], *functions: str) -> str:
    """The import of PEFT; nothing where nothing of it is used."""
    names = {
        *functions,
        *_classes(module for module in described if module["peft_type"] not in OWN),
    }
    return f"\nfrom peft import {', '.join(sorted(names))}" if names else ""


def _ours(described: Iterable[Mapping[str, Json]]) -> list[str]:
    """The import of our config classes, from the package beside the script."""
    names = _classes(module for module in described if module["peft_type"] in OWN)
    return [f"from {TUNERS} import {', '.join(sorted(names))}"] if names else []


def _classes(described: Iterable[Mapping[str, Json]]) -> set[str]:
    return {config_class(module["peft_type"]).__name__ for module in described}
