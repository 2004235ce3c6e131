"""Another seed of what was tried, by real training: from the space file to the export."""

import json

import pytest
from command_line import here
from tiny_models import make_model

from autopeft.domain.results.replicates import averaged
from autopeft.study import load_study

SPACE = """
autopeft: 1
study: seeds
model: {model_name_or_path: bert-base-uncased, task_type: SEQ_CLS}
data:
  train: {path: json, data_files: train.jsonl}
  validation: {carve: 0.25, from: train, seed: 0}
  columns: {text: text, label: label}
training: {per_device_train_batch_size: 8, num_train_epochs: 1}
space:
  lora:
    modules: [{peft_type: LORA, r: {choice: [1, 2, 3, 4]}, target_modules: all-linear}]
objectives:
  - {metric: eval_loss, goal: minimize}
  - {metric: adapter_params, goal: minimize, scale: log}
baselines: {}
budget: {trials: 7}
search: {sampler: {name: autopeft, options: {initial: 2}}, seeds: 2}
"""


def test_a_search_repeats_a_configuration_and_hands_over_its_mean(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    make_model("bert", tmp_path / "bert-base-uncased", "SEQ_CLS")
    rows = [{"text": f"{'good' if i % 2 else 'bad'} number {i}", "label": i % 2} for i in range(64)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    here(tmp_path, "search", "space.yaml", "--local")

    study = load_study("seeds", home=tmp_path / "autopeft-studies")
    again = [trial for trial in study.trials if trial.seed]
    assert len(study.trials) == 7
    assert again, [trial.why for trial in study.trials]
    for trial in again:
        assert trial.seed == 1
        assert ": another seed of trial " in trial.why
        pair = [t for t in study.trials if t.configuration.key == trial.configuration.key]
        first, second = (t.metrics["eval_loss"] for t in pair)
        assert first != second, "the seed is the only difference, and it is one"
        mean = next(t for t in averaged(study.trials) if t.number == pair[0].number)
        assert mean.metrics["eval_loss"] == pytest.approx((first + second) / 2)
        assert not study.home.adapter("seeds", trial.number).exists()

    front = json.loads(here(tmp_path, "front", "seeds", "--json").stdout)["front"]
    repeated = {t.configuration.key for t in again}
    for row in front:
        own = study.trial(row["trial"])
        assert row["seeds"] == (2 if own.configuration.key in repeated else 1)
        assert row["seed"] == 0
        assert own.adapter.exists()
    believed = json.loads(here(tmp_path, "front", "seeds", "--modelled", "--json").stdout)
    assert [row["trial"] for row in believed["modelled_front"]] == [
        trial.number for trial in study.modelled_front
    ]
    for row in believed["modelled_front"]:
        assert row["metrics"]["eval_loss"] != row["modelled"]["eval_loss"]
    assert "eval_loss, model" in here(tmp_path, "front", "seeds", "--modelled").stdout
    chosen = study.best()
    (out,) = {path.parent for path in chosen.export(tmp_path / "out") if path.name == "README.md"}
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["metrics"] == study.trials[chosen.trial.number].metrics
