"""Space files of studies that the user's own code trains: what they may say, and what not."""

import pytest
from fakes import bert_shape

from autopeft.config import bind, parse
from autopeft.domain.errors import SpecError
from autopeft.domain.objective import METRICS
from autopeft.domain.space import Choice, Range

FREE = {
    "autopeft": 1,
    "study": "free",
    "evaluator": "my_package.train:evaluate",
    "parameters": {"rank": {"choice": [2, 4]}, "lr": {"low": 1e-5, "high": 1e-2, "log": True}},
    "metrics": {"rouge": {"goal": "maximize", "unit": "share"}, "size": {"goal": "minimize"}},
    "objectives": ["rouge", {"metric": "size", "scale": "log"}],
    "budget": {"trials": 8},
}
BERT = {"model_name_or_path": "bert", "task_type": "SEQ_CLS"}
LORA = {"peft_type": "LORA", "r": {"choice": [2, 4]}, "target_modules": ["query"]}
BUILT = {
    **FREE,
    "model": BERT,
    "space": {"lora": {"modules": [LORA]}},
    "parameters": {"warm": {"choice": [0, 1]}},
    "objectives": ["rouge", "adapter_params"],
}


def parsed(document, **changes):
    whole = {**document, **changes}
    return parse({k: v for k, v in whole.items() if v is not None}, folder=".")


def mistakes(document, **changes):
    with pytest.raises(SpecError) as found:
        parsed(document, **changes)
    return {mistake.path: str(mistake) for mistake in found.value.mistakes}


def test_free_parameters_need_no_model_no_data_and_no_baseline():
    spec = parsed(FREE)
    assert (spec.evaluator.module, spec.evaluator.name) == ("my_package.train", "evaluate")
    (branch,) = spec.space.branches
    assert branch.tree == {
        "training": {},
        "parameters": {"rank": Choice((2, 4)), "lr": Range(1e-5, 1e-2, log=True)},
    }
    assert [o.unit for o in spec.objectives] == ["share", ""]
    assert spec.objectives[1].goal == "minimize"
    assert not any(o.known for o in spec.objectives)


def test_a_metric_of_ones_own_has_nothing_but_its_name_from_one_of_autopefts():
    declared = {"accuracy": {"goal": "maximize"}, "forgetting": {"goal": "minimize"}}
    objectives = ["accuracy", {"metric": "forgetting", "scale": "log"}]
    first, second = parsed(FREE, metrics=declared, objectives=objectives).objectives
    assert first.highest == float("inf"), "it may be in per cent"
    assert second.scale == "log"


def test_an_evaluator_as_a_mapping_has_a_folder_and_options():
    given = {"function": "train:run", "working_dir": "code", "options": {"rows": 10}}
    own = parsed(FREE, evaluator=given).evaluator
    assert (own.function, own.working_dir, own.options) == ("train:run", "code", {"rows": 10})


def test_modules_get_their_baseline_their_learning_rate_and_the_shared_parameters():
    spec = parsed(BUILT)
    assert [branch.name for branch in spec.space.branches] == ["lora", "lora_all_linear"]
    for branch in spec.space.branches:
        assert branch.tree["parameters"] == {"warm": Choice((0, 1))}
        assert isinstance(branch.tree["training"]["learning_rate"], Range)
    assert [o.known for o in spec.objectives] == [False, True]
    bind(spec, bert_shape())


def test_a_learning_rate_among_the_parameters_stands_for_that_of_the_recipe():
    rate = {"learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}}
    spec = parsed(BUILT, parameters=rate)
    for branch in spec.space.branches:
        assert branch.tree["training"] == {}
        assert isinstance(branch.tree["parameters"]["learning_rate"], Range)


def test_a_branch_may_have_parameters_of_its_own():
    space = {"a": {"parameters": {"depth": {"choice": [1, 2]}}}, "b": {"parameters": {"rank": 3}}}
    a, b = parsed(FREE, space=space).space.branches
    assert set(a.tree["parameters"]) == {"rank", "lr", "depth"}
    assert b.tree["parameters"]["rank"] == 3


def test_a_measured_metric_of_autopeft_may_be_declared_anew():
    said = {"accuracy": {"goal": "maximize", "unit": "%"}}
    (objective,) = parsed(FREE, metrics=said, objectives=["accuracy"]).objectives
    assert objective.unit == "%" != METRICS["accuracy"].unit


def test_rungs_of_free_parameters_are_those_of_the_file():
    spec = parsed(FREE, search={"rungs": {"epochs": [1, 5]}})
    assert [stop.epochs for stop in spec.stops({})] == [1, 5, None]


def test_constraints_may_name_what_is_declared():
    assert parsed(FREE, constraints=["size <= 4"]).constraints[0].metric == "size"


BAD = {
    "no function": ({"evaluator": "train.py"}, "evaluator", "takes the import path of a function"),
    "an unknown key": (
        {"evaluator": {"function": "a:b", "dir": "."}},
        "evaluator.dir",
        "an evaluator has no 'dir'",
    ),
    "a folder that is none": (
        {"evaluator": {"function": "a:b", "working_dir": 3}},
        "evaluator.working_dir",
        "takes a folder, got 3",
    ),
    "options as a list": (
        {"evaluator": {"function": "a:b", "options": [1]}},
        "evaluator.options",
        "takes a mapping, got [1]",
    ),
    "no metrics": ({"metrics": None}, "metrics", "needs the metrics that it returns"),
    "a metric without goal": (
        {"metrics": {"rouge": {"unit": "share"}, "size": {"goal": "minimize"}}},
        "metrics.rouge.goal",
        "takes maximize or minimize, got None",
    ),
    "a metric as a text": (
        {"metrics": {"rouge": "maximize", "size": {"goal": "minimize"}}},
        "metrics.rouge",
        "takes {goal: maximize} or {goal: minimize}, got 'maximize'",
    ),
    "a unit that is no text": (
        {"metrics": {"rouge": {"goal": "maximize", "unit": 1}, "size": {"goal": "minimize"}}},
        "metrics.rouge.unit",
        "takes a text, got 1",
    ),
    "a metric that autopeft computes": (
        {"metrics": {**FREE["metrics"], "adapter_params": {"goal": "minimize"}}},
        "metrics.adapter_params",
        "autopeft computes adapter_params from the modules itself",
    ),
    "an objective that nobody returns": (
        {"objectives": ["rogue"]},
        "objectives[0].metric",
        "did you mean rouge?",
    ),
    "a metric of autopeft's own training": (
        {"objectives": ["rouge", "train_seconds"]},
        "objectives[1].metric",
        "there is no metric 'train_seconds'",
    ),
    "a computed metric without a model": (
        {"objectives": ["rouge", "adapter_params"]},
        "objectives[1].metric",
        "there is no metric 'adapter_params'",
    ),
    "a computed metric without modules": (
        {"model": BERT, "objectives": ["rouge", "adapter_params"]},
        "objectives[1].metric",
        "adapter_params is computed from modules, and branch main has none",
    ),
    "modules without a model": (
        {"space": {"lora": {"modules": [LORA]}}},
        "space.lora.modules",
        "modules are placed in a model, and the file names none",
    ),
    "nothing at all": (
        {"parameters": None, "space": {"a": {"training": {}}}},
        "space.a",
        "needs modules or parameters, got neither",
    ),
    "no space": ({"parameters": None}, "space", "is needed"),
    "data": (
        {"data": {"train": {"path": "json", "data_files": "a"}}},
        "data",
        "an evaluator loads its own data",
    ),
    "an allocation": (
        {"model": BERT, "space": {"a": {"modules": [LORA], "allocation": "ist"}}},
        "space.a.allocation",
        "only autopeft's own training spreads a budget",
    ),
    "a parameter with a dot": (
        {"parameters": {"a.b": 1}},
        "parameters.a.b",
        "a parameter takes letters, digits, _ and -",
    ),
    "parameters as a list": ({"parameters": [1]}, "parameters", "takes a mapping"),
    "layers without modules": (
        {"space": {"a": {"layers": {"first": 2}}}},
        "space.a.layers",
        "says where modules live",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_told_with_its_path(name):
    changes, path, text = BAD[name]
    found = mistakes(FREE, **changes)
    assert path in found, found
    assert text in found[path]


def test_without_an_evaluator_nobody_reads_parameters():
    found = mistakes({"autopeft": 1, "study": "s", "model": BERT, "parameters": {"a": 1}})
    assert "are read by an evaluator of your own, and there is none" in found["parameters"]


def test_a_branch_has_no_parameters_without_an_evaluator():
    branch = {"modules": [LORA], "parameters": {"a": 1}}
    found = mistakes({"autopeft": 1, "study": "s", "model": BERT, "space": {"lora": branch}})
    assert "and there is none" in found["space.lora.parameters"]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ({**LORA, "init_lora_weights": "eva"}, "eva looks at the training data first"),
        ({"peft_type": "ADALORA", "target_modules": ["query"]}, "ADALORA reallocates"),
    ],
)
def test_what_only_autopeft_s_training_can_do_is_refused_before_it(module, text):
    spec = parsed(BUILT, space={"a": {"modules": [module]}}, parameters=None)
    with pytest.raises(SpecError, match=text):
        bind(spec, bert_shape())
