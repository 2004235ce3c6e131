"""An adapter of another method as a plain LoRA, with what that costs on the validation split.

PEFT takes the singular value decomposition of every module's change of weight
(`peft.tuners.lora.conversion`): exact where the rank is that of the change, else the nearest there
is. What computes anything but such a change cannot be converted.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autopeft.domain.architecture import Architecture
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.space import Json
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Trial
from autopeft.export.adapter import written_texts
from autopeft.export.card import card
from autopeft.export.folder import (
    check_trained,
    copied,
    make_room,
    provenance,
    weight_files,
)
from autopeft.export.prepared import Prepared
from autopeft.export.serving import fold_scaling, vllm_text
from autopeft.namespaces import file_name

Metrics = Mapping[str, float]
Convert = Callable[[float, Path], dict[str, Json]]
"""(rank, folder) -> writes the LoRA there and measures it, tells `told_of`."""
RANK = 0.999
"""The share of energy that is kept where nothing is said: see docs/exports.md for what it costs."""
_NO_PLAIN_LORA = ("use_dora", "velora_config", "kasa_config", "monteclora_config", "use_bdlora")
_HOLDS_MORE = ("alora_invocation_tokens", "layer_replication", "lora_bias")
_PREFIX = "base_model.model."


def export_converted(
    spec: StudySpec,
    trial: Trial,
    *,
    shape: ModelShape,
    adapter: Path,
    to: Path,
    prepared: Prepared,
    convert: Callable[[], Convert],
    rank: float = RANK,
    force: bool = False,
    confirmed: Mapping[str, Any] | None = None,
    vllm: bool = False,
) -> tuple[Path, ...]:
    """Write a completed trial as a plain LoRA.

    Args:
        convert: makes the base and the validation split ready, when nothing else is in the way.
        rank: see `to_lora`. confirmed, vllm, and the others: see `adapter.export_adapter`.

    Raises:
        ExportError: the trial is not complete or lost its adapter, PEFT cannot convert it, vLLM
            cannot serve it, or `to` is in use.
    """
    check_trained(spec, trial, adapter)
    if reason := unconvertible(trial.configuration.architecture):
        raise ExportError(f"--to converted-lora does not take trial {trial.number}: {reason}")
    if vllm and shape.head:
        heads = ", ".join(shape.head)
        raise ExportError(f"vLLM does not serve an adapter with a trained {heads}")
    with TemporaryDirectory(prefix="autopeft-") as scratch:
        told = convert()(rank, Path(scratch))
        make_room(to, adapter, force=force)  # only now: a refusal leaves what is there
        written = copied(weight_files(Path(scratch)), to)
    ending = conversion_text(trial.configuration.architecture.modules[0].peft_type, told)
    if vllm:
        ending += vllm_text(fold_scaling(to), prepared.model, file_name(spec.name))
    names = ["adapter_config.json", "adapter_model.safetensors", "provenance.json"]
    text = card(spec, trial, prepared, names, confirmed=confirmed) + ending
    said = {**provenance(spec, trial, confirmed), "converted": told}
    return (*written, *written_texts(to, text, said, {}))


def unconvertible(architecture: Architecture) -> str | None:
    """Why there is nothing for PEFT to convert; None: it can try."""
    if architecture.full_fine_tuning:
        return "full fine-tuning has no adapter"
    if len(architecture.modules) != 1:
        kinds = ", ".join(module.peft_type for module in architecture.modules)
        return f"PEFT converts one adapter, this has {kinds or 'none'}"
    (module,) = architecture.modules
    if module.peft_type in OWN:
        return f"PEFT does not have {module.peft_type}, and converts its own alone"
    if module.peft_type == "LORA":
        if held := [name for name in _HOLDS_MORE if module.fields.get(name)]:
            return f"{held[0]} is no change of weights"
        if not any(module.fields.get(name) for name in _NO_PLAIN_LORA):
            if architecture.allocation[0] == "adalora":
                return "PEFT does not convert ADALORA"
            return "it is a plain LoRA: take --to peft"
    return None


def to_lora(model: Any, rank: float) -> tuple[Any, dict[str, Any]]:
    """PEFT's LoraConfig and the weights of the LoRA nearest to the model's adapter.

    Args:
        model: a PeftModel with its trained adapter.
        rank: of every module, or the share of the change's energy (squared singular values) that
            every module has to keep, in (0, 1] as a float.

    Raises:
        ExportError: PEFT cannot convert it.
    """
    from peft import get_peft_model_state_dict
    from peft.tuners.lora import convert_to_lora

    adapter = model.active_adapter
    trained = model.peft_config[adapter]
    try:
        config, found = convert_to_lora(model, rank, adapter_name=adapter)
    except (TypeError, ValueError, NotImplementedError) as error:
        kind = str(getattr(trained.peft_type, "value", trained.peft_type))
        raise ExportError(f"PEFT cannot convert {kind}: {_said(error)}") from error
    weights = {name: tensor for name, tensor in found.items() if ".lora_" in name}
    # Of a head with several layers PEFT's conversion keeps one.
    heads = tuple(getattr(trained, "modules_to_save", None) or ())
    for name, tensor in get_peft_model_state_dict(model, adapter_name=adapter).items():
        if set(name.split(".")) & set(heads):
            weights[name] = tensor
    ranks = {
        name.removeprefix(_PREFIX).removesuffix(".lora_A.weight"): tensor.shape[0]
        for name, tensor in weights.items()
        if name.endswith(".lora_A.weight")
    }
    highest, uneven = max(ranks.values()), len(set(ranks.values())) > 1
    config.r = config.lora_alpha = highest  # PEFT's is 1 where the ranks differ
    config.rank_pattern = dict(ranks) if uneven else {}
    config.alpha_pattern = dict(ranks) if uneven else {}
    config.target_modules = set(ranks)
    config.exclude_modules = None
    config.modules_to_save = list(heads) or None
    config.task_type, config.inference_mode = trained.task_type, True
    return config, weights


def _said(error: Exception) -> str:
    """PEFT's reason, without the classes that it lists."""
    return str(error).splitlines()[0].partition(": <class")[0].strip().rstrip(".")


def write_lora(model: Any, rank: float, folder: Path) -> dict[str, int]:
    """Save the LoRA nearest to the model's adapter; returns the rank of every module."""
    from safetensors.torch import save_file

    config, weights = to_lora(model, rank)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return {name: config.rank_pattern.get(name, config.r) for name in config.target_modules}


def told_of(
    rank: float, ranks: Mapping[str, int], before: Metrics, after: Metrics
) -> dict[str, Json]:
    """What provenance says of a conversion."""
    return {
        "asked": rank,
        "ranks": dict(sorted(ranks.items())),
        "metrics_before": dict(before),
        "metrics_after": dict(after),
    }


def conversion_text(method: str, told: Mapping[str, Any]) -> str:
    """The paragraph of the card: what the conversion costs, metric by metric."""
    ranks = told["ranks"].values()
    before, after = told["metrics_before"], told["metrics_after"]
    rows = "".join(
        f"| {name} | {value:.6g} | {after[name]:.6g} | {after[name] - value:+.2g} |\n"
        for name, value in before.items()
        if name in after
    )
    return (
        f"\n## Converted\n\nTrained as {method}, and converted to a plain LoRA of rank "
        f"{min(ranks)} to {max(ranks)} (asked for: {told['asked']}). Measured on the same "
        f"validation rows, before and after:\n\n| metric | {method} | LoRA | difference |\n"
        f"|---|---|---|---|\n{rows}"
    )
