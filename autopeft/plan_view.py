"""`autopeft plan`: what the space holds, what a trial takes, and what the budget buys."""

import math
import textwrap
import time
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from autopeft.domain.budget.plan import plan_branch
from autopeft.domain.budget.purchase import purchase
from autopeft.domain.estimates.time import CORE, GPU
from autopeft.domain.ports import Problem
from autopeft.domain.study import StudySpec
from autopeft.terminal import out

_SHARE_OF_PEAK = 0.4  # of a large matrix product that training reaches: an assumption, and said so
_PROBE = {"cpu": 1024, "cuda": 8192}  # rows of the product: what takes a device some time
_COLUMNS = 80
_HOUR, _MINUTE = 3600, 60


def plan_of(spec: StudySpec, problem: Problem) -> dict[str, Any]:
    """The plan as JSON: a row a branch (an infinite count is null), and what the budget buys.

    Times are those of the estimates' formula on a machine that computes as fast as this one, where
    a trial runs on the kind of device that is here.
    """
    rows: list[dict[str, Any]] = []
    for branch in problem.space.branches:
        found = plan_branch(branch, problem, rungs=spec.search.rungs)
        counted = {
            name: None if math.isinf(number := getattr(found, name)) else int(number)
            for name in ("parameter_sets", "architectures")
        }
        rows.append({**vars(found), **counted})
    if problem.estimates is None:  # only the user's code knows how long it trains
        return {"branches": rows, "machine": None, "budget": vars(purchase(spec, None))}
    slower, machine = _machine(spec, half=problem.shape.backbone_bytes == 2)
    for row in rows:
        if row["train_seconds"] is not None:
            row["train_seconds"] = tuple(slower * value for value in row["train_seconds"])
            row["mean_seconds"] *= slower
            row["full_seconds"] *= slower
    seconds, full = (
        [row[name] for row in rows if row[name] is not None]
        for name in ("mean_seconds", "full_seconds")
    )
    return {"branches": rows, "machine": machine, "budget": vars(purchase(spec, seconds, full))}


def _machine(spec: StudySpec, *, half: bool) -> tuple[float, str]:
    """How much slower than the formula's machine a trial is here, and what it was told by.

    half: the model computes in 16 bits.
    """
    import torch

    cores = max(1, int(spec.resources.cpus_per_trial))
    here = f"{cores} CPU core{'' if cores == 1 else 's'} of this machine"
    if spec.resources.gpus_per_trial == 0:
        speed = _SHARE_OF_PEAK * _flops_per_second("cpu", torch.float32, cores=cores)
        return CORE.operations / speed, here
    if torch.cuda.is_available():
        half = half or spec.training.get("bf16") is True or spec.training.get("fp16") is True
        kind = torch.bfloat16 if half else torch.float32
        speed = _SHARE_OF_PEAK * _flops_per_second("cuda", kind, cores=cores)
        return GPU.operations / speed, "this machine's GPU"
    return 1.0, f"a GPU that reaches {GPU.operations / 1e12:.0f} TFLOP/s, as there is none here"


def _flops_per_second(device: str, kind: Any, *, cores: int) -> float:
    """Of a large matrix product; the best of a few, as others may be at work here."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(min(cores, threads))
    try:
        square = torch.ones(_PROBE[device], _PROBE[device], device=device, dtype=kind)
        best = math.inf
        for _ in range(5):
            began = time.perf_counter()
            (square @ square).sum().item()
            best = min(best, time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 2 * _PROBE[device] ** 3 / best


def print_plan(spec: StudySpec, plan: Mapping[str, Any]) -> None:
    """The plan for people, in 80 columns."""
    rows = plan["branches"]
    _print_table(spec, rows)
    out.print()
    recipes: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        recipes.setdefault(row["recipe"], []).append(row["name"])
    for recipe, names in recipes.items():
        if recipe:
            everywhere = "Everywhere" if len(recipes) == 1 else f"In {', '.join(names)}"
            _say(f"{everywhere} the recipe varies too: {', '.join(recipe)}.")
    for row in rows:
        if row["refused"]:
            _say(
                f"{row['refused']:.0%} of the points of {row['name']} are refused by the model or "
                "a known limit, and never tried."
            )
        if row["breaks"]:
            _say(
                f"{row['name']} breaks {' and '.join(row['breaks'])}, and is trained all the same: "
                "the front is compared with it."
            )
    counts = [row["architectures"] for row in rows if not row["baseline"]]
    total = "infinitely many" if None in counts else f"{sum(counts):,}"
    kinds = "architecture" if total == "1" else "architectures"
    sets = [row["parameter_sets"] for row in rows if not row["baseline"]]
    empty = "" if None in sets or sum(sets) == sum(counts) else f" of {sum(sets):,} parameter sets"
    if any(count != 0 for count in counts):
        measured = "" if spec.evaluator else "; memory is that of training at its peak, estimated"
        _say(
            f"{total} {kinds} to search{empty}, the recipe apart. Sizes are the extent of "
            f"{rows[0]['sampled']} random points a branch, without the head{measured}.",
            first=True,
        )
    _print_budget(spec, plan)


def _print_table(spec: StudySpec, rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("branch", overflow="fold")
    names = ["architectures", "adapter parameters"]
    if spec.evaluator is None:
        names += ["memory", "full trial"]
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        cells = [_counted(row["architectures"]), _extent(row["adapter_params"], _whole)]
        if spec.evaluator is None:
            cells += [
                _extent(row["peak_memory_gib"], _gib),
                _extent(row["train_seconds"], duration),
            ]
        table.add_row(row["name"] + (" (baseline)" if row["baseline"] else ""), *cells)
    out.print(table)


def _print_budget(spec: StudySpec, plan: Mapping[str, Any]) -> None:
    buys, parallel = plan["budget"], spec.search.parallel
    if plan["machine"] is None:
        limit = "no limit on" if buys["trials"] is None else f"{buys['trials']}"
        _say(
            f"Your own training code: {limit} trials, {parallel} at a time; "
            "what one costs shows when it ran.",
            first=True,
        )
        return
    steps = [row["steps"] for row in plan["branches"] if row["steps"]]
    if steps:
        extent = _extent((min(s[0] for s in steps), max(s[1] for s in steps)), _whole)
        _say(f"A full trial has about {extent} steps.", first=True)
    if buys["trials"] is not None:
        _say(_bought(spec, buys))
    if buys["work_hours"] is not None:
        _say(_spent(spec, buys))
    _say(
        f"Times are estimates for {plan['machine']} by its speed at matrix products alone: good to "
        "compare branches, and off by a factor of 2 or more in themselves; the first trials tell."
    )


def _bought(spec: StudySpec, buys: Mapping[str, Any]) -> str:
    """The trials, and what becomes of them."""
    text = f"The budget buys {buys['trials']:,} trials"
    if buys["ends_by"] != "trials":
        text = f"The budget buys about {buys['trials']:,} trials, which spend its {buys['ends_by']}"
    parts = [f"{buys['baselines']} of baselines"] if buys["baselines"] else []
    if buys["confirming"]:
        parts.append(f"{buys['confirming']} or more that confirm")
    rungs = spec.search.rungs
    if rungs is not None:
        at = ", ".join(f"{value:g}" for value in rungs.at)
        parts.append(
            f"{buys['finished']} trained to the end: of those that reach a rung (at {rungs.unit} "
            f"{at}) one in {rungs.eta:g} goes on"
        )
    return f"{text}{': ' if parts else ''}{', '.join(parts)}."


def _spent(spec: StudySpec, buys: Mapping[str, Any]) -> str:
    """Hours and money."""
    unit = "GPU" if spec.resources.gpus_per_trial else "CPU"
    text = f"They take {duration(buys['work_hours'] * _HOUR)} of work"
    if spec.search.parallel > 1:
        wall = duration(buys["wall_hours"] * _HOUR)
        text += f", {wall} with {spec.search.parallel} at a time"
    text += f": {buys['device_hours']:.2g} {unit} hours"
    if buys["cost"] is not None:
        text += f", {buys['cost']:.2f} at {spec.resources.price_per_hour:g} an hour"
    return text + "."


def _say(text: str, *, first: bool = False) -> None:
    """A paragraph; first: with an empty line before."""
    if first:
        out.print()
    for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False):
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _counted(architectures: int | None) -> str:
    if architectures is None:
        return "infinite"
    return f"{architectures:,}" if architectures else "-"


def _extent(pair: tuple[float, float] | None, told: Any) -> str:
    """Smallest to largest; a unit that both have is said once."""
    if pair is None:
        return "-"
    low, high = (told(value) for value in pair)
    if low == high:
        return str(low)
    (a, _, unit), (_, _, other) = low.partition(" "), high.partition(" ")
    return f"{a if unit == other else low}-{high}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value < 1e7 else f"{value / 1e6:,.0f} M"


def _gib(value: float) -> str:
    return f"{value:.2g} GiB"


def duration(seconds: float) -> str:
    """As people say it: `25 s`, `8.5 min`, `1.8 h`, `120 h`."""
    for unit, length in (("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            value = seconds / length
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
