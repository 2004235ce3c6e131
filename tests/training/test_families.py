"""Every counted method on models of other families: trained, paused and resumed to the same bits."""

import json
from dataclasses import replace
from itertools import count

import pytest
from fakes import study_spec
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import FailureReason, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.model import model_shape

RECIPE = {"learning_rate": 1e-3, "per_device_train_batch_size": 4, "num_train_epochs": 1}
ATTENTION = {
    "bert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
}
NUMBERS = count()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """family -> (evaluator, shape, home), made on demand."""
    folder = tmp_path_factory.mktemp("families")
    rows = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(32)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = {}

    def worker(family):
        if family not in made:
            make_model(family, folder / family, "SEQ_CLS")
            spec = replace(
                study_spec(name="families"),
                model={"model_name_or_path": family, "task_type": "SEQ_CLS"},
                data={
                    "train": {"path": "json", "data_files": "train.jsonl"},
                    "validation": {"carve": 0.25, "from": "train", "seed": 0},
                },
                training={},
                folder=str(folder),
            )
            shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
            made[family] = TrialEvaluator(spec, folder / "home"), shape, folder / "home"
        return made[family]

    return worker


def segment(shape, module, trial, *, stop=None, rung=0, last=True):
    configuration = canonical(
        {"modules": [module]}, branch="b", shape=shape, training=RECIPE, defaults=PEFT_DEFAULTS
    )
    return Segment("families", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)


def no_report(step, metrics):
    pass


def weights(home, trial):
    folder = home / "families" / "adapters" / f"trial-{trial}"
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("bert", {"peft_type": "LORA", "use_dora": True, "lora_dropout": 0.1}),
        ("bert", {"peft_type": "LORA", "r": 4, "init_lora_weights": "olora"}),
        ("bert", {"peft_type": "LOHA", "r": 2}),
        ("bert", {"peft_type": "HRA", "r": 4}),
        ("bert", {"peft_type": "DELORA", "r": 2}),
        ("bert", {"peft_type": "MISS", "r": 8}),
        ("distilbert", {"peft_type": "LORA", "lora_dropout": 0.1}),
        ("gpt2", {"peft_type": "ADALORA", "init_r": 4, "target_r": 2, "lora_dropout": 0.1}),
        ("gpt2", {"peft_type": "IA3"}),
        ("llama", {"peft_type": "LORA", "lora_dropout": 0.1}),
    ],
)
def test_a_pause_changes_no_bit(workers, family, module):
    evaluator, shape, home = workers(family)
    module = {**module, "target_modules": ATTENTION[family]}
    whole, paused = next(NUMBERS), next(NUMBERS)
    result = evaluator.run(segment(shape, module, whole), no_report)
    assert isinstance(result, Result), result
    evaluator.run(segment(shape, module, paused, stop=Stop(steps=3), last=False), no_report)
    resumed = evaluator.run(segment(shape, module, paused, rung=1), no_report)
    assert resumed.provenance["resumed"]
    assert resumed.metrics["eval_loss"] == result.metrics["eval_loss"]
    once, again = weights(home, whole), weights(home, paused)
    assert set(once) == set(again)
    assert all((once[name] == again[name]).all() for name in once)


def test_a_layer_that_peft_has_no_adapter_for_is_unfit(workers):
    evaluator, shape, _ = workers("gpt2")
    module = {"peft_type": "LOHA", "target_modules": ATTENTION["gpt2"]}
    failure = evaluator.run(segment(shape, module, next(NUMBERS)), no_report)
    assert failure.reason is FailureReason.UNFIT
    assert "Conv1D" in failure.message
