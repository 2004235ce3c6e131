"""Good space files: what is pasted in works, what is loaded is light, what changed is shown."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape, fake_problem
from peft import AdaLoraConfig, IA3Config, LoraConfig

from autopeft import build
from autopeft.config import bind, difference, load, parse, widens
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError
from autopeft.domain.methods.peft_fields import (
    PEFT_DEFAULTS,
    PEFT_TARGETS,
    TRAINER_DEFAULTS,
    TRAINER_VALUES,
)
from autopeft.domain.study import StopRule
from autopeft.search import BOTORCH, make_sampler
from autopeft.training.peft_table import PATH, table

ROOT = Path(__file__).parents[2]
GOOD = Path(__file__).with_name("good.yaml")


def document():
    return read(GOOD)[0]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda p: p.name
)
def test_every_shipped_space_file_loads(path):
    assert load(path).space.searched


def test_the_table_of_fields_is_that_of_the_installed_packages():
    values = {field: list(known) for field, known in TRAINER_VALUES.items()}
    written = table()
    assert PEFT_TARGETS["LORA"]["bert"] == ["query", "value"]
    assert written.pop("targets") == json.loads(PATH.read_text())["targets"]
    assert written == {"peft": PEFT_DEFAULTS, "trainers": TRAINER_DEFAULTS, "values": values}


def test_a_wrong_file_is_reported_before_any_framework_loads(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(GOOD.read_text().replace("lora_alpha", "lora_alfa"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom autopeft.config import load\n"
        "from autopeft.domain.errors import SpecError\n"
        f"try:\n    load(Path({str(path)!r}))\nexcept SpecError:\n    pass\nelse:\n    sys.exit('no error')\n"
        "heavy = {'torch', 'transformers', 'peft', 'ray', 'mlflow', 'optuna', 'botorch', 'datasets'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS"),
        IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"]),
        AdaLoraConfig(init_r=8, target_r=4, target_modules=["query"], total_step=100),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_an_adapter_config_written_by_peft_is_a_space_of_one_point(tmp_path, config):
    config.save_pretrained(tmp_path)
    pasted = json.loads((tmp_path / "adapter_config.json").read_text())
    spec = parse(
        {
            **{
                k: v
                for k, v in document().items()
                if k not in ("space", "baselines", "constraints")
            },
            "modules": [pasted],
            "training": {"learning_rate": 1e-3},
        },
        folder=".",
    )
    spec = bind(spec, bert_shape())
    (branch,) = spec.space.searched
    assert branch.parameters == ()
    configuration = fake_problem(spec).configure({"branch": "main"})
    assert configuration.architecture.modules[0].peft_type == config.peft_type.value


def test_a_trainer_file_written_by_trl_is_a_recipe(tmp_path):
    from trl import SFTConfig

    written = SFTConfig(
        output_dir=str(tmp_path), learning_rate=2e-4, packing=True, use_cpu=True, bf16=False
    ).to_dict()
    changed = copy.deepcopy(document())
    changed |= {
        "trainer": "trl.SFTTrainer",
        "model": {"model_name_or_path": "x", "task_type": "CAUSAL_LM"},
        "data": {"train": {"path": "chats"}, "validation": {"carve": 0.1}},
        "training": json.loads(json.dumps(written)),
        "objectives": ["eval_loss", "adapter_params"],
        "constraints": [],
    }
    recipe = parse(changed, folder=".").training
    assert recipe["learning_rate"] == 2e-4
    assert recipe["packing"] is True
    assert "output_dir" not in recipe


def test_yaml_1_2_reads_numbers_and_words_as_it_should(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(GOOD.read_text().replace("study: good", "study: no"))
    spec = load(path)
    assert spec.name == "no"
    rate = next(p for p in spec.space["lora"].parameters if "learning_rate" in p.name)
    assert rate.variable.low == 1e-5


@pytest.mark.parametrize("name", ["autopeft", "random", "optuna.GPSampler", *BOTORCH])
def test_every_sampler_that_is_made_can_be_named(name):
    spec = parse(document() | {"search": {"sampler": {"name": name}}}, folder=".")
    assert spec.search.sampler == name
    make_sampler(spec.search.sampler, build.sampler_options(spec))


def test_samplers_that_size_their_design_by_the_budget_are_told_it():
    for name, told in (("autopeft", 20), ("botorch.AutoPEFT", 20), ("botorch.qLogNEHVI", None)):
        spec = parse(document() | {"search": {"sampler": name}}, folder=".")
        assert build.sampler_options(spec).get("budget") == told


def test_every_branch_has_a_learning_rate_of_its_own():
    spec = load(GOOD)
    assert any("learning_rate" in p.name for p in spec.space["ia3"].parameters)
    assert any("learning_rate" in p.name for p in spec.space["house"].parameters)


def test_an_allocation_for_all_is_that_of_every_branch_that_names_none():
    given = document() | {"allocation": "ist"}
    trees = {branch.name: branch.tree for branch in parse(given, folder=".").space.branches}
    assert trees["ia3"]["allocation"] == "ist"
    assert trees["lora"]["allocation"] != "ist"
    assert "allocation" not in trees["house"]
    with pytest.raises(SpecError, match="adalora allocates LORA modules, got IA3"):
        parse(document() | {"allocation": "adalora"}, folder=".")


def test_an_override_wins_over_the_file():
    assert load(GOOD, ["budget.trials=7"]).budget.trials == 7
    with pytest.raises(SpecError, match="takes key.path=value"):
        load(GOOD, ["budget.trials"])


def test_a_document_parses_to_the_same_study_again():
    spec = load(GOOD)
    again = parse(json.loads(json.dumps(spec.document)), folder=spec.folder)
    assert again == spec


def test_every_random_point_is_a_configuration():
    spec = bind(load(GOOD), bert_shape())
    problem = fake_problem(spec)
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert problem.configure(spec.space.draw(rng)).architecture.modules


def changed(path, value):
    found = copy.deepcopy(document())
    *parents, last = path
    place = found
    for key in parents:
        place = place[key]
    place[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "wider"),
    [
        (("budget", "trials"), 40, True),
        (("search", "parallel"), 8, True),
        (("search", "seeds"), 3, True),
        (("search", "stop"), {"min_gain": 0.01}, True),
        (("space", "lora", "modules", 0, "r"), {"choice": [1, 4, 16, 64]}, True),
        (("space", "lora", "modules", 0, "r"), {"choice": [64, 1, 4, 16]}, False),
        (("space", "lora", "modules", 0, "r"), {"choice": [1, 4]}, False),
        (("space", "new"), {"modules": []}, True),
        (("space", "lora", "training", "learning_rate", "high"), 1e-1, True),
        (("training", "num_train_epochs"), 5, False),
        (("search", "seed"), 1, False),
    ],
)
def test_a_file_that_only_adds_widens_the_study(path, value, wider):
    new = changed(path, value)
    assert widens(document(), new) is wider
    assert difference(document(), new)


@pytest.mark.parametrize("after", [{"min_gain": 0.001}, {"min_gain": 0.01, "patience": 20}, None])
def test_a_stop_rule_may_change_in_a_study_that_goes_on(after):
    old = changed(("search", "stop"), {"min_gain": 0.01})
    new = changed(("search", "stop"), after) if after else document()
    assert widens(old, new)


def test_a_stop_rule_is_read():
    for text, rule in (
        ({"min_gain": 0.01}, StopRule(min_gain=0.01)),
        (
            {"min_gain_per_gpu_hour": 2, "patience": 3},
            StopRule(min_gain_per_gpu_hour=2.0, patience=3),
        ),
    ):
        assert parse(changed(("search", "stop"), text), folder=".").search.stop == rule
    assert parse(document(), folder=".").search.stop is None


def test_a_difference_names_the_path_and_both_values():
    text = difference(document(), changed(("training", "num_train_epochs"), 5))
    assert text == "  training.num_train_epochs: 4 -> 5"


def test_earlier_studies_are_a_name_or_a_list_of_them_and_no_edit_of_a_study():
    one = {**document(), "search": {"warm_start": "first"}}
    assert parse(one, folder=".").search.warm_start == ("first",)
    two = {**document(), "search": {"warm_start": ["first", "second"]}}
    assert parse(two, folder=".").search.warm_start == ("first", "second")
    assert "search.warm_start" in difference(one, two)
    assert not widens(one, two)


def test_a_whole_field_that_is_written_as_a_float_is_whole():
    spec = load(GOOD, ["training.per_device_train_batch_size=2.0", "training.warmup_steps=1.0"])
    recipe = spec.training
    assert type(recipe["per_device_train_batch_size"]) is int
    assert type(recipe["warmup_steps"]) is float  # all of the run, not a step
