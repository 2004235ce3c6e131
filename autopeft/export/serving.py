"""A LoRA as vLLM serves it: one scaling for all modules, and `r` the largest rank.

vLLM scales every module by the config's own lora_alpha / r, whatever the patterns say, and compares
that r with `--max-lora-rank`. So what a module is scaled by otherwise goes into its B, and the
alphas become the same multiple of every rank: PEFT loads the same network from it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autopeft.domain.errors import ExportError
from autopeft.domain.networks.counting.count import matching
from autopeft.domain.rules.serving import LARGEST_RANK, RANKS

_A, _B = ".lora_A.weight", ".lora_B.weight"
_PREFIX = "base_model.model."
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def fold_scaling(folder: Path) -> int:
    """Rewrite a saved LoRA in place; returns its largest rank.

    Raises:
        ExportError: a rank is larger than vLLM takes.
    """
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    weights = load_file(folder / _WEIGHTS)
    ranks: dict[str, int] = {
        name.removeprefix(_PREFIX).removesuffix(_A): tensor.shape[0]
        for name, tensor in weights.items()
        if name.endswith(_A)
    }
    highest = max(ranks.values())
    if highest > LARGEST_RANK:
        raise ExportError(f"vLLM takes ranks up to {LARGEST_RANK}, got {highest}: lower --rank")
    shared = config["lora_alpha"] / _divisor(config, config["r"])
    for name, rank in ranks.items():
        own = _alpha(config, name) / _divisor(config, rank)
        if own != shared:
            weights[f"{_PREFIX}{name}{_B}"] *= own / shared
    uneven = len(set(ranks.values())) > 1
    config |= {
        "r": highest,
        "lora_alpha": shared * highest,
        "use_rslora": False,  # its root is in the scaling
        "rank_pattern": ranks if uneven else {},
        "alpha_pattern": {name: shared * r for name, r in ranks.items()} if uneven else {},
    }
    (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    return highest


def vllm_text(rank: int, model: str, name: str) -> str:
    """The paragraph of the card that says how to serve it."""
    at_least = next(size for size in RANKS if size >= rank)
    return (
        "\n## Serve\n\n```sh\n"
        f"vllm serve {model} --enable-lora --max-lora-rank {at_least} \\\n"
        f"    --lora-modules {name}=path/to/this/folder\n```\n\n"
        "All modules have one scaling, which is the only one that vLLM reads.\n"
    )


def _divisor(config: Mapping[str, Any], rank: int) -> float:
    return float(rank**0.5 if config.get("use_rslora") else rank)


def _alpha(config: Mapping[str, Any], name: str) -> float:
    own = matching(config.get("alpha_pattern"), name)
    return float(config["lora_alpha"] if own is None else own)
