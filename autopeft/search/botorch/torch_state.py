"""Torch on one thread and from one seed, whatever the process does besides."""

import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from autopeft.domain.pareto import Array


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Run torch on one thread from this seed, and leave its state as it was."""
    threads, numpy_state, python_state = (
        torch.get_num_threads(),
        np.random.get_state(),
        random.getstate(),
    )
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def tensor(values: Array | Sequence[Any]) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))
