"""The base model: where it lies, how it is loaded, and a pristine copy for every trial."""

import copy
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from peft import prepare_model_for_kbit_training
from transformers import set_seed

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import task_kind
from autopeft.training.loading.trust import place, refuse_pickles, source, trusted
from autopeft.training.tasks import Task, task_of

_MISSING_SEED = 0  # of weights that the checkpoint lacks: the same bits in every worker
_OURS = ("model_name_or_path", "task_type", "problem_type", "max_length")


def resolve_model(name: str, *, folder: str) -> str:
    """The folder or hub name that transformers loads.

    `package:NAME/FOLDER` is a folder inside an installed package, found without importing it; a
    relative path starts from `folder`; what is no path is a hub name.

    Raises:
        AutopeftError: the package is not installed, or the folder does not exist.
    """
    if name.startswith("package:"):
        package, _, inside = name.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise AutopeftError(f"model {name!r}: package {package!r} is not installed")
        name = str(Path(next(iter(found.submodule_search_locations))) / inside)
    path = Path(folder) / name
    if path.is_dir():
        return str(path.resolve())
    if name.startswith((".", "/", "~")) or path.exists():
        raise AutopeftError(f"model_name_or_path names no folder: {path}")
    return name


def _task(model: Mapping[str, Any]) -> Task:
    return task_of(task_kind(model))


def load_arguments(model: Mapping[str, Any], head: Sequence[str]) -> dict[str, Any]:
    """What of the file's `model:` goes to `from_pretrained`; weights as safetensors only.

    head: stays as it is where bitsandbytes quantises the base, as it is trained.
    """
    found = {name: value for name, value in model.items() if name not in _OURS}
    if head and bits_and_bytes(model):
        quantization = found["quantization_config"]
        spared = [*(quantization.get("llm_int8_skip_modules") or ()), *head]
        found["quantization_config"] = {**quantization, "llm_int8_skip_modules": spared}
    return {**found, "use_safetensors": True}


def processor_arguments(model: Mapping[str, Any], *, folder: str) -> dict[str, Any]:
    """What the tokenizer is loaded with."""
    path = resolve_model(model["model_name_or_path"], folder=folder)
    trust = {"trust_remote_code": True} if trusted(model) else {}
    return {**trust, **place(model), **_task(model).processor_options(path, **source(model))}


def load_processor(model: Mapping[str, Any], *, folder: str) -> Any:
    """What makes the inputs of the file's model."""
    path = resolve_model(model["model_name_or_path"], folder=folder)
    return _task(model).processor(path, **source(model))


def bits_and_bytes(model: Mapping[str, Any]) -> bool:
    """Whether bitsandbytes quantises the base as it is loaded."""
    config = model.get("quantization_config") or {}
    return any(config.get(f"load_in_{bits}bit") for bits in (4, 8))


@dataclass(frozen=True)
class Base:
    """A loaded model that no trial touches, with its processor and the path it came from."""

    model: Any
    processor: Any
    path: str
    head: tuple[str, ...]

    def copy(self, seed: int) -> Any:
        """A copy whose head is drawn anew from the seed: the same bits for the same seed.

        `PeftModel.unload` would be cheaper and is wrong: heads, biases and, after pissa or olora,
        base weights stay changed.
        """
        model = copy.deepcopy(self.model)
        set_seed(seed)
        for name in self.head:
            for module in getattr(model, name).modules():
                if isinstance(module, torch.nn.Linear):
                    std = getattr(model.config, "initializer_range", 0.02)
                    torch.nn.init.normal_(module.weight, mean=0.0, std=std)
                    if module.bias is not None:
                        torch.nn.init.zeros_(module.bias)
        return model


def load_base(
    model: Mapping[str, Any], *, folder: str, labels: tuple[str, ...], head: tuple[str, ...]
) -> Base:
    """Load the file's model and what makes its inputs.

    labels: names of the classes, by id; empty for language models.
    """
    path = resolve_model(model["model_name_or_path"], folder=folder)
    task = _task(model)
    extra = task.head_arguments(labels)
    if extra:
        # The head of a checkpoint for other labels is drawn anew for every trial anyway.
        extra["ignore_mismatched_sizes"] = True
    set_seed(_MISSING_SEED)
    refuse_pickles(path, model)
    passed = {**load_arguments(model, head), "trust_remote_code": trusted(model), **extra}
    built = task.auto_class().from_pretrained(path, **passed)
    processor = load_processor(model, folder=folder)
    if getattr(built.config, "pad_token_id", None) is None:
        built.config.pad_token_id = getattr(processor, "pad_token_id", None)
    built.requires_grad_(False)
    if bits_and_bytes(model):
        # What is not quantised goes to float32. Checkpointing, with input gradients, is the
        # trainer's to switch on: its default does not re-enter, and recomputes the same.
        built = prepare_model_for_kbit_training(built, use_gradient_checkpointing=False)
    for module in built.modules():
        # bitsandbytes' 4 bits on such CPUs: the first evaluation packs the weights for good, and
        # no gradient passes them afterwards.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    for parameter in built.parameters():
        parameter.sum()  # mapped from the file: paged in here, not in the first trial's memory
    return Base(built, processor, path, head)


@lru_cache(maxsize=8)
def model_fingerprint(path: str, subfolder: str = "") -> str:
    """SHA-256 over config and weights of a local folder; the name itself for a hub model."""
    import hashlib

    folder = Path(path) / subfolder
    if not folder.is_dir():
        return path
    digest = hashlib.sha256()
    for file in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
