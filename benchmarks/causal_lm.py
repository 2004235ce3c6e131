"""A causal language model trained from scratch on real text, and then a search over its fine-tuning.

    python benchmarks/causal_lm.py train --to lm --steps 1000     # minutes on a few cores
    python benchmarks/causal_lm.py search --to lm --trials 40     # `autopeft search` on what it wrote
    python benchmarks/causal_lm.py report --to lm

The text is the documentation of the installed packages: classes, modules, and of functions all but
the first paragraph. The task is that first paragraph: given a function's signature, which of four
texts describes it? One is its own, three belong to other functions of the same split. The model
chooses by log-likelihood (`accuracy`, a quarter by chance) and is trained on its own text, so no
text of the task is in the pretraining's, and no text of one split is in another.
"""

import argparse
import ast
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autopeft.training.loading.docstrings import PACKAGES, SHARES, load_split

MORE = ("transformers", "accelerate", "trl", "gpytorch", "matplotlib")
LEAST = 80  # characters of a text worth reading
CHOICES = 4
BLOCK = 256  # tokens of a row
SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6}
SPACE = {
    "autopeft": 1,
    "study": "causal-lm",
    "trainer": "trl.SFTTrainer",
    "data": {
        name: {"path": "json", "data_files": f"{name}.jsonl"}
        for name in ("train", "validation", "test")
    },
    "training": {
        "max_length": 128,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "num_train_epochs": 2,
        "gradient_checkpointing": False,
    },
    "space": {
        "lora": {
            "layers": "last thirds",
            "modules": [
                {
                    "peft_type": "LORA",
                    "r": {"choice": [1, 2, 4, 8, 16, 32, 64]},
                    "lora_alpha": {"expr": "2 * r"},
                    "target_modules": {
                        "choice": [["q_proj", "v_proj"], ["up_proj", "down_proj"], "all-linear"]
                    },
                }
            ],
        },
        "adapters": {
            "layers": "last thirds",
            "modules": [
                {
                    "peft_type": "PARALLEL_ADAPTER",
                    "bottleneck_size": {"choice": [2, 8, 32, 128]},
                }
            ],
        },
        "ia3": {"modules": [{"peft_type": "IA3", "target_modules": ["k_proj", "v_proj", "down_proj"]}]},
        "full": {
            "full_fine_tuning": True,
            "training": {"learning_rate": {"low": 1e-5, "high": 3e-3, "log": True}},
        },
    },
    "objectives": [
        {"metric": "accuracy"},
        {"metric": "adapter_params", "scale": "log"},
    ],
    "search": {"rungs": {"epochs": [0.5]}, "seed": 0},
}  # fmt: skip


def installed(names: Sequence[str]) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is not None]


def corpus(packages: Sequence[str]) -> list[str]:
    """Texts of the packages' documentation, each once, without what the task asks for."""
    texts: dict[str, None] = {}
    for package in packages:
        found = importlib.util.find_spec(package)
        root = Path(next(iter(found.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            texts |= dict.fromkeys(_texts(path))
    return list(texts)


def _texts(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, UnicodeDecodeError, RecursionError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        text = ast.get_docstring(node) or ""
        if isinstance(node, ast.FunctionDef):
            text = text.partition("\n\n")[2]
        if len(text) >= LEAST:
            yield text


def task(packages: Sequence[str], split: str) -> list[dict[str, Any]]:
    """Rows of a split: a signature, four texts, and the index of its own."""
    rows = [r for r in load_split(split, {"packages": list(packages)}) if r["label"] == 1]
    texts = [row["docstring"] for row in rows]
    found = []
    for i, row in enumerate(rows):
        # The rows are in the order of a hash: neighbours are strangers.
        others = [texts[(i + step) % len(texts)] for step in range(1, CHOICES)]
        answer = i % CHOICES
        choices = [*others[:answer], row["docstring"], *others[answer:]]
        found.append({"prompt": f"def {row['signature']}:\n", "choices": choices, "answer": answer})
    return found


def tokenizer_of(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE trained on the texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")


def llama(tokenizer: Any, **sizes: int) -> Any:
    """A Llama with random weights, its input and output embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = sizes["hidden_size"] // 64
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=4 * BLOCK,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        **sizes,
    )
    return LlamaForCausalLM(config)


def blocks(texts: Sequence[str], tokenizer: Any) -> Any:
    """(rows, BLOCK) tokens of the texts one after another, each with its end."""
    import torch

    stream: list[int] = []
    for start in range(0, len(texts), 1000):
        for ids in tokenizer(list(texts[start : start + 1000]))["input_ids"]:
            stream += [*ids, tokenizer.eos_token_id]
    rows = len(stream) // BLOCK
    return torch.tensor(stream[: rows * BLOCK]).view(rows, BLOCK)


def pretrain(model: Any, rows: Any, *, steps: int, batch: int, rate: float = 2e-3) -> float:
    """Train on random rows, warmed up and cooled down; the loss of the last tenth of the steps."""
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm, 0.55 + 0.45 * math.cos(math.pi * step / steps)),
    )
    drawn, losses, began = torch.Generator().manual_seed(0), [], time.perf_counter()
    model.train()
    for step in range(steps):
        some = rows[torch.randint(len(rows), (batch,), generator=drawn)].to(model.device)
        loss = model(input_ids=some, labels=some).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % max(1, steps // 20) == 0:
            print(f"step {step}: loss {loss.item():.3f}, {time.perf_counter() - began:.0f} s")
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def train(to: Path, arguments: argparse.Namespace) -> None:
    import torch

    torch.manual_seed(0)
    began = time.perf_counter()
    packages = arguments.packages or installed([*PACKAGES, *MORE])
    texts = corpus(packages)
    tokenizer = tokenizer_of(texts, arguments.vocabulary)
    rows = blocks(texts, tokenizer)
    model = llama(tokenizer, **{**SIZES, "num_hidden_layers": arguments.layers})
    print(f"{len(texts)} texts, {rows.numel():,} tokens; {model.num_parameters():,} parameters")
    loss = pretrain(model, rows, steps=arguments.steps, batch=arguments.batch)
    model.save_pretrained(to / "model")
    tokenizer.save_pretrained(to / "model")
    for split in SHARES:
        found = task(arguments.packages or installed(PACKAGES), split)[: arguments.rows]
        (to / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    figures = {
        "texts": len(texts),
        "tokens": rows.numel(),
        "parameters": model.num_parameters(),
        "steps": arguments.steps,
        "tokens_seen": arguments.steps * arguments.batch * BLOCK,
        "loss": loss,
        "seconds": time.perf_counter() - began,
    }
    (to / "pretraining.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))


def search(to: Path, arguments: argparse.Namespace) -> None:
    layers = json.loads((to / "model" / "config.json").read_text())["num_hidden_layers"]
    thirds = sorted({max(1, layers * third // 3) for third in (1, 2, 3)})
    branches = {
        name: {**tree, "layers": {"last": {"choice": thirds}}} if "layers" in tree else tree
        for name, tree in SPACE["space"].items()
    }
    space = {
        **SPACE,
        "space": branches,
        "model": {"model_name_or_path": "model", "task_type": "CAUSAL_LM"},
        "objectives": [{"metric": arguments.metric}, *SPACE["objectives"][1:]],
        "budget": {"trials": arguments.trials},
    }
    (to / "space.yaml").write_text(json.dumps(space, indent=2))  # JSON is YAML
    how = ["--local"] if arguments.local else []
    command = [sys.executable, "-m", "autopeft", "search", "space.yaml", "--json", *how]
    environment = {**os.environ, "AUTOPEFT_HOME": str((to / "studies").resolve())}
    done = subprocess.run(command, cwd=to, env=environment, stdout=subprocess.PIPE, text=True)
    (to / "front.json").write_text(done.stdout)
    sys.exit(done.returncode)


def report(to: Path) -> None:
    pretraining = json.loads((to / "pretraining.json").read_text())
    front = json.loads((to / "front.json").read_text())
    print(
        f"pretrained: {pretraining['parameters']:,} parameters, {pretraining['tokens_seen']:,} "
        f"tokens in {pretraining['seconds']:.0f} s, loss {pretraining['loss']:.2f}"
    )
    for row in front["front"]:
        print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("train", "search", "report"))
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8, help="rows of 256 tokens a step")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=2000, help="at most, of each split")
    parser.add_argument("--packages", nargs="*", help="instead of all that are installed")
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--metric", default="accuracy", help="eval_loss moves where choices do not")
    parser.add_argument("--local", action="store_true")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    if arguments.verb == "train":
        train(arguments.to, arguments)
    elif arguments.verb == "search":
        search(arguments.to, arguments)
    else:
        report(arguments.to)


if __name__ == "__main__":
    main()
