"""Rows of tokens as the batches of a model, and what a model makes of batches."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

UNLABELLED = -100
"""The label of a token that carries none, as torch's losses leave it out."""


def outputs(
    model: Any, loader: Any, device: torch.device, *, labels: bool = False
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logits and labels of every batch, without gradients, nothing dropped out.

    labels: whether the model is given them too.
    """
    model.eval()
    with torch.no_grad():
        for batch in loader:
            moved = {
                name: value.to(device) if isinstance(value, torch.Tensor) else value
                for name, value in batch.items()
            }
            truth = moved["labels"] if labels else moved.pop("labels")
            yield model(**moved).logits, truth


def padded(rows: Sequence[list[int]], pad: int, *, left: bool = False) -> dict[str, torch.Tensor]:
    """(b, longest) tokens and their mask.

    left: where the padding stands: before the tokens, for a decoder that goes on from them.
    """
    longest = max(map(len, rows))
    ids, mask = torch.full((len(rows), longest), pad), torch.zeros(len(rows), longest).long()
    for i, row in enumerate(rows):
        part = slice(longest - len(row), None) if left else slice(len(row))
        ids[i, part], mask[i, part] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}
