"""A trial with sizes by layer: what is counted is what is trained and stored, and loads again."""

import json
from dataclasses import replace

import pytest
import torch
from fakes import study_spec
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.config.layer_sizes import spread
from autopeft.domain.architecture import canonical
from autopeft.domain.counting import known_metrics
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.space import Branch, Choice, Expr, Space
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.inject import build
from autopeft.training.model import load_base, model_shape
from autopeft.tuners.composite import load_composite

RECIPE = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "num_train_epochs": 1}
SIZE = Choice((0, 2, 5))
LORA = {"peft_type": "LORA", "target_modules": "attention.query", "lora_alpha": Expr("2 * r")}
SERIAL = {"peft_type": "SERIAL_ADAPTER"}


@pytest.fixture(params=["bert", "llama"])
def bench(request, tmp_path):
    """(spec, shape) of a tiny model of three layers and a few rows."""
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(24)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    make_model(request.param, tmp_path / "model", "SEQ_CLS")
    data = {
        "train": {"path": "json", "data_files": "train.jsonl"},
        "validation": {"carve": 0.25, "from": "train", "seed": 0},
    }
    spec = replace(
        study_spec(name="sizes"),
        model={"model_name_or_path": "model", "task_type": "SEQ_CLS"},
        data=data,
        training={},
        folder=str(tmp_path),
    )
    return spec, model_shape(spec.model, folder=spec.folder, num_labels=2)


def configured(shape):
    """A LORA of ranks 5, 2, 5 and adapters of size 2 in two layers and none in the third."""

    def bound(size):
        return spread(size, "", shape.layers, frozenset(range(shape.layers)), print)

    modules = [
        LORA | {"r": bound({"per_layer": SIZE})},
        SERIAL | {"bottleneck_size": bound({"per_group": SIZE, "groups": 2})},
    ]
    point = {"branch": "b"} | {f"modules[0].r.per_layer[{i}]": at for i, at in enumerate((2, 1, 2))}
    point |= {f"modules[1].bottleneck_size.per_group[{i}]": at for i, at in enumerate((1, 0))}
    tree = Space((Branch("b", {"modules": modules}),)).realise(point)
    return canonical(tree, branch="b", shape=shape, training=RECIPE, defaults=PEFT_DEFAULTS)


def test_what_is_counted_is_what_is_trained_and_stored_and_loaded(bench, tmp_path):
    spec, shape = bench
    configuration = configured(shape)
    known = known_metrics(configuration.architecture, shape)
    base = load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head)
    model = build(base, configuration, task_type="SEQ_CLS", total_steps=5, seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert known["trainable_params"] == trained

    evaluator = TrialEvaluator(spec, tmp_path / "home")
    segment = Segment("sizes", 0, configuration, 0, 0, Stop(), False, True)
    result = evaluator.run(segment, lambda step, metrics: None)
    assert isinstance(result, Result), result
    folder = tmp_path / "home" / "sizes" / "adapters" / "trial-0"
    stored = [t for path in folder.glob("module_*/*.safetensors") for t in load_file(path).values()]
    assert sum(tensor.numel() for tensor in stored) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in stored) == known["adapter_bytes"]

    loaded = load_composite(
        load_base(spec.model, folder=spec.folder, labels=("no", "yes"), head=shape.head).model,
        folder,
    )
    scalings = [m.scaling for m in loaded.modules() if hasattr(m, "lora_A")]
    assert [value for scaling in scalings for value in scaling.values()] == [2, 2, 2]
    rows = evaluator._bench.validation
    with torch.no_grad():
        logits = [
            loaded.eval()(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows
        ]
    losses = torch.nn.functional.cross_entropy(torch.stack(logits), torch.tensor(rows["labels"]))
    assert losses.item() == pytest.approx(result.metrics["eval_loss"], rel=1e-5)
