"""Milliseconds to make, hash, count and estimate one architecture of a 24-layer model.

python benchmarks/counting.py          # about 10 seconds
"""

import itertools
import tempfile
import time
from statistics import median

import numpy as np
from transformers import BertConfig

from autopeft.domain.architecture import canonical
from autopeft.domain.estimates import Corpus, Setting, estimates
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.rules.fit import refuse_unfit
from autopeft.domain.space import Bits, Branch, Choice, Space
from autopeft.training.loading.shapes import model_shape

_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
_SIZE = Choice((0, 1, 3, 6, 12, 24, 48, 96, 192, 384, 768))
_TREES = {
    "LoRA on all linear layers": {
        "modules": [{"peft_type": "LORA", "r": _SIZE, "target_modules": "all-linear"}],
        "layers": {"bits": Bits(24)},
    },
    "the composite of AutoPEFT": {
        "modules": [
            {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": _SIZE},
            {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": _SIZE},
            {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": _SIZE},
        ],
        "layers": {"bits": Bits(24)},
    },
}
_ROUNDS = 300
_CORPUS = Corpus(10_000, tuple(range(16, 528)))  # as many lengths as a search samples


def main() -> None:
    shape = _bert_large()
    print(f"{shape.layers} layers, {len(shape.modules)} modules; {_ROUNDS} random architectures")
    for name, tree in _TREES.items():
        made, hashed, counted, fitted, estimated = _measure(Space((Branch("b", tree),)), shape)
        print(
            f"{name}: canonical {made:.2f} ms, hash {hashed:.2f} ms, count {counted:.2f} ms, "
            f"fit {fitted:.2f} ms, estimate {estimated:.2f} ms (medians)"
        )


def _measure(space: Space, shape: ModelShape) -> tuple[float, ...]:
    rng = np.random.default_rng(0)
    rows: list[list[float]] = []
    for _ in range(_ROUNDS):
        tree = space.realise(space.draw(rng))
        marks = [time.perf_counter()]
        configuration = canonical(
            tree, branch="b", shape=shape, training={}, defaults=PEFT_DEFAULTS
        )
        architecture = configuration.architecture
        marks.append(time.perf_counter())
        hash(architecture.key)
        marks.append(time.perf_counter())
        known_metrics(architecture, shape)
        marks.append(time.perf_counter())
        refuse_unfit(architecture, shape=shape, task_type="SEQ_CLS")
        marks.append(time.perf_counter())
        estimates(configuration, shape=shape, corpus=_CORPUS, setting=Setting())
        marks.append(time.perf_counter())
        rows.append([1000 * (b - a) for a, b in itertools.pairwise(marks)])
    return tuple(median(column) for column in zip(*rows, strict=True))


def _bert_large() -> ModelShape:
    with tempfile.TemporaryDirectory() as folder:
        BertConfig(**_LARGE, intermediate_size=4096).save_pretrained(folder)
        model = {"model_name_or_path": folder, "task_type": "SEQ_CLS"}
        return model_shape(model, folder=".", num_labels=2)


if __name__ == "__main__":
    main()
