"""The stages of `gpu.sh`; each leaves OUT/<stage>.json, `pack` makes OUT/gpu.json of them.

qlora    one decoder, trained by LoRA in bfloat16, in 8 bits and by QLoRA, with and without gradient
         checkpointing: loss, peak memory, step time, tokens a second, and what generating 64 tokens
         for 200 rows takes beside the training; whether a pause changes a bit on this device.
search   `autopeft search --local` under a memory limit of three quarters of the baseline's peak.
memory   what the estimate says of each configuration that the search measured.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from causal_lm import blocks, corpus, installed, llama, pretrain, task, tokenizer_of

from autopeft import __version__

SMOKE = bool(os.environ.get("AUTOPEFT_GPU_SMOKE"))
STAGES = ("qlora", "search", "memory")
SIZES = (
    {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    if SMOKE
    else {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24}
)
TEXTS = ("scipy", "torch", "sklearn", "transformers", "numpy", "peft")
BITS = {"bfloat16": {}, "8 bits": {"load_in_8bit": True}, "4 bits": {"load_in_4bit": True}}
STEPS = 6 if SMOKE else 60
TRIALS = 4 if SMOKE else 24
LORA = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def document(**changes: Any) -> dict[str, Any]:
    """The space file of a stage."""
    return {
        "autopeft": 1,
        "study": "gpu",
        "model": {"model_name_or_path": "model", "task_type": "CAUSAL_LM"},
        "trainer": "trl.SFTTrainer",
        "data": {
            name: {"path": "json", "data_files": f"{name}.jsonl"}
            for name in ("train", "validation")
        },
        "training": {
            "max_steps": STEPS,
            "max_length": 128 if SMOKE else 512,
            "per_device_train_batch_size": 4 if SMOKE else 16,
            "learning_rate": 2e-4,
        },
        "modules": [LORA],
        "objectives": [{"metric": "eval_loss"}],
        "budget": {"trials": 1},
        "resources": {"gpus_per_trial": 0 if SMOKE else 1},
        **changes,
    }


def prepare(to: Path) -> dict[str, Any]:
    """The decoder, a little trained so that its losses mean something, and rows of two lengths."""
    import torch

    packages = installed(TEXTS[:1] if SMOKE else TEXTS)
    texts = corpus(packages)[: 300 if SMOKE else None]
    tokenizer = tokenizer_of(texts, 600 if SMOKE else 8192)
    torch.manual_seed(0)
    model = llama(tokenizer, **SIZES)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    rows = blocks(texts, tokenizer)
    began = time.perf_counter()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
        model = model.to(device)
        loss = pretrain(model, rows, steps=5 if SMOKE else 200, batch=2 if SMOKE else 32, rate=5e-4)
    seconds = time.perf_counter() - began
    model.to(torch.bfloat16).save_pretrained(to / "model")
    tokenizer.save_pretrained(to / "model")
    for split, count in (("train", 2000), ("validation", 200)):
        found = task(packages, split)[: 40 if SMOKE else count]
        lines = [
            {"prompt": row["prompt"], "completion": row["choices"][row["answer"]]} for row in found
        ]
        (to / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "parameters": model.num_parameters(),
        "pretraining": {"loss": loss, "seconds": seconds, "tokens": rows.numel()},
    }


def worker(folder: Path, document: dict[str, Any]) -> Any:
    """The problem of a study that no store knows, and what runs its segments."""
    from autopeft import build, config
    from autopeft.domain.trial import Segment

    spec, shape = build.bound(config.parse(document, folder=str(folder)))
    problem = build.problem(spec, shape)
    evaluator = build.make_evaluator(spec, folder / "runs")

    def run(configuration: Any, number: int, rung: int, stop: Any, *, last: bool) -> Any:
        segment = Segment(spec.name, number, configuration, 0, rung, stop, rung > 0, last)
        return evaluator.run(segment, lambda step, metrics: None)

    return problem, run


def qlora(to: Path) -> list[dict[str, Any]]:
    """One process a base: what one leaves on the device is not counted to the next."""
    rows = []
    for bits in BITS:
        for checkpointing in (False, True):
            command = [sys.executable, __file__, "one", "--to", str(to), "--bits", bits]
            command += ["--checkpointing"] if checkpointing else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            row = {"base": bits, "checkpointing": checkpointing}
            if done.returncode:
                row["failure"] = "the process ended; see the log"
            rows.append(row | (json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}))
    return rows


def one(to: Path, bits: str, *, checkpointing: bool) -> dict[str, Any]:
    from autopeft.domain.trial import Failure, Stop

    if bits != "bfloat16" and importlib.util.find_spec("bitsandbytes") is None:
        return {"failure": "bitsandbytes is not installed: put its wheel into WHEELS"}
    given = document()
    given["model"] |= BITS[bits]
    given["training"] |= {"gradient_checkpointing": checkpointing}
    problem, run = worker(to, given)
    configuration = problem.configure(problem.space.only("main").draw(np.random.default_rng(0)))
    whole = run(configuration, 0, 0, Stop(), last=True)
    if isinstance(whole, Failure):
        return {"failure": whole.message}
    paused = run(configuration, 1, 0, Stop(steps=STEPS // 2), last=False)
    resumed = (
        run(configuration, 1, 1, Stop(), last=True) if not isinstance(paused, Failure) else paused
    )
    found = {
        "metrics": dict(whole.metrics),
        "device": whole.provenance["device"],
        "adapter_bytes": problem.known(configuration.architecture)["adapter_bytes"],
        "same_after_a_pause": not isinstance(resumed, Failure)
        and resumed.metrics["eval_loss"] == whole.metrics["eval_loss"],
        "tokens_per_second": _tokens(to, given) / whole.metrics["step_ms"] * 1000,
    }
    if not checkpointing:
        plain = run(configuration, 2, 0, Stop(), last=True)  # now that all is loaded
        found["generating"] = _generating(to, given, plain)
    return found


def _generating(to: Path, given: dict[str, Any], plain: Any) -> dict[str, Any]:
    """What generating adds to a trial; plain: the same without."""
    from autopeft.domain.trial import Failure, Stop

    rows, new = (8, 8) if SMOKE else (200, 64)
    generate = {"rows": rows, "max_new_tokens": new, "batch_size": 32}
    given = {**given, "objectives": ["exact_match"], "evaluation": {"generate": generate}}
    problem, run = worker(to, given)
    configuration = problem.configure(problem.space.only("main").draw(np.random.default_rng(0)))
    for _loaded in (False, True):
        judged = run(configuration, 3, 0, Stop(), last=True)
    if isinstance(judged, Failure):
        return {"failure": judged.message}
    return {
        "rows": rows,
        "max_new_tokens": new,
        "seconds": judged.seconds - plain.seconds,
        "train_seconds": judged.metrics["train_seconds"],
    }


def _tokens(to: Path, given: dict[str, Any]) -> float:
    """Of a step, the mean, without padding."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(to / "model")
    lines = [json.loads(line) for line in (to / "train.jsonl").read_text().splitlines()]
    lengths = [len(tokenizer(line["prompt"] + line["completion"])["input_ids"]) for line in lines]
    training = given["training"]
    cut = [min(length + 1, training["max_length"]) for length in lengths]
    return training["per_device_train_batch_size"] * sum(cut) / len(cut)


def space(limit_gib: float | None) -> dict[str, Any]:
    """Placement, rank, micro-batch and checkpointing decide on memory."""
    last = {"choice": [1, 2]} if SMOKE else {"choice": [6, 12, 24]}
    lora = {**LORA, "r": {"choice": [4, 16, 64]}, "lora_alpha": {"expr": "2 * r"}}
    tree = document(
        study="gpu-search",
        objectives=[{"metric": "eval_loss"}, {"metric": "step_ms"}],
        constraints=[f"peak_memory_gib <= {limit_gib:.3f}"] if limit_gib else [],
        space={
            "lora": {"layers": {"last": last}, "modules": [lora]},
            "adapters": {
                "layers": {"last": last},
                "modules": [
                    {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": {"choice": [16, 64, 256]}}
                ],
            },
        },
        baselines={"house": {"modules": [LORA]}},
        budget={"trials": TRIALS},
    )
    del tree["modules"]
    rate = {"low": 1e-5, "high": 2e-3, "log": True}
    batch = 4 if SMOKE else 16
    tree["training"] |= {
        "learning_rate": rate,
        "gradient_checkpointing": {"choice": [False, True]},
        "per_device_train_batch_size": {"choice": [batch // 4, batch]},
    }
    return tree


def search(to: Path) -> dict[str, Any]:
    """The limit is three quarters of what the baseline needs, measured in the stage before."""
    plain = json.loads((to / "qlora.json").read_text())[0]
    limit = 0.75 * plain["metrics"]["peak_memory_gib"]
    (to / "space.yaml").write_text(json.dumps(space(limit), indent=2))
    began = time.perf_counter()
    command = [sys.executable, "-m", "autopeft", "search", "space.yaml", "--local", "--json", "-q"]
    done = subprocess.run(command, cwd=to, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"autopeft search ended with {done.returncode}")
    return {"limit_gib": limit, "seconds": seconds, "trials": _trials(), **json.loads(done.stdout)}


def _trials() -> list[dict[str, Any]]:
    import autopeft

    return [
        {
            "number": trial.number,
            "configuration": trial.configuration.document(),
            "metrics": trial.metrics,
            "state": str(trial.state),
            "failure": trial.failure.message if trial.failure else None,
            "seconds": trial.seconds,
        }
        for trial in autopeft.load_study("gpu-search").trials
    ]


def memory(to: Path) -> Any:
    import autopeft
    from autopeft import build

    study = autopeft.load_study("gpu-search")
    problem = build.problem(*build.bound(study.spec))
    if not hasattr(problem, "estimates"):
        return {"failure": "this version has no estimates"}
    return [
        {
            "number": trial.number,
            "estimated": dict(problem.estimates(trial.configuration)),
            "measured": {name: trial.metrics[name] for name in ("peak_memory_gib", "step_ms")},
        }
        for trial in study.trials
        if trial.rungs
    ]


def environment() -> dict[str, Any]:
    import torch

    found = {"python": platform.python_version(), "smoke": SMOKE, "autopeft": __version__}
    for name in ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
        found["device_gib"] = torch.cuda.get_device_properties(0).total_memory / 2**30
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("prepare", *STAGES, "one", "pack"))
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--bits", choices=tuple(BITS))
    parser.add_argument("--checkpointing", action="store_true")
    given = parser.parse_args()
    to = given.to.resolve()
    if given.stage == "one":
        print(json.dumps(one(to, given.bits, checkpointing=given.checkpointing)))
        return
    if given.stage == "pack":
        files = {name: to / f"{name}.json" for name in ("prepare", *STAGES)}
        packed = {name: json.loads(f.read_text()) for name, f in files.items() if f.exists()}
        text = json.dumps({"environment": environment(), **packed}, indent=2)
        (to / "gpu.json").write_text(text + "\n")
        print(to / "gpu.json")
        return
    try:
        found = {"prepare": prepare, "qlora": qlora, "search": search, "memory": memory}[
            given.stage
        ](to)
    except Exception:
        found = {"failure": traceback.format_exc()}
    (to / f"{given.stage}.json").write_text(json.dumps(found, indent=2) + "\n")
    if isinstance(found, dict) and "failure" in found:
        sys.exit(found["failure"])


if __name__ == "__main__":
    main()
