"""A trial with sizes by layer: what is counted is what is trained and stored, and loads again."""

import pytest
from benches import make_bench
from safetensors.torch import load_file

from autopeft.config.layer_sizes import spread
from autopeft.domain.expression import Expr
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.space import Branch, Choice, Space
from autopeft.domain.trial import Result
from autopeft.training.inject import build
from autopeft.tuners.composite import is_composite

RECIPE = {"learning_rate": 1e-2, "per_device_train_batch_size": 4, "num_train_epochs": 1}
SIZE = Choice((0, 2, 5))
LORA = {"peft_type": "LORA", "target_modules": "attention.query", "lora_alpha": Expr("2 * r")}
SERIAL = {"peft_type": "SERIAL_ADAPTER"}


@pytest.fixture(params=["bert", "llama"])
def bench(request, tmp_path):
    """A tiny model of three layers and a few rows."""
    return make_bench(tmp_path, request.param, rows=24)


def configured(bench):
    """A LORA of ranks 5, 2, 5 and adapters of size 2 in two layers and none in the third."""
    layers = bench.shape.layers

    def bound(size):
        return spread(size, "", layers, frozenset(range(layers)), print)

    modules = [
        LORA | {"r": bound({"per_layer": SIZE})},
        SERIAL | {"bottleneck_size": bound({"per_group": SIZE, "groups": 2})},
    ]
    point = {"branch": "b"} | {f"modules[0].r.per_layer[{i}]": at for i, at in enumerate((2, 1, 2))}
    point |= {f"modules[1].bottleneck_size.per_group[{i}]": at for i, at in enumerate((1, 0))}
    tree = Space((Branch("b", {"modules": modules}),)).realise(point)
    return bench.configured(tree, RECIPE)


def test_what_is_counted_is_what_is_trained_and_stored_and_loaded(bench):
    configuration = configured(bench)
    known = known_metrics(configuration.architecture, bench.shape)
    model = build(bench.base(), configuration, task_type="SEQ_CLS", total_steps=5, seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert known["trainable_params"] == trained

    result = bench.run(configuration, 0)
    assert isinstance(result, Result), result
    files = bench.folder(0).glob("module_*/*.safetensors")
    stored = [tensor for path in files for tensor in load_file(path).values()]
    assert sum(tensor.numel() for tensor in stored) == known["adapter_params"]
    assert sum(t.numel() * t.itemsize for t in stored) == known["adapter_bytes"]

    loaded = bench.reloaded(0)
    assert is_composite(loaded)
    scalings = [m.scaling for m in loaded.modules() if hasattr(m, "lora_A")]
    assert [value for scaling in scalings for value in scaling.values()] == [2, 2, 2]
    assert bench.loss(loaded) == pytest.approx(result.metrics["eval_loss"], rel=1e-5)
