"""The README of an exported trial: a model card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.kinds import auto_class, head_arguments
from autopeft.export.modules import TUNERS
from autopeft.export.prepared import Prepared
from autopeft.export.script import TEMPLATES, title
from autopeft.export.source import literal, remark
from autopeft.export.strategies import ALLOCATION

_WHAT = {
    "train.py": "the training, as it was, in one file",
    "training_args.yaml": "the recipe by the trainer's own names, for other tools",
    "requirements.txt": "the versions that the trial ran with",
    "data/train.jsonl": "the rows it trained on: drop them where they are not yours to give",
    "data/validation.jsonl": "the rows it was measured on",
    "data/train/": "the images of the rows it trained on",
    "data/validation/": "the images of the rows it was measured on",
    "provenance.json": "study, configuration, metrics, versions, fingerprints",
    "composite.json": "the modules of the composite, in their order",
    "head.safetensors": "what is trained in full beside the backbone",
    "adapter_config.json": "PEFT's configuration",
    "early_stopping.py": "when training ends early, and what it goes back to",
    "study_metrics.py": "what hands predictions to the study's own metrics",
    "adapter_model.safetensors": "the trained weights",
}
_PACKAGES = {
    TUNERS: "PEFT tuners that PEFT does not have, and how several are put into one model",
    ALLOCATION: "what finds the start or spreads the budget while training",
    "generating": "how texts are generated",
    "own_code": "the functions that compute the study's own metrics",
}
_FOLDERS = (*_PACKAGES, "data/train", "data/validation")


_LOAD = """
## Load

```python
{}
```
"""
_AGAIN = """
## Train again

```sh
pip install -r requirements.txt
python train.py
```

It needs no autopeft. With the same versions, seed, threads and kind of machine it ends with the
eval_loss above, to the last bit.
"""
_Z95 = 1.96  # of standard errors to each side


def card(
    spec: StudySpec,
    trial: Trial,
    prepared: Prepared,
    files: Sequence[str],
    *,
    confirmed: Mapping[str, Any] | None = None,
) -> str:
    """The text of README.md. confirmed: see `folder.export_trial`."""
    full = trial.configuration.architecture.full_fine_tuning
    weights = any(name.endswith(".safetensors") for name in files)
    local = Path(prepared.model).is_absolute()
    template = Template((TEMPLATES / "README.md.tmpl").read_text(encoding="utf-8"))
    return template.substitute(
        library="transformers" if full else "peft",
        base_model="" if local else f"\nbase_model: {remark(prepared.model)}",
        title=title(spec, trial),
        weights="The whole model was fine-tuned" if full else "The adapter was trained",
        model=remark(prepared.model),
        seed=trial.seed,
        metrics="\n".join(_metric_rows(trial)),
        confirmed=_confirmed(spec, confirmed),
        load=_LOAD.format(_load(spec, prepared, full=full, files=files)) if weights else "",
        needs=_needs(trial, files) if weights else "",
        again=_AGAIN if "train.py" in files else "",
        files="\n".join(f"- `{name}`: {_what(name)}" for name in _listed(files)),
    )


def _confirmed(spec: StudySpec, told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    errors = told["stderr"]
    values = ", ".join(
        f"{o.metric} {told['metrics'][o.metric]:.6g}"
        + (
            f" ({_interval(told['metrics'][o.metric], errors[o.metric])})"
            if o.metric in errors
            else ""
        )
        for o in spec.objectives
    )
    count = len(told["seeds"])
    return (
        f"\nTrained again at {count} fresh seed{'s' if count > 1 else ''}, by which nothing was "
        f"chosen before, the configuration has in the mean: {values}.\n"
    )


def _listed(files: Sequence[str]) -> list[str]:
    """The files, each of our packages once."""
    shown = dict.fromkeys(
        next((f"{folder}/" for folder in _FOLDERS if name.startswith(f"{folder}/")), name)
        for name in files
    )
    return sorted(shown, key=lambda name: name.removesuffix("/") in _PACKAGES)


def _what(name: str) -> str:
    if (package := name.removesuffix("/")) in _PACKAGES:
        return _PACKAGES[package]
    return _WHAT.get(name) or _WHAT.get(name.rpartition("/")[-1], "part of the model")


def _metric_rows(trial: Trial) -> list[str]:
    rows = []
    for name, value in trial.metrics.items():
        error, interval = "", ""
        if name in trial.stderr:
            error, interval = f"{trial.stderr[name]:.2g}", _interval(value, trial.stderr[name])
        rows.append(f"| {name} | {value:.6g} | {error} | {interval} |")
    return rows


def _interval(value: float, error: float) -> str:
    return f"{value - _Z95 * error:.4g} to {value + _Z95 * error:.4g}"


def _needs(trial: Trial, files: Sequence[str]) -> str:
    """What plain PEFT lacks to load it."""
    if f"{TUNERS}/__init__.py" not in files:
        return ""
    kinds = sorted({m.peft_type for m in trial.configuration.architecture.modules} & set(OWN))
    what = f"{', '.join(kinds)} to PEFT" if kinds else "several modules in one model to PEFT"
    return (
        f"\nPEFT alone does not load it: `{TUNERS}/` of this folder (`autopeft.tuners` of an "
        f"installed autopeft) adds {what}.\n"
    )


def _load(spec: StudySpec, prepared: Prepared, *, full: bool, files: Sequence[str]) -> str:
    auto = auto_class(spec.task)
    if full:
        return (
            f"from transformers import {auto}\n\n"
            f'model = {auto}.from_pretrained("path/to/this/folder")'
        )
    arguments: list[tuple[str, Json]] = list(head_arguments(spec.task, prepared.labels).items())
    if arguments:  # a checkpoint may come with a head for other labels
        arguments.append(("ignore_mismatched_sizes", True))
    arguments += [(k, v) for k, v in prepared.load_arguments.items() if k != "use_safetensors"]
    source = "".join(f", {name}={literal(value)}" for name, value in arguments)
    names = ""
    if prepared.labels and prepared.labels != tuple(map(str, range(len(prepared.labels)))):
        # PEFT saves none, and a pipeline would answer LABEL_0.
        names = f"LABELS = {literal(list(prepared.labels))}  # by id\n"
        source += ", id2label=dict(enumerate(LABELS))"
    base = f"{names}base = {auto}.from_pretrained({literal(prepared.model)}{source})\n"
    if "composite.json" in files:
        return (
            f"from transformers import {auto}\n\n"
            f"from {TUNERS}.composite import load_composite  # of this folder\n\n"
            f'{base}model = load_composite(base, "path/to/this/folder")'
        )
    ours = f"import {TUNERS}  # of this folder: makes its tuners known to PEFT\n"
    return (
        f"{ours if f'{TUNERS}/__init__.py' in files else ''}"
        f"from peft import PeftModel\nfrom transformers import {auto}\n\n"
        f'{base}model = PeftModel.from_pretrained(base, "path/to/this/folder")'
    )
