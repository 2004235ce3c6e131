"""An exported trial trains again to the same bits, and loads, where autopeft cannot be imported."""

import json
import os

import pytest
import torch
from exports import measured_as_the_card_says, printed, python
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

ALLOCATED = ["adalora", "eva", "increlora", "ist", "owlore", "random", "spt"]
BY_DATA = ["init eva", "corda", "lora_ga"]
PLAIN = ["lora", "ia3", "prefix", "distilbert", *ALLOCATED, *BY_DATA]
# Of what the script has in common with another, one: a process takes ten seconds.
RETRAINED = ["lora", "adalora", "ist", "spt", "init eva", "int8", "full", "composite", "sft"]
LONG = ["prefix", "increlora", "owlore", "corda", "lora_ga", "lisa", "ist sft", "corda sft"]
LONG += ["halved"]


@pytest.fixture(scope="module")
def without_autopeft(tmp_path_factory):
    """The environment of a process in which `import autopeft` fails."""
    folder = tmp_path_factory.mktemp("blocker")
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'autopeft':\n"
        "            raise ModuleNotFoundError('autopeft is blocked')\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
    done = python("-c", "import autopeft", cwd=folder, environment=environment)
    assert "autopeft is blocked" in done.stderr
    return environment


@pytest.mark.parametrize(
    "name", [*RETRAINED, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)]
)
def test_the_script_trains_to_the_bits_of_the_trial(exported, without_autopeft, name):
    """Some of the trials paused twice; the script never does."""
    done = exported(name)
    metrics = json.loads(printed("train.py", cwd=done.folder, environment=without_autopeft))
    assert repr(metrics["eval_loss"]) == repr(done.trial.metrics["eval_loss"])
    assert metrics.get("accuracy") == done.trial.metrics.get("accuracy")
    weights = [
        path.relative_to(done.folder) for path in done.files if path.suffix == ".safetensors"
    ]
    assert weights
    for path in weights:
        again = done.folder / "retrained" / path
        assert again.read_bytes() == (done.folder / path).read_bytes()


@pytest.mark.parametrize("name", ["pissa", *PLAIN])
def test_the_weights_load_with_peft_and_predict_the_labels_of_the_trial(exported, name):
    done = exported(name)
    base = AutoModelForSequenceClassification.from_pretrained(
        done.prepared.model, num_labels=2, ignore_mismatched_sizes=True
    )
    check_predictions(done, PeftModel.from_pretrained(base, done.folder))


def check_predictions(done, model):
    model.eval()
    with (done.folder / "data" / "validation.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    encoded = AutoTokenizer.from_pretrained(done.prepared.model)(
        [row["text"] for row in rows],
        [row["text_pair"] for row in rows],
        truncation=True,
        max_length=24,
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**encoded).logits
    labels = torch.tensor([row["label"] for row in rows])
    hits = (logits.argmax(-1) == labels).sum().item()
    assert hits / len(rows) == done.trial.metrics["accuracy"]
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert loss == pytest.approx(done.trial.metrics["eval_loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["composite", "ssf"])
def test_what_is_no_peft_adapter_loads_as_the_card_says(exported, without_autopeft, name):
    done = exported(name)
    found = measured_as_the_card_says(done.folder, environment=without_autopeft)
    assert found["accuracy"] == done.trial.metrics["accuracy"]
    assert found["loss"] == pytest.approx(done.trial.metrics["eval_loss"], rel=1e-5)
