"""A trial that comes to a rung at its end, and steps that overrule epochs."""

import pytest
from safetensors.torch import load_file
from task_data import write_task

from autopeft import build
from autopeft.config import parse
from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.trial import Segment, Stop

LORA = {"peft_type": "LORA", "r": 4, "target_modules": ["query", "value"]}


class Study:
    def __init__(self, folder, **document):
        space = {
            "autopeft": 1, "study": "a", "modules": [LORA], "budget": {"trials": 2},
            "objectives": ["eval_loss"], **write_task(folder, "SEQ_CLS"), **document,
        }  # fmt: skip
        self.spec, self.shape = build.bound(parse(space, folder=str(folder)))
        self.home = folder / "home"
        self.evaluator = build.make_evaluator(self.spec, self.home)

    def run(self, trial, stops, **recipe):
        for rung, stop in enumerate(stops):
            configuration = canonical(
                {"modules": [LORA]}, branch="b", shape=self.shape, training=recipe,
                defaults=PEFT_DEFAULTS,
            )  # fmt: skip
            last = rung == len(stops) - 1
            segment = Segment("a", trial, configuration, 0, rung, stop, rung > 0, last)
            found = self.evaluator.run(segment, lambda *_: None)
        return found

    def stored(self, trial):
        folder = self.home / "a" / "adapters" / f"trial-{trial}"
        return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("length", "stops"),
    [
        ({"max_steps": 4}, [Stop(epochs=1), Stop()]),
        ({"num_train_epochs": 0.5}, [Stop(epochs=0.45), Stop(epochs=0.49), Stop()]),
        ({"num_train_epochs": 2.5}, [Stop(steps=5), Stop(steps=60), Stop()]),
    ],
)
def test_a_rung_at_the_end_of_training_adds_no_step(tmp_path, length, stops):
    study = Study(tmp_path)
    recipe = {"learning_rate": 5e-3, "lr_scheduler_type": "constant", **length}
    recipe["per_device_train_batch_size"] = 4
    whole, paused = study.run(0, [Stop()], **recipe), study.run(1, stops, **recipe)
    assert paused.step == whole.step
    assert paused.metrics["eval_loss"] == whole.metrics["eval_loss"]
    once, again = study.stored(0), study.stored(1)
    assert all((once[name] == again[name]).all() for name in once)


def test_steps_overrule_the_epochs_that_rungs_count(tmp_path):
    training = {"max_steps": 400}
    study = Study(tmp_path, training=training, search={"rungs": {"epochs": [1, 3, 5]}})
    stops = study.spec.stops(training)
    assert stops == (Stop(epochs=1), Stop(epochs=3), Stop(epochs=5), Stop())
