"""A search on Ray whose files lie in a bucket: nothing of it in the home, all of it elsewhere."""

from dataclasses import replace

import pytest
from command_line import here
from own_code import SPACE as OWN_SPACE
from own_code import at_home, autopeft, write
from s3 import s3_server
from safetensors.torch import load_file
from tiny_study import write_study

from autopeft import build
from autopeft.artifacts import Artifacts
from autopeft.domain.trial import State
from autopeft.home import Home
from autopeft.orchestrator.retention import kept_adapters
from autopeft.orchestrator.segments import segment_of
from autopeft.study import load_study

SPACE = """
study: small
training: {per_device_train_batch_size: 8, num_train_epochs: 2, learning_rate: 1e-3}
modules: [{peft_type: LORA, r: {choice: [1, 2, 4]}, lora_dropout: 0.1, target_modules: [query]}]
objectives: [{metric: eval_loss, goal: minimize}, {metric: adapter_params, goal: minimize}]
baselines: {}
budget: {trials: 4}
search: {sampler: random, parallel: 2, seed: 0, rungs: {epochs: [1], eta: 2}}
"""
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def bucket():
    import s3fs

    with pytest.MonkeyPatch.context() as patch, s3_server() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        yield "s3://bucket/team"


def test_a_search_whose_files_lie_in_a_bucket(tmp_path, bucket):
    folder = write_study(tmp_path, SPACE)
    here(folder, "search", "space.yaml", AUTOPEFT_HOME="home", AUTOPEFT_ARTIFACTS=bucket)
    away = load_study("small", home=folder / "home")

    # Paused and resumed by whichever worker: the same bits as in one folder.
    evaluator = build.make_evaluator(away.spec, folder / "whole")
    for trial in away.trials:
        for rung in trial.rungs:
            segment = segment_of(away.spec, replace(trial, next_rung=rung.index))
            same = evaluator.run(segment, lambda step, metrics: None)
            assert same.metrics["eval_loss"] == rung.metrics["eval_loss"]
    resumed = [t.provenance["resumed"] for t in away.trials if t.state is State.COMPLETED]
    assert resumed
    assert all(resumed)

    # The rule, in the bucket; the home has none of it but copies for MLflow.
    kept = {f"small/adapters/trial-{n}" for n in kept_adapters(away.spec, away.trials)}
    assert Artifacts(bucket).keys("small") == kept
    assert not (folder / "home" / "small" / "checkpoints").exists()
    assert not (folder / "home" / "small" / "adapters").exists()
    assert "planted-secret" not in (folder / "home" / "autopeft.db").read_bytes().decode("latin-1")

    assert list((folder / "home" / "mlartifacts").rglob(WEIGHTS))

    # A laptop that knows the store alone.
    number = away.best().trial.number
    store = f"sqlite:///{folder / 'home' / 'autopeft.db'}"
    elsewhere = {"AUTOPEFT_HOME": str(folder / "laptop"), "AUTOPEFT_STORE": store}
    here(folder, "export", "small", "--to", "peft", "--out", "taken", **elsewhere)
    taken = load_file(folder / "taken" / WEIGHTS)
    fetched = away.trial(number).adapter
    assert all(load_file(fetched / WEIGHTS)[name].equal(taken[name]) for name in taken)
    assert fetched.parent == Home(folder / "home").study("small") / "fetched"
    assert list((folder / "laptop" / "small" / "fetched").rglob(WEIGHTS))


def test_a_place_that_cannot_be_used_is_said_before_anything_runs(tmp_path, bucket):
    folder = write_study(tmp_path, SPACE)

    def refused(url: str) -> str:
        return here(
            folder, "search", "space.yaml", AUTOPEFT_ARTIFACTS=url, code=2
        ).stderr.splitlines()[-1]

    assert "bucket does not exist (make it" in refused("s3://no-such-bucket/x")
    assert "takes no credentials" in refused("s3://planted-key:planted-secret@bucket/x")
    assert "search with --local" in refused("memory://x")
    Artifacts(f"{bucket}/mine").claim("small", "an id of another store")
    assert "holds the files of a study of this name in another store" in refused(f"{bucket}/mine")


OWN = """context.should_pause(epoch=1.0)
    if configuration.parameters["rank"] == FULL:
        raise OSError(28, "No space left on device")
    before = context.resume_from
    seen = int((before / "seen.txt").read_text()) if before else 0
    (context.checkpoint / "deep").mkdir()
    (context.checkpoint / "seen.txt").write_text(str(seen + 1))
    (context.adapter / "weights.txt").write_text("w") if seen else None
    return {"rouge": score(configuration.parameters), "size": configuration.parameters["rank"],
            "seen": seen}"""
RUNGS = "search: {sampler: random, rungs: {epochs: [1], eta: 2}}"


def test_code_of_one_s_own_goes_on_from_what_it_left_there(tmp_path, monkeypatch, capsys):
    at_home(monkeypatch, tmp_path)
    space = OWN_SPACE.replace("search: {sampler: random}", RUNGS)
    write(tmp_path, OWN.replace("FULL", "0"), space=space)
    place = tmp_path / "nfs"
    monkeypatch.setenv("AUTOPEFT_ARTIFACTS", str(place))
    assert autopeft(monkeypatch, "search", "space.yaml", "--local", "--quiet") == 0
    study = load_study("free")
    done = [trial for trial in study.trials if trial.state is State.COMPLETED]
    assert done
    assert {trial.metrics["seen"] for trial in done} == {float(len(done[0].rungs) - 1)}
    kept = {f"trial-{number}" for number in kept_adapters(study.spec, study.trials)}
    assert {path.name for path in (place / "free" / "adapters").iterdir()} == kept
    assert (study.best().adapter / "weights.txt").read_text() == "w"
    assert {path.name for path in (tmp_path / "autopeft-studies" / "free").iterdir()} == {"fetched"}


def test_a_full_disk_pauses_the_study_with_every_trial_as_it_was(tmp_path, monkeypatch, capsys):
    at_home(monkeypatch, tmp_path)
    write(tmp_path, OWN.replace("FULL", 'configuration.parameters["rank"]'))
    assert autopeft(monkeypatch, "search", "space.yaml", "--local", "--quiet") == 2
    said = capsys.readouterr().err
    assert "a disk is full on" in said
    assert "go on with `autopeft resume free`" in said
    trials = load_study("free").trials
    assert [(trial.state, trial.failure) for trial in trials] == [(State.RUNNING, None)]
    write(tmp_path, OWN.replace("FULL", "0"))
    assert autopeft(monkeypatch, "resume", "free", "--local", "--quiet") == 0
    assert all(trial.failure is None for trial in load_study("free").trials)
