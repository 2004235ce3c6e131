"""The folder of an exported trial.

    adapter_config.json, adapter_model.safetensors    the trained weights, as PEFT saves them
    train.py, training_args.yaml, requirements.txt    the same training again
    data/train.jsonl, data/validation.jsonl           its rows; images of them in data/train, ...
    provenance.json, README.md                        where it comes from, how to load it

Full fine-tuning has a model folder (`config.json`, `model.safetensors`) instead of the adapter, a
composite a folder `module_0`, `module_1`, ... for each of its modules. Tuners of ours that the
trial needs lie in `tuners/`, its allocation strategy and its start by data in `allocation/`.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autopeft.domain.architecture import fingerprint
from autopeft.domain.errors import ExportError
from autopeft.domain.fingerprints import other_rows
from autopeft.domain.model import ModelShape
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import State, Trial
from autopeft.export.card import card
from autopeft.export.images import without_images
from autopeft.export.prepared import Prepared
from autopeft.export.script import script_files

_WEIGHTS = ("**/*.safetensors", "**/*.json")
_NEEDED = ("threads", "total_steps", "device", "versions")
_OF_ONE_METHOD = (
    "allocation/*.py",
    "adapter_config.json",
    "adapter_model*.safetensors",
    "composite.json",
    "config.json",
    "early_stopping.py",
    "generation_config.json",
    "head.safetensors",
    "generating/*.py",
    "model*.safetensors",
    "module_*/*",
    "own_code/**/*.py",
    "study_metrics.py",
    "tuners/*.py",
)
"""What an earlier export may have left that would mix with the weights of this one."""


def export_trial(
    spec: StudySpec,
    trial: Trial,
    *,
    shape: ModelShape,
    adapter: Path | None,
    to: Path,
    prepared: Prepared,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write a completed trial as a folder that loads and trains without autopeft.

    Args:
        adapter: the folder that the trial's weights were saved in; None: the training alone.
        force: write into a folder that is in use; weights that lie there are replaced.
        confirmed: the configuration's fresh `seeds`, and over them `metrics` and `stderr`, where it
            was confirmed.

    Returns:
        The files, train.py first.

    Raises:
        ExportError: the trial is not complete, trained no weights or lost them, or `to` is in use.
    """
    check_trained(spec, trial, adapter)
    _check_data(trial, prepared)
    apart = {name: without_images(split, name) for name, split in prepared.splits.items()}
    rows = {name: found for name, (found, _) in apart.items()}
    images = {f"data/{path}": image for _, found in apart.values() for path, image in found.items()}
    files = script_files(spec, trial, shape, prepared, tuple(rows["train"][0]))
    files |= {f"data/{name}.jsonl": json_lines(split) for name, split in rows.items()}
    said = provenance(spec, trial, confirmed)
    files["provenance.json"] = json.dumps(said, indent=2) + "\n"
    weights = {} if adapter is None else weight_files(adapter)
    names = [*files, *images, *weights]
    files["README.md"] = card(spec, trial, prepared, names, confirmed=confirmed)
    make_room(to, adapter, force=force)
    written = []
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
        written.append(to / name)
    for name, image in images.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(to / name)
        written.append(to / name)
    return (*written, *copied(weights, to))


def weight_files(adapter: Path) -> dict[str, Path]:
    """The files of a saved adapter or model, by their path in its folder."""
    found = sorted(path for pattern in _WEIGHTS for path in adapter.glob(pattern))
    refuse_links(found)
    return {str(path.relative_to(adapter)): path for path in found}


def refuse_links(files: Iterable[Path]) -> None:
    """
    Raises:
        ExportError: one is a link, which may lead to a file that is nobody's to give away.
    """
    if link := next((path for path in files if path.is_symlink()), None):
        raise ExportError(f"export takes plain files, {link} is a link: put the file there")


def copied(files: Mapping[str, Path], to: Path) -> list[Path]:
    """The files in their places below `to`."""
    for name, path in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / name)
    return [to / name for name in files]


def provenance(
    spec: StudySpec, trial: Trial, confirmed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Where the weights come from, and what it takes to get the same bits again.

    confirmed: see `export_trial`.
    """
    return {
        "exported_by": f"autopeft {version('autopeft')}",
        "study": spec.name,
        "space_file_fingerprint": fingerprint(dict(spec.document)),
        "trial": trial.number,
        "baseline": trial.baseline,
        "why": trial.why,
        "seed": trial.seed,
        "configuration": trial.configuration.document(),
        "configuration_fingerprint": trial.configuration.key,
        "metrics": trial.metrics,
        "stderr": dict(trial.stderr),
        "seconds": trial.seconds,
        **trial.provenance,
        **({} if confirmed is None else {"confirmed": dict(confirmed)}),
    }


def check_trained(spec: StudySpec, trial: Trial, adapter: Path | None) -> None:
    """Nothing, if the trial trained the model to the end, and its weights lie in `adapter`.

    Raises:
        ExportError: what is missing, and what to do.
    """
    if trial.state is not State.COMPLETED:
        reason = f" ({trial.failure.message})" if trial.failure else ""
        raise ExportError(
            f"export takes a completed trial, trial {trial.number} is {trial.state}{reason}: "
            f"choose one of `autopeft front {spec.name}`"
        )
    if trial.configuration.architecture.frozen:
        raise ExportError(
            f"export takes a trial that trains the model, trial {trial.number} is the frozen model "
            f"with a trained head: choose one of `autopeft front {spec.name}`"
        )
    if missing := [name for name in _NEEDED if name not in trial.provenance]:
        raise ExportError(
            f"export takes a trial that autopeft's own evaluator ran, trial {trial.number} does "
            f"not say its {', '.join(missing)}: train it again with `autopeft search`"
        )
    # Those of a composite lie one folder down.
    if adapter is not None and not any(adapter.rglob("*.safetensors")):
        raise ExportError(
            f"trial {trial.number} has no weights in {adapter}: they are kept for the front and "
            f"the best baselines alone, choose one of `autopeft front {spec.name}`"
        )


def _check_data(trial: Trial, prepared: Prepared) -> None:
    then, now = trial.provenance.get("data_fingerprint"), prepared.data_fingerprint
    if other_rows(then, now):
        raise ExportError(
            f"train.py needs the rows that trial {trial.number} had, the data has changed since "
            f"(fingerprint {then}, now {now}): put the old files or package versions back, or "
            "search again"
        )


def make_room(to: Path, adapter: Path | None, *, force: bool) -> None:
    """An empty folder, or with `force` one without the weights of an earlier export.

    adapter: where the study keeps the trial's weights; None: they are not asked for.

    Raises:
        ExportError: the folder is in use, or is that one.
    """
    if adapter is not None and to.resolve() == adapter.resolve():
        raise ExportError(f"{to} is where the study keeps the trial's weights: name another folder")
    if to.exists() and not to.is_dir():
        raise ExportError(f"export writes a folder, {to} is a file: name another")
    if to.is_dir() and any(to.iterdir()) and not force:
        raise ExportError(f"export needs an empty folder, {to} is not: name another or use --force")
    for pattern in _OF_ONE_METHOD:
        for path in to.glob(pattern):
            path.unlink()
    to.mkdir(parents=True, exist_ok=True)


def json_lines(rows: Iterable[Mapping[str, Json]]) -> str:
    """Rows as JSON, one a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
