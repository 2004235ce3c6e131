"""The evaluator that calls the user's function: what it hands over, and what it makes of the end."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from own_code import SPACE, parsed, write
from tiny_models import make_model

from autopeft import build
from autopeft.domain.ports import Problem
from autopeft.domain.trial import Failure, FailureReason, Segment, Stop
from autopeft.training.own_function import OwnCodeError

STEPS = """
import json
    file = context.checkpoint / "state.json"
    step = 0
    if context.resume_from is not None:
        step = json.loads((context.resume_from / "state.json").read_text())
    began = step
    while step < 10 and not context.should_pause(step=step):
        step += 1
        context.report(step, {"loss": 1 / step, "note": "x"})
    file.write_text(json.dumps(step))
    return {"rouge": step, "size": began}""".replace("\nimport json", "import json")
RUNGS = Stop(steps=4)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """What runs a segment of the study in `tmp_path`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)
    return World(tmp_path)


class World:
    def __init__(self, folder: Path):
        self.folder = folder
        self.curve: list[tuple[int, dict]] = []

    def evaluator(self, body: str, space: str = SPACE, **changes):
        write(self.folder, body, space=space)
        self.spec, shape = build.bound(parsed(self.folder, **changes))
        self.problem: Problem = build.problem(self.spec, shape)
        return build.make_evaluator(self.spec, self.folder / "home")

    def run(self, evaluator, point=None, *, rung=0, stop=None, last=True, seed=7, test=False):
        if point is None:
            point = {"branch": "main", "parameters.rank": 2, "parameters.lr": 1e-3}
            point |= {"parameters.targets": (1, 0, 1)}
        configuration = self.problem.configure(point)
        segment = Segment(
            "free", 0, configuration, seed, rung, stop or Stop(), rung > 0, last, test
        )
        return evaluator.run(segment, lambda step, metrics: self.curve.append((step, metrics)))


def test_the_context_tells_seed_device_options_and_the_parameters_are_taken(world, capsys):
    body = """
    print("talk")
    import torch
    p = configuration.parameters
    assert p == {"rank": 8, "lr": 1e-3, "targets": ["q", "v"]}, p
    assert context.peft_config() is None
    assert context.options == {"rows": 3}, context.options
    assert context.device in ("cpu", "cuda")
    return {"rouge": float(torch.rand(())), "size": context.seed, "note": "x"}""".strip()
    given = "{function: 'my_package.train:evaluate', options: {rows: 3}}"
    result = world.run(world.evaluator(body, evaluator=given))
    torch.manual_seed(7)
    assert result.metrics == {"rouge": float(torch.rand(())), "size": 7.0}
    assert result.provenance["left_out"] == ["note"]
    assert result.provenance["seed"] == 7
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "talk\n")  # stdout is ours


def test_a_test_split_is_asked_for_and_else_dropped(world):
    tested = '{"rouge": (0.25, 0.5), "asked": int(context.test)}'
    evaluator = world.evaluator(f'return {{"rouge": 1, "size": 2, "test": {tested}}}')
    asked, plain = world.run(evaluator, test=True), world.run(evaluator)
    assert asked.metrics == plain.metrics == {"rouge": 1.0, "size": 2.0}
    assert asked.test == {"rouge": 0.25, "asked": 1.0}
    assert asked.test_stderr == {"rouge": 0.5}
    assert plain.test == plain.test_stderr == {}


def test_a_trial_goes_on_at_the_next_rung_from_what_it_left(world):
    evaluator = world.evaluator(STEPS)
    first = world.run(evaluator, stop=RUNGS, last=False)
    assert (first.step, first.metrics) == (4, {"rouge": 4.0, "size": 0.0})
    assert world.curve[0] == (1, {"loss": 1.0})
    second = world.run(evaluator, rung=1, stop=Stop(steps=6), last=False)
    assert second.metrics == {"rouge": 6.0, "size": 4.0}
    third = world.run(evaluator, rung=2)
    assert third.metrics == {"rouge": 10.0, "size": 6.0}
    kept = world.folder / "home" / "free" / "checkpoints" / "trial-0"
    assert sorted(path.name for path in kept.iterdir()) == ["rung-1", "rung-2"]


def test_a_call_that_was_cut_off_starts_with_an_empty_folder(world):
    evaluator = world.evaluator(STEPS)
    left = world.folder / "home" / "free" / "checkpoints" / "trial-0" / "rung-0" / "half"
    left.mkdir(parents=True)
    told = world.run(evaluator, stop=RUNGS, last=False)
    assert told.metrics["size"] == 0, told
    assert not left.exists()


def test_a_checkpoint_that_is_gone_means_to_start_anew(world):
    assert world.run(world.evaluator(STEPS), rung=1).metrics == {"rouge": 10.0, "size": 0.0}


def test_rungs_that_the_code_never_asks_for_are_a_mistake(world):
    evaluator = world.evaluator('return {"rouge": 1, "size": 1}')
    failure = world.run(evaluator, stop=RUNGS, last=False)
    assert failure.reason is FailureReason.ERROR
    assert "the evaluator never asked whether to: call context.should_pause" in failure.message
    assert not isinstance(world.run(evaluator), Failure)  # nobody has to at the end


@pytest.mark.parametrize(("stop", "name"), [(Stop(steps=4), "step"), (Stop(epochs=1), "epoch")])
def test_asking_without_what_the_rungs_count_is_told(world, stop, name):
    body = 'context.should_pause()\n    return {"rouge": 1, "size": 1}'
    failure = world.run(world.evaluator(body), stop=stop, last=False)
    assert f"context.should_pause was not told the {name}" in failure.message
    assert failure.message.endswith("(my_package/train.py:3)")
    assert 'train.py", line 3, in evaluate' in failure.details.splitlines()[1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise MemoryError", "out_of_memory"),
        ("import torch; raise torch.OutOfMemoryError('CUDA out of memory')", "out_of_memory"),
        ("import sys; sys.exit('bad')", "error"),
        ("context.refuse('too wide')", "unfit"),
    ],
)
def test_how_it_ended_is_told_apart(world, body, reason):
    failure = world.run(world.evaluator(body))
    assert failure.reason == reason
    assert 'train.py", line 3, in evaluate' in failure.details.splitlines()[1]


def test_ctrl_c_in_the_user_s_code_is_nobody_s_failure(world):
    evaluator = world.evaluator("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        world.run(evaluator)


def test_a_chain_of_their_errors_is_shown_whole(world):
    body = """
    try:
        {}["r"]
    except KeyError as error:
        raise ValueError("no rank") from error""".strip()
    failure = world.run(world.evaluator(body))
    assert "KeyError: 'r'" in failure.details
    assert failure.details.splitlines()[-1] == "ValueError: no rank"
    assert "autopeft/training" not in failure.details


def test_a_worker_that_cannot_import_the_code_says_so_of_the_trial(world):
    evaluator = world.evaluator("import no_such")
    (world.folder / "my_package" / "train.py").write_text("import no_such\n")
    failure = world.run(evaluator)
    assert "ModuleNotFoundError: No module named 'no_such' (my_package/train.py:1)" in (
        failure.message
    )
    assert "\n" not in failure.message


def test_a_working_dir_that_is_none_is_told(world):
    world.evaluator("pass", evaluator="{function: 'a:b', working_dir: nowhere}")
    with pytest.raises(OwnCodeError, match=r"working_dir names no folder: .*nowhere"):
        build.check_own_code(world.spec)


def test_a_module_of_the_same_name_from_elsewhere_is_not_taken(world, monkeypatch):
    import json

    monkeypatch.setitem(sys.modules, "my_package", json)
    result = world.run(world.evaluator('return {"rouge": 1, "size": 1}'))
    assert result.metrics["rouge"] == 1
    assert sys.modules["my_package"] is not json


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_provenance_tells_versions_device_and_the_git_state_of_the_code(world):
    body = 'return {"rouge": 1, "size": 1}'
    write(world.folder, body)
    git(world.folder, "init", "-q")
    git(world.folder, "add", "space.yaml")
    git(world.folder, "commit", "-qm", "space")

    def state():
        found = world.run(world.evaluator(body)).provenance
        assert {"python", "torch", "peft", "transformers", "autopeft"} <= set(found["versions"])
        assert found["device"]
        assert found["evaluator"]["function"] == "my_package.train:evaluate"
        assert found["evaluator"]["file"] == str(world.folder / "my_package" / "train.py")
        assert len(found["evaluator"]["sha256"]) == 64
        return found["evaluator"]["git"]

    assert state()["dirty"]  # the code is not tracked
    git(world.folder, "add", "my_package")
    git(world.folder, "commit", "-qm", "code")
    assert state() == {"commit": git(world.folder, "rev-parse", "HEAD"), "dirty": False}
    body += "  # changed"
    assert state()["dirty"]


def test_outside_a_repository_there_is_no_git_state(world):
    found = world.run(world.evaluator('return {"rouge": 1, "size": 1}'))
    assert found.provenance["evaluator"]["git"] is None


MODEL = """
autopeft: 1
study: free
evaluator: my_package.train:evaluate
model: {model_name_or_path: bert, task_type: SEQ_CLS, num_labels: 5}
space:
  lora: {modules: [{peft_type: LORA, r: 4, target_modules: [query]}]}
  both:
    modules:
      - {peft_type: LORA, r: 2, target_modules: [query]}
      - {peft_type: SERIAL_ADAPTER, bottleneck_size: 4}
  full: {full_fine_tuning: true}
metrics: {rouge: {goal: maximize}}
objectives: [rouge, trainable_params]
budget: {trials: 8}
"""
COUNT = """
    from transformers import AutoModelForSequenceClassification as Auto
    from transformers import AutoConfig
    model = Auto.from_config(AutoConfig.from_pretrained(context.options["model"], num_labels=5))
    for parameter in model.parameters():
        parameter.requires_grad_(not configuration.architecture.full_fine_tuning)
    model = context.inject(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = context.peft_config()
    kind = type(config).__name__
    return {"rouge": 0, "trained": trained, "configs": len(config) if kind == "list" else -1,
            "lora": kind == "LoraConfig" and config.r}""".strip()


@pytest.mark.parametrize(
    ("branch", "configs", "lora"), [("lora", -1, 4), ("both", 2, None), ("full", -1, None)]
)
def test_what_is_injected_is_what_was_counted(world, branch, configs, lora):
    make_model("bert", world.folder / "bert", "SEQ_CLS")
    given = f"{{function: 'my_package.train:evaluate', options: {{model: {world.folder}/bert}}}}"
    evaluator = world.evaluator(COUNT, MODEL, evaluator=given)
    point = {"branch": branch, "training.learning_rate": 1e-3}
    result = world.run(evaluator, point)
    known = world.problem.known(world.problem.configure(point).architecture)
    assert result.metrics["trained"] == known["trainable_params"]
    assert result.metrics["configs"] == configs
    assert result.metrics.get("lora") == lora


BEST = """
from types import SimpleNamespace
from pathlib import Path
    if context.resume_from is None:
        best = context.checkpoint / "checkpoint-3"
        best.mkdir()
        (best / "told").write_text(str(best))
        context.should_pause(step=4)
        return {"rouge": 0, "size": 0}
    state = SimpleNamespace(best_model_checkpoint=(context.resume_from / "told").read_text())
    args = SimpleNamespace(output_dir=str(context.checkpoint))
    context.callback().on_train_begin(args, state, None)
    return {"rouge": 0, "size": int(Path(state.best_model_checkpoint) == context.resume_from)}"""


def test_the_best_checkpoint_is_found_where_another_worker_goes_on(world):
    code = BEST.replace("\nfrom types", "from types").replace(
        "\nfrom pathlib", "\n    from pathlib"
    )
    evaluator = world.evaluator(code)
    told = world.run(evaluator, stop=RUNGS, last=False)
    assert told.metrics["size"] == 0, told
    (world.folder / "home").rename(world.folder / "moved")
    moved = build.make_evaluator(world.spec, world.folder / "moved")
    told = world.run(moved, rung=1)
    assert told.metrics["size"] == 1, told


def test_a_curve_takes_what_a_result_takes_and_steps_that_a_store_holds(world):
    body = """
    import numpy as np, torch
    context.report(np.int64(3), {"a": np.float32(0.5), "b": torch.tensor(2.0), "c": "x"})
    context.report(10**12, {"a": 1.0})
    return {"rouge": 1, "size": 1}"""
    failure = world.run(world.evaluator(body))
    assert world.curve == [(3, {"a": 0.5, "b": 2.0})]
    assert "a step is at most 2147483647, got 1000000000000" in failure.message


TRAINER = """
    import torch
    from torch.utils.data import Dataset
    from transformers import AutoConfig, AutoModelForSequenceClassification as Auto
    from transformers import Trainer, TrainingArguments

    class Rows(Dataset):
        column_names = ["input_ids", "labels"]

        def __len__(self):
            return 36

        def __getitem__(self, i):
            return {"input_ids": torch.arange(5) + i, "labels": i % 5}

    torch.manual_seed(0)
    shape = AutoConfig.from_pretrained(context.options["model"], num_labels=5)
    model = context.inject(Auto.from_config(shape))
    best = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best |= {"load_best_model_at_end": True, "greater_is_better": True}  # the first, not the last
    args = TrainingArguments(
        report_to="none",
        **{**context.training_arguments(), **(best if context.options.get("best") else {})},
    )
    trainer = Trainer(model=model, args=args, train_dataset=Rows(), eval_dataset=Rows())
    found = context.train_and_evaluate(trainer)
    return {"rouge": found["eval_loss"], "steps": trainer.state.global_step}"""


@pytest.mark.parametrize("best", [False, True])
def test_a_trainer_that_is_at_its_end_trains_no_further(world, best):
    """It did a step more at every rung past the end of training."""
    make_model("bert", world.folder / "bert", "SEQ_CLS")
    options = f"{{model: {world.folder}/bert, best: {str(best).lower()}}}"
    training = "{max_steps: 4, lr_scheduler_type: constant, learning_rate: 1.0e-3}"
    evaluator = world.evaluator(
        TRAINER.strip(),
        MODEL,
        evaluator=f"{{function: 'my_package.train:evaluate', options: {options}}}",
        training=training,
    )
    point = {"branch": "lora"}
    whole = world.run(evaluator, point)
    assert (whole.step, whole.metrics["steps"]) == (4, 4), whole
    for rung, epochs in enumerate((1, 2)):
        told = world.run(evaluator, point, rung=rung, stop=Stop(epochs=epochs), last=False)
        assert (told.step, told.metrics) == (4, whole.metrics), told
    told = world.run(evaluator, point, rung=2)
    assert (told.step, told.metrics) == (4, whole.metrics)


@pytest.mark.parametrize("made", ["Evaluate()", "partial(inner, more=1)"])
def test_an_evaluator_may_be_an_object_that_is_called(world, made):
    evaluator = world.evaluator("    return {'rouge': 1.0, 'size': 2}")
    file = world.folder / "my_package" / "train.py"
    text = file.read_text().replace(
        "def evaluate(configuration, context):", "def inner(c, x, more=0):"
    )
    text += (
        "\n\nfrom functools import partial\n\n\nclass Evaluate:\n"
        f"    def __call__(self, c, x):\n        return inner(c, x)\n\n\nevaluate = {made}\n"
    )
    file.write_text(text)
    result = world.run(evaluator)
    assert result.metrics == {"rouge": 1.0, "size": 2.0}
    assert result.provenance["evaluator"]["file"] == str(file)
