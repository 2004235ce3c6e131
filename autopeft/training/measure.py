"""What a trial is judged by: validation metrics with their standard errors, memory, time."""

import threading
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, matthews_corrcoef

_RESAMPLES = 200


def classify(model: Any, loader: Any, device: torch.device) -> tuple[NDArray[Any], NDArray[Any]]:
    """(n,) cross-entropy and (n,) predicted label of every row, without any penalty of a tuner."""
    model.eval()
    losses, predictions = [], []
    with torch.no_grad():
        for batch in loader:
            batch = {name: value.to(device) for name, value in batch.items()}
            labels = batch.pop("labels")
            logits = model(**batch).logits.float()
            losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
            predictions.append(logits.argmax(-1))
    return torch.cat(losses).double().cpu().numpy(), torch.cat(predictions).cpu().numpy()


def language_losses(model: Any, loader: Any, device: torch.device) -> NDArray[Any]:
    """(tokens,) cross-entropy of every token that carries a label."""
    model.eval()
    losses = []
    with torch.no_grad():
        for batch in loader:
            batch = {name: value.to(device) for name, value in batch.items()}
            labels = batch.pop("labels")
            logits = model(**batch).logits.float()
            token_losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none"
            )
            losses.append(token_losses[labels[:, 1:].flatten() != -100])
    return torch.cat(losses).double().cpu().numpy()


def classification_metrics(
    losses: NDArray[Any], predictions: NDArray[Any], labels: NDArray[Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics and their standard errors; those of f1 and Matthews by bootstrap."""
    n = len(labels)
    accuracy = float(np.mean(predictions == labels))
    scores = {
        "f1": lambda rows: f1_score(
            labels[rows], predictions[rows], average="macro", zero_division=0.0
        ),
        "matthews_correlation": lambda rows: matthews_corrcoef(labels[rows], predictions[rows]),
    }
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, n, n) for _ in range(_RESAMPLES)]
    metrics = {"accuracy": accuracy, "eval_loss": float(losses.mean())}
    errors = {
        "accuracy": float(np.sqrt(accuracy * (1 - accuracy) / n)),
        "eval_loss": float(losses.std() / np.sqrt(n)),
    }
    for name, score in scores.items():
        metrics[name] = float(score(np.arange(n)))
        errors[name] = float(np.std([score(rows) for rows in draws]))
    return metrics, errors


def language_metrics(losses: NDArray[Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Token-mean cross-entropy and its standard error, tokens taken as independent."""
    return (
        {"eval_loss": float(losses.mean())},
        {"eval_loss": float(losses.std() / np.sqrt(len(losses)))},
    )


class PeakMemory:
    """Peak memory while the block runs: of the GPU, or the growth of the resident set.

    kind: `cuda` or `rss_growth`; peak_gib: after the block.
    """

    def __init__(self, *, every_s: float = 0.05) -> None:
        self.kind = "cuda" if torch.cuda.is_available() else "rss_growth"
        self.peak_gib = 0.0
        self._every_s = every_s
        self._done = threading.Event()
        self._process = psutil.Process()

    def __enter__(self) -> "PeakMemory":
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
