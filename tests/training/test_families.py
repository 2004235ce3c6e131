"""Every counted method on models of other families: trained, paused and resumed to the same bits."""

from functools import cache
from itertools import count

import pytest
from benches import make_bench

from autopeft.domain.trial import FailureReason

RECIPE = {"learning_rate": 1e-3, "per_device_train_batch_size": 4, "num_train_epochs": 1}
ATTENTION = {
    "bert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
}
NUMBERS = count()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """family -> a bench, made on demand."""
    folder = tmp_path_factory.mktemp("families")
    return cache(lambda family: make_bench(folder / family, family, rows=32))


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("bert", {"peft_type": "LORA", "use_dora": True, "lora_dropout": 0.1}),
        ("bert", {"peft_type": "LORA", "r": 4, "init_lora_weights": "olora"}),
        ("bert", {"peft_type": "MISS", "r": 8}),
        *(
            pytest.param("bert", {"peft_type": method, "r": 2}, marks=pytest.mark.long)
            for method in ("LOHA", "HRA", "DELORA")
        ),
        ("distilbert", {"peft_type": "LORA", "lora_dropout": 0.1}),
        ("gpt2", {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "lora_dropout": 0.1}),
        ("gpt2", {"peft_type": "IA3"}),
        ("llama", {"peft_type": "LORA", "lora_dropout": 0.1}),
    ],
)
def test_a_pause_changes_no_bit(bench, family, module):
    on = bench(family)
    module = {**module, "target_modules": ATTENTION[family]}
    on.check_pause(on.configured({"modules": [module]}, RECIPE), next(NUMBERS), next(NUMBERS))


def test_a_layer_that_peft_has_no_adapter_for_is_unfit(bench):
    on = bench("gpt2")
    module = {"peft_type": "LOHA", "target_modules": ATTENTION["gpt2"]}
    failure = on.run(on.configured({"modules": [module]}, RECIPE), next(NUMBERS))
    assert failure.reason is FailureReason.UNFIT
    assert "Conv1D" in failure.message
