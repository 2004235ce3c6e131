"""What a trial is judged by: validation metrics with their standard errors, memory, time.

n: rows of the validation split; k: classes; C: (k, k) confusion counts, C[i, j] rows of class i
that were taken for j. Losses are cross-entropy from the logits: a tuner's own penalty is not in it.
"""

import ctypes
import gc
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from autopeft.training.scoring.batches import UNLABELLED, outputs

Scores = tuple[dict[str, float], dict[str, float]]
"""Metrics by name, and their standard errors."""

_RESAMPLES = 200
_BINS = 15  # of confidence: Guo's number


def resampled(n: int, statistic: Callable[[NDArray[Any]], Mapping[str, float]]) -> dict[str, float]:
    """Standard errors of a statistic of rows: its deviation over draws of n rows."""
    rng = np.random.default_rng(0)
    draws = [statistic(rng.integers(n, size=n)) for _ in range(_RESAMPLES)]
    return {name: float(np.std([draw[name] for draw in draws])) for name in draws[0]}


def classify(
    model: Any, loader: Any, device: torch.device
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(n,) cross-entropy, label, predicted label and its probability, in the loader's order."""
    losses, labels, predictions, confidences = [], [], [], []
    for logits, truth in outputs(model, loader, device):
        logits = logits.float()
        losses.append(cross_entropy(logits, truth, reduction="none"))
        labels.append(truth)
        predictions.append(logits.argmax(-1))
        confidences.append(logits.softmax(-1).amax(-1))
    return (
        torch.cat(losses).double().cpu().numpy(),
        torch.cat(labels).cpu().numpy(),
        torch.cat(predictions).cpu().numpy(),
        torch.cat(confidences).double().cpu().numpy(),
    )


def language_losses(model: Any, loader: Any, device: torch.device) -> NDArray[Any]:
    """(tokens,) cross-entropy of every token that carries a label."""
    losses = []
    for logits, truth in outputs(model, loader, device):
        logits = logits[:, -truth.shape[1] :]  # virtual tokens of a prompt tuner stand before
        # Row by row: (tokens, vocabulary) in float32 is the largest tensor of an evaluation.
        for row, labels in zip(logits[:, :-1], truth[:, 1:], strict=True):
            counted = labels != UNLABELLED
            losses.append(cross_entropy(row[counted].float(), labels[counted], reduction="none"))
    found: NDArray[Any] = torch.cat(losses).double().cpu().numpy()
    return found


def classification_metrics(
    losses: NDArray[Any],
    labels: NDArray[Any],
    predictions: NDArray[Any],
    confidences: NDArray[Any],
    asked: Collection[str],
    *,
    classes: int,
) -> Scores:
    """Metrics and their standard errors; most of these by a bootstrap over rows.

    classes: k, whichever of them the rows show; where it is two, f1_binary is that of the second.
    The calibration error has a standard error where it is asked: 0.3 s for 40,000 rows, the others
    next to nothing (2026-11-21).
    """
    n = len(labels)
    hits = (labels == predictions).astype(float)
    cells = np.bincount(labels * classes + predictions, minlength=classes**2)
    counts = cells.reshape(classes, classes)
    draws = np.random.default_rng(0).multinomial(n, cells / n, size=_RESAMPLES)
    draws = draws.reshape(_RESAMPLES, classes, classes)
    accuracy = float(np.trace(counts) / n)
    metrics = {
        "accuracy": accuracy,
        "eval_loss": float(losses.mean()),
        "f1": float(macro_f1(counts)),
        "matthews_correlation": float(matthews(counts)),
        "calibration_error": calibration_error(hits, confidences),
    }
    errors = {
        "accuracy": float(np.sqrt(accuracy * (1 - accuracy) / n)),
        "eval_loss": float(losses.std() / np.sqrt(n)),
        "f1": float(np.std(macro_f1(draws))),
        "matthews_correlation": float(np.std(matthews(draws))),
    }
    if "calibration_error" in asked:
        errors |= resampled(
            n,
            lambda rows: {"calibration_error": calibration_error(hits[rows], confidences[rows])},
        )
    if classes == 2:
        metrics["f1_binary"] = float(binary_f1(counts))
        errors["f1_binary"] = float(np.std(binary_f1(draws)))
    return metrics, errors


def calibration_error(hits: NDArray[Any], confidences: NDArray[Any]) -> float:
    """Expected calibration error over bins of equal width (Guo 2017, arXiv 1706.04599, section 2).

    hits: (n,) 1 where the prediction is right. confidences: (n,) its probability.
    """
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    apart = np.bincount(bins, weights=hits - confidences, minlength=_BINS)
    return float(np.abs(apart).sum() / len(hits))


def binary_f1(counts: NDArray[Any]) -> NDArray[Any]:
    """F1 of the second of two classes; 0 where it is neither there nor predicted.

    counts: (..., 2, 2); returns (...).
    """
    seen = (counts.sum(-1) + counts.sum(-2))[..., 1].astype(float)
    score: NDArray[Any] = np.divide(
        2.0 * counts[..., 1, 1], seen, out=np.zeros(seen.shape), where=seen > 0
    )
    return score


def macro_f1(counts: NDArray[Any]) -> NDArray[Any]:
    """F1, averaged over the classes that occur as label or prediction.

    counts: (..., k, k); returns (...).
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    seen = counts.sum(-1) + counts.sum(-2)
    scores = np.divide(2 * hits, seen, out=np.zeros(hits.shape), where=seen > 0)
    mean: NDArray[Any] = scores.sum(-1) / np.maximum((seen > 0).sum(-1), 1)
    return mean


def matthews(counts: NDArray[Any]) -> NDArray[Any]:
    """The Matthews correlation of k classes (Gorodkin 2004); 0 where one side never varies.

    counts: (..., k, k); returns (...).
    """
    counts = counts.astype(float)
    total = counts.sum((-2, -1))
    labels, predictions = counts.sum(-1), counts.sum(-2)
    hits = np.trace(counts, axis1=-2, axis2=-1)
    above = hits * total - (labels * predictions).sum(-1)
    below = np.sqrt(total**2 - (labels**2).sum(-1)) * np.sqrt(total**2 - (predictions**2).sum(-1))
    correlation: NDArray[Any] = np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
    return correlation


def language_metrics(losses: NDArray[Any]) -> Scores:
    """Token-mean cross-entropy, its perplexity, and standard errors, tokens taken as independent.

    losses: (tokens,).
    """
    return with_perplexity(float(losses.mean()), float(losses.std() / np.sqrt(len(losses))))


def with_perplexity(loss: float, error: float) -> Scores:
    """A loss of tokens and its perplexity, infinite where that is no number; with their errors.

    That of the perplexity follows from the loss's by the slope of exp (delta method).
    """
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(loss))
    return (
        {"eval_loss": loss, "perplexity": perplexity},
        {"eval_loss": error, "perplexity": perplexity * error},
    )


def release_memory() -> None:
    """Give back what earlier trials left, so that the next one is measured from the same start."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # Without it the heap of a trial is re-used by the next, whose resident set then grows by 0.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class PeakMemory:
    """Peak memory while the block runs: of the GPU, or the growth of the resident set.

    kind: `cuda` or `rss_growth`; peak_gib: after the block.
    """

    def __init__(self, *, every_s: float = 0.02) -> None:
        self.kind = "cuda" if torch.cuda.is_available() else "rss_growth"
        self.peak_gib = 0.0
        self._every_s = every_s
        self._done = threading.Event()
        self._process = psutil.Process()

    def __enter__(self) -> "PeakMemory":
        release_memory()
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return self
        self._before = self._top = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.kind == "cuda":
            self.peak_gib = torch.cuda.max_memory_allocated() / 2**30
            return
        self._done.set()
        self._thread.join()
        self.peak_gib = (self._top - self._before) / 2**30

    def _watch(self) -> None:
        while not self._done.wait(self._every_s):
            self._top = max(self._top, self._process.memory_info().rss)
