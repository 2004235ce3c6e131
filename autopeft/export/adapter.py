"""A trial as an adapter alone: PEFT's files, a model card, where it comes from.

adapter_config.json, adapter_model.safetensors    as PEFT saves them
README.md, provenance.json                        metrics with intervals, how to load it
tuners/                                           where PEFT alone does not know the method
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.rules.serving import unserved_after_folding
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.card import card
from autopeft.export.configs import config_arguments
from autopeft.export.folder import check_trained, copied, make_room, provenance, weight_files
from autopeft.export.modules import tuner_files
from autopeft.export.prepared import Prepared
from autopeft.export.serving import fold_scaling, vllm_text
from autopeft.namespaces import file_name


def export_adapter(
    spec: StudySpec,
    trial: Trial,
    *,
    shape: ModelShape,
    adapter: Path,
    to: Path,
    prepared: Prepared,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
    vllm: bool = False,
) -> tuple[Path, ...]:
    """Write the adapter of a completed trial, without its rows and its training.

    Args:
        vllm: write it so that vLLM serves it, or refuse. See `export_trial` for the others.

    Raises:
        ExportError: the trial is not complete, has no adapter or lost it, vLLM cannot serve it,
            or `to` is in use.
    """
    check_trained(spec, trial, adapter)
    architecture = trial.configuration.architecture
    if architecture.full_fine_tuning:
        raise ExportError(
            f"--to peft writes an adapter, trial {trial.number} is full fine-tuning: name a folder "
            "(--to my-model), which then holds the whole model"
        )
    if vllm and (reason := unserved_after_folding(architecture, shape)):
        raise ExportError(f"vLLM does not serve trial {trial.number}: {reason}")
    described = config_arguments(
        trial.configuration,
        shape,
        task_type=spec.model["task_type"],
        total_steps=trial.provenance["total_steps"],
        ranks=trial.provenance.get("ranks"),
    )
    weights = weight_files(adapter)
    files = tuner_files(described)
    make_room(to, adapter, force=force)
    written = copied(weights, to)
    ending = ""
    if vllm:
        ending = vllm_text(fold_scaling(to), prepared.model, file_name(spec.name))
    names = [*weights, *files, "provenance.json"]
    text = card(spec, trial, prepared, names, confirmed=confirmed) + ending
    said = provenance(spec, trial, confirmed)
    return (*written, *written_texts(to, text, said, files))


def written_texts(
    to: Path, text: str, said: Mapping[str, Any], files: Mapping[str, str]
) -> list[Path]:
    """Write the card's text, the provenance and other files beside the weights."""
    texts = {**files, "README.md": text, "provenance.json": json.dumps(said, indent=2) + "\n"}
    for name, text in texts.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
    return [to / name for name in texts]
