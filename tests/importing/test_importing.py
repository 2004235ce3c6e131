"""What others measured as a study: read, looked at, and refused where it makes no sense."""

import json

import optuna
import pytest
from domain.matrix import tiny_shape
from tiny_models import make_model
from tiny_study import write_study
from typer.testing import CliRunner

from autopeft.cli import app, main
from autopeft.domain.methods.layer_sizes import size_field
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.objective import Objective
from autopeft.domain.results.replicates import averaged
from autopeft.importing.fields import literal, split
from autopeft.importing.found import Found, Wanted
from autopeft.importing.study import trials_of
from autopeft.importing.table import found_in
from autopeft.importing.values import module_values
from autopeft.study import load_study

CSV = """name,peft_type,r,alpha,target_modules,lr,sampler note,test_accuracy,test_accuracy_stderr
a,LORA,4,32,"q_proj,v_proj",1e-3,old,0.80,0.01
b,lora,8,16,all-linear,3e-4,old,0.84,0.01
b again,lora,8,16,all-linear,3e-4,old,0.86,0.01
c,IA3,,,"[""k_proj"", ""v_proj""]",1e-2,new,0.70,
d,DORA,4,8,q_proj,1e-3,new,0.7,
e,LORA,4,8,nowhere,1e-3,new,0.7,
f,LORA,2,4,q_proj,1e-3,new,,
g,full,,,,1e-5,new,0.9,0.01
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    make_model("llama", tmp_path / "llama", "CAUSAL_LM")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPEFT_HOME", str(tmp_path / "studies"))
    rows = CSV.splitlines()
    (tmp_path / "runs.csv").write_text("\n".join(row.partition(",")[2] for row in rows) + "\n")
    return tmp_path


def run(*arguments, code=0):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def refused(monkeypatch, capsys, *arguments):
    """The one message that a wrong call prints."""
    monkeypatch.setattr("sys.argv", ["autopeft", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


WANTED = ("--model", "llama", "--metric", "accuracy=test_accuracy", "--metric", "adapter_params")


def test_a_csv_is_a_study_with_a_front_and_says_what_it_left_out(folder):
    said = run("import", "runs.csv", "--model", "llama", "--metric", "accuracy=test_accuracy")
    assert "row 5: DORA is no PEFT type" in said
    assert "row 6: " in said
    assert "nowhere" in said
    assert "row 7: test_accuracy takes a number, got nothing" in said
    assert "imported: 5 results imported" in said
    study = load_study("imported")
    assert [t.why for t in study.trials] == [f"imported: row {n}" for n in (1, 2, 3, 4, 8)]
    means = averaged(study.trials)
    assert len(means) == 4, "two rows of one configuration are its replicates"
    assert means[1].metrics["accuracy"] == pytest.approx(0.85)
    (module,) = means[0].configuration.architecture.modules
    assert (module.peft_type, module.size, module.fields["lora_alpha"]) == ("LORA", 4, 32)
    assert {t.rpartition(".")[2] for t in module.targets} == {"q_proj", "v_proj"}
    assert means[0].configuration.recipe == {"learning_rate": 1e-3, "sampler note": "old"}
    assert means[0].known["adapter_params"] > 0, "counted by formula"
    assert means[3].configuration.architecture.full_fine_tuning
    front = json.loads(run("front", "imported", "--json"))
    assert [row["objectives"]["accuracy"] for row in front["front"]] == [0.9]
    assert "trial 4" in run("best", "imported")
    assert "imported" in run("studies")


def test_a_size_is_counted_where_no_column_has_it(folder):
    (folder / "sizes.csv").write_text("r,targets,acc\n2,q_proj,0.5\n4,q_proj,0.6\n")
    given = ("sizes.csv", "--model", "llama", "--metric", "accuracy=acc")
    run("import", *given, "--metric", "adapter_params")
    front = json.loads(run("front", "imported", "--json"))["front"]
    sizes = [row["objectives"]["adapter_params"] for row in front]
    assert sorted(sizes) == [min(sizes), 2 * min(sizes)]


def test_a_size_that_cannot_be_counted_is_asked_for_as_a_column(monkeypatch):
    monkeypatch.setattr("autopeft.importing.study.known_metrics", lambda *_: {})
    row = Found("row 1", {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}, {}, {})
    sizes = (Objective("adapter_params", "minimize"),)
    trials, refused = trials_of([row], tiny_shape("llama"), objectives=sizes, now=1.0)
    assert trials == []
    assert refused == [
        "row 1: adapter_params is not counted for this configuration: give it a column adapter_params"
    ]


def test_the_trials_of_an_optuna_storage_become_a_study(folder):
    url = f"sqlite:///{folder / 'optuna.db'}"
    other = optuna.create_study(study_name="mine", storage=url, directions=["maximize"])

    def objective(trial):
        r = trial.suggest_categorical("lora_r", [2, 4, 8])
        trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
        trial.suggest_categorical("targets", ["q_proj,v_proj", "all-linear"])
        trial.suggest_int("warm", 0, 9)
        if trial.number == 3:
            raise optuna.TrialPruned
        return 0.5 + r / 100

    other.optimize(objective, n_trials=6)
    said = run("import", url, "--study", "theirs", "--model", "llama", "--metric", "accuracy")
    assert "5 completed trials of Optuna study mine" in said
    assert "1 that failed, were pruned or never ended are left out" in said
    study = load_study("theirs")
    done = [t for t in other.trials if t.value is not None and t.number != 3]
    assert [t.metrics["accuracy"] for t in study.trials] == [t.value for t in done]
    for ours, theirs in zip(study.trials, done, strict=True):
        (module,) = ours.configuration.architecture.modules
        assert module.size == theirs.params["lora_r"]
        assert ours.configuration.recipe["learning_rate"] == theirs.params["learning_rate"]
        assert ours.configuration.recipe["warm"] == theirs.params["warm"]
    assert [o.goal for o in study.spec.objectives] == ["maximize"]


def suite_file(experiment, accuracy, config, *, month="2026-01", size=4000):
    return {
        "run_info": {
            "created_at": f"{month}-01T10:00:00+00:00",
            "experiment_name": experiment,
            "train_config": {
                "model_id": "llama",
                "max_steps": 5000,
                "optimizer_kwargs": {"lr": 1e-4, "weight_decay": 0.1},
            },
            "peft_config": config,
        },
        "train_info": {
            "accelerator_memory_max": 2**31,
            "train_time": 100.0,
            "file_size": size,
            "num_trainable_params": 900,
            "metrics": [{"step": 5000, "valid accuracy": 0.1}, {"test accuracy": accuracy}],
        },
        "meta_info": {
            "dataset_info": {"metamath": {}},
            "package_info": {"peft-version": "0.18.1"},
            "system_info": {"gpu": "L40S"},
        },
    }


LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}


def test_result_files_of_the_comparison_suite_are_taken_batch_by_batch(folder):
    results = folder / "results"
    results.mkdir()
    runs = [
        suite_file("lora/a", 0.5, LORA),
        suite_file("lora/a", 0.52, {**LORA, "megatron_config": None, "rank_pattern": {}}),
        suite_file("full/b", 0.6, None, size=90000),
        suite_file("bone/c", 0.4, {**LORA, "peft_type": "BONE"}),
        suite_file("lora/d", 0.9, LORA, month="2026-07"),
    ]
    for number, document in enumerate(runs):
        (results / f"{number}.json").write_text(json.dumps(document))
    said = run("import", "results", "--study", "suite")
    assert "4 runs of MetaMathQA, 2026-01, L40S, 0.18.1" in said
    assert "1 runs of other batches" in said
    assert "bone/c: this PEFT has no BONE" in said
    study = load_study("suite")
    assert sorted(t.metrics["accuracy"] for t in study.trials) == [0.5, 0.52, 0.6]
    first = next(t for t in study.trials if t.metrics["accuracy"] == 0.5)
    assert first.stderr["accuracy"] == pytest.approx((0.25 / 1319) ** 0.5)
    assert first.metrics["peak_memory_gib"] == 2
    assert first.known["adapter_bytes"] == 4000
    assert len(averaged(study.trials)) == 2
    lines = folder / "runs.jsonl"
    flat = {
        "experiment": "lora/a",
        "suite": "MetaMathQA",
        "created_at": "2026-01-01",
        "gpu": "L40S",
        "peft_version": "0.18",
        "test_accuracy": 0.5,
        "adapter_bytes": 4000,
        "train_seconds": 10.0,
        "peft_config": {**LORA, "base_model_name_or_path": "llama"},
        "optimizer": {"lr": 1e-4},
    }
    lines.write_text(json.dumps(flat) + "\n")
    assert "lines: 1 results imported" in run("import", "runs.jsonl", "--study", "lines")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.csv", *WANTED), "import cannot read none.csv"),
        (("runs.csv", "--model", "llama"), "a CSV needs --metric for each objective"),
        (
            ("runs.csv", *WANTED, "--metric", "eval_loss"),
            "has no column 'eval_loss', it has peft_type, r, alpha",
        ),
        (
            ("runs.csv", *WANTED[:4], "--metric", "adapter_params=size"),
            "has no column 'size', it has peft_type, r, alpha",
        ),
        (
            ("runs.csv", "--model", "llama", "--metric", "rouge=test_accuracy"),
            "--metric rouge needs a direction, got none: --metric rouge=test_accuracy:maximize",
        ),
        (("runs.csv", "--metric", "a b"), "--metric takes NAME, NAME=COLUMN"),
        (
            ("runs.csv", "--metric", "accuracy=test_accuracy"),
            "import needs the model that was trained, got none: --model FOLDER",
        ),
        (
            (
                "runs.csv",
                "--metric",
                "accuracy=test_accuracy",
                "--model",
                "llama",
                "--study",
                "a b",
            ),
            "a study takes letters, digits",
        ),
        (
            ("runs.csv", "--metric", "accuracy=test_accuracy", "--model", "llama", "--task", "X"),
            "--task takes ",
        ),
        (
            ("runs.csv", *WANTED[:4], "--metric", "accuracy=r"),
            "--metric accuracy is one metric, got it from test_accuracy and r: leave one out",
        ),
        (("twice.csv", "--metric", "accuracy"), "twice.csv has two columns 'r': rename one of"),
        (("runs.csv", "--from", "excel"), "--from takes peft-suite, optuna, csv, got 'excel'"),
        (("sqlite:///none.db", "--metric", "accuracy"), "there is no Optuna storage at"),
        (("sqlite:///text.db", "--metric", "accuracy"), "import cannot read the Optuna storage"),
        (("empty",), "empty holds no result files"),
        (("broken.jsonl",), "import cannot read broken.jsonl"),
        (("other.jsonl",), "other.jsonl is no result of the comparison suite"),
        (("other.jsonl", "--metric", "accuracy"), "has metrics of its own"),
        (("nothing.jsonl",), "nothing.jsonl has 0 runs"),
    ],
)
def test_bad_input_is_one_message(folder, monkeypatch, capsys, arguments, said):
    (folder / "empty").mkdir()
    (folder / "broken.jsonl").write_text("{")
    (folder / "other.jsonl").write_text('{"a": 1}')
    (folder / "nothing.jsonl").write_text("")
    (folder / "twice.csv").write_text("r,accuracy,r\n4,0.5,8\n")
    (folder / "text.db").write_text("this is no database at all, but a text of some length")
    assert said in refused(monkeypatch, capsys, "import", *arguments)


def test_an_optuna_study_needs_a_name_for_each_value_and_is_asked_for_by_name(
    folder, monkeypatch, capsys
):
    url = f"sqlite:///{folder / 'optuna.db'}"
    optuna.create_study(study_name="one", storage=url, directions=["maximize", "minimize"])
    said = refused(monkeypatch, capsys, "import", url, "--model", "llama", "--metric", "accuracy")
    assert "has 2 values (maximize, minimize), got 1 names" in said
    optuna.create_study(study_name="two", storage=url)
    said = refused(monkeypatch, capsys, "import", url, "--metric", "accuracy")
    assert "--optuna-study names a study of the storage, none was named: it has one, two" in said


@pytest.mark.parametrize("verb", ["resume", "confirm", "export"])
def test_what_was_imported_cannot_be_trained(folder, monkeypatch, capsys, verb):
    run("import", "runs.csv", "--model", "llama", "--metric", "accuracy=test_accuracy")
    more = ("--to", "out") if verb == "export" else ()
    said = refused(monkeypatch, capsys, verb, "imported", *more)
    assert "study 'imported' was imported: it can be looked at and warm-start a search" in said
    said = refused(
        monkeypatch, capsys, "import", "runs.csv", "--model", "llama", "--metric",
        "accuracy=test_accuracy",
    )  # fmt: skip
    assert "study 'imported' exists: choose another name" in said


def test_names_of_other_tools_are_those_of_peft_and_transformers():
    fields, rest = split({"lora.rank": 4, "alpha": 8, "dora": True, "lr": 1e-3, "mine": 1, "x": ""})
    assert fields == {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_dora": True}
    assert rest == {"learning_rate": 1e-3, "mine": 1}
    assert split({"targets": "q_proj v_proj"})[0]["target_modules"] == ["q_proj", "v_proj"]
    assert split({"targets": r".*\.q_proj"})[0]["target_modules"] == r".*\.q_proj"
    assert [literal(t) for t in ("16", "True", "1e-3", " a ")] == [16, True, 1e-3, "a"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"r": "NaN"}, "r takes a whole number from 1, got 'NaN'"),
        ({"lr": "NaN"}, "learning_rate takes a number, got 'NaN'"),
        ({"lr": "1e999"}, "learning_rate takes a number, got '1e999'"),
        ({"targets": "7"}, "target_modules takes a name or a list of names, got 7"),
        ({"rank_pattern": "[1]"}, "rank_pattern takes {name of a module: number}, got [1]"),
        (
            {"layers_to_transform": "0,1"},
            "layers_to_transform takes a layer or a list of layers, as in [0, 1], got '0,1'",
        ),
        ({"r": "x"}, "r takes a whole number from 1, got 'x'"),
        ({"r": "-8"}, "r takes a whole number from 1, got -8"),
        ({"r": "true"}, "r takes a whole number from 1, got True"),
        ({"method": "prefix-tuning", "r": ""}, "num_virtual_tokens takes a whole number from 1"),
        ({"use_dora": "maybe"}, "use_dora takes true or false, got 'maybe'"),
        ({"adapter_params": "-5"}, "adapter_params takes 0 or more, got -5"),
        ({"acc": "93.5"}, "acc takes accuracy from 0 to 1, got 93.5: divide per cent by 100"),
        ({"acc_stderr": "-1"}, "acc_stderr takes 0 or more, got -1"),
        ({"lora_r": "8"}, "r and lora_r are both r: leave one of them out"),
        ({"r": "1" + "0" * 400}, "no configuration that PEFT takes (OverflowError: "),
    ],
)
def test_a_row_of_wrong_values_is_left_out_alone(cells, said):
    good = {"r": "4", "targets": "q_proj", "acc": "0.8", "adapter_params": "900"}
    wanted = [Wanted.parse("accuracy=acc"), Wanted.parse("adapter_params")]
    found, left_out = found_in([("row 1", good), ("row 2", good | cells), ("row 3", good)], wanted)
    trials, refused = trials_of(found, tiny_shape("llama"), now=1.0)
    assert [trial.why for trial in trials] == ["imported: row 1", "imported: row 3"]
    (why,) = (*left_out, *refused)
    assert why.startswith(f"row 2: {said}")
    assert len(why.splitlines()) == 1


def test_whole_numbers_that_were_written_as_floats_are_whole():
    row = {"r": "4.0", "targets": "q_proj", "accuracy": "0.8"}
    found, _ = found_in([("row 1", row)], [Wanted.parse("accuracy")])
    (trial,), _ = trials_of(found, tiny_shape("llama"), now=1.0)
    (module,) = trial.configuration.architecture.modules
    assert repr(module.fields["r"]) == "4"


def test_what_peft_itself_has_by_default_is_taken():
    for peft_type, defaults in PEFT_DEFAULTS.items():
        told = {name: value for name, value in defaults.items() if value is not None}
        if not told.get(size := size_field(peft_type), 1):
            told[size] = 1
        module_values({**told, "peft_type": peft_type})


SPACE = """
study: mine
training: {per_device_train_batch_size: 16, max_steps: 2}
space:
  lora:
    modules: [{peft_type: LORA, r: {choice: [1, 2, 4]}, target_modules: [query, value]}]
objectives: [{metric: accuracy}, {metric: adapter_params, scale: log}]
budget: {trials: 5}
search: {warm_start: [imported]}
"""


def test_a_search_starts_from_what_was_imported(folder):
    run("import", "runs.csv", "--model", "llama", "--metric", "accuracy=test_accuracy")
    write_study(folder, SPACE, num_hidden_layers=2)
    run("search", "space.yaml", "--local", "-q")
    study = load_study("mine")
    assert any("from earlier studies" in t.why for t in study.trials), [t.why for t in study.trials]
