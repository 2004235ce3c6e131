"""A trial of the user's own training code as files: PEFT's config, and what the code was given.

adapter_config.json      PEFT's own config (a folder module_0, module_1, ... for each of several)
configuration.json       recipe and parameters
provenance.json          metrics, versions, seed, the state of the code
*.safetensors, *.json    what the code left in `context.adapter`, where it was kept
"""

import json
import shutil
from pathlib import Path

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.export.configs import config_arguments, config_class
from autopeft.export.folder import provenance, refuse_links


def export_own(
    spec: StudySpec,
    trial: Trial,
    *,
    shape: ModelShape,
    adapter: Path,
    to: Path,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write what autopeft knows of a trial that it did not train itself.

    Args:
        adapter: the trial's `context.adapter`.
        force: write into a folder that is in use.

    Returns:
        The files, PEFT's config first.

    Raises:
        ExportError: the trial is not complete, has no PEFT modules, or `to` is in use.
    """
    configuration = trial.configuration
    if trial.state is not State.COMPLETED:
        raise ExportError(
            f"export takes a completed trial, trial {trial.number} is {trial.state}: "
            f"choose one of `autopeft front {spec.name}`"
        )
    if not configuration.architecture.modules:
        raise ExportError(
            f"export writes PEFT modules, trial {trial.number} of your own training code has none: "
            f"`autopeft front {spec.name} --json` has its parameters and recipe"
        )
    if to.exists() and (not to.is_dir() or (any(to.iterdir()) and not force)):
        raise ExportError(f"export needs an empty folder, {to} is not: name another or use --force")
    described = config_arguments(
        configuration, shape, task_type=spec.model["task_type"], total_steps=1
    )
    to.mkdir(parents=True, exist_ok=True)
    written = []
    for i, arguments in enumerate(described):
        config = config_class(arguments.pop("peft_type"))(**arguments)
        config.base_model_name_or_path = spec.model["model_name_or_path"]
        folder = to / f"module_{i}" if len(described) > 1 else to
        config.save_pretrained(str(folder))
        written.append(folder / "adapter_config.json")
    given = {"recipe": dict(configuration.recipe), "parameters": dict(configuration.parameters)}
    for name, document in {"configuration": given, "provenance": provenance(spec, trial)}.items():
        file = to / f"{name}.json"
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        written.append(file)
    return (*written, *_copied(adapter, to, [path.relative_to(to) for path in written]))


def _copied(adapter: Path, to: Path, ours: list[Path]) -> list[Path]:
    """What the user's code saved, but for what is written already."""
    copies = []
    found = sorted([*adapter.rglob("*.safetensors"), *adapter.rglob("*.json")])
    refuse_links(found)
    for path in found:
        inside = path.relative_to(adapter)
        if inside not in ours:
            (to / inside).parent.mkdir(parents=True, exist_ok=True)
            copies.append(Path(shutil.copy(path, to / inside)))
    return copies
