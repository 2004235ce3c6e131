"""The architectures of a study, each once, with PEFT's arguments to build it.

Names of modules are long and the same ones in every trial, so they stand in one list, and what
holds them holds positions of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.networks.peft_config import OWN, peft_arguments
from autopeft.domain.trial import Trial
from autopeft.report.layer_maps import split

Json = Any


class Architectures:
    """Collects what trials are built from.

    head: modules outside the backbone that are trained in full.
    """

    def __init__(self, task_type: str, head: Sequence[str]) -> None:
        self._task_type = task_type
        self._head = head
        self._names: dict[str, int] = {}
        self._found: dict[str, dict[str, Json]] = {}

    def add(self, trial: Trial) -> str:
        """Take in a trial's architecture; returns its key.

        Ranks that are found before training belong to the trial, so they are part of the key.
        """
        architecture = trial.configuration.architecture
        key = architecture.key
        if architecture.allocation[0] != "uniform":
            key = f"{key}-{trial.number}"
        if key not in self._found:
            self._found[key] = self._described(architecture, trial.provenance)
        return key

    def document(self) -> dict[str, Json]:
        """`names`: [full name, layer, kind] each. `architectures`: by key."""
        names = [[name, *split(name)] for name in self._names]
        return {"names": names, "architectures": self._found}

    def _described(
        self, architecture: Architecture, provenance: Mapping[str, Any]
    ) -> dict[str, Json]:
        """peft: the arguments of every module, in the order of injection; or why there are none."""
        described = {
            "modules": [self._module(module) for module in architecture.modules],
            "allocation": [architecture.allocation[0], self._short(architecture.allocation[1])],
            "full": architecture.full_fine_tuning,
            "peft": [],
            "refused": "",
        }
        if architecture.full_fine_tuning or architecture.frozen:
            what = "full fine-tuning" if architecture.full_fine_tuning else "the frozen model"
            return described | {"refused": f"{what} has no PEFT config"}
        try:
            arguments = peft_arguments(
                architecture,
                task_type=self._task_type,
                total_steps=int(provenance.get("total_steps", 0)),
                head=self._head,
                ranks=provenance.get("ranks"),
            )
        except ValueError as error:
            return described | {"refused": str(error)}
        own = [module["peft_type"] for module in arguments if module["peft_type"] in OWN]
        return described | {"peft": [self._short(each) for each in arguments], "own": own}

    def _module(self, module: Module) -> dict[str, Json]:
        """sizes: one for all targets, or one each."""
        sizes = module.sizes
        return {
            "type": module.peft_type,
            "size_field": module.size_field,
            "size": module.size,
            "sizes": [sizes[name] for name in module.targets] if sizes else None,
            "fields": self._short(module.fields),
            "targets": self._positions(module.targets),
            "layers": list(module.layers),
        }

    def _short(self, fields: Mapping[str, Json]) -> dict[str, Json]:
        """Fields, with lists of full module names as {"$names": positions}."""
        return {
            name: {"$names": self._positions(value)} if _full_names(value) else value
            for name, value in fields.items()
        }

    def _positions(self, names: Sequence[str]) -> list[int]:
        return [self._names.setdefault(name, len(self._names)) for name in names]


def _full_names(value: Json) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(each, str) and split(each)[0] is not None for each in value)
    )
