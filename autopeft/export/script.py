"""`train.py` and the files that it needs: a trial again, without autopeft.

The templates mirror `training/` step by step; that both give the same bits is tested.
"""

from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from string import Template

from ruamel.yaml import YAML

from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.describe import describe
from autopeft.domain.recipes.recipe import recipe_as_run, trainer_arguments
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.configs import config_arguments
from autopeft.export.kinds import kind_values
from autopeft.export.modules import peft_values, tuner_files
from autopeft.export.own_metrics import own_files, own_requirements, own_values
from autopeft.export.prepared import Prepared
from autopeft.export.source import constant, further, remark
from autopeft.export.stopping import stopping_files, stopping_values
from autopeft.export.strategies import allocation_files, start_values, strategy_values
from autopeft.export.template import template_argument, template_files

TEMPLATES = Path(__file__).with_name("templates")
_BY_TRAINER = {
    "transformers.Trainer": "train_transformers.py.tmpl",
    "transformers.Seq2SeqTrainer": "train_transformers.py.tmpl",
    "trl.SFTTrainer": "train_sft.py.tmpl",
}
_PREPARE = "prepare_model_for_kbit_training"
_COPIED = """
    for parameter in model.parameters():  # not where the file lies: kernels round by alignment
        parameter.data = parameter.data.clone()"""
_QUANTISED = f"""
    model = {_PREPARE}(model, use_gradient_checkpointing=False)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # it packs the weights for good"""
_PACKAGES = ("torch", "transformers", "accelerate", "datasets")


def script_files(
    spec: StudySpec, trial: Trial, shape: ModelShape, prepared: Prepared, columns: Iterable[str]
) -> dict[str, str]:
    """The text of train.py and what belongs to it, by file name.

    columns: of the rows, for the reader.

    Raises:
        ExportError: nobody wrote a template for the study's trainer, or see `config_arguments`.
    """
    if spec.trainer not in _BY_TRAINER:
        known = ", ".join(_BY_TRAINER)
        raise ExportError(f"train.py can be written for {known}, got {spec.trainer!r}")
    packages = _packages(spec, trial)
    training = training_arguments(trial)
    template = template_files(spec, trial)
    training |= template_argument(spec, trial)
    architecture = trial.configuration.architecture
    strategy = architecture.allocation[0]
    values = {
        "title": title(spec, trial),
        "needs": f"{', '.join(packages[:-1])} and {packages[-1]}",
        "columns": remark(", ".join(columns)),
        "model": constant("MODEL", prepared.model),
        "model_arguments": constant("MODEL_ARGUMENTS", dict(prepared.load_arguments)),
        "tokenizer_arguments": further(prepared.processor_arguments),
        "seed": repr(trial.seed),
        "threads": repr(trial.provenance["threads"]),
        "eval_loss": repr(trial.metrics["eval_loss"]),
        "training": constant("TRAINING", {k: v for k, v in training.items() if k != "seed"}),
        "import_peft": "",
        "import_ours": "",
        "import_start": "",
        "import_strategy": "",
        "peft": "",
        "trained": "model.requires_grad_(True)",
        "save": "trainer.model.save_pretrained(OUTPUT)",
        "look": "",
        "prepare": _COPIED,
        "keep_initial": "",
        "add_callback": "",
    }
    for name in template:
        values["training"] += f'\nTRAINING["chat_template_path"] = str(HERE / "{name}")'
    described: tuple[dict[str, Json], ...] = ()
    if not architecture.full_fine_tuning:
        described = config_arguments(
            trial.configuration,
            shape,
            task_type=spec.model["task_type"],
            total_steps=trial.provenance["total_steps"],
            ranks=trial.provenance.get("ranks"),
        )
        if described[0]["peft_type"] == "ADALORA":
            strategy = "adalora"
        quantised = "bitsandbytes" in packages
        values |= peft_values(described, shape, [_PREPARE] if quantised else [])
        if quantised:
            values["prepare"] = _QUANTISED
    values |= strategy_values(trial, strategy) | start_values(architecture)
    if spec.trainer != "trl.SFTTrainer":
        values |= kind_values(spec.task, prepared, shape)
        values["trained"] = values["trained"].replace("tokenizer", values["reader"])
        values["import_libraries"] = _libraries(spec, values)
    values |= own_values(spec, values.get("reader", "tokenizer"))
    values |= stopping_values(spec, trial, values.get("trainer", "SFTTrainer"))
    beside = ("import_start", "import_strategy", "import_stopping", "import_own", "import_ours")
    ours = [values.pop(name) for name in beside]
    values["import_beside"] = "".join(f"\n{lines}" for lines in ours if lines)
    values["import_beside"] += "\n" if any(ours) else ""
    script = Template((TEMPLATES / _BY_TRAINER[spec.trainer]).read_text(encoding="utf-8"))
    files = {
        "train.py": script.substitute(values),
        "training_args.yaml": yaml_text(training),
        "requirements.txt": _requirements(packages, trial, own_requirements(spec)),
    }
    files |= own_files(spec, prepared) | stopping_files(trial) | template
    return files | allocation_files(architecture, strategy) | tuner_files(described)


def _libraries(spec: StudySpec, values: Mapping[str, str]) -> str:
    """The imports of other packages but transformers."""
    images = "image" in spec.task.columns
    lines = ["import torch"]
    lines += [] if images else ["from datasets import Dataset"]
    lines += [values["import_peft"].strip()] if values["import_peft"] else []
    lines += ["from PIL import Image"] if images else []
    if values["import_functional"]:
        lines.append(f"from torch.nn.functional import {values['import_functional']}")
    return "\n".join(lines)


def title(spec: StudySpec, trial: Trial) -> str:
    """One line on what was trained."""
    return remark(f"{describe(trial.configuration)}: trial {trial.number} of study {spec.name}")


def training_arguments(trial: Trial) -> dict[str, Json]:
    """The arguments of the trainer as the trial had them, but that progress may show."""
    arguments = trainer_arguments(
        recipe_as_run(trial),
        seed=trial.seed,
        total_steps=trial.provenance["total_steps"],
        on_cpu=trial.provenance["device"] == "cpu",
    )
    del arguments["disable_tqdm"]
    return arguments


def _packages(spec: StudySpec, trial: Trial) -> list[str]:
    packages, versions = list(_PACKAGES), trial.provenance["versions"]
    if "image" in spec.task.columns:
        packages[packages.index("datasets")] = "pillow"
    if not trial.configuration.architecture.full_fine_tuning:
        packages.append("peft")
    if spec.trainer == "trl.SFTTrainer":
        packages.append("trl")
    return [*packages, *(["bitsandbytes"] if "bitsandbytes" in versions else [])]


def _requirements(packages: Iterable[str], trial: Trial, more: Iterable[str]) -> str:
    """The versions that the trial ran with; a local part (`+cpu`) is no package index's.

    more: lines for packages that the trial's versions do not tell.
    """
    versions = trial.provenance["versions"]
    told = [f"{name}=={versions[name].split('+')[0]}" for name in packages]
    names = {line.partition("==")[0] for line in told}
    told += [line for line in more if line.partition("==")[0] not in names]
    return "".join(f"{line}\n" for line in told)


def yaml_text(values: Mapping[str, Json]) -> str:
    """In YAML 1.1, where `no` and 1e-05 need care: it is what the trainers' own parsers read."""
    yaml = YAML()
    yaml.version = (1, 1)
    yaml.default_flow_style = False
    text = StringIO()
    yaml.dump(dict(values), text)
    return text.getvalue().removeprefix("%YAML 1.1\n---\n")
