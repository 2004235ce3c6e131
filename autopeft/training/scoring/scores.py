"""What further kinds of task are judged by: numbers, several labels, tags of words, targets.

n: rows of the validation split; k: labels. Losses are those of the task, from the logits: a tuner's
own penalty is not in them. Standard errors take rows as independent, not the tokens in them; those
without a formula come from a bootstrap over rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from autopeft.training.scoring.batches import UNLABELLED, outputs
from autopeft.training.scoring.measure import Scores, macro_f1, resampled, with_perplexity

Array = NDArray[Any]

_TAG = re.compile(r"O|[BIES]-.+")


def predicted_numbers(model: Any, loader: Any, device: torch.device) -> tuple[Array, Array]:
    """(n,) labels and (n,) predictions of a regression."""
    labels, predictions = [], []
    for logits, truth in outputs(model, loader, device):
        labels.append(truth)
        predictions.append(logits.squeeze(-1))
    return (
        torch.cat(labels).double().cpu().numpy(),
        torch.cat(predictions).double().cpu().numpy(),
    )


def regression_metrics(labels: Array, predictions: Array) -> Scores:
    """Mean squared and absolute error, Pearson's and Spearman's correlation.

    labels, predictions: (n,).
    """
    n, errors = len(labels), predictions - labels

    def correlations(rows: Array) -> dict[str, float]:
        truth, told = labels[rows], predictions[rows]
        ranks = pearson(_ranks(truth), _ranks(told))
        return {"pearson": pearson(truth, told), "spearmanr": ranks}

    metrics = {
        "eval_loss": float((errors**2).mean()),
        "mae": float(np.abs(errors).mean()),
        **correlations(np.arange(n)),
    }
    stderr = {
        "eval_loss": float((errors**2).std() / np.sqrt(n)),
        "mae": float(np.abs(errors).std() / np.sqrt(n)),
        **resampled(n, correlations),
    }
    return metrics, stderr


def pearson(a: Array, b: Array) -> float:
    """The correlation of (n,) and (n,); 0 where one of them never varies."""
    a, b = a - a.mean(), b - b.mean()
    below = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / below if below > 0 else 0.0


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    found: Array = rankdata(values)
    return found


def predicted_labels(model: Any, loader: Any, device: torch.device) -> tuple[Array, Array, Array]:
    """(n,) loss of a row, (n, k) labels and (n, k) predicted labels: those likelier than not."""
    losses, labels, predictions = [], [], []
    for logits, truth in outputs(model, loader, device):
        loss = binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
        losses.append(loss.mean(-1))
        labels.append(truth > 0)
        predictions.append(logits > 0)
    return (
        torch.cat(losses).double().cpu().numpy(),
        torch.cat(labels).cpu().numpy(),
        torch.cat(predictions).cpu().numpy(),
    )


def multi_label_metrics(losses: Array, labels: Array, predictions: Array) -> Scores:
    """Mean loss, rows with all labels right, F1 of labels (macro, micro).

    losses: (n,); labels, predictions: (n, k) of bool.
    """
    n = len(losses)
    exact = (labels == predictions).all(-1)
    hits = labels & predictions

    def scores(rows: Array) -> dict[str, float]:
        right, seen = hits[rows].sum(0), labels[rows].sum(0) + predictions[rows].sum(0)
        return {
            "f1": float(_share(2 * right, seen).sum() / max((seen > 0).sum(), 1)),
            "f1_micro": float(_share(2 * right.sum(), seen.sum())),
        }

    accuracy = float(exact.mean())
    metrics = {
        "eval_loss": float(losses.mean()),
        "accuracy": accuracy,
        **scores(np.arange(n)),
    }
    stderr = {
        "eval_loss": float(losses.std() / np.sqrt(n)),
        "accuracy": float(np.sqrt(accuracy * (1 - accuracy) / n)),
        **resampled(n, scores),
    }
    return metrics, stderr


def _share(part: Any, whole: Any) -> Array:
    """part / whole, 0 where there is nothing."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    found: Array = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return found


@dataclass(frozen=True)
class Tagged:
    """A row with tokens that carry labels: (t,) losses, (t,) labels, (t,) predicted labels."""

    losses: Array
    labels: Array
    predictions: Array


def tagged(model: Any, loader: Any, device: torch.device) -> list[Tagged]:
    """Every row, in the loader's order."""
    rows = []
    for logits, truth in outputs(model, loader, device):
        for row, labels in zip(logits, truth, strict=True):
            counted = labels != UNLABELLED
            row, labels = row[counted].float(), labels[counted]
            losses = cross_entropy(row, labels, reduction="none").double()
            parts = (losses, labels, row.argmax(-1))
            rows.append(Tagged(*(part.cpu().numpy() for part in parts)))
    return rows


def tag_metrics(rows: Sequence[Tagged], names: Mapping[int, str]) -> Scores:
    """Mean loss and accuracy over tokens, and F1.

    F1 is that of entities, all types together, where tags are those of a scheme (`B-PER`, `I-PER`,
    `O`), as seqeval and conlleval count them; else that of tokens, averaged over the tags.

    names: of the tags by id.
    """
    n, k = len(rows), len(names)
    losses = np.concatenate([row.losses for row in rows])
    counts = np.array([len(row.losses) for row in rows])
    right = np.array([(row.labels == row.predictions).sum() for row in rows])
    loss, accuracy = float(losses.mean()), float(right.sum() / counts.sum())
    f1: Callable[[Array], float]
    if all(_TAG.fullmatch(name) for name in names.values()):
        found = np.array([_entity_counts(row, names) for row in rows])

        def f1(draw: Array) -> float:
            hits, true, told = found[draw].sum(0)
            return float(_share(2 * hits, true + told))

    else:
        cells = np.array(
            [np.bincount(row.labels * k + row.predictions, minlength=k * k) for row in rows]
        )

        def f1(draw: Array) -> float:
            return float(macro_f1(cells[draw].sum(0).reshape(k, k)))

    metrics = {"eval_loss": loss, "accuracy": accuracy, "f1": f1(np.arange(n))}
    stderr = {
        "eval_loss": _ratio_error(np.array([row.losses.sum() for row in rows]), counts),
        "accuracy": _ratio_error(right, counts),
        **resampled(n, lambda draw: {"f1": f1(draw)}),
    }
    return metrics, stderr


def _entity_counts(row: Tagged, names: Mapping[int, str]) -> tuple[int, int, int]:
    """Entities that were found as they are, that are there, that were told."""
    true, told = (
        entities([names[int(tag)] for tag in tags]) for tags in (row.labels, row.predictions)
    )
    return len(true & told), len(true), len(told)


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Type, first and last word of every entity in (t,) tags.

    One starts at B- and S-, after O, E- and S-, and where the type changes, so an I- may start one:
    as seqeval and conlleval read them.
    """
    found: set[tuple[str, int, int]] = set()
    opened: tuple[str, int] | None = None
    before = "O"
    for i, tag in enumerate([*tags, "O"]):
        mark, _, kind = tag.partition("-")
        inside = mark != "O"
        starts = inside and (
            mark in "BS" or before in "OES" or (opened is not None and kind != opened[0])
        )
        if opened is not None and (starts or not inside):
            found.add((*opened, i - 1))
            opened = None
        if starts:
            opened = (kind, i)
        before = mark
    return found


def target_losses(model: Any, loader: Any, device: torch.device) -> list[Array]:
    """(t,) cross-entropy of the tokens of every row's target."""
    rows = []
    for logits, truth in outputs(model, loader, device, labels=True):
        # Virtual tokens of a tuner stand before the target's own.
        for row, labels in zip(logits[:, -truth.shape[1] :], truth, strict=True):
            counted = labels != UNLABELLED
            losses = cross_entropy(row[counted].float(), labels[counted], reduction="none")
            rows.append(losses.double().cpu().numpy())
    return rows


def target_metrics(rows: Sequence[Array]) -> Scores:
    """Mean cross-entropy of a target's token, and the perplexity that it makes."""
    loss = float(np.concatenate(rows).mean())
    counts = np.array([len(row) for row in rows])
    error = _ratio_error(np.array([row.sum() for row in rows]), counts)
    return with_perplexity(loss, error)


def _ratio_error(sums: Array, counts: Array) -> float:
    """Standard error of sum(sums) / sum(counts) over n rows, by its linearisation.

    sums, counts: (n,).
    """
    left = sums - counts * (sums.sum() / counts.sum())
    return float(np.sqrt((left**2).sum()) / counts.sum())
