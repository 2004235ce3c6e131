"""Every fitting PEFT type, every tuner of ours and every allocation on SST-2, at a tuned rate.

    python benchmarks/methods.py record --workers 4      # about 25 minutes on 4 cores
    python benchmarks/methods.py table                   # writes benchmarks/methods.md

One learning rate of four is chosen for each entry by its validation accuracy at seed 0; then two
more seeds at that rate: six trials an entry, three of them in the table. One epoch of 1,000 training
rows of up to 32 tokens in batches of 16, MiniLM (22.7 M parameters), 872 validation rows. Modules
are on query and value of all layers where the method has targets; allocations spread LoRA r=8
there. The chosen seed is part of the mean: with four rates tried that flatters every entry alike.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from autopeft import build
from autopeft.config import load
from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.ports import Evaluator
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, Segment, Stop

SPACE = Path(__file__).with_name("sst2.yaml")
ROWS = Path(__file__).with_name("methods.jsonl")
TABLE = Path(__file__).with_name("methods.md")
RATES = (5e-4, 2e-3, 8e-3, 3e-2)
SEEDS = (0, 1, 2)
QV = ["attention.query", "attention.value"]
LORA: dict[str, Any] = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": QV}

_SIZED: dict[str, dict[str, Any]] = {
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 32},
    "FOURIERFT": {"n_frequency": 1000},
    "GRALORA": {"r": 8},
    "HIRA": {"r": 8},
    "LILY": {"r": 16, "num_B": 3, "stride_A": 2},
    "MISS": {"r": 8},
    "OFT": {"oft_block_size": 32},
    "OSF": {"effective_rank": 376},
    "PEANUT": {"r": 8},
    "PSOFT": {"r": 32},
    "ROAD": {"group_size": 64},
    "SHIRA": {"r": 8},
    "SUPERTUNING": {"sparsity": 0.98},
    "SVFIT": {"r": 64},
    "VBLORA": {"vector_length": 32},
    "WAVEFT": {"n_frequency": 1000},
}
_PLAIN = ("BEFT", "DEFT", "DELORA", "FROD", "GLORA", "HRA", "LOHA", "LOKR", "PACA", "PVERA")
_PLAIN += ("RANDLORA", "SSF", "TINYLORA", "UNILORA", "VERA")
_VARIANTS: dict[str, dict[str, Any]] = {
    "gaussian": {"init_lora_weights": "gaussian"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "init eva": {"init_lora_weights": "eva"},
    "init corda": {"init_lora_weights": "corda"},
    "init lora_ga": {"init_lora_weights": "lora_ga"},
    "mica": {"init_lora_weights": "mica"},
    "DoRA": {"use_dora": True},
    "rsLoRA": {"use_rslora": True},
    "lora_bias": {"lora_bias": True},
}
_ALLOCATIONS = ("adalora", "eva", "increlora", "ist", "lisa", "owlore", "random", "spt")
ENTRIES: dict[str, dict[str, Any]] = {
    "full fine-tuning": {"full_fine_tuning": True},
    "full fine-tuning, lisa": {"full_fine_tuning": True, "allocation": "lisa"},
    "frozen model, head trained": {"modules": [LORA | {"r": 0}]},
    "LORA": {"modules": [LORA]},
    **{f"LORA, {name}": {"modules": [LORA | fields]} for name, fields in _VARIANTS.items()},
    **{f"LORA, {name}": {"modules": [LORA], "allocation": name} for name in _ALLOCATIONS},
    "IA3": {"modules": [{"peft_type": "IA3", "target_modules": [*QV, "feed_forward.down"]}]},
    "LN_TUNING": {"modules": [{"peft_type": "LN_TUNING", "target_modules": "norm"}]},
    **{
        name: {"modules": [{"peft_type": name, "target_modules": QV, **_SIZED.get(name, {})}]}
        for name in sorted({*_SIZED, *_PLAIN})
    },
    **{
        name: {"modules": [{"peft_type": name, "num_virtual_tokens": 16}]}
        for name in ("CARTRIDGE", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
    },
    "LAYER_PREFIX": {"modules": [{"peft_type": "LAYER_PREFIX", "num_virtual_tokens": 16}]},
    "SERIAL_ADAPTER": {"modules": [{"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 16}]},
    "SERIAL_ADAPTER, Compacter": {
        "modules": [{"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 16, "phm_dim": 4}]
    },
    "PARALLEL_ADAPTER": {"modules": [{"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": 16}]},
    "composite of AutoPEFT": {
        "modules": [
            {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 12},
            {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": 12},
            {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 6},
        ],
        "layers": {"last": 4},
    },
}

_SMALLER = (
    "data.limit.train=1000",
    "training.num_train_epochs=1",
    "training.per_device_train_batch_size=16",
)

_evaluator: Evaluator | None = None  # one per worker process, with a folder of its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record")
    recording.add_argument("--workers", type=int, default=4)
    verbs.add_parser("table")
    arguments = parser.parse_args()
    if arguments.verb == "record":
        record(arguments.workers)
    else:
        TABLE.write_text(table(_read()))
        print(f"{len(ENTRIES)} entries: {TABLE}")


def record(workers: int) -> None:
    """Train what the rows lack: first every rate at seed 0, then the best rate at the others."""
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        context.Pool(workers, initializer=_start, initargs=(Path(folder),)) as pool,
        ROWS.open("a") as file,
    ):
        for plan in (_rates, _seeds):
            have = {(row["entry"], row["rate"], row["seed"]) for row in _read()}
            missing = [job for job in plan(_read()) if job not in have]
            for i, row in enumerate(pool.imap_unordered(_train, missing)):
                file.write(json.dumps(row) + "\n")
                file.flush()
                said = row["failure"] or row["metrics"]["accuracy"]
                print(f"{i + 1}/{len(missing)} {row['entry']} {row['rate']}: {said}", flush=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures as markdown, the most accurate first."""
    lines = [
        "# Methods and allocations on SST-2",
        "",
        "Written by `python benchmarks/methods.py table`; see the script for what was run. Accuracy",
        "on 872 validation rows: mean of three seeds ± standard error. Sizes in numbers: trained with",
        "the head, stored without it. Memory is growth of the resident set; step times are medians",
        "on a shared CPU, three trials at a time beside other work: they say little.",
        "",
        "| entry | rate | accuracy | trained | stored | memory MiB | step ms |",
        "|---|---|---|---|---|---|---|",
    ]
    found = [_line(entry, rows) for entry in ENTRIES]
    return "\n".join([*lines, *(text for _, text in sorted(found, reverse=True))]) + "\n"


def _line(entry: str, rows: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    mine = [row for row in rows if row["entry"] == entry]
    rate = _best_rate(entry, rows)
    if rate is None:
        why = next((row["failure"] for row in mine if row["failure"]), "not run")
        return -1.0, f"| {entry} | | failed: {why} | | | | |"
    done = [row["metrics"] for row in mine if row["rate"] == rate and row["metrics"]]
    scores = [metrics["accuracy"] for metrics in done]
    error = stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
    size = next(row["known"] for row in mine)
    cells = [
        entry,
        f"{rate:g}",
        f"{mean(scores):.3f} ± {error:.3f}",
        f"{size['trainable_params']:,.0f}",
        f"{size['adapter_params']:,.0f}",
        f"{1024 * median(m['peak_memory_gib'] for m in done):.0f}",
        f"{median(m['step_ms'] for m in done):.0f}",
    ]
    return mean(scores), f"| {' | '.join(cells)} |"


def _rates(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    return [(entry, rate, SEEDS[0]) for entry in ENTRIES for rate in RATES]


def _seeds(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, int]]:
    best = {entry: _best_rate(entry, rows) for entry in ENTRIES}
    return [(e, rate, seed) for e, rate in best.items() if rate is not None for seed in SEEDS[1:]]


def _best_rate(entry: str, rows: Sequence[Mapping[str, Any]]) -> float | None:
    tried = [r for r in rows if r["entry"] == entry and r["seed"] == SEEDS[0] and r["metrics"]]
    if not tried:
        return None
    return float(max(tried, key=lambda row: row["metrics"]["accuracy"])["rate"])


def _start(folder: Path) -> None:
    global _evaluator
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    _evaluator = build.make_evaluator(_bound()[0], folder / str(os.getpid()))


def _bound() -> tuple[StudySpec, ModelShape]:
    spec = load(SPACE, _SMALLER)
    return build.bound(spec)


def _train(job: tuple[str, float, int]) -> dict[str, Any]:
    assert _evaluator is not None
    entry, rate, seed = job
    spec, shape = _bound()
    configuration = _configuration(entry, rate, spec, shape)
    known = build.problem(spec, shape).known(configuration.architecture)
    segment = Segment("methods", 0, configuration, seed, 0, Stop(), False, True)
    result = _evaluator.run(segment, lambda step, metrics: None)
    failed = isinstance(result, Failure)
    return {
        "entry": entry,
        "rate": rate,
        "seed": seed,
        "known": dict(known),
        "metrics": {} if failed else dict(result.metrics),
        "failure": result.message if failed else None,
    }


def _configuration(entry: str, rate: float, spec: StudySpec, shape: ModelShape) -> Configuration:
    return canonical(
        ENTRIES[entry] | {"training": {"learning_rate": rate}},
        branch=entry,
        shape=shape,
        training=spec.training,
        defaults=PEFT_DEFAULTS,
    )


def _read() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


if __name__ == "__main__":
    main()
