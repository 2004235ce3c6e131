"""What several processes measured comes together as one would have it: here one after another."""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import TrainingArguments

from autopeft.training import ranks

ROWS = 11


class Prepared:
    """What accelerate makes of a loader: its batch sampler holds the one of all batches."""

    def __init__(self, size):
        self.dataset = [{"value": float(i)} for i in range(ROWS)]
        whole = BatchSampler(SequentialSampler(self.dataset), size, drop_last=False)
        self.batch_sampler = type("Shard", (), {"batch_sampler": whole})()
        self.collate_fn = lambda rows: {"value": torch.tensor([row["value"] for row in rows])}
        self.num_workers = 0


class _Told(Exception):
    """A process has told its own, and would wait for the others."""


def everywhere(monkeypatch, world, act):
    """The value of `act()` in every process: all tell what they have, then each reads it."""
    at, told = {}, {}
    monkeypatch.setattr(ranks, "world", lambda: world)
    monkeypatch.setattr(ranks, "rank", lambda: at["rank"])

    def tell(value):
        told[at["rank"]] = value
        raise _Told

    monkeypatch.setattr(ranks, "gathered", tell)
    for at["rank"] in range(world):
        with pytest.raises(_Told):
            act()
    monkeypatch.setattr(ranks, "gathered", lambda value: [told[i] for i in range(world)])
    found = []
    for at["rank"] in range(world):
        found.append(act())
    return found


def arrays(model, loader, device):
    values = torch.cat([batch["value"] for batch in loader]).numpy()
    return values, 2 * values


def one_array(model, loader, device):
    return arrays(model, loader, device)[0]


def lists(model, loader, device):
    return [np.array([value]) for value in one_array(model, loader, device)]


@pytest.mark.parametrize("measured", [arrays, one_array, lists])
@pytest.mark.parametrize("world", [2, 3, 5])  # of three batches: some have two, some have none
def test_every_row_counts_once_in_the_loaders_order(monkeypatch, measured, world):
    loader = Prepared(4)
    plain = DataLoader(loader.dataset, batch_size=4, collate_fn=loader.collate_fn)
    expected = measured(None, plain, None)
    for found in everywhere(
        monkeypatch, world, lambda: ranks.over_ranks(measured, None, loader, 0)
    ):
        assert type(found) is type(expected)
        assert np.array_equal(np.array(found), np.array(expected))


@pytest.mark.parametrize("world", [2, 4, 20])
def test_rows_are_told_of_once(monkeypatch, world):
    rows = [f"row {i}" for i in range(ROWS)]
    asked = []

    def told(some):
        asked.append(len(some))
        return [row.upper() for row in some]

    for found in everywhere(monkeypatch, world, lambda: ranks.rows_over_ranks(rows, told)):
        assert found == [row.upper() for row in rows]
    assert max(asked) - min(asked) <= 1


def test_memory_is_that_of_the_fullest_gpu_and_of_the_whole_machine(monkeypatch):
    monkeypatch.setattr(ranks, "gathered", lambda value: [1.0, 3.0])
    assert ranks.peak_of_all(1.0, "cuda") == 3.0
    assert ranks.peak_of_all(1.0, "rss_growth") == 4.0


def test_further_gpus_that_a_worker_sees_are_left_alone(tmp_path):
    """The Trainer would spread a batch over each of them, which is a larger batch."""
    arguments = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=4)
    arguments.device  # noqa: B018  looked for once
    arguments._n_gpu = 4
    assert arguments.train_batch_size == 16
    assert ranks.on_one_device(arguments).train_batch_size == 4
