"""A study on a tiny model of any family, with a worker that really trains: for tests of trials."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fakes import study_spec
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import make_model

from autopeft.domain.architecture import Configuration, canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Failure, Result, Segment, Stop
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.model import Base, load_base
from autopeft.training.loading.shapes import model_shape
from autopeft.tuners.composite import load_composite


@dataclass(frozen=True)
class Bench:
    """A spec, the shape of its model, and the worker that trains in the folder `home`."""

    spec: StudySpec
    shape: ModelShape
    home: Path
    evaluator: TrialEvaluator

    def configured(self, tree: dict, recipe: dict) -> Configuration:
        return canonical(
            tree, branch="b", shape=self.shape, training=recipe, defaults=PEFT_DEFAULTS
        )

    def run(
        self,
        configuration: Configuration,
        trial: int,
        *,
        stop: Stop | None = None,
        rung: int = 0,
        last: bool = True,
        report=lambda step, metrics: None,
    ) -> Result | Failure:
        """The result of one segment of a trial; of the whole trial where nothing else is said."""
        segment = Segment(
            self.spec.name, trial, configuration, 0, rung, stop or Stop(), rung > 0, last
        )
        return self.evaluator.run(segment, report)

    def check_pause(self, configuration: Configuration, whole: int, paused: int) -> None:
        """A trial that pauses after 3 steps ends with the bits of one that never did.

        whole, paused: numbers of the two.
        """
        result = self.run(configuration, whole)
        assert isinstance(result, Result), result
        self.run(configuration, paused, stop=Stop(steps=3), last=False)
        torch.manual_seed(1234)  # what another trial drew in between
        resumed = self.run(configuration, paused, rung=1)
        assert resumed.provenance["resumed"]
        assert resumed.metrics["eval_loss"] == result.metrics["eval_loss"]
        once, again = self.stored(whole), self.stored(paused)
        assert set(once) == set(again)
        assert all((once[name] == again[name]).all() for name in once)

    def folder(self, trial: int) -> Path:
        return self.home / self.spec.name / "adapters" / f"trial-{trial}"

    def stored(self, trial: int) -> dict[str, torch.Tensor]:
        """{file:name: tensor} of all that a trial stored."""
        folder = self.folder(trial)
        return {
            f"{path.relative_to(folder)}:{name}": tensor
            for path in sorted(folder.rglob("*.safetensors"))
            for name, tensor in load_file(path).items()
        }

    def stored_adapter(self, trial: int) -> dict[str, torch.Tensor]:
        """What it stored without the head."""
        head = set(self.shape.head)
        return {
            key: tensor
            for key, tensor in self.stored(trial).items()
            if not head & set(key.partition(":")[2].split("."))
        }

    def base(self) -> Base:
        return load_base(
            self.spec.model, folder=self.spec.folder, labels=("no", "yes"), head=self.shape.head
        )

    def reloaded(self, trial: int) -> torch.nn.Module:
        """The stored folder on the base, as a user loads it."""
        plain, folder = copy.deepcopy(self.base().model), self.folder(trial)
        if (folder / "composite.json").exists():
            return load_composite(plain, folder)
        return PeftModel.from_pretrained(plain, folder)

    def loss(self, model: torch.nn.Module) -> float:
        """The mean loss on the validation split."""
        rows = self.evaluator._bench.validation
        model.eval()
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([row["input_ids"]])).logits[0] for row in rows]
        truth = torch.tensor(rows["labels"])
        return torch.nn.functional.cross_entropy(torch.stack(logits).float(), truth).item()


def make_bench(folder: Path, family: str, *, rows: int, **model: str) -> Bench:
    """A bench in `folder`: a quarter of so many rows is for validation.

    model: more of the file's `model:`, as `dtype="bfloat16"`.
    """
    make_model(family, folder / "model", "SEQ_CLS")
    texts = [{"text": f"after {i % 9} comes {i % 7}", "label": i % 2} for i in range(rows)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, texts)))
    spec = replace(
        study_spec(name="bench"),
        model={"model_name_or_path": "model", "task_type": "SEQ_CLS", **model},
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"carve": 0.25, "from": "train", "seed": 0},
        },
        training={},
        folder=str(folder),
    )
    shape = model_shape(spec.model, folder=spec.folder, num_labels=2)
    return Bench(spec, shape, folder / "home", TrialEvaluator(spec, folder / "home"))
