"""A trial as the recipe of another tool: its configuration, the rows, where it comes from."""

import json
from dataclasses import replace
from pathlib import Path

from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.axolotl import axolotl_yaml
from autopeft.export.folder import json_lines, make_room, provenance
from autopeft.export.foreign import asked_of, refuse_unfinished
from autopeft.export.llama_factory import llama_factory_files, llama_factory_rows
from autopeft.export.prepared import Prepared
from autopeft.export.script import title
from autopeft.export.template import template_files
from autopeft.export.trl_sft import trl_files

RECIPES = ("axolotl", "llama-factory", "trl")
_RUN = {
    "axolotl": ("pip install axolotl", "axolotl train axolotl.yaml"),
    "llama-factory": ("pip install llamafactory", "llamafactory-cli train llama_factory.yaml"),
    "trl": ("pip install trl peft", "python sft.py"),
}
_SAME = {
    "axolotl": "Axolotl tokenizes and batches by its own code: the network and the recipe are the "
    "trial's, the numbers will be near it.",
    "llama-factory": "LLaMA-Factory tokenizes and batches by its own code: the network and the "
    "recipe are the trial's, the numbers will be near it.",
    "trl": "With the same versions, threads and kind of machine it ends where the trial did. "
    "`trl sft` draws the adapter from another random state: near it.",
}


def recipe_files(
    tool: str, spec: StudySpec, trial: Trial, shape: ModelShape, prepared: Prepared
) -> dict[str, str]:
    """The tool's files by name, without the rows.

    Raises:
        ExportError: with every field that the tool cannot express.
    """
    asked = asked_of(spec, trial, shape, prepared)
    if asked.module.get("peft_type") == "ADALORA" and "allocation adalora" not in asked.unsaid:
        stepwise = "peft_type ADALORA, which needs a call after every step"
        asked = replace(asked, unsaid=(*asked.unsaid, stepwise))
    if tool == "axolotl":
        return {"axolotl.yaml": axolotl_yaml(asked)}
    return llama_factory_files(asked) if tool == "llama-factory" else trl_files(asked, shape)


def export_recipe(
    tool: str,
    spec: StudySpec,
    trial: Trial,
    *,
    shape: ModelShape,
    prepared: Prepared,
    to: Path,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write a completed trial as a recipe of `tool`, one of RECIPES; its weights are not needed.

    Raises:
        ExportError: the trial is not complete, the tool cannot express it, or `to` is in use.
    """
    refuse_unfinished(tool, spec, trial)
    files = recipe_files(tool, spec, trial, shape, prepared)
    if tool == "trl":
        files |= template_files(spec, trial)
    for name, rows in prepared.splits.items():
        read = llama_factory_rows(rows, prepared) if tool == "llama-factory" else list(rows)
        files[f"data/{name}.jsonl"] = json_lines(read)
    files["provenance.json"] = json.dumps(provenance(spec, trial), indent=2) + "\n"
    install, run = _RUN[tool]
    files["README.md"] = (
        f"# {title(spec, trial)}\n\nIn this folder:\n\n```sh\n{install}\n{run}\n```\n\n"
        f"{_SAME[tool]}\n"
    )
    make_room(to, None, force=force)
    for name, text in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text(text, encoding="utf-8")
    return tuple(to / name for name in files)
