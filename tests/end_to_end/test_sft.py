"""`search_spaces/sft_lora.yaml` as it is shipped, on a tiny Llama and conversations."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import environment, here
from exports import printed
from peft import AutoPeftModelForCausalLM
from tiny_models import chats, make_model

SPACE = Path(__file__).parents[2] / "search_spaces" / "sft_lora.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    shutil.copy(SPACE, folder / "space.yaml")
    wide = {"hidden_size": 128, "intermediate_size": 128, "head_dim": 32}
    make_model("llama", folder / "my-chat-model", "CAUSAL_LM", **wide)
    (folder / "chat-train.jsonl").write_text("\n".join(map(json.dumps, chats(60))))
    return folder


def test_the_shipped_file_searches_and_its_export_trains_to_the_same_bits(folder):
    here(folder, "search", "space.yaml", "--local", "--set", "budget.trials=2")
    front = json.loads(here(folder, "front", "sft-lora", "--json").stdout)["front"]
    assert front
    here(folder, "export", "sft-lora", "--trial", str(front[0]["trial"]), "--to", "out")
    metrics = json.loads((folder / "out" / "provenance.json").read_text())["metrics"]
    model = AutoPeftModelForCausalLM.from_pretrained(folder / "out")
    assert model.peft_config["default"].task_type == "CAUSAL_LM"
    trained = printed("train.py", cwd=folder / "out", environment=environment(folder))
    assert repr(metrics["eval_loss"]) in trained


def test_multiple_choice_as_shipped_on_4_bits_exports_what_trains_to_the_same_bits(folder):
    shutil.copy(SPACE.with_name("multiple_choice.yaml"), folder / "choices.yaml")
    rows = [
        {"prompt": f"what comes after {i % 9}", "choices": ["4 4", "after 3"], "answer": i % 2}
        for i in range(40)
    ]
    (folder / "questions-train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sets = [
        f"--set={one}"
        for one in (
            "model.model_name_or_path=my-chat-model",
            "model.load_in_4bit=true",
            "budget.trials=2",
            "space.lora.layers.last.choice=[1,2]",
        )
    ]
    here(folder, "search", "choices.yaml", "--local", *sets)
    front = json.loads(here(folder, "front", "multiple-choice", "--json").stdout)["front"]
    here(folder, "export", "multiple-choice", "--trial", str(front[0]["trial"]), "--to", "choice")
    row = json.loads((folder / "choice" / "data" / "train.jsonl").read_text().splitlines()[0])
    assert set(row) == {"prompt", "completion"}
    metrics = json.loads((folder / "choice" / "provenance.json").read_text())["metrics"]
    assert 0 <= metrics["accuracy_norm"] <= 1
    trained = printed("train.py", cwd=folder / "choice", environment=environment(folder))
    assert repr(metrics["eval_loss"]) in trained
