"""A device whose memory ends at so many rows of a micro-batch: for tests of what happens then."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from transformers import Trainer


@contextmanager
def room_for(rows: int | None) -> Iterator[list[int]]:
    """Training steps of more rows raise as CUDA does, inside the trainer.

    rows: None: there is room for all. Gives the rows of every step that was tried.
    """
    tried: list[int] = []
    step = Trainer.training_step

    def training_step(self, model, inputs, *rest, **named):
        tried.append(len(inputs["input_ids"]))
        if rows is not None and tried[-1] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self, model, inputs, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "training_step", training_step)
        yield tried
