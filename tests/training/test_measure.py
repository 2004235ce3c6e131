"""Metrics against scikit-learn, losses without penalties, memory that repeats."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from autopeft.training.scoring.measure import (
    PeakMemory,
    calibration_error,
    classification_metrics,
    classify,
    language_losses,
    macro_f1,
    matthews,
)

CPU = torch.device("cpu")
pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(deadline=None)
@given(pairs)
def test_f1_and_matthews_are_those_of_scikit_learn(rows):
    labels, predictions = np.array(rows).T
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (labels, predictions), 1)
    expected = f1_score(labels, predictions, average="macro", zero_division=0.0)
    assert macro_f1(counts) == pytest.approx(expected, abs=1e-12)
    assert matthews(counts) == pytest.approx(matthews_corrcoef(labels, predictions), abs=1e-12)


def test_the_errors_of_the_bootstrap_are_those_of_repeated_draws():
    rng = np.random.default_rng(1)

    def split():
        labels = rng.integers(0, 2, 400)
        return labels, np.where(rng.random(400) < 0.8, labels, 1 - labels)

    labels, predictions = split()
    sure = np.full(400, 0.9)
    metrics, errors = classification_metrics(np.ones(400), labels, predictions, sure, (), classes=2)
    repeated = [
        classification_metrics(np.ones(400), *split(), sure, (), classes=2)[0][
            "matthews_correlation"
        ]
        for _ in range(100)
    ]
    assert errors["matthews_correlation"] == pytest.approx(np.std(repeated), rel=0.3)
    assert errors["accuracy"] == pytest.approx(
        np.sqrt(metrics["accuracy"] * (1 - metrics["accuracy"]) / 400)
    )


class Penalised(torch.nn.Module):
    """A model whose own loss holds a penalty, as AdaLoRA's does."""

    def forward(self, input_ids):
        logits = torch.nn.functional.one_hot(input_ids, 5).float() * 3
        return SimpleNamespace(logits=logits, loss=torch.tensor(99.0))


def test_a_label_stays_beside_its_row_and_no_penalty_is_in_the_loss():
    batches = [
        {"input_ids": torch.tensor([2, 1]), "labels": torch.tensor([2, 0])},
        {"input_ids": torch.tensor([4]), "labels": torch.tensor([4])},
    ]
    losses, labels, predictions, confidences = classify(Penalised(), batches, CPU)
    assert labels.tolist() == [2, 0, 4]
    assert predictions.tolist() == [2, 1, 4]
    right = -np.log(np.exp(3) / (np.exp(3) + 4))
    assert losses == pytest.approx([right, right + 3, right], abs=1e-6)
    assert confidences == pytest.approx([np.exp(-right)] * 3, abs=1e-6)


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    hits = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    assert calibration_error(hits, np.array([0.9, 0.9, 0.9, 0.5, 0.5])) == pytest.approx(
        (abs(2 - 2.7) + abs(1 - 1.0)) / 5
    )
    assert calibration_error(np.ones(3), np.ones(3)) == 0
    # Over- and underconfidence in one bin make up for each other, in two they do not.
    assert calibration_error(np.array([1.0, 0.0]), np.array([0.52, 0.49])) == pytest.approx(0.005)
    assert calibration_error(np.array([1.0, 0.0]), np.array([0.6, 0.4])) == pytest.approx(0.4)


def test_the_calibration_error_has_a_standard_error_where_it_is_asked():
    rng = np.random.default_rng(0)
    labels = np.zeros(200, int)
    confidences = rng.uniform(0.5, 1, 200)
    predictions = (rng.random(200) > confidences).astype(int)  # calibrated
    rows = (np.ones(200), labels, predictions, confidences)
    metrics, errors = classification_metrics(*rows, {"calibration_error"}, classes=2)
    assert 0 < errors["calibration_error"] < metrics["calibration_error"] < 0.15
    plain, others = classification_metrics(*rows, {"accuracy"}, classes=2)
    assert plain == metrics
    assert others == {n: e for n, e in errors.items() if n != "calibration_error"}


def test_language_losses_count_labelled_tokens_one_place_on():
    tokens = torch.tensor([[0, 1, 2, 3], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, 0, 1, 2], [-100, 1, -100, -100]])
    losses = language_losses(Penalised(), [{"input_ids": tokens, "labels": labels}], CPU)
    right = -np.log(np.exp(3) / (np.exp(3) + 4))
    assert losses == pytest.approx([right] * 4, abs=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts the resident set")
def test_the_same_work_has_the_same_peak_the_second_time():
    peaks = []
    for _ in range(3):
        with PeakMemory(every_s=0.005) as memory:
            blocks = [torch.ones(1 << 16) for _ in range(400)]  # 100 MiB in small pieces
            sum(float(block.sum()) for block in blocks for _ in range(5))
        del blocks
        peaks.append(memory.peak_gib)
    assert memory.kind == "rss_growth"
    assert peaks[1:] == pytest.approx([peaks[0]] * 2, rel=0.25)
    assert peaks[0] == pytest.approx(100 / 1024, rel=0.25)
