"""`evaluation:`, `load_in_4bit`, and the objectives of language models."""

import pytest

from autopeft.config import parse
from autopeft.domain.errors import SpecError
from autopeft.domain.generation import Generation

DOCUMENT = {
    "autopeft": 1,
    "study": "chat",
    "model": {"model_name_or_path": "m", "task_type": "CAUSAL_LM"},
    "trainer": "trl.SFTTrainer",
    "data": {
        "train": {"path": "json", "data_files": "t.jsonl"},
        "validation": {"carve": 0.1, "from": "train"},
    },
    "modules": [{"peft_type": "LORA", "r": {"choice": [2, 4]}}],
    "objectives": [{"metric": "numeric_answer"}],
    "budget": {"trials": 4},
}
LABELS = {
    "model": {"model_name_or_path": "m", "task_type": "SEQ_CLS"},
    "trainer": "transformers.Trainer",
    "objectives": [{"metric": "accuracy"}],
}


def spec(**changes):
    return parse({**DOCUMENT, **changes}, folder=".")


def mistake(**changes):
    with pytest.raises(SpecError) as caught:
        spec(**changes)
    (found,) = caught.value.mistakes
    return f"{found.path}: {found.message} ({found.suggestion})"


def generate(**changes):
    return {"evaluation": {"generate": changes}}


def test_what_bounds_the_generating_is_the_files_or_the_default():
    assert spec().generation == Generation(rows=200, max_new_tokens=64)
    given = spec(**generate(rows=8, max_new_tokens=16, num_beams=2, stop_strings=["Q:"]))
    assert given.generation == Generation(8, 16, options={"num_beams": 2, "stop_strings": ["Q:"]})


def test_a_metric_that_only_a_constraint_reads_is_asked_for():
    asked = spec(
        objectives=[{"metric": "eval_loss"}],
        constraints=["rougeL >= 0.9 * baselines.lora_all_linear.rouge1"],
        **generate(rows=8),
    ).asked
    assert asked == {"eval_loss", "rougeL", "rouge1"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluation": 5}, "evaluation: takes {generate: {rows: 200, ...}}, got 5"),
        ({"evaluation": {"generat": {}}}, "evaluation.generat: evaluation has no 'generat'"),
        ({"evaluation": {"generate": []}}, "evaluation.generate: takes {rows, max_new_tokens"),
        (generate(rows=0), "evaluation.generate.rows: takes a whole number from 1, got 0"),
        (generate(max_new_tokens=True), "generate.max_new_tokens: takes a whole number"),
        (generate(batch_size=1.5), "generate.batch_size: takes a whole number from 1, got 1.5"),
        (generate(num_beams="two"), "generate.num_beams: takes int, got 'two'"),
        (generate(row=5), "generate.row: generate has no 'row' (did you mean rows?)"),
        (generate(temperature=0.7), "draws no token, so that a model has one score: got temperat"),
        (
            {"objectives": [{"metric": "eval_loss"}], **generate(rows=5)},
            "generates texts that no objective and no constraint reads (an objective on exact_",
        ),
        ({**LABELS, **generate(rows=5)}, "evaluation.generate: SEQ_CLS generates no text"),
        (
            {**LABELS, "objectives": [{"metric": "rougeL"}]},
            "objectives[0].metric: SEQ_CLS measures no rougeL",
        ),
        (
            {"objectives": [{"metric": "f1"}]},
            "objectives[0].metric: CAUSAL_LM measures no f1 (it measures eval_loss, forgetting, pe",
        ),
    ],
)
def test_a_mistake_says_the_rule_and_what_was_got(changes, said):
    assert said in mistake(**changes)


def test_qlora_is_one_line():
    model = {**DOCUMENT["model"], "load_in_4bit": True}
    given = spec(model=model)
    assert given.model["quantization_config"] == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
    }
    assert given.document["model"] == model  # what is stored stays what was written
    assert "quantization_config" not in spec(model={**model, "load_in_4bit": False}).model
    eight = spec(model={**DOCUMENT["model"], "load_in_8bit": True}).model
    assert eight["quantization_config"] == {"load_in_8bit": True}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"load_in_4bit": "nf4"}, "model.load_in_4bit: takes true or false, got 'nf4'"),
        ({"load_in_4bit": True, "load_in_8bit": True}, "one of load_in_4bit and load_in_8bit is"),
        (
            {"load_in_8bit": True, "quantization_config": {"load_in_8bit": True}},
            "model.load_in_8bit: stands for a quantization_config, got one beside it",
        ),
    ],
)
def test_a_short_form_that_contradicts_is_refused(more, said):
    assert said in mistake(model={**DOCUMENT["model"], **more})
