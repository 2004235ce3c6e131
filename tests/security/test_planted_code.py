"""Code that somebody planted in a model, an adapter, a checkpoint, data or results never runs."""

import contextlib
import json
import pickle
import shutil
import sqlite3
import tarfile

import optuna
import pytest
from benches import make_bench
from peft import PeftModel
from safetensors.torch import load_file
from security.planted import plant_module, plant_pickle, plant_torch_file
from tiny_models import make_model

from autopeft.domain.errors import AutopeftError
from autopeft.domain.trial import Failure, Stop
from autopeft.importing import read_source
from autopeft.importing.suite import found_of, read_suite
from autopeft.search.optuna.storage import read_storage
from autopeft.training.loading.data import rows_of_source
from autopeft.training.loading.model import load_base
from autopeft.training.loading.shapes import model_shape
from autopeft.training.loading.trust import refuse_pickles
from autopeft.training.tasks.task import tokenizer
from autopeft.tuners.composite import load_composite

MODEL = {"model_name_or_path": "model", "task_type": "SEQ_CLS"}
CODE = """
from transformers import BertConfig, BertForSequenceClassification

class PlantedConfig(BertConfig):
    model_type = "planted"

class PlantedModel(BertForSequenceClassification):
    config_class = PlantedConfig
"""
_TREE = {
    "modules": [{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["query"]}],
    "layers": "all",
}
_RECIPE = {"learning_rate": 1e-3, "num_train_epochs": 1, "per_device_train_batch_size": 8}


@pytest.fixture
def model(tmp_path):
    make_model("bert", tmp_path / "model", "SEQ_CLS")
    return tmp_path / "model"


@pytest.fixture
def marker(tmp_path):
    """What planted code makes; nothing else does."""
    path = tmp_path / "it-ran"
    yield path
    assert not path.exists(), "planted code was executed"


def told(model, **more):
    """The file's model, and what is edited in its config."""
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **more}))


def load(folder):
    return load_base(MODEL, folder=str(folder), labels=("no", "yes"), head=("classifier",))


# -- models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("plant", [plant_pickle, plant_torch_file])
def test_a_model_whose_weights_are_a_pickle_is_refused_before_training(
    tmp_path, model, marker, plant
):
    (model / "model.safetensors").unlink()
    plant(model / "pytorch_model.bin", marker)
    for read in (
        lambda: model_shape(MODEL, folder=str(tmp_path), num_labels=2),
        lambda: load(tmp_path),
    ):
        with pytest.raises(AutopeftError, match="safetensors only, .* has pytorch_model.bin"):
            read()


def test_a_pickle_beside_good_weights_is_left_alone(tmp_path, model, marker):
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        plant_torch_file(model / name, marker)
    assert load(tmp_path).model is not None


def test_an_index_that_points_to_a_pickle_reads_none(tmp_path, model, marker):
    names = load_file(model / "model.safetensors")
    (model / "model.safetensors").rename(model / "spare.safetensors")
    plant_torch_file(model / "pytorch_model.bin", marker)
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "pytorch_model.bin")}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Exception, match="(?i)weights|pickle|safetensors|header"):
        load(tmp_path)


def test_a_folder_of_weights_in_a_subfolder_is_looked_at_too(tmp_path, model, marker):
    (model / "inner").mkdir()
    plant_pickle(model / "inner" / "pytorch_model.bin", marker)
    refuse_pickles(str(model), {})
    with pytest.raises(AutopeftError, match="safetensors only"):
        refuse_pickles(str(model), {"subfolder": "inner"})


@pytest.mark.parametrize("flag", [None, False])
def test_code_of_a_model_of_its_own_kind_is_refused_without_the_flag(
    tmp_path, model, marker, flag, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody is asked, so nobody says yes
    plant_module(model / "planted.py", marker, CODE)
    kinds = {"AutoConfig": "planted.PlantedConfig"}
    kinds |= {"AutoModelForSequenceClassification": "planted.PlantedModel"}
    told(model, model_type="planted", auto_map=kinds)
    given = MODEL if flag is None else {**MODEL, "trust_remote_code": flag}
    with pytest.raises(AutopeftError, match="contains custom code"):
        model_shape(given, folder=str(tmp_path), num_labels=2)
    with pytest.raises(ValueError, match="contains custom code"):
        load_base(given, folder=str(tmp_path), labels=("no", "yes"), head=("classifier",))


def test_code_of_a_model_of_a_known_kind_is_left_alone_without_the_flag(tmp_path, model, marker):
    plant_module(model / "planted.py", marker, CODE)
    told(model, auto_map={"AutoModelForSequenceClassification": "planted.PlantedModel"})
    assert type(load(tmp_path).model).__module__.startswith("transformers.")


def test_code_of_a_tokenizer_is_left_alone_without_the_flag(tmp_path, model, marker):
    plant_module(model / "planted.py", marker)
    path = model / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["auto_map"] = {"AutoTokenizer": ["planted.Planted", "planted.Planted"]}
    path.write_text(json.dumps(config))
    assert tokenizer(str(model), trust_remote_code=False)("a").input_ids
    config["tokenizer_class"] = "Planted"
    path.write_text(json.dumps(config))
    with contextlib.suppress(ValueError):  # or the class that it would be without it
        tokenizer(str(model), trust_remote_code=False)


def test_with_the_flag_the_code_runs(tmp_path, model):
    marker = tmp_path / "it-ran"
    plant_module(model / "planted.py", marker, CODE)
    kinds = {"AutoConfig": "planted.PlantedConfig"}
    kinds |= {"AutoModelForSequenceClassification": "planted.PlantedModel"}
    told(model, model_type="planted", auto_map=kinds)
    given = {**MODEL, "trust_remote_code": True}
    base = load_base(given, folder=str(tmp_path), labels=("no", "yes"), head=("classifier",))
    assert marker.exists(), "or the tests above could not fail"
    assert type(base.model).__name__ == "PlantedModel"


# -- what trials leave on disk -----------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), "bert", rows=64)


@pytest.fixture(scope="module")
def paused(bench):
    """A configuration, and the checkpoint of its trial 0."""
    configuration = bench.configured(_TREE, _RECIPE)
    bench.run(configuration, 0, stop=Stop(steps=2), last=False)
    return configuration, bench.home / "bench" / "checkpoints" / "trial-0" / "rung-0"


@pytest.mark.parametrize("file", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_checkpoint_with_a_planted_pickle_fails_its_trial(bench, paused, marker, file):
    configuration, checkpoint = paused
    good = (checkpoint / file).read_bytes()
    plant_torch_file(checkpoint / file, marker)
    result = bench.run(configuration, 0, rung=1)
    (checkpoint / file).write_bytes(good)
    assert isinstance(result, Failure)
    assert "Weights only load failed" in result.message


def test_an_adapter_whose_weights_are_a_pickle_is_not_loaded(bench, marker, tmp_path):
    bench.run(bench.configured(_TREE, _RECIPE), 1)
    adapter = tmp_path / "adapter"
    shutil.copytree(bench.folder(1), adapter)
    assert isinstance(PeftModel.from_pretrained(bench.base().model, adapter), PeftModel)
    (adapter / "adapter_model.safetensors").unlink()
    plant_torch_file(adapter / "adapter_model.bin", marker)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        PeftModel.from_pretrained(bench.base().model, adapter)


def test_a_composite_names_no_folder_but_its_own(tmp_path):
    index = {"format": 1, "modules": ["../../elsewhere"], "head": []}
    (tmp_path / "composite.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"names modules module_0, module_1, .*elsewhere"):
        load_composite(None, tmp_path)


# -- data --------------------------------------------------------------------------------------


def test_a_loading_script_is_not_run(tmp_path, marker):
    data = tmp_path / "rows"
    data.mkdir()
    plant_module(data / "rows.py", marker)
    with pytest.raises(AutopeftError, match="cannot be loaded"):
        rows_of_source({"path": "rows"}, folder=str(tmp_path))
    with pytest.raises(AutopeftError, match="cannot be loaded"):
        rows_of_source({"path": str(data / "rows.py")}, folder=str(tmp_path))
    (data / "rows.py").rename(data / "other.py")
    (data / "train.jsonl").write_text('{"text": "a"}\n')
    assert rows_of_source({"path": "rows"}, folder=str(tmp_path))[0] == {"text": "a"}


def test_rows_as_a_pickle_are_refused(tmp_path, marker):
    plant_pickle(tmp_path / "rows.pkl", marker)
    source = {"path": "pandas", "data_files": str(tmp_path / "rows.pkl")}
    with pytest.raises(AutopeftError, match="'pandas' reads pickles"):
        rows_of_source(source, folder=str(tmp_path))


@pytest.mark.parametrize("suffix", ["pth", "pkl"])
def test_a_tar_with_pickles_runs_none_of_them(tmp_path, marker, suffix):
    (plant_torch_file if suffix == "pth" else plant_pickle)(tmp_path / f"a.{suffix}", marker)
    with tarfile.open(tmp_path / "rows.tar", "w") as tar:
        tar.add(tmp_path / f"a.{suffix}", f"a.{suffix}")
    source = {"path": "webdataset", "data_files": str(tmp_path / "rows.tar")}
    with contextlib.suppress(AutopeftError):  # or bytes
        rows_of_source(source, folder=str(tmp_path))[0]


# -- results of others ---------------------------------------------------------------------------


def imported(path, kind="csv"):
    return read_source(kind, str(path), ["accuracy"], lambda url: read_storage(url, None))


def test_formulas_and_markup_of_a_table_are_text(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "accuracy,r,note\n0.5,4,=cmd|' /C calc'!A0\n0.6,8,<script>alert(1)</script>\n"
        f'0.7,8,{"[" * 50_000}\n0.8,__import__("os"),x\n'
    )
    found = imported(path).results
    assert [each.recipe["note"] for each in found[:2]] == [
        "=cmd|' /C calc'!A0",
        "<script>alert(1)</script>",
    ]
    assert found[3].fields["r"] == '__import__("os")'


@pytest.mark.parametrize("text", ["", "accuracy\n1e999\n", "accuracy,r\n0.5," + "x" * 200_000])
def test_a_table_that_makes_no_sense_is_a_message(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with contextlib.suppress(AutopeftError):
        assert not imported(path).results


@pytest.mark.parametrize(
    "run",
    [
        "[" * 100_000,
        "[]",
        "3",
        '"experiment"',
        '{"experiment": 1}',
        '{"experiment": {}, "suite": [], "created_at": 1, "gpu": {}, "peft_version": null, '
        '"test_accuracy": "x", "adapter_bytes": 1, "peft_config": 3, "train_seconds": 1}',
    ],
    ids=lambda run: run[:20],
)
def test_a_result_file_that_makes_no_sense_is_a_message(tmp_path, run):
    path = tmp_path / "runs.jsonl"
    path.write_text(run)
    with pytest.raises(AutopeftError, match="import|result|nothing to import"):
        found_of(read_suite(path))


def test_what_stands_in_an_optuna_storage_is_never_unpickled(tmp_path, marker):
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    study = optuna.create_study(storage=url, study_name="theirs", direction="maximize")
    space = {"r": optuna.distributions.IntDistribution(1, 8)}
    study.add_trial(optuna.trial.create_trial(params={"r": 4}, distributions=space, value=0.5))
    plant_pickle(tmp_path / "pickle", marker)
    blob = (tmp_path / "pickle").read_bytes()
    with sqlite3.connect(tmp_path / "theirs.db") as database:
        database.execute("insert into trial_user_attributes values (99, 1, 'a', ?)", (blob,))
    with pytest.raises(AutopeftError, match="import cannot read the Optuna storage"):
        imported(url, "optuna")
    with sqlite3.connect(tmp_path / "theirs.db") as database:
        database.execute("delete from trial_user_attributes")
        database.execute("update trial_params set distribution_json = ?", (blob,))
    with pytest.raises(AutopeftError, match="import cannot read the Optuna storage"):
        imported(url, "optuna")
