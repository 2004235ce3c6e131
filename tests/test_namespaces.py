"""Names of studies with a namespace, and owners."""

import getpass

import pytest

from autopeft import config, namespaces
from autopeft.domain.errors import AutopeftError, SpecError, StudyError

SPACE = """
autopeft: 1
study: {name}
model: {{model_name_or_path: bert, task_type: SEQ_CLS}}
data: {{train: {{path: json, data_files: a.jsonl}}, validation: {{carve: 0.1, from: train, seed: 0}},
       columns: {{text: text, label: label}}}}
modules: [{{peft_type: LORA, r: {{choice: [1, 2]}}, target_modules: all-linear}}]
objectives: [{{metric: accuracy, goal: maximize}}]
budget: {{trials: 3}}
search: {{warm_start: [first, vision/second]}}
"""


@pytest.fixture(autouse=True)
def _nobody(monkeypatch):
    monkeypatch.delenv("AUTOPEFT_NAMESPACE", raising=False)
    monkeypatch.delenv("AUTOPEFT_OWNER", raising=False)


def loaded(tmp_path, name):
    (tmp_path / "space.yaml").write_text(SPACE.format(name=name))
    return config.load(tmp_path / "space.yaml")


def test_a_name_without_a_namespace_is_of_ones_own_and_a_whole_one_of_its_own(monkeypatch):
    assert namespaces.whole_name("rte") == "rte"
    monkeypatch.setenv("AUTOPEFT_NAMESPACE", "nlp")
    assert namespaces.whole_name("rte") == "nlp/rte"
    assert namespaces.whole_name("vision/rte") == "vision/rte"
    assert namespaces.whole_name(namespaces.whole_name("rte")) == "nlp/rte"
    assert [namespaces.short_name(n) for n in ("nlp/rte", "vision/rte", "rte")] == [
        *("rte", "vision/rte", "rte"),
    ]


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "/", "a b", "-\n", "-nlp", "ü", "~"])
def test_a_namespace_that_could_leave_the_folder_is_refused(monkeypatch, name):
    monkeypatch.setenv("AUTOPEFT_NAMESPACE", name)
    with pytest.raises(AutopeftError, match=r"AUTOPEFT_NAMESPACE takes letters.*unset it"):
        namespaces.own_namespace()


@pytest.mark.parametrize(
    "name", ["../rte", "nlp/..", "nlp/../rte", "/rte", "nlp/", "a/b/c", "nlp//rte", "nlp/.rte"]
)
def test_a_study_whose_name_could_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="a study takes letters"):
        loaded(tmp_path, name)


@pytest.mark.parametrize("name", ["-x", "--all", "nlp/-x", "-nlp/x"])
def test_a_study_that_commands_would_take_for_an_option_is_refused(tmp_path, name):
    with pytest.raises(
        SpecError, match=r"a study takes letters, digits, _ and \(not first\) - and"
    ):
        loaded(tmp_path, name)
    assert loaded(tmp_path, "a-x").name == "a-x"


def test_a_file_is_of_ones_own_namespace_and_so_is_what_it_starts_from(tmp_path, monkeypatch):
    assert loaded(tmp_path, "rte").name == "rte"
    monkeypatch.setenv("AUTOPEFT_NAMESPACE", "nlp")
    spec = loaded(tmp_path, "rte")
    assert (spec.name, spec.document["study"]) == ("nlp/rte", "nlp/rte")
    assert spec.search.warm_start == ("nlp/first", "vision/second")
    # What the store has is read the same by everyone.
    monkeypatch.setenv("AUTOPEFT_NAMESPACE", "vision")
    again = config.parse(spec.document, folder=spec.folder)
    assert (again.name, again.search) == ("nlp/rte", spec.search)


def test_a_study_and_a_namespace_do_not_share_a_folder():
    namespaces.check_free("nlp/rte", ["nlp/cola", "vision/rte", "rte"])
    namespaces.check_free("rte", ["sst", "nlp/rte"])
    with pytest.raises(StudyError, match="cannot have the same name, got 'nlp/rte' beside 'nlp'"):
        namespaces.check_free("nlp/rte", ["nlp"])
    with pytest.raises(StudyError, match="got 'nlp' beside 'nlp/rte': choose another"):
        namespaces.check_free("nlp", ["sst", "nlp/rte"])


def test_the_owner_is_who_the_environment_names_or_who_is_logged_in(monkeypatch):
    assert namespaces.own_name() == getpass.getuser()
    monkeypatch.setenv("AUTOPEFT_OWNER", " Ada Lovelace ")
    assert namespaces.own_name() == "Ada Lovelace"
    monkeypatch.setenv("AUTOPEFT_OWNER", "a\x1b[31m")
    with pytest.raises(AutopeftError, match="AUTOPEFT_OWNER takes a name"):
        namespaces.own_name()


def test_a_user_without_a_name_owns_nothing(monkeypatch):
    def nobody():
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert namespaces.own_name() is None
