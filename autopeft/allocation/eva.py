"""EVA's ranks, by the explained variance of activations (Paischl et al. 2024, arXiv 2410.07170).

PEFT's `init_lora_weights: eva` draws ranks and initial directions in one; these are the ranks
alone, from the same incremental PCA, so that they can be compared with other allocations.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from peft.utils.incremental_pca import IncrementalPCA

from autopeft.allocation.probing import Batch, output_of, probing


def eva_ranks(
    model: Any, targets: Sequence[str], batches: Iterable[Batch], *, r: int, rho: float = 2.0
) -> dict[str, int]:
    """A module's rank is the number of its components among the r n that explain most.

    Changes the deployed architecture, before training. Costs a forward pass a batch and an SVD of
    every target's inputs.

    Args:
        model: the pretrained model, before PEFT. It is left as it was.
        targets: full names of the n modules.
        batches: of the training split; each with at least rho r tokens that are no padding.
        r: average rank: the budget is r n.
        rho: the highest rank is rho r, 1 or more; at 1 every module gets r.

    Returns:
        Module -> rank, 0 to rho r; the ranks sum exactly to the budget.

    Raises:
        ValueError: rho below 1, no batch, or a batch with too few tokens.
    """
    if not rho >= 1:
        raise ValueError(f"rho must be 1 or more, got {rho}")
    highest = int(rho * r)
    explained = explained_variances(model, targets, batches, components=highest)
    components = sorted(
        ((float(share), name) for name, shares in explained.items() for share in shares),
        key=lambda component: -component[0],
    )
    ranks = Counter(name for _, name in components[: r * len(targets)])
    return {name: ranks[name] for name in targets}


def explained_variances(
    model: Any, targets: Sequence[str], batches: Iterable[Batch], *, components: int
) -> dict[str, torch.Tensor]:
    """Module -> (components,) shares of the variance of its inputs, descending.

    Raises:
        ValueError: no batch, or one with fewer tokens than components.
    """
    inputs = {name: _Inputs(components) for name in targets}
    with ExitStack() as stack, probing(model), torch.no_grad():
        for name, collected in inputs.items():
            handle = model.get_submodule(name).register_forward_pre_hook(collected)
            stack.callback(handle.remove)
        for batch in batches:
            for collected in inputs.values():
                collected.mask = batch.get("attention_mask")
            output_of(model, batch)
    return {name: collected.explained() for name, collected in inputs.items()}


class _Inputs:
    """A module's inputs, as a hook: their principal components so far.

    mask: (rows, tokens) 0 where a token is padding; None: there is no padding.
    """

    def __init__(self, components: int) -> None:
        self._components = components
        self._pca = IncrementalPCA(n_components=components)
        self.mask: torch.Tensor | None = None

    def __call__(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        x = args[0]
        if self.mask is not None and self.mask.shape == x.shape[:-1]:
            x = x[self.mask.to(x.device).bool()]
        x = x.reshape(-1, x.shape[-1])  # (tokens, features)
        if min(x.shape) < self._components:
            raise ValueError(
                f"{self._components} components need as many tokens and features, "
                f"got {x.shape[0]} and {x.shape[1]}: take larger batches or a smaller rho"
            )
        self._pca.partial_fit(x.float())

    def explained(self) -> torch.Tensor:
        if self._pca.n_features_ is None:
            raise ValueError("explained variance needs at least one batch, got none")
        shares: torch.Tensor = self._pca.explained_variance_ratio_[: self._components]
        return shares.nan_to_num()  # inputs that never vary explain nothing
