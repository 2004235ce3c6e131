"""The tables of the protocol, from its record.

A cell of the first table: mean accuracy on the test split over the fresh seeds, ± half its 95 %
interval (seeds and rows, as `confirm` tells it), and what was trained. The frozen encoder has no
seeds: its interval is of the rows alone. Differences are paired by seed, with Student's interval.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from autopeft.domain.results.intervals import Z95, t95

Row = Mapping[str, Any]
BASELINES = {
    "lora_all_linear": "LoRA r=8, all linear layers, tuned",
    "serial_adapter": "serial adapter, tuned",
    "prefix": "prefix, tuned",
    "full_fine_tuning": "full fine-tuning, tuned",
}


def report(rows: Sequence[Row]) -> str:
    """Markdown; what is not there yet is left out."""
    tasks = [row["task"] for row in rows if row["kind"] == "frozen"]
    tasks = [task for task in dict.fromkeys(tasks) if _confirmed(rows, task)]
    parts = [
        *_accuracies(rows, tasks),
        "",
        *_against_control(rows, tasks),
        "",
        *_fronts(rows, tasks),
    ]
    if any(row["kind"] == "transfer" for row in rows):
        parts += ["", *_transfers(rows)]
    return "\n".join(parts)


def best_searched(rows: Sequence[Row], task: str) -> Row | None:
    """What the search found, no baseline, that is best on validation at the fresh seeds.

    None: the task is not confirmed, or nothing but baselines was on its front.
    """
    document = _confirmed(rows, task) or {"parties": []}
    return _best(party for party in document["parties"] if not party["baseline"])


def _accuracies(rows: Sequence[Row], tasks: Sequence[str]) -> Iterator[str]:
    yield f"| test accuracy | {' | '.join(tasks)} |"
    yield "|---" * (len(tasks) + 1) + "|"
    cells = [_frozen_cell(next(r for r in _kind(rows, "frozen", task))) for task in tasks]
    yield f"| frozen, logistic regression | {' | '.join(cells)} |"
    for branch, name in BASELINES.items():
        cells = [_cell(_baseline(rows, task, branch)) for task in tasks]
        yield f"| {name} | {' | '.join(cells)} |"
    cells = [_cell(_control(rows, task)) for task in tasks]
    yield f"| control: best LoRA of the whole budget | {' | '.join(cells)} |"
    cells = [_cell(best_searched(rows, task)) for task in tasks]
    yield f"| search: its best, no baseline | {' | '.join(cells)} |"


def _against_control(rows: Sequence[Row], tasks: Sequence[str]) -> Iterator[str]:
    yield "| task | the search's best − the control's, test | − tuned LoRA | − full fine-tuning | hypervolume, search and control | trials | their minutes of a shared core |"
    yield "|---|---|---|---|---|---|---|"
    for task in tasks:
        best, document = best_searched(rows, task), _confirmed(rows, task)
        cells = [task, _paired(best, f"{task}-control"), _paired(best, "lora_all_linear")]
        cells.append(_paired(best, "full_fine_tuning"))
        sides = (document["control"] or {"studies": []})["studies"]
        cells.append(" and ".join(f"{side['hypervolume']:.3f}" for side in sides))
        searched = [_searched(rows, study) for study in (task, f"{task}-control")]
        cells.append(" and ".join(str(len(trials)) for trials in searched))
        minutes = [sum(row["seconds"] for row in trials) / 60 for trials in searched]
        cells.append(" and ".join(f"{spent:.0f}" for spent in minutes))
        yield f"| {' | '.join(cells)} |"


def _fronts(rows: Sequence[Row], tasks: Sequence[str]) -> Iterator[str]:
    yield "| task | confirmed | trained | searched | validation | test | on front | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for task in tasks:
        for party in _confirmed(rows, task)["parties"]:
            note = " (baseline)" if party["baseline"] else ""
            cells = [task, party["name"] + note, f"{party['known']['trainable_params']:,.0f}"]
            cells.append(_share(party["searched"]["accuracy"]))
            cells += [_estimate(party[split]["accuracy"]) for split in ("validation", "test")]
            cells += [f"{party['on_front']:.2f}", party["verdict"]]
            yield f"| {' | '.join(cells)} |"


def _transfers(rows: Sequence[Row]) -> Iterator[str]:
    yield "| from | to | configuration | trained | test | LoRA of its size, tuned there | difference | the task's own best − it |"
    yield "|---|---|---|---|---|---|---|---|"
    moved = [row for row in rows if row["kind"] == "transfer" and row["party"] == "moved"]
    for source, target in dict.fromkeys((row["source"], row["task"]) for row in moved):
        there = {
            party: {
                row["seed"]: row["test"]
                for row in rows
                if row["kind"] == "transfer"
                and (row["source"], row["task"], row["party"]) == (source, target, party)
            }
            for party in ("moved", "lora")
        }
        one = next(r for r in moved if (r["source"], r["task"]) == (source, target))
        cells = [source, target, one["name"], f"{one['trainable_params']:,.0f}"]
        cells += [_over_seeds(there["moved"]), _over_seeds(there["lora"])]
        cells.append(_difference(there["moved"], there["lora"]))
        own = ""
        if (best := best_searched(rows, target)) is not None:
            of_its_own = {
                row["seed"]: row["test"]
                for row in rows
                if row["kind"] == "run"
                and row["study"] == target
                and row["confirms"] == best["trial"]
            }
            own = _difference(of_its_own, there["moved"])
        yield f"| {' | '.join([*cells, own])} |"


def _kind(rows: Sequence[Row], kind: str, task: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind and row["task"] == task]


def _confirmed(rows: Sequence[Row], study: str) -> Row | None:
    found = [row for row in rows if row["kind"] == "confirmed" and row["study"] == study]
    return found[-1] if found else None


def _best(parties: Iterable[Row]) -> Row | None:
    return max(parties, key=lambda party: party["validation"]["accuracy"]["mean"], default=None)


def _baseline(rows: Sequence[Row], task: str, branch: str) -> Row | None:
    parties = _confirmed(rows, task)["parties"]
    return _best(party for party in parties if party["baseline"] and party["branch"] == branch)


def _control(rows: Sequence[Row], task: str) -> Row | None:
    document = _confirmed(rows, f"{task}-control")
    if document is None:
        return None
    return max(document["parties"], key=lambda party: party["searched"]["accuracy"])


def _searched(rows: Sequence[Row], study: str) -> list[Row]:
    return [r for r in rows if r["kind"] == "run" and r["study"] == study and r["confirms"] is None]


def _cell(party: Row | None) -> str:
    if party is None:
        return ""
    return f"{_estimate(party['test']['accuracy'])} ({_size(party['known']['trainable_params'])})"


def _frozen_cell(row: Row) -> str:
    half = Z95 * sqrt(row["test"] * (1 - row["test"]) / row["test_rows"])
    return f"{_share(row['test'])} ± {_share(half)} ({_size(row['trainable_params'])})"


def _paired(party: Row | None, name: str) -> str:
    against = party["against"] if party else []
    found = [other["test"] for other in against if other["name"] == name]
    return _signed(found[0]["mean"], (found[0]["high"] - found[0]["low"]) / 2) if found else ""


def _difference(mine: Mapping[int, float], other: Mapping[int, float]) -> str:
    pairs = [mine[seed] - other[seed] for seed in mine if seed in other]
    if len(pairs) < 2:
        return ""
    return _signed(mean(pairs), _student(pairs))


def _over_seeds(values: Mapping[int, float]) -> str:
    told = list(values.values())
    return f"{_share(mean(told))} ± {_share(_student(told))}" if len(told) > 1 else ""


def _student(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of a mean."""
    return t95(len(values) - 1) * stdev(values) / sqrt(len(values))


def _estimate(estimate: Row) -> str:
    return f"{_share(estimate['mean'])} ± {_share((estimate['high'] - estimate['low']) / 2)}"


def _signed(value: float, half: float) -> str:
    sign = "+" if value >= 0 else "-"
    return f"{sign}{_share(abs(value))} ± {_share(half)}"


def _share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _size(count: float) -> str:
    if count >= 1e6:
        return f"{count / 1e6:.1f} M"
    return f"{count / 1e3:.0f} k" if count >= 1e4 else f"{count / 1e3:.1f} k"
