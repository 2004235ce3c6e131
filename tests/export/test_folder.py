"""What an export writes, and what it refuses."""

import json
from dataclasses import replace

import peft
import pytest
import yaml
from transformers import (
    AutoModelForSequenceClassification,
    HfArgumentParser,
    TrainingArguments,
)

from autopeft import tuners
from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.errors import ExportError
from autopeft.domain.methods.peft_fields import PEFT_DEFAULTS
from autopeft.domain.networks.peft_config import OWN
from autopeft.domain.trial import Failure, FailureReason
from autopeft.export import export_trial, peft_config
from autopeft.export.card import card


def write(done, to, **changes):
    options = {"shape": done.shape, "adapter": done.adapter, "prepared": done.prepared, **changes}
    trial = options.pop("trial", done.trial)
    return export_trial(done.spec, trial, to=to, **options)


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_weights_recipe_script_rows_and_provenance(exported, tmp_path):
    done = exported("lora")
    files = write(done, tmp_path / "out")
    assert files[0].name == "train.py"
    assert {str(path.relative_to(tmp_path / "out")) for path in files} == names(tmp_path / "out")
    assert names(tmp_path / "out") == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "data/train.jsonl",
        "data/validation.jsonl",
        "provenance.json",
        "requirements.txt",
        "train.py",
        "training_args.yaml",
    }


def test_adalora_brings_its_callback_and_full_fine_tuning_its_model(exported):
    assert "allocation/adalora.py" in names(exported("adalora").folder)
    full = names(exported("full").folder)
    assert {"config.json", "model.safetensors"} <= full
    assert "adapter_config.json" not in full
    assert "peft" not in (exported("full").folder / "requirements.txt").read_text()


def test_the_recipe_is_read_by_the_trainers_own_parser(exported):
    done = exported("lora")
    path = done.folder / "training_args.yaml"
    (arguments,) = HfArgumentParser(TrainingArguments).parse_yaml_file(str(path))
    assert arguments.learning_rate == done.trial.configuration.recipe["learning_rate"]
    assert arguments.adam_epsilon == 1e-8
    assert arguments.save_strategy == "no"
    assert arguments.seed == done.trial.seed
    assert yaml.safe_load(path.read_text())["adam_epsilon"] == 1e-8


def test_the_batch_is_the_one_that_memory_had_room_for(exported, tmp_path):
    done = exported("lora")
    smaller = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    halved = replace(done.trial, provenance={**done.trial.provenance, "halved": smaller})
    write(done, tmp_path / "out", trial=halved)
    given = yaml.safe_load((tmp_path / "out" / "training_args.yaml").read_text())
    assert smaller.items() <= given.items()
    assert '"gradient_accumulation_steps": 2' in (tmp_path / "out" / "train.py").read_text()


def test_provenance_names_metrics_errors_versions_fingerprints_and_the_machine(exported):
    done = exported("lora")
    written = json.loads((done.folder / "provenance.json").read_text())
    assert written["metrics"]["eval_loss"] == done.trial.metrics["eval_loss"]
    assert written["stderr"]["accuracy"] == done.trial.stderr["accuracy"]
    assert written["configuration_fingerprint"] == done.trial.configuration.key
    assert written["versions"]["peft"] == peft.__version__
    assert {"model_fingerprint", "data_fingerprint", "device", "threads", "seed"} <= set(written)


def test_the_card_says_how_to_load_and_how_sure_the_metrics_are(exported):
    done = exported("lora")
    readme = (done.folder / "README.md").read_text()
    assert "model = PeftModel.from_pretrained(base" in readme
    assert "num_labels=2" in readme
    assert f"| accuracy | {done.trial.metrics['accuracy']:.6g} |" in readme
    assert "base_model" not in readme  # a local folder means nothing to a hub
    assert 'dtype="float32"' in (exported("sft").folder / "README.md").read_text()


def test_peft_config_builds_the_network_of_the_trial(exported):
    done = exported("lora")
    base = AutoModelForSequenceClassification.from_pretrained(done.prepared.model, num_labels=2)
    config = peft_config(done.trial.configuration, done.shape, task_type="SEQ_CLS", total_steps=10)
    trainable, _ = peft.get_peft_model(base, config).get_nb_trainable_parameters()
    assert trainable == done.trial.known["trainable_params"]


def test_a_trial_that_did_not_complete_is_refused_with_its_reason(exported, tmp_path):
    done = exported("lora")
    failure = Failure(FailureReason.NOT_FINITE, "the training loss is nan at step 3")
    with pytest.raises(ExportError, match=r"trial 3 is failed \(the training loss is nan at"):
        write(done, tmp_path / "out", trial=done.trial.failed(failure))
    assert not (tmp_path / "out").exists()


def test_weights_that_were_not_kept_are_named_with_what_is_kept(exported, tmp_path):
    with pytest.raises(ExportError, match=r"has no weights in .*kept for the front"):
        write(exported("lora"), tmp_path / "out", adapter=tmp_path / "nothing")


def test_a_frozen_model_is_refused(exported, tmp_path):
    done = exported("lora")
    frozen = replace(done.trial.configuration, architecture=Architecture())
    with pytest.raises(ExportError, match="is the frozen model with a trained head"):
        write(done, tmp_path / "out", trial=replace(done.trial, configuration=frozen))


def test_a_trial_of_another_evaluator_is_refused(exported, tmp_path):
    done = exported("lora")
    provenance = {"versions": {}, "device": "cpu"}
    with pytest.raises(ExportError, match="does not say its threads, total_steps"):
        write(done, tmp_path / "out", trial=replace(done.trial, provenance=provenance))


def test_rows_that_changed_since_the_trial_are_refused(exported, tmp_path):
    done = exported("lora")
    prepared = replace(done.prepared, data_fingerprint="rows-1:0123")
    with pytest.raises(ExportError, match=r"the data has changed since .*, now rows-1:0123"):
        write(done, tmp_path / "out", prepared=prepared)
    earlier = {**done.trial.provenance, "data_fingerprint": "4567"}  # taken in another way
    write(done, tmp_path / "out", trial=replace(done.trial, provenance=earlier))


def test_a_folder_in_use_is_refused_unless_forced_and_nothing_else_is_deleted(exported, tmp_path):
    out = tmp_path / "out"
    write(exported("adalora"), out)
    (out / "notes.json").write_text("{}")
    with pytest.raises(ExportError, match=r"needs an empty folder, .* use --force"):
        write(exported("full"), out)
    write(exported("full"), out, force=True)
    assert "allocation/adalora.py" not in names(out)
    assert "adapter_config.json" not in names(out)
    assert "notes.json" in names(out)


def test_the_studys_own_weights_are_never_the_target(exported):
    done = exported("lora")
    with pytest.raises(ExportError, match="is where the study keeps the trial's weights"):
        write(done, done.adapter, force=True)
    assert any(done.adapter.glob("*.safetensors"))


def test_what_no_peft_config_says_is_refused(exported, tmp_path):
    done = exported("lora")
    module = done.trial.configuration.architecture.modules[0]
    other = Module("IA3", {}, module.targets, module.layers)
    both = replace(done.trial.configuration, architecture=Architecture((module, other)))
    with pytest.raises(ExportError, match="LORA and IA3 in one branch need targets of"):
        write(done, tmp_path / "out", trial=replace(done.trial, configuration=both))
    serial = Module("SERIAL_ADAPTER", {"bottleneck_size": 4}, module.targets, module.layers)
    mixed = replace(done.trial.configuration, architecture=Architecture((module, serial)))
    with pytest.raises(ExportError, match="is no single PEFT config, it has 2 modules"):
        peft_config(mixed, done.shape, task_type="SEQ_CLS", total_steps=1)
    with pytest.raises(ExportError, match="needs a PEFT module, got full fine-tuning"):
        peft_config(exported("full").trial.configuration, done.shape, task_type="", total_steps=1)


def test_a_hub_model_is_named_as_the_base_of_the_card(exported, tmp_path):
    done = exported("lora")
    prepared = replace(done.prepared, model="google-bert/bert-base-uncased")
    write(done, tmp_path / "out", prepared=prepared)
    assert (
        "\nbase_model: google-bert/bert-base-uncased\n" in (tmp_path / "out/README.md").read_text()
    )


def test_every_peft_type_has_a_config_that_peft_exports():
    from autopeft.export.configs import config_class

    theirs = set(PEFT_DEFAULTS) - set(OWN)
    assert [kind for kind in theirs if not hasattr(peft, config_class(kind).__name__)] == []
    assert [kind for kind in OWN if not hasattr(tuners, config_class(kind).__name__)] == []


def test_the_card_names_the_labels_so_that_a_pipeline_answers_with_them(exported):
    done = exported("lora")
    named = replace(done.prepared, labels=("bad", "good"))
    text = card(done.spec, done.trial, named, ["adapter_model.safetensors"])
    assert 'LABELS = ["bad", "good"]  # by id' in text
    assert "id2label=dict(enumerate(LABELS))" in text
    plain = card(done.spec, done.trial, replace(named, labels=("0", "1")), ["a.safetensors"])
    assert "LABELS" not in plain
