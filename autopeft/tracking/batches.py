"""Parameters, metrics and tags of one run, within MLflow's limits.

Every write may be repeated with the same values and changes nothing then.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

LONGEST_PARAM = 500
"""Characters; longer values go to `params.json` (servers of MLflow 1 refuse more)."""
LONGEST_TAG = 1000
LONGEST_KEY = 250
_PER_BATCH = 100  # parameters or tags
_METRICS_PER_BATCH = 1000
_T = TypeVar("_T")


def metric_key(name: str) -> str:
    """The name as MLflow takes it: ASCII letters, digits, `_ - . /` and blanks."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)[:LONGEST_KEY]


def short(value: Any) -> str:
    """The value as the text of a tag, cut at `LONGEST_TAG`."""
    text = str(value)
    return text if len(text) <= LONGEST_TAG else text[: LONGEST_TAG - 1] + "…"


def log_params(client: MlflowClient, run: str, params: Mapping[str, Any]) -> None:
    """Log parameters once: one that the run has already keeps its value."""
    texts = {metric_key(name): str(value) for name, value in params.items()}
    if any(len(text) > LONGEST_PARAM for text in texts.values()):
        client.log_dict(run, dict(params), "params.json")
    there = client.get_run(run).data.params
    new = [
        Param(name, text)
        for name, text in texts.items()
        if name not in there and len(text) <= LONGEST_PARAM
    ]
    for some in _chunks(new, _PER_BATCH):
        client.log_batch(run, params=some)


def log_metrics(
    client: MlflowClient,
    run: str,
    points: Sequence[tuple[int, Mapping[str, float]]],
    time_ms: int,
) -> None:
    """Log metrics by step.

    What is not finite is left out (MLflow stores inf as 1.8e308) and told by a tag.

    Args:
        points: (step, name -> value).
        time_ms: the event's own time: with it a repetition is the same row, stored once.
    """
    finite, skipped = [], {}
    for step, metrics in points:
        for name, told in metrics.items():
            value = float(told)  # the outbox keeps what is not finite as a text
            if math.isfinite(value):
                finite.append(Metric(metric_key(name), value, time_ms, int(step)))
            else:
                skipped[f"autopeft.not_finite.{name}"] = f"{value} at step {step}"
    for some in _chunks(finite, _METRICS_PER_BATCH):
        client.log_batch(run, metrics=some)
    set_tags(client, run, skipped)


def set_tags(client: MlflowClient, run: str, tags: Mapping[str, Any]) -> None:
    rows = [RunTag(metric_key(name), short(value)) for name, value in tags.items()]
    for some in _chunks(rows, _PER_BATCH):
        client.log_batch(run, tags=some)


def _chunks(rows: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
