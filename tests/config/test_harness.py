"""Tasks of the lm-evaluation-harness as objectives: what a file may say."""

import pytest

from autopeft.config import parse
from autopeft.domain.errors import SpecError
from autopeft.domain.harness import Harness, harness_key

ACC = "lm_eval/arc_easy/acc_norm"


def document(harness, **changes):
    files = {"path": "json", "data_files": "x.jsonl"}
    found = {
        "autopeft": 1,
        "study": "harness",
        "model": {"model_name_or_path": "gpt2", "task_type": "CAUSAL_LM"},
        "data": {"train": files, "validation": files},
        "modules": [{"peft_type": "LORA", "r": {"choice": [2, 4]}}],
        "objectives": [ACC, "adapter_params"],
        "budget": {"trials": 3},
        **changes,
    }
    return found if harness is None else {**found, "evaluation": {"lm_eval": harness}}


def mistakes(plain):
    with pytest.raises(SpecError) as caught:
        parse(plain, folder=".")
    return {mistake.path: str(mistake) for mistake in caught.value.mistakes}


def test_a_task_brings_its_metrics():
    given = {"tasks": ["arc_easy", "gsm8k"], "limit": 100, "num_fewshot": 0}
    objectives = [ACC, {"metric": "lm_eval/gsm8k/exact_match/strict-match", "goal": "maximize"}]
    spec = parse(
        document(given, objectives=objectives, constraints=["lm_eval/wikitext/bits_per_byte <= 2"]),
        folder=".",
    )
    assert spec.harness == Harness(("arc_easy", "gsm8k"), limit=100, num_fewshot=0)
    assert [objective.goal for objective in spec.objectives] == ["maximize", "maximize"]
    assert not any(objective.known for objective in spec.objectives)
    assert spec.metrics["lm_eval/wikitext/bits_per_byte"].goal == "minimize"
    assert harness_key("lm_eval/gsm8k/exact_match/strict-match") == (
        "gsm8k",
        "exact_match,strict-match",
    )


def test_a_constraint_may_follow_a_baseline():
    text = f"{ACC} >= baselines.lora_all_linear.{ACC} - 0.01"
    spec = parse(
        document({"tasks": ["arc_easy"]}, objectives=["eval_loss"], constraints=[text]), folder="."
    )
    (constraint,) = spec.constraints
    assert (constraint.metric, constraint.baseline_metric) == (ACC, ACC)
    assert constraint.offset == -0.01
    assert spec.asked == {"eval_loss", ACC}


@pytest.mark.parametrize(
    ("given", "at", "rule"),
    [
        (None, "", f"is needed to measure {ACC}, got nothing"),
        ("arc_easy", "", "takes {tasks: [...], limit: 100, ...}, got 'arc_easy'"),
        ({}, ".tasks", "takes a list of the harness's tasks, got None"),
        ({"tasks": "arc_easy"}, ".tasks", "takes a list of the harness's tasks, got 'arc_easy'"),
        ({"tasks": []}, ".tasks", "takes a list of the harness's tasks, got []"),
        ({"tasks": ["arc_easy"], "limits": 3}, ".limits", "did you mean limit?"),
        ({"tasks": ["arc_easy"], "limit": 0}, ".limit", "a whole number from 1, got 0"),
        ({"tasks": ["arc_easy"], "limit": 0.5}, ".limit", "a whole number from 1, got 0.5"),
        ({"tasks": ["arc_easy"], "num_fewshot": -1}, ".num_fewshot", "from 0, got -1"),
        ({"tasks": ["arc_easy"], "batch_size": "auto"}, ".batch_size", "from 1, got 'auto'"),
        ({"tasks": ["arc_easy"], "include_path": 3}, ".include_path", "takes a folder, got 3"),
        (
            {"tasks": ["arc_easy"], "apply_chat_template": "yes"},
            ".apply_chat_template",
            "takes true or false, got 'yes'",
        ),
    ],
)
def test_what_makes_no_sense_is_said(given, at, rule):
    found = mistakes(document(given))
    assert list(found) == [f"evaluation.lm_eval{at}"]
    assert rule in found[f"evaluation.lm_eval{at}"]


def test_tasks_that_nothing_reads_are_not_measured():
    found = mistakes(document({"tasks": ["arc_easy"]}, objectives=["eval_loss"]))
    assert "no objective and no constraint reads" in found["evaluation.lm_eval"]


def test_only_language_models_are_measured():
    model = {"model_name_or_path": "bert", "task_type": "SEQ_CLS"}
    found = mistakes(document({"tasks": ["arc_easy"]}, model=model))
    assert "CAUSAL_LM, got task_type SEQ_CLS" in found["evaluation.lm_eval"]


def test_a_metric_needs_its_task():
    found = mistakes(document({"tasks": ["arc_easy"]}, objectives=["lm_eval/arc_easy", ACC]))
    assert "there is no metric 'lm_eval/arc_easy'" in found["objectives[0].metric"]
