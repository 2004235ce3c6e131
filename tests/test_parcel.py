"""What travels to a cluster, what stays, and what is refused."""

import zipfile

import pytest
from fakes import study_spec
from own_code import parsed, write
from tiny_study import write_study

from autopeft import parcel
from autopeft.config import load
from autopeft.domain.errors import StudyError
from autopeft.home import Home

PLAIN = """
study: small
modules: [{peft_type: LORA, r: 2, target_modules: [query]}]
objectives: [eval_loss]
budget: {trials: 3}
"""


def packed(folder):
    return parcel.pack(load(folder / "space.yaml"), folder / "space.yaml")


def test_a_study_without_code_sends_what_its_file_names_and_no_more(tmp_path):
    write_study(tmp_path, PLAIN)
    (tmp_path / "thesis.pdf").write_text("mine")
    names = set(packed(tmp_path).files)
    assert {"space.yaml", "train.jsonl", "bert/config.json", "bert/model.safetensors"} <= names
    assert "thesis.pdf" not in names


def test_a_pattern_sends_what_it_matches(tmp_path):
    write_study(tmp_path, PLAIN)
    (tmp_path / "train.jsonl").rename(tmp_path / "train-1.jsonl")
    space = tmp_path / "space.yaml"
    space.write_text(space.read_text().replace("train.jsonl", "'train-*.jsonl'"))
    assert "train-1.jsonl" in packed(tmp_path).files


def test_code_travels_with_its_folder_but_not_with_secrets_environments_and_studies(tmp_path):
    write(tmp_path)
    for name in (
        ".env",
        "venv/pyvenv.cfg",
        "venv/lib.py",
        "studies/autopeft.db",
        "home/mlflow.db",
        "rows.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "my_package" / "__pycache__").mkdir()
    (tmp_path / "my_package" / "__pycache__" / "train.pyc").write_text("x")
    found = set(packed(tmp_path).files)
    assert found == {"space.yaml", "rows.csv", "my_package/__init__.py", "my_package/train.py"}


def test_the_same_files_are_the_same_parcel_wherever_they_lie(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    first, second = packed(tmp_path / "a"), packed(tmp_path / "b")
    assert first.digest == second.digest
    for made, name in ((first, "a.zip"), (second, "b.zip")):
        made.write(tmp_path / name, {"request.json": "{}"})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b" / "my_package" / "train.py").write_text("# edited")
    assert packed(tmp_path / "b").digest != first.digest


def test_what_lies_outside_is_refused_once_with_all_of_it(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner)
    spec = parsed(inner, evaluator="{function: 'a:b', options: {rows: ../rows.jsonl, up: ..}}")
    with pytest.raises(StudyError) as caught:
        parcel.pack(spec, inner / "space.yaml")
    assert "evaluator.options.rows: ../rows.jsonl\n  evaluator.options.up: .." in str(caught.value)
    assert "absolute path that all nodes see" in str(caught.value)


def test_absolute_paths_and_addresses_stay_as_they_are(tmp_path):
    write(tmp_path)
    options = "{rows: /shared/rows.jsonl, again: [/shared/rows.jsonl], hub: 'https://host/x'}"
    spec = parsed(
        tmp_path, evaluator=f"{{function: 'my_package.train:evaluate', options: {options}}}"
    )
    assert parcel.absolute_paths(spec.document) == ["/shared/rows.jsonl"]
    assert set(parcel.pack(spec, tmp_path / "space.yaml").files) == set(packed(tmp_path).files)


def test_too_much_is_refused_with_the_largest(tmp_path, monkeypatch):
    write(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(3 * 2**20))
    monkeypatch.setattr(parcel, "LIMIT_MIB", 2)
    with pytest.raises(StudyError, match=r"at most 2 MiB, .* 3 MiB .* weights.bin \(3 MiB\)"):
        packed(tmp_path)


def test_a_parcel_is_kept_under_its_content_once(tmp_path):
    (tmp_path / "a").mkdir()
    write(tmp_path / "a")
    made, home = packed(tmp_path / "a"), Home(tmp_path / "home")
    made.write(tmp_path / "job.zip", {"entry.py": "pass"})
    zipfile.ZipFile(tmp_path / "job.zip").extractall(tmp_path / "job")
    kept = parcel.unpack(tmp_path / "job" / "files", made.digest, home)
    (kept / "more").touch()
    assert parcel.unpack(tmp_path / "job" / "files", made.digest, home) == kept
    assert (kept / "my_package" / "train.py").is_file()
    assert (kept / "more").exists()
    assert not (kept / "entry.py").exists()
    assert parcel.sent(str(kept)) == kept
    assert parcel.sent(str(tmp_path / "a")) is None


def test_a_worker_that_does_not_see_the_files_takes_ray_s_copy_of_the_same(tmp_path, monkeypatch):
    away = "/nowhere/.sent/0123456789abcdef"
    monkeypatch.chdir(tmp_path)
    assert parcel.on_worker(away) == away  # no copy: the error will name what is missing
    (tmp_path / ".parcel").write_text("another")
    assert parcel.on_worker(away) == away
    (tmp_path / ".parcel").write_text("0123456789abcdef")
    assert parcel.on_worker(away) == str(tmp_path)
    assert parcel.on_worker("/shared/project") == "/shared/project"


def test_a_study_whose_files_are_elsewhere_says_where_to_go_on(tmp_path):
    from dataclasses import replace

    parcel.refuse_absent(replace(study_spec(), folder=str(tmp_path / "any")))
    with pytest.raises(StudyError, match="`autopeft resume fake --submit`"):
        parcel.refuse_absent(replace(study_spec(), folder="/nowhere/.sent/0123456789abcdef"))
