"""TRL's data shapes and options are TRL's: each trains, pauses at rungs, and counts what it says."""

import json
from dataclasses import replace
from importlib.metadata import version

import pytest
from fakes import study_spec
from safetensors.torch import load_file
from tiny_models import chats, make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.generation import Generation
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.objective import Constraint, Objective
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.shapes import model_shape

LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj", "v_proj"]}
RECIPE = {
    "learning_rate": 5e-3,
    "per_device_train_batch_size": 4,
    "num_train_epochs": 1,
    "max_length": 48,
}
CHATS = chats(24)
TALK = [row["messages"] for row in CHATS]
PAIRS = [
    {"prompt": f"what comes after {i % 9}", "completion": f" after {i % 9} comes {i % 9 + 1}"}
    for i in range(24)
]
ROWS = {
    "messages": CHATS,
    "prompt and completion": PAIRS,
    "messages as prompt and completion": [
        {"prompt": talk[:1], "completion": talk[1:]} for talk in TALK
    ],
    "text": [{"text": row["prompt"] + row["completion"]} for row in PAIRS],
    "one answer": [{"prompt": row["prompt"], "completion": " comes 4"} for row in PAIRS],
    "choices": [
        {
            "prompt": row["prompt"],
            "choices": [" 9 comes 9 after 9", row["completion"], " 4 4 4 4"],
            "answer": 1,
        }
        for row in PAIRS
    ],
}
_TURNS = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}<|assistant|> "
    "{% generation %}{{ message['content'] }} </s>{% endgeneration %}{% else %}"
    "<|user|> {{ message['content'] }} </s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    make_model("llama", folder / "llama", "CAUSAL_LM", hidden_size=64, head_dim=16)
    # TRL asks for the {% generation %} marks where only the assistant's tokens count.
    marked = make_model("llama", folder / "marked", "CAUSAL_LM", hidden_size=64, head_dim=16)
    (marked / "chat_template.jinja").write_text(_TURNS)
    for name, rows in ROWS.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


class Bench:
    """A study on one shape of rows."""

    def __init__(self, folder, home, shape, **changes):
        model = changes.pop("model", {"model_name_or_path": "llama"})
        source = {"path": "json", "data_files": f"{shape}.jsonl"}
        self.spec = replace(
            study_spec(name="shapes"),
            model={"task_type": "CAUSAL_LM", **model},
            trainer="trl.SFTTrainer",
            data={"train": source, "validation": {**source, "split": "train[:8]"}},
            training={},
            objectives=(Objective("eval_loss", "minimize"),),
            folder=str(folder),
        )
        self.spec = replace(self.spec, **changes)
        self.shape = model_shape(self.spec.model, folder=str(folder), num_labels=1)
        self.home = home
        self.evaluator = TrialEvaluator(self.spec, home)

    def configured(self, module=LORA, **recipe):
        return canonical(
            {"modules": [module]},
            branch="b",
            shape=self.shape,
            training={**RECIPE, **recipe},
            defaults=PEFT_DEFAULTS,
        )

    def run(self, trial=0, stops=(Stop(),), module=LORA, **recipe):
        configuration = self.configured(module, **recipe)
        for rung, stop in enumerate(stops):
            work = Segment(
                "shapes", trial, configuration, 0, rung, stop, rung > 0, rung == len(stops) - 1
            )
            result = self.evaluator.run(work, lambda step, metrics: None)
            assert isinstance(result, Result), result.traceback
        return result

    def stored(self, trial=0):
        adapter = self.home / "shapes" / "adapters" / f"trial-{trial}"
        return load_file(adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("shape", "recipe"),
    [
        ("messages as prompt and completion", {}),
        ("text", {}),
        ("messages", {"padding_free": True, "max_length": None}),
    ],
    ids=str,
)
def test_a_shape_trains(folder, tmp_path, shape, recipe):
    result = Bench(folder, tmp_path, shape).run(**recipe)
    assert result.step == 6
    assert 0 < result.metrics["eval_loss"] < 4.5


@pytest.mark.parametrize("strategy", ["bfd", "wrapped"])
def test_a_pause_between_packs_changes_no_bit(folder, tmp_path, strategy):
    bench = Bench(folder, tmp_path, "messages")
    recipe = {"packing": True, "packing_strategy": strategy, "num_train_epochs": 2}
    whole = bench.run(0, **recipe)
    paused = bench.run(1, (Stop(steps=1), Stop(epochs=1), Stop()), **recipe)
    assert paused.provenance["resumed"]
    assert 2 < paused.step == whole.step < 12  # fewer than there are without packs
    assert paused.metrics["eval_loss"] == whole.metrics["eval_loss"]
    once, again = bench.stored(0), bench.stored(1)
    assert all((once[name] == again[name]).all() for name in once)


def test_whose_tokens_count_is_what_the_options_say(folder, tmp_path):
    """The loss of an untrained model tells which tokens carry it."""
    still = {"learning_rate": 1e-12, "max_steps": 1}
    pairs = Bench(folder, tmp_path, "prompt and completion")
    completions, all_of_it = (
        pairs.run(i, completion_only_loss=only, **still) for i, only in enumerate([True, False])
    )
    assert completions.metrics["eval_loss"] != pytest.approx(
        all_of_it.metrics["eval_loss"], rel=1e-4
    )
    marked = {"model": {"model_name_or_path": "marked"}}
    talk = Bench(folder, tmp_path, "messages", **marked)
    answers = talk.run(3, assistant_only_loss=True, **still)
    shaped = Bench(folder, tmp_path, "messages as prompt and completion", **marked)
    assert answers.metrics["eval_loss"] == pytest.approx(
        shaped.run(4, **still).metrics["eval_loss"]
    )


def test_what_a_trial_asks_of_the_tokenizer_is_its_own(folder, tmp_path):
    """Its template is found from the space file's folder, and is not that of the trials after."""
    (folder / "turns.jinja").write_text(_TURNS)
    still = {"learning_rate": 1e-12, "max_steps": 1}
    bench = Bench(folder, tmp_path, "messages")
    before = bench.run(0, **still)
    asked = {"chat_template_path": "turns.jinja", "assistant_only_loss": True}
    answers = bench.run(1, eos_token="<|user|>", **asked, **still)
    marked = Bench(folder, tmp_path, "messages", model={"model_name_or_path": "marked"})
    same = marked.run(2, eos_token="<|user|>", assistant_only_loss=True, **still)
    assert answers.metrics["eval_loss"] == same.metrics["eval_loss"]
    assert bench.run(3, **still).metrics["eval_loss"] == before.metrics["eval_loss"]


def test_packing_changes_how_it_trains_and_not_what_it_is_judged_by(folder, tmp_path):
    still = {"learning_rate": 1e-12, "max_steps": 1}
    bench = Bench(folder, tmp_path, "messages")
    plain, packed = (bench.run(i, packing=packing, **still) for i, packing in enumerate([0, 1]))
    assert packed.metrics["eval_loss"] == pytest.approx(plain.metrics["eval_loss"], rel=1e-5)
    assert packed.stderr["eval_loss"] == pytest.approx(plain.stderr["eval_loss"], rel=1e-4)


def test_what_is_asked_for_is_generated_at_every_rung_and_nothing_else(folder, tmp_path):
    objectives = (Objective("numeric_answer", "maximize"), Objective("perplexity", "minimize"))
    bench = Bench(
        folder,
        tmp_path,
        "one answer",
        objectives=objectives,
        constraints=(Constraint.parse("exact_match >= 0.1"),),
        generation=Generation(rows=4, max_new_tokens=8),
    )
    result = bench.run(0, (Stop(epochs=3), Stop()), num_train_epochs=6, learning_rate=2e-2)
    metrics = result.metrics
    assert metrics["perplexity"] == pytest.approx(2.718281828 ** metrics["eval_loss"])
    assert result.stderr["perplexity"] == pytest.approx(
        metrics["perplexity"] * result.stderr["eval_loss"]
    )
    assert metrics["numeric_answer"] >= metrics["exact_match"] >= 0.75
    assert "rouge1" not in metrics
    plain = Bench(folder, tmp_path, "prompt and completion").run(2, max_steps=1)
    assert "exact_match" not in plain.metrics


def test_a_trained_model_chooses_the_completion_that_it_learned(folder, tmp_path):
    bench = Bench(folder, tmp_path, "choices", objectives=(Objective("accuracy", "maximize"),))
    result = bench.run(0, num_train_epochs=6, learning_rate=1e-2)
    untrained = bench.run(1, max_steps=1, learning_rate=1e-9)
    assert result.metrics["accuracy"] == result.metrics["accuracy_norm"] == 1
    assert untrained.metrics["accuracy"] < 1
    assert result.stderr["accuracy"] == 0


@pytest.mark.skipif(
    version("trl") < "1.15", reason="trl before 1.15 freezes DoRA's magnitudes: it is refused there"
)
def test_qlora_keeps_in_float32_what_is_not_quantised_and_stores_what_is_counted(folder, tmp_path):
    quantization = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    model = {
        "model_name_or_path": "llama",
        "dtype": "bfloat16",
        "quantization_config": quantization,
    }
    bench = Bench(folder, tmp_path, "messages", model=model)
    module = {**LORA, "use_dora": True}  # its magnitudes stay in float32
    whole = bench.run(0, module=module)
    paused = bench.run(1, (Stop(steps=2), Stop()), module=module)
    assert paused.metrics["eval_loss"] == whole.metrics["eval_loss"]
    base = bench.evaluator._bench.base.model
    kept = {name: str(p.dtype) for name, p in base.named_parameters() if p.is_floating_point()}
    assert any("norm" in name for name in kept)
    assert set(kept.values()) == {"torch.float32"}
    known = known_metrics(bench.configured(module).architecture, bench.shape)
    stored = bench.stored().values()
    assert sum(t.numel() * t.itemsize for t in stored) == known["adapter_bytes"]


def test_ia3_under_4_bits_trains_on_a_half_precision_checkpoint(folder, tmp_path):
    """In bfloat16 its keys and values had another dtype than the queries, and attention refused."""
    model = {
        "model_name_or_path": "llama",
        "dtype": "bfloat16",
        "quantization_config": {"load_in_4bit": True},
    }
    module = {
        "peft_type": "IA3",
        "target_modules": ["k_proj", "v_proj"],
        "feedforward_modules": [],
    }
    bench = Bench(folder, tmp_path, "messages", model=model)
    assert bench.run(0, module=module).step == 6


@pytest.mark.parametrize("reentrant", [None, True])
def test_checkpointing_under_4_bits_gives_the_gradients_of_none(folder, tmp_path, reentrant):
    model = {"model_name_or_path": "llama", "quantization_config": {"load_in_4bit": True}}
    bench = Bench(folder, tmp_path, "messages", model=model)
    kwargs = {} if reentrant is None else {"use_reentrant": reentrant}
    plain = bench.run(0, gradient_checkpointing=False, max_steps=3)
    checkpointed = bench.run(
        1, gradient_checkpointing=True, gradient_checkpointing_kwargs=kwargs or None, max_steps=3
    )
    assert checkpointed.metrics["eval_loss"] == plain.metrics["eval_loss"]
    moved = [name for name, t in bench.stored(1).items() if "lora_B" in name and t.any()]
    assert len(moved) == 6
