"""Names and texts of a study as they leave it: no markup, no code, no path of somebody else's."""

import ast
from dataclasses import replace

import pytest
from explored import EVIL, explored_spec, explored_trials, hostile

from autopeft.config import load
from autopeft.domain.errors import ExportError, SpecError, StudyError
from autopeft.domain.ports import StudyRecord
from autopeft.export.folder import weight_files
from autopeft.export.own_code import _copied
from autopeft.export.script import title
from autopeft.export.source import literal, remark
from autopeft.records import spec_of
from autopeft.report.description import description

BREAKS = (
    '"""\nimport os\n"""',
    "x\nimport os",
    "x\r\u2028\x85\x0cimport os",
    "\\",
    '"',
    "'''",
    EVIL,
    "\x00",
)


@pytest.mark.parametrize("text", BREAKS)
def test_a_text_in_a_script_stays_a_docstring_a_comment_or_a_value(text):
    source = f'"""{remark(text)}."""\n# {remark(text)}\nVALUE = {literal(text)}\n'
    docstring, value = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    assert ast.literal_eval(value.value) == text
    assert len(remark(text).splitlines()) == 1


def test_the_title_of_an_export_is_one_line():
    trial = explored_trials(3)[1]
    (module,) = trial.configuration.architecture.modules
    fields = {**module.fields, "init_lora_weights": BREAKS[0]}
    architecture = replace(
        trial.configuration.architecture, modules=(replace(module, fields=fields),)
    )
    trial = replace(trial, configuration=replace(trial.configuration, architecture=architecture))
    told = title(explored_spec(name=BREAKS[0]), trial)
    assert "import os" in told
    assert '"' not in told
    assert len(told.splitlines()) == 1


def test_mlflow_s_markdown_holds_no_markup_of_names():
    trials = hostile(explored_trials(20))
    text = description(replace(explored_spec(name=f"a\n| {EVIL}")), trials)
    first = text.splitlines()[0]
    assert first.startswith("**a \\| \\</script\\>\\<script\\>")
    assert "<script" not in first.replace("\\<", "")


@pytest.mark.parametrize("name", ["../..", "a/b/c", "a/..", "", "<script>", "x" * 200])
def test_a_store_cannot_name_a_study_out_of_its_folder(name):
    imported = {
        "from": "csv",
        "source": "x",
        "model": {},
        "objectives": [],
        "branches": [],
        "trials": 0,
    }
    for more in ({"imported": imported}, {}):
        record = StudyRecord(name, {"autopeft": 1, "study": name, **more}, ".", 0.0, "finished")
        with pytest.raises(
            (StudyError, SpecError), match="no study can have the name|a study takes"
        ):
            spec_of(record)


def test_a_link_in_an_adapter_is_not_exported(tmp_path):
    secret = tmp_path / "credentials.json"
    secret.write_text("{}")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    assert list(weight_files(adapter)) == ["adapter_model.safetensors"]
    (adapter / "adapter_config.json").symlink_to(secret)
    with pytest.raises(ExportError, match=r"plain files, .*adapter_config.json is a link"):
        weight_files(adapter)
    with pytest.raises(ExportError, match="is a link"):
        _copied(adapter, tmp_path / "out", [])


def test_a_model_s_name_is_one_line(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text('autopeft: 1\nstudy: a\nmodel: {model_name_or_path: "x\\nlicense: mit"}\n')
    with pytest.raises(SpecError, match="takes a folder or a hub name"):
        load(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "<script>", "a b", "x" * 101, "é/"])
def test_a_branch_is_a_word(tmp_path, name):
    path = tmp_path / "space.yaml"
    path.write_text(f"autopeft: 1\nstudy: a\nspace: {{{name!r}: {{modules: []}}}}\n")
    with pytest.raises(SpecError, match="a name here takes letters, digits and _"):
        load(path)
