"""Whatever a space file holds, it is a study or a list of mistakes: never a traceback."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import bert_shape, fake_problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autopeft.config import bind, load, parse
from autopeft.config.reading import read
from autopeft.domain.errors import SpecError
from autopeft.domain.space import Bits, Choice

GOOD = Path(__file__).with_name("good.yaml")
DOCUMENT = read(GOOD)[0]


def places(node, path=()):
    yield path
    for key in (
        node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    ):
        yield from places(node[key], (*path, key))


PLACES = [path for path in places(DOCUMENT) if path]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(-1, 1e9),
    st.sampled_from(["", "all", "lora", "2 * r", "r / 0", "a b", "no"]),
)
KEYS = ("choice", "subset", "min", "low", "high", "log", "step", "expr", "first", "range", "bits")
KEYS += ("peft_type", "r", "path", "carve", "adalora", "name", "epochs", "training")
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=5,
)


def outcome(document):
    """(spec, no mistakes) or (None, mistakes)."""
    try:
        return bind(parse(document, folder="."), bert_shape()), ()
    except SpecError as error:
        return None, error.mistakes


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_in_any_place_is_a_study_or_a_mistake(place, value):
    document = copy.deepcopy(DOCUMENT)
    *parents, last = place
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    spec, mistakes = outcome(document)
    if spec is None:
        assert mistakes
        assert all(mistake.path and mistake.message for mistake in mistakes)
        return
    rng = np.random.default_rng(0)
    for _ in range(5):
        json.dumps(spec.space.realise(spec.space.draw(rng)), allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(place=st.sampled_from(PLACES))
def test_a_key_that_is_missing_is_a_study_or_a_mistake(place):
    document = copy.deepcopy(DOCUMENT)
    *parents, last = place
    node = document
    for key in parents:
        node = node[key]
    del node[last]
    spec, mistakes = outcome(json.loads(json.dumps(document)))
    assert (spec is None) == bool(mistakes)


@st.composite
def documents(draw):
    """Good files of another size, layers, targets and recipe."""
    document = copy.deepcopy(DOCUMENT)
    lora = document["space"]["lora"]
    sizes = st.lists(st.integers(1, 64), min_size=1, max_size=4, unique=True)
    lora["modules"][0]["r"] = draw(
        st.one_of(st.integers(1, 64), sizes.map(lambda options: {"choice": options}))
    )
    lora["layers"] = draw(
        st.sampled_from(
            [
                "all",
                {"bits": "shared"},
                {"bits": "own"},
                {"range": [1, 3]},
                [0, 5],
                {"choice": ["all", {"last": {"choice": [1, 2]}}, {"bits": "shared"}]},
            ]
        )
    )
    lora["modules"][0]["target_modules"] = draw(
        st.sampled_from(
            ["all-linear", ["query", {"choice": ["key", "value"]}], {"subset": ["query", "key"]}]
        )
    )
    lora["training"]["num_train_epochs"] = draw(
        st.sampled_from([3, {"low": 2, "high": 5}, {"choice": [2, 4]}])
    )
    return document


@settings(max_examples=60, deadline=None)
@given(document=documents(), seed=st.integers(0, 10**6))
def test_every_random_point_is_a_configuration_and_a_document_keeps_its_study(document, seed):
    spec = parse(document, folder=".")
    assert parse(json.loads(json.dumps(spec.document)), folder=".") == spec
    bound = bind(spec, bert_shape())
    problem = fake_problem(bound)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        configuration = problem.configure(bound.space.draw(rng))
        assert configuration.architecture.modules
        assert 0 < configuration.recipe["learning_rate"] < 1


def test_layer_bits_get_the_length_of_the_model():
    document = copy.deepcopy(DOCUMENT)
    for layers in ({"bits": "shared"}, {"bits": "own"}, {"choice": ["all", {"bits": "shared"}]}):
        document["space"]["lora"]["layers"] = layers
        tree = bind(parse(document, folder="."), bert_shape(layers=4)).space["lora"].tree
        found = tree["modules"][0]["layers"] if layers == {"bits": "own"} else tree["layers"]
        found = found.options[1] if isinstance(found, Choice) else found
        assert found == {"bits": Bits(4)}


EXTRA = {
    "a list for a number": (
        ("space", "lora", "modules", 0, "r"),
        [1, 4],
        "space.lora.modules[0].r: r takes a whole number, got [1, 4] (write {choice: [1, 4]})",
    ),
    "an unknown scheduler": (
        ("training", "lr_scheduler_type"),
        "cosin",
        "training.lr_scheduler_type: lr_scheduler_type has no 'cosin' (did you mean cosine?)",
    ),
    "a negative learning rate": (
        ("training", "learning_rate"),
        -0.1,
        "training.learning_rate: learning_rate is above 0, got -0.1",
    ),
    "a whole number that varies by halves": (
        ("training", "per_device_train_batch_size"),
        {"low": 1.0, "high": 8.5},
        "training.per_device_train_batch_size: per_device_train_batch_size takes a whole number, "
        "got {'low': 1.0, 'high': 8.5}",
    ),
    "a method that varies": (
        ("space", "ia3", "modules", 0, "peft_type"),
        {"choice": ["IA3", "LORA"]},
        "space.ia3.modules[0].peft_type: peft_type does not vary inside a branch "
        "(write a branch for each)",
    ),
    "training that varies as a whole": (
        ("space", "lora", "training"),
        {"choice": [{"learning_rate": 1e-3}]},
        "space.lora.training: takes a mapping (`key: value`), "
        "got {'choice': [{'learning_rate': 0.001}]}",
    ),
    "an expression that divides by nothing": (
        ("space", "lora", "modules", 0, "lora_alpha"),
        {"expr": "r / (r - r)"},
        "space.lora.modules[0].lora_alpha: the expression 'r / (r - r)' has no value: "
        "division by zero",
    ),
    "an expression of itself": (
        ("space", "lora", "modules", 0, "lora_alpha"),
        {"expr": "lora_alpha"},
        "space.lora.modules[0].lora_alpha: the expression 'lora_alpha' has no value: ",
    ),
    "a rung after the end": (
        ("search", "rungs"),
        {"epochs": [1, 9]},
        "search.rungs.epochs: training ends at 4, before the rung at 9",
    ),
    "the wrong trainer": (
        ("trainer",),
        "trl.SFTTrainer",
        "trainer: task_type SEQ_CLS trains with transformers.Trainer, got trl.SFTTrainer "
        "(transformers.Trainer)",
    ),
    "a number of labels": (
        ("model", "num_labels"),
        3,
        "model.num_labels: autopeft sets num_labels itself: the data's labels decide it "
        "(remove it)",
    ),
    "files without names": (
        ("data", "train"),
        {"path": "json"},
        "data.train: path: json needs data_files, got nothing (data_files: train.json)",
    ),
    "no batch size": (
        ("training", "per_device_train_batch_size"),
        None,
        "training.per_device_train_batch_size: per_device_train_batch_size takes a whole number, "
        "got null (remove it)",
    ),
    "more epochs than there is time": (
        ("training", "num_train_epochs"),
        1e308,
        "training.num_train_epochs: num_train_epochs is at most 1000000, got 1e+308",
    ),
    "options that are no mapping": (
        ("search", "sampler"),
        {"name": "autopeft", "options": 0},
        "search.sampler.options: takes a mapping, got 0",
    ),
    "files that are no names": (
        ("data", "train"),
        {"path": "json", "data_files": [1]},
        "data.train.data_files: takes the name of a file, or a list of them, got [1]",
    ),
    "a carving seed below 0": (
        ("data", "validation"),
        {"carve": 0.1, "seed": -1},
        "data.validation.seed: takes a whole number from 0 to 4,294,967,295, got -1",
    ),
    "a log scale of what is signed": (
        ("objectives", 0),
        {"metric": "matthews_correlation", "scale": "log"},
        "objectives[0].scale: log needs values above 0, matthews_correlation can be below (linear)",
    ),
    "a baseline called like a branch": (
        ("baselines", "ia3"),
        {"modules": [{"peft_type": "IA3", "target_modules": "key"}]},
        "baselines.ia3: a baseline and a branch are both called 'ia3' (rename one)",
    ),
    "a subset of too few": (
        ("space", "ia3", "modules", 0, "target_modules"),
        {"subset": ["key"], "min": 2},
        "space.ia3.modules[0].target_modules: subset needs 0 <= min <= number of options, "
        "got min=2 of 1: lower min or add options",
    ),
    "AdaLoRA that shrinks nothing": (
        ("space", "ia3", "modules", 0),
        {"peft_type": "ADALORA", "init_r": 4, "target_r": 8, "target_modules": "key"},
        "space.ia3.modules[0].target_r: AdaLoRA needs target_r < init_r, got target_r=8, init_r=4 "
        "(raise init_r or lower target_r)",
    ),
    "a pattern that matches nothing": (
        ("space", "lora", "modules", 0, "rank_pattern"),
        {"kwery": 4},
        "space.lora.modules[0].rank_pattern.kwery: 'kwery' matches no targeted module: ",
    ),
    "a prefix for another number of layers": (
        ("space", "ia3"),
        {"modules": [{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "num_layers": 9}]},
        "space.ia3.modules[0].num_layers: the model has 6 layers, got 9",
    ),
    "what cannot be counted": (
        ("space", "ia3", "modules", 0),
        {"peft_type": "LORA", "r": 4, "use_qalora": True, "target_modules": "key"},
        "space.ia3: this model takes no configuration of it: LORA cannot be counted exactly with "
        "use_qalora: remove it",
    ),
    "a whole model with modules": (
        ("space", "ia3", "full_fine_tuning"),
        True,
        "space.ia3.modules: full_fine_tuning trains the whole model (remove one)",
    ),
}


@pytest.mark.parametrize("case", EXTRA)
def test_a_mistake_says_the_rule_what_was_got_and_what_to_do(case):
    place, value, said = EXTRA[case]
    document = copy.deepcopy(DOCUMENT)
    *parents, last = place
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    with pytest.raises(SpecError) as caught:
        bind(parse(document, folder="."), bert_shape())
    texts = [str(mistake) for mistake in caught.value.mistakes]
    assert any(text.startswith(said) for text in texts), texts
    if case not in ("the wrong trainer",):
        assert len(texts) == 1, texts


def test_a_mistake_of_the_default_baseline_and_of_a_short_file_has_its_path():
    document = {k: v for k, v in DOCUMENT.items() if k not in ("space", "baselines", "constraints")}
    document["modules"] = [{"peft_type": "LORA", "target_modules": "kwery"}]
    with pytest.raises(SpecError) as caught:
        bind(parse(document, folder="."), bert_shape())
    assert [m.path for m in caught.value.mistakes] == ["modules[0].target_modules"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: !!python/object:os.system [x]\n", 1, "tags"),
        ("a: 1\nb: !secret x\n", 2, "tags"),
        ("a: 1\nb: .nan\n", 2, "a number is finite, got nan"),
        ("a: 1\nb: [.inf]\n", 2, "a number is finite, got inf"),
        ("a: " + "[" * 3000 + "]" * 3000, None, "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("{{a: {b: 1}}: 2}\n", None, "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("a: 1\nb: {c: 1, c: 2}\n", 2, "duplicate key"),
    ],
)
def test_what_yaml_allows_and_a_space_file_does_not(tmp_path, text, line, said):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=said) as caught:
        load(path)
    assert caught.value.mistakes[0].line == line


def test_a_folder_and_a_binary_file_are_said(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load(tmp_path)
    path = tmp_path / "space.yaml"
    path.write_bytes(b"a: \x00\x01")
    with pytest.raises(SpecError, match="not YAML"):
        load(path)


def test_an_anchored_truth_stays_a_truth_and_each_alias_is_a_parameter(tmp_path):
    path = tmp_path / "space.yaml"
    text = GOOD.read_text().replace("r: {choice: [1, 4, 16]}", "r: &size {choice: [1, 4, 16]}")
    text = text.replace(
        "target_modules: [key, value]",
        "target_modules: [key, value]\n  second:\n"
        "    modules:\n      - {peft_type: LORA, r: *size, use_dora: &yes true, "
        "use_rslora: *yes, target_modules: [key]}",
    )
    path.write_text(text)
    spec = load(path)
    module = spec.space["second"].tree["modules"][0]
    assert module["use_dora"] is True
    assert module["use_rslora"] is True
    for name in ("lora", "second"):
        assert "modules[0].r" in [p.name for p in spec.space[name].parameters]


def test_a_setting_reaches_into_lists():
    spec = load(GOOD, ["space.lora.modules[0].r=8", "search.rungs.epochs=[1]"])
    assert spec.space["lora"].tree["modules"][0]["r"] == 8
    with pytest.raises(SpecError, match="no mapping or list"):
        load(GOOD, ["space.lora.modules[7].r=8"])
    with pytest.raises(SpecError, match="is not YAML"):
        load(GOOD, ["study=[a"])
