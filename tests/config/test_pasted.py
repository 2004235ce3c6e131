"""What PEFT and the trainers write themselves is a space of one point, pasted as it is."""

import copy
import json
import re
from pathlib import Path

import pytest
from fakes import bert_shape, fake_problem
from peft import (
    AdaLoraConfig,
    LNTuningConfig,
    LoraConfig,
    PrefixTuningConfig,
    TaskType,
    get_peft_model,
)
from ruamel.yaml import YAML
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

from autopeft.config import bind, load, parse
from autopeft.config.recipe import check_recipe
from autopeft.domain.architecture import canonical
from autopeft.domain.errors import SpecError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS, TRAINER_DEFAULTS

HEAD = """\
autopeft: 1
study: pasted
model: {model_name_or_path: x, task_type: SEQ_CLS}
data: {train: {path: rows}, validation: {path: rows}}
objectives: [accuracy]
budget: {trials: 2}
"""
CONFIGS = [
    LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules=["query", "value"]),
    AdaLoraConfig(
        task_type=TaskType.SEQ_CLS,
        init_r=6,
        target_r=3,
        total_step=50,
        target_modules=["query"],
    ),
    PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=3),
    LNTuningConfig(task_type=TaskType.SEQ_CLS, target_modules=["LayerNorm"]),
]


def document():
    return YAML(typ="safe", pure=True).load(HEAD)


@pytest.mark.parametrize("config", CONFIGS[:3], ids=lambda config: config.peft_type.value)
def test_the_folder_of_a_trained_model_is_a_space_of_one_point(tmp_path, config):
    tiny = BertConfig(
        hidden_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=256,
        vocab_size=32,
    )
    model = get_peft_model(BertForSequenceClassification(tiny), copy.deepcopy(config))
    model.save_pretrained(tmp_path / "adapter")
    written = (tmp_path / "adapter" / "adapter_config.json").read_text()
    pasted = json.loads(written)
    assert pasted["inference_mode"] is True
    assert pasted["modules_to_save"]
    path = tmp_path / "space.yaml"
    path.write_text(HEAD + "training: {learning_rate: 1e-3}\nmodules: [" + written + "]\n")
    spec = bind(load(path), bert_shape(), source=path)
    (branch,) = spec.space.searched
    assert branch.parameters == ()
    (module,) = fake_problem(spec).configure({"branch": "main"}).architecture.modules
    assert module.peft_type == config.peft_type.value


def test_a_pasted_config_and_the_hand_written_one_are_one_architecture(tmp_path):
    CONFIGS[0].save_pretrained(tmp_path)
    pasted = json.loads((tmp_path / "adapter_config.json").read_text())
    by_hand = {"peft_type": "LORA", "r": 4, "target_modules": ["value", "query"]}
    assert key_of(pasted) == key_of(by_hand)


def key_of(module):
    spec = parse(
        {**document(), "modules": [module], "training": {"learning_rate": 1e-3}}, folder="."
    )
    spec = bind(spec, bert_shape())
    return canonical(
        spec.space.realise({"branch": "main"}),
        branch="main",
        shape=bert_shape(),
        training=spec.training,
        defaults=PEFT_DEFAULTS,
    ).key


@pytest.mark.parametrize(
    "target_modules",
    [
        None,  # PEFT's own choice for BERT
        r".*\.attention\.self\.(query|value)",  # a string is a pattern on full names
    ],
)
def test_targets_are_read_as_peft_reads_them(tmp_path, target_modules):
    LoraConfig(task_type=TaskType.SEQ_CLS, r=4, target_modules=target_modules).save_pretrained(
        tmp_path
    )
    pasted = json.loads((tmp_path / "adapter_config.json").read_text())
    assert key_of(pasted) == key_of(
        {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}
    )


@pytest.mark.parametrize(
    ("target_modules", "said"),
    [
        ("(query", "'(query' is neither a module nor a pattern"),
        (r".*\.q_proj", "matches no module inside the layers"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(target_modules, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        key_of({"peft_type": "LORA", "r": 4, "target_modules": target_modules})


def test_training_arguments_written_as_yaml_are_a_recipe(tmp_path):
    written = TrainingArguments(
        output_dir="/elsewhere", learning_rate=3e-4, num_train_epochs=2, use_cpu=True
    ).to_dict()
    arguments = tmp_path / "arguments.yaml"
    YAML(typ="safe", pure=True).dump(json.loads(json.dumps(written)), arguments)
    indented = "".join(f"  {line}\n" for line in arguments.read_text().splitlines())
    path = tmp_path / "space.yaml"
    path.write_text(
        f"{HEAD}training:\n{indented}modules: [{{peft_type: LORA, target_modules: query}}]\n"
    )
    spec = load(path)
    assert spec.training["learning_rate"] == 3e-4
    assert spec.training["num_train_epochs"] == 2.0
    assert not {"output_dir", "report_to", "hub_token", "seed"} & set(spec.training)
    assert spec.space.searched[0].parameters == ()


@pytest.mark.parametrize("trainer", TRAINER_DEFAULTS)
def test_every_argument_at_its_default_says_nothing(trainer):
    found = []
    kept = check_recipe(
        TRAINER_DEFAULTS[trainer], "training", trainer, lambda *mistake: found.append(mistake)
    )
    assert not found
    assert set(kept) <= {"learning_rate"}


def test_masked_tokens_are_not_taken_for_tokens():
    training = {"eos_token": "<EOS_TOKEN>", "learning_rate": 1e-3}
    assert check_recipe(training, "training", "trl.SFTTrainer", print) == {"learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report_to", "wandb"),
        ("seed", 3),
        ("save_strategy", "epoch"),
        ("eval_strategy", "steps"),
        ("bf16_full_eval", True),
    ],
)
def test_what_autopeft_does_itself_is_refused_with_the_reason(name, value):
    training = {name: value}
    modules = [{"peft_type": "LORA", "target_modules": "query"}]
    with pytest.raises(SpecError, match=f"training.{name}: autopeft sets {name} itself") as caught:
        parse({**document(), "training": training, "modules": modules}, folder=".")
    assert len(caught.value.mistakes) == 1


def test_a_branch_may_set_a_field_back_to_the_trainers_default():
    spec = parse(
        {
            **document(),
            "training": {"num_train_epochs": 10},
            "space": {
                "lora": {
                    "modules": [{"peft_type": "LORA", "target_modules": "query"}],
                    "training": {"num_train_epochs": 3, "output_dir": "/elsewhere"},
                }
            },
        },
        folder=".",
    )
    training = spec.space["lora"].tree["training"]
    assert training["num_train_epochs"] == 3.0
    assert set(training) == {"num_train_epochs", "learning_rate"}


def test_a_path_of_the_file_starts_from_its_folder(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(HEAD + "modules: [{peft_type: LORA, target_modules: query}]\n")
    assert Path(load(path).folder) == tmp_path.resolve()
