"""A chat template of the study's own, and where a model lies, travel with what is exported."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autopeft.export import export_recipe
from autopeft.export.script import script_files
from autopeft.export.template import template_files


@pytest.fixture
def done(exported):
    return exported("sft")


def with_template(trial, name):
    found = trial.configuration
    recipe = {**found.recipe, "chat_template_path": name}
    return replace(trial, configuration=replace(found, recipe=recipe))


def script(done, trial, **prepared):
    found = replace(done.prepared, **prepared)
    return script_files(done.spec, trial, done.shape, found, ["messages"])


def test_a_file_beside_the_space_file_is_one_beside_the_script(done, tmp_path):
    (Path(done.spec.folder) / "turns.jinja").write_text("{{ messages }}")
    trial = with_template(done.trial, "turns.jinja")
    files = script(done, trial)
    assert files["chat_template.jinja"] == "{{ messages }}"
    assert 'TRAINING["chat_template_path"] = str(HERE / "chat_template.jinja")' in files["train.py"]
    told = yaml.safe_load(files["training_args.yaml"])
    assert told["chat_template_path"] == "chat_template.jinja"
    given = {"shape": done.shape, "prepared": done.prepared, "to": tmp_path / "trl"}
    export_recipe("trl", done.spec, trial, **given)
    assert (tmp_path / "trl" / "chat_template.jinja").read_text() == "{{ messages }}"
    told = yaml.safe_load((tmp_path / "trl" / "sft.yaml").read_text())
    assert told["chat_template_path"] == "chat_template.jinja"


def test_a_folder_is_named_by_its_full_path(done):
    folder = str(Path(done.spec.folder) / "llama")
    assert (
        f'"chat_template_path": "{folder}"'
        in script(done, with_template(done.trial, "llama"))["train.py"]
    )


@pytest.mark.parametrize("name", ["HuggingFaceTB/SmolLM3-3B", None])
def test_any_other_stays_as_it_is(done, name):
    trial = with_template(done.trial, name)
    assert template_files(done.spec, trial) == {}
    assert "HERE /" not in script(done, trial)["train.py"].partition("TRAINING = ")[2]


def test_the_tokenizer_of_a_script_comes_from_where_the_model_does(done):
    place = {"trust_remote_code": True, "subfolder": "inner"}
    written = script(done, done.trial, processor_arguments=place)["train.py"]
    assert 'from_pretrained(MODEL, trust_remote_code=True, subfolder="inner")' in written
