"""Rows of tokens as the batches of a model."""

from collections.abc import Sequence

import torch


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
