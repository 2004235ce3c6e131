"""`autopeft plan`: the table of branches, and what the budget costs."""

import math
import time
from typing import Any

from rich.table import Table

from autopeft.domain.model import ModelShape
from autopeft.domain.plan import plan_branch
from autopeft.domain.ports import Problem
from autopeft.domain.study import StudySpec
from autopeft.terminal import clock, out

_SHARE_OF_PEAK = 0.4  # of a large matrix product that training reaches: an assumption, and said so
_PROBE = 1024
_IMAGE_TOKENS = 197  # of a ViT with patches of 16 on 224 pixels


def plan_rows(problem: Problem) -> list[dict[str, Any]]:
    """One JSON row a branch; an infinite count is null."""
    rows = []
    for branch in problem.space.branches:
        row = plan_branch(branch, problem)
        counted = {
            name: None if math.isinf(number := getattr(row, name)) else int(number)
            for name in ("parameter_sets", "architectures")
        }
        rows.append({**vars(row), **counted})
    return rows


def cost_of(spec: StudySpec, shape: ModelShape) -> dict[str, Any]:
    """What the budget buys: steps and FLOPs of a full trial, hours at this machine's speed.

    FLOPs: 4 N per token of an adapter's step (forward, and backward through activations), N the
    backbone's parameters in its layers; the machine's speed is measured by one matrix product.
    """
    if spec.evaluator is not None:  # only the user's code knows how long it trains
        return {"trials": spec.budget.trials, "parallel": spec.search.parallel}
    from autopeft.training.data import load_data

    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    recipe = spec.training
    batch = int(recipe.get("per_device_train_batch_size", 8))
    batch *= int(recipe.get("gradient_accumulation_steps", 1))
    epochs = float(recipe.get("num_train_epochs", 3.0))
    steps = int(recipe.get("max_steps", -1))
    if steps <= 0:
        steps = math.ceil(len(data.train) / batch * epochs)
    tokens = steps * batch * _row_tokens(spec)
    flops = 4.0 * sum(module.parameters for module in shape.modules) * tokens
    seconds = flops / (_flops_per_second() * _SHARE_OF_PEAK)
    trials = spec.budget.trials
    return {
        "steps_per_full_trial": steps,
        "tokens_per_full_trial_at_most": tokens,
        "petaflops_per_full_trial_at_most": flops / 1e15,
        "seconds_per_full_trial_estimated": seconds,
        "hours_at_most_estimated": None if trials is None else trials * seconds / 3600,
        "trials": trials,
        "parallel": spec.search.parallel,
    }


def _row_tokens(spec: StudySpec) -> int:
    """The most tokens of a row."""
    kind = spec.task
    if "image" in kind.columns:
        return _IMAGE_TOKENS
    length = int(spec.data.get("max_length", kind.max_length or 128))
    return length + int(spec.data.get("max_target_length", kind.max_target_length or 0))


def print_plan(spec: StudySpec, rows: list[dict[str, Any]], cost: dict[str, Any]) -> None:
    """The plan for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("branch", "architectures", "recipe varies", "adapter", "memory", "refused"):
        left = name in ("branch", "recipe varies")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row["name"] + (" (baseline)" if row["baseline"] else ""),
            _counted(row["architectures"]),
            ", ".join(row["recipe"]) or "-",
            _extent(row["adapter_params"]),
            _extent(row["peak_memory_gib"], " GiB"),
            f"{row['refused']:.0%}",
        )
    out.print(table)
    counts = [row["architectures"] for row in rows if not row["baseline"]]
    total = "infinitely many" if None in counts else f"{sum(counts):,}"
    sets = [row["parameter_sets"] for row in rows if not row["baseline"]]
    empty = "" if None in sets or sum(sets) == sum(counts) else f" of {sum(sets):,} parameter sets"
    if any(count != 0 for count in counts):
        memory = "; memory is that of training at its peak, estimated"
        out.print(f"\n{total} architectures to search{empty}, the recipe apart.")
        out.print(
            f"Sizes are the extent of {rows[0]['sampled']} random points a branch, without the head"
            f"{'' if spec.evaluator else memory}."
        )
    if spec.evaluator is not None:
        limit = "no limit on" if cost["trials"] is None else f"{cost['trials']}"
        out.print(
            f"Your own training code: {limit} trials, {cost['parallel']} at a time; "
            "what one costs shows when it ran."
        )
        return
    hours = cost["hours_at_most_estimated"]
    budget = "no limit on trials" if hours is None else f"{cost['trials']} trials"
    text = (
        f"A full trial: {cost['steps_per_full_trial']:,} steps, about "
        f"{clock(cost['seconds_per_full_trial_estimated'])} on one worker here"
    )
    if hours is not None:
        text += (
            f"; {budget} at most {clock(hours * 3600)} of work, "
            f"{clock(hours * 3600 / spec.search.parallel)} with {spec.search.parallel} at a time"
        )
    out.print(
        f"{text} (estimated: {_SHARE_OF_PEAK:.0%} of this machine's matrix speed, full length)."
    )
    if spec.search.rungs is not None:
        out.print("Rungs stop most trials early, so the search takes less than that.")


def _counted(architectures: int | None) -> str:
    if architectures is None:
        return "infinite"
    return f"{architectures:,}" if architectures else "-"


def _extent(pair: tuple[float, float] | None, unit: str = "") -> str:
    if pair is None:
        return "-"
    low, high = (f"{value:.2g}" if unit else f"{value:,.0f}" for value in pair)
    return (low if low == high else f"{low} to {high}") + unit


def _flops_per_second() -> float:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    square = torch.ones(_PROBE, _PROBE, device=device)
    _ = square @ square
    began = time.perf_counter()
    for _ in range(3):
        product = square @ square
    product.sum().item()
    return 3 * 2 * _PROBE**3 / (time.perf_counter() - began)
