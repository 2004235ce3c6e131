"""LoRA that starts where a pass over the training split says, by PEFT's own initialisations.

A: (r, in), B: (out, r), s: scaling, W: (out, in) pretrained weights.

    eva      A: the components that explain most of a module's inputs, B = 0
             (Paischer et al. 2024, arXiv 2410.07170)
    corda    s B A: components of W that matter most (ipm) or least (kpm) for the covariance of a
             module's inputs (Yang et al. 2024, arXiv 2406.05223)
    lora_ga  A and B along the gradient of W (Wang et al. 2024, arXiv 2407.05000)

corda and lora_ga go on from W - s B0 A0. Trained, that is W + s (B A - B0 A0): on the pretrained
weights a plain LoRA of twice the rank, A over A0 and B beside -B0, and so it is stored.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import (
    EvaConfig,
    LoraConfig,
    LoraGAConfig,
    get_peft_model,
    get_peft_model_state_dict,
    initialize_lora_eva_weights,
)
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.eva import prepare_model_inputs_fn_language_modeling as _tokens
from peft.tuners.lora.loraga import preprocess_loraga
from transformers import set_seed

from autopeft.allocation.probing import Batch, loss_of, output_of, probe_batches, probing
from autopeft.allocation.saving import save_adapter

_ROWS = 256  # of the training split that are looked at, as CorDA's authors do
_PASSES = 100  # over these rows, for EVA's components to settle


def inject_by_data(trainer: Any, config: LoraConfig, *, seed: int) -> Any:
    """Put a LoRA into a trainer's model that starts where the training split says.

    The same seed gives the same bits.

    Args:
        trainer: with the pretrained model, nothing injected; its rows and its collator are used.
        config: its `init_lora_weights` is eva, corda or lora_ga. Eva's rho becomes 1: every
            module keeps its rank.
        seed: of the draw of rows, and of what is random in an initialisation.

    Returns:
        The PEFT model. After corda and lora_ga the base weights in it are rewritten.

    Raises:
        ValueError: eva finds too few tokens for its components, or they do not settle.
    """
    init = config.init_lora_weights
    # CorDA's covariance knows no padding; a gradient takes the memory of a step.
    rows = {"corda": 1, "eva": 16, "lora_ga": trainer.args.per_device_train_batch_size}[init]
    batches = probe_batches(trainer, seed=seed, count=-(-_ROWS // rows), rows=rows)
    model = trainer.model.to(trainer.args.device)
    set_seed(seed)
    if init == "eva":
        return _eva(model, config, batches)
    if init == "corda":
        config.corda_config = config.corda_config or CordaConfig()
        preprocess_corda(model, config, run_model=lambda: _forward(model, batches))
    else:
        config.lora_ga_config = config.lora_ga_config or LoraGAConfig()
        preprocess_loraga(model, config, train_step=lambda: _backward(model, batches))
    return get_peft_model(model, config)


def _forward(model: Any, batches: Iterable[Batch]) -> None:
    with probing(model):
        for batch in batches:
            output_of(model, batch)


def _backward(model: Any, batches: Iterable[Batch]) -> None:
    for batch in batches:
        loss_of(model, batch).backward()


def _eva(model: Any, config: LoraConfig, batches: Iterable[Batch]) -> Any:
    config.eva_config = config.eva_config or EvaConfig()
    config.eva_config.rho = 1.0
    inputs = _Replayed(batches, config)
    adapted = get_peft_model(model, config)
    with probing(adapted):
        initialize_lora_eva_weights(adapted, inputs, show_progress_bar=False)
    return adapted


class _Replayed:
    """Batches for EVA, which goes through them again and again until its components settle.

    Raises:
        ValueError: no batch has the tokens for a first step, or the components never settle.
    """

    def __init__(self, batches: Iterable[Batch], config: LoraConfig) -> None:
        # The randomised SVD of its incremental PCA takes twice as many components.
        least = 2 * config.r
        masked = [_without_row_labels(batch) for batch in batches]
        self._batches = [b for b in masked if len(_tokens(b, config)) >= least]
        if not self._batches:
            raise ValueError(
                f"init eva at r={config.r} needs {least} tokens in a batch of 16 rows: lower r"
            )

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for _ in range(_PASSES):
            yield from self._batches
        raise ValueError(
            f"the components of init eva have not settled after {_PASSES} passes over "
            f"{len(self)} batches: lower r, or tau in eva_config"
        )


def _without_row_labels(batch: Batch) -> dict[str, torch.Tensor]:
    """EVA looks at the tokens that carry a label; a label of a whole row tells it nothing."""
    if "input_ids" not in batch:
        raise ValueError("init eva counts tokens, and images have none: take another init")
    of_tokens = batch["labels"].shape == batch["input_ids"].shape
    return {name: value for name, value in batch.items() if of_tokens or name != "labels"}


def initial_adapter(model: Any) -> dict[str, torch.Tensor]:
    """A0 and B0 by PEFT's names: to be called before training."""
    weights = get_peft_model_state_dict(model)
    return {name: w.detach().clone() for name, w in weights.items() if _factor(name)}


def plain_lora(
    model: Any, initial: Mapping[str, torch.Tensor]
) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """The config and the weights of the LoRA that does the same to the pretrained weights.

    PEFT's own conversion (`path_initial_model_for_weight_conversion`) drops the trained head, the
    biases and the magnitudes of DoRA.

    Args:
        model: trained, by corda or lora_ga.
        initial: its `initial_adapter`.
    """
    config = copy.deepcopy(model.peft_config[model.active_adapter])
    # The scaling stays: alpha over the rank, or with rsLoRA over its root.
    growth = 2**0.5 if config.use_rslora else 2
    config.r *= 2
    config.lora_alpha *= growth
    config.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: growth * alpha for name, alpha in config.alpha_pattern.items()}
    config.init_lora_weights = True
    config.corda_config = config.lora_ga_config = None
    weights = get_peft_model_state_dict(model)
    return config, {name: _doubled(name, w, initial) for name, w in weights.items()}


def save_plain_lora(model: Any, initial: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Write `plain_lora` in a folder that PEFT loads."""
    save_adapter(*plain_lora(model, initial), folder)


def _factor(name: str) -> bool:
    return name.endswith((".lora_A.weight", ".lora_B.weight"))


def _doubled(name: str, weight: torch.Tensor, initial: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if not _factor(name):
        return weight.detach().clone()
    if name.endswith(".lora_A.weight"):
        return torch.cat([weight.detach(), initial[name]], dim=0)
    return torch.cat([weight.detach(), -initial[name]], dim=1)
