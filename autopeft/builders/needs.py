"""What trials need where they run, and this machine or the study's resources lack.

Only told: a file may be checked on a laptop whose trials run on a cluster.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from autopeft.config.tree import options_of, told
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec

_ON_GPUS = ("activation_offloading", "fp16", "tf32")

_PACKAGES = {"deepspeed": "deepspeed", "use_liger_kernel": "liger_kernel"}

_OF_OPTIMISERS = {
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "lomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "stable_adamw": "optimi",
    "adamw_torch_4bit": "torchao",
    "adamw_torch_8bit": "torchao",
    "schedule_free": "schedulefree",
    "anyprecision": "torchdistx",
    "_xla": "torch_xla",
    "_npu": "torch_npu",
    **dict.fromkeys(("bnb", "8bit", "paged", "ademamix", "lion"), "bitsandbytes"),
}
"""{part of an optimiser's name: the package that has it}; the first that is found counts."""


def needs(spec: StudySpec) -> list[str]:
    """A line a field; what code of the user's needs, it knows itself."""
    if spec.evaluator is not None:
        return []
    return list(dict.fromkeys(_needs(spec)))


def package_of(optimiser: str) -> str | None:
    """What has to be installed for an optimiser of transformers; None: torch has it."""
    return next((name for part, name in _OF_OPTIMISERS.items() if part in optimiser), None)


def _needs(spec: StudySpec) -> Iterator[str]:
    for branch in spec.space.branches:
        for field, value in branch.tree.get("training", {}).items():
            for _, option in options_of(value):
                package = _package(field, option)
                if package is not None and find_spec(package) is None:
                    yield (
                        f"training.{field} needs {package} for {told(option)}, a package that is "
                        "not installed here: every trial fails where it is not"
                    )
                if field in _ON_GPUS and option is True and not spec.resources.gpus_per_trial:
                    yield f"training.{field} needs a GPU, and resources.gpus_per_trial is 0"


def _package(field: str, value: Json) -> str | None:
    if field == "optim":
        return package_of(str(value))
    return _PACKAGES.get(field) if value else None
