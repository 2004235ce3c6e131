"""Adapters alone: what lies in the folder, how vLLM would read it, and the hub's stub."""

import base64
import json
import shutil
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import peft
import pytest
import torch
from domain.matrix import base_of, logits
from huggingface_hub import HfApi
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, RobertaConfig

from autopeft.builders.conversions import converter
from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.errors import ExportError
from autopeft.domain.model import ModelShape
from autopeft.export import export_adapter, export_converted
from autopeft.export.converted import RANK, to_lora, told_of, unconvertible
from autopeft.export.hub import push
from autopeft.export.serving import fold_scaling

TOKEN = "hf_" + "secret" * 6


def write(done, to, **changes):
    options = {"shape": done.shape, "adapter": done.adapter, "prepared": done.prepared, **changes}
    trial = options.pop("trial", done.trial)
    return export_adapter(done.spec, trial, to=to, **options)


def stir(model):
    """Trained parameters as if they were: B is zero in a fresh LoRA."""
    torch.manual_seed(4)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)


def test_the_folder_holds_the_adapter_its_card_and_no_rows(exported, tmp_path):
    done = exported("sft")
    files = write(done, tmp_path / "out")
    assert {path.name for path in files} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "provenance.json",
    }
    assert not (tmp_path / "out" / "data").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    value, error = done.trial.metrics["eval_loss"], done.trial.stderr["eval_loss"]
    interval = f"{value - 1.96 * error:.4g} to {value + 1.96 * error:.4g}"
    assert f"| eval_loss | {value:.6g} | {error:.2g} | {interval} |" in card
    assert "PeftModel.from_pretrained" in card
    assert "train.py" not in card
    assert "PEFT alone does not" not in card


def test_full_fine_tuning_is_no_adapter_and_is_refused(exported, tmp_path):
    done = exported("sft")
    full = replace(done.trial.configuration, architecture=Architecture(full_fine_tuning=True))
    with pytest.raises(ExportError, match="--to peft writes an adapter, trial 3 is full fine-tun"):
        write(done, tmp_path / "out", trial=replace(done.trial, configuration=full))


def test_what_plain_peft_lacks_lies_beside_and_the_card_says_so(exported, tmp_path):
    """The weights are not looked into, so those of another trial do."""
    done = exported("sft")
    (module,) = done.trial.configuration.architecture.modules
    ssf = replace(module, peft_type="SSF", fields={})
    ours = replace(done.trial.configuration, architecture=Architecture((ssf,)))
    write(done, tmp_path / "out", trial=replace(done.trial, configuration=ours))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "PEFT alone does not load it: `tuners/` of this folder" in card
    assert "adds SSF to PEFT" in card
    assert (tmp_path / "out" / "tuners" / "ssf.py").is_file()


@pytest.mark.parametrize("rslora", [False, True])
def test_uneven_scalings_go_into_the_weights_and_peft_loads_the_same_network(tmp_path, rslora):
    names = [f"model.layers.{i}.self_attn.v_proj" for i in range(3)]
    config = peft.LoraConfig(
        r=4,
        lora_alpha=16,
        use_rslora=rslora,
        target_modules=names,
        rank_pattern={names[1]: 12, names[2]: 8},
        alpha_pattern={names[2]: 5},
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base_of("llama"), config)
    stir(model)
    model.save_pretrained(tmp_path)
    before = logits(model, "llama")
    assert (before - logits(base_of("llama"), "llama")).abs().max() > 1e-3
    assert fold_scaling(tmp_path) == 12
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    ratios = {written["alpha_pattern"][n] / r for n, r in written["rank_pattern"].items()}
    assert ratios == {written["lora_alpha"] / written["r"]}, "the only scaling that vLLM reads"
    assert (written["r"], written["use_rslora"]) == (12, False)
    loaded = peft.PeftModel.from_pretrained(base_of("llama"), tmp_path)
    torch.testing.assert_close(logits(loaded, "llama"), before, rtol=1e-5, atol=1e-6)


def test_ranks_that_were_found_keep_one_scaling(exported):
    """`eva`, `spt` and `random` spread ranks: alphas follow them, so vLLM needs no rewriting."""
    from autopeft.domain.networks.allocation import with_ranks

    module = Module("LORA", {"r": 4, "lora_alpha": 6}, ("a", "b", "c"), (0, 1, 2))
    fields = with_ranks(module, {"a": 1, "b": 7, "c": 4}).fields
    ratios = {fields["alpha_pattern"][n] / r for n, r in fields["rank_pattern"].items()}
    assert ratios == {6 / 4}


@pytest.mark.parametrize(
    ("fields", "head", "said"),
    [
        ({"use_dora": True}, (), "it has no use_dora"),
        ({"r": 600}, (), "it takes ranks up to 512, got 600"),
        ({"bias": "lora_only"}, (), "it has no biases of an adapter"),
        ({}, ("classifier",), "it serves no adapter with a trained classifier"),
    ],
)
def test_what_vllm_does_not_serve_is_refused_with_the_reason(
    exported, tmp_path, fields, head, said
):
    done = exported("sft")
    (module,) = done.trial.configuration.architecture.modules
    other = replace(module, fields={**module.fields, **fields})
    trial = replace(
        done.trial,
        configuration=replace(done.trial.configuration, architecture=Architecture((other,))),
    )
    shape: ModelShape = replace(done.shape, head=head)
    with pytest.raises(ExportError, match=f"vLLM does not serve trial 3: {said}"):
        write(done, tmp_path / "out", trial=trial, shape=shape, vllm=True)
    assert not (tmp_path / "out").exists()


def test_what_vllm_serves_says_how(exported, tmp_path):
    done = exported("sft")
    write(done, tmp_path / "out", vllm=True)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "vllm serve" in card
    assert "--max-lora-rank 8" in card
    base = AutoModelForCausalLM.from_pretrained(done.prepared.model)
    assert peft.PeftModel.from_pretrained(base, tmp_path / "out").peft_config["default"].r == 4


def test_a_head_of_several_layers_is_converted_whole(tmp_path):
    """Of RoBERTa's head PEFT's own `save_as_lora` keeps the weights of one layer."""
    torch.manual_seed(0)
    tiny = RobertaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        vocab_size=96, max_position_embeddings=40,
    )  # fmt: skip
    base = AutoModelForSequenceClassification.from_config(tiny).eval()
    base.save_pretrained(tmp_path)
    config = peft.LoHaConfig(r=2, target_modules=["query"], task_type="SEQ_CLS", init_weights=False)
    model = peft.get_peft_model(base, config).eval()
    stir(model)
    ids = torch.randint(5, 90, (2, 6))
    expected = model(input_ids=ids).logits
    found, weights = to_lora(model, 1.0)
    fresh = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    plain = peft.get_peft_model(fresh, found).eval()
    assert not peft.set_peft_model_state_dict(plain, weights).unexpected_keys
    torch.testing.assert_close(plain(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (Architecture(full_fine_tuning=True), "full fine-tuning has no adapter"),
        (Architecture((Module("LORA", {}), Module("SSF", {}))), "one adapter, this has LORA, SSF"),
        (Architecture((Module("SSF", {}),)), "PEFT does not have SSF"),
        (Architecture((Module("LORA", {"r": 4}),)), "it is a plain LoRA: take --to peft"),
        (Architecture((Module("LORA", {"lora_bias": True}),)), "lora_bias is no change of weights"),
        (Architecture((Module("LORA", {}),), ("adalora", {})), "PEFT does not convert ADALORA"),
        (Architecture((Module("LORA", {"use_dora": True}),)), None),
        (Architecture((Module("LOKR", {}),)), None),
    ],
)
def test_what_there_is_nothing_to_convert_of(architecture, said):
    found = unconvertible(architecture)
    assert (found is None) if said is None else (said in found)


def test_a_conversion_that_peft_refuses_leaves_what_is_there(exported, tmp_path):
    done = exported("sft")
    (module,) = done.trial.configuration.architecture.modules
    ia3 = replace(module, peft_type="IA3", fields={})
    trial = replace(
        done.trial,
        configuration=replace(done.trial.configuration, architecture=Architecture((ia3,))),
    )
    config = peft.IA3Config(
        target_modules=["v_proj"], feedforward_modules=[], task_type="CAUSAL_LM"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "adapter_model.safetensors").write_text("an earlier one")
    with pytest.raises(ExportError, match="PEFT cannot convert IA3: Some module types"):
        export_converted(
            done.spec,
            trial,
            shape=done.shape,
            adapter=done.adapter,
            to=tmp_path / "out",
            prepared=done.prepared,
            convert=lambda: (
                lambda rank, folder: to_lora(peft.get_peft_model(base_of("llama"), config), rank)
            ),
            force=True,
        )
    assert (tmp_path / "out" / "adapter_model.safetensors").read_text() == "an earlier one"


def test_a_prompt_is_no_lora(exported, tmp_path):
    done = exported("prompt sft")
    convert = converter(done.spec, done.trial, done.adapter)
    with pytest.raises(ExportError, match="PEFT cannot convert PROMPT_TUNING: Could not detect"):
        convert(RANK, tmp_path)


def test_a_converted_adapter_says_what_fresh_seeds_measured(exported, tmp_path):
    done = exported("sft")
    (module,) = done.trial.configuration.architecture.modules
    dora = Architecture((replace(module, fields={**module.fields, "use_dora": True}),))
    trial = replace(done.trial, configuration=replace(done.trial.configuration, architecture=dora))
    metrics = {objective.metric: 0.25 for objective in done.spec.objectives}

    def convert(rank, folder):
        shutil.copytree(done.adapter, folder, dirs_exist_ok=True)
        return told_of(rank, {"v_proj": 4}, metrics, metrics)

    export_converted(
        done.spec,
        trial,
        shape=done.shape,
        adapter=done.adapter,
        to=tmp_path,
        prepared=done.prepared,
        convert=lambda: convert,
        confirmed={"seeds": [1000, 1001], "metrics": metrics, "stderr": {}},
    )
    said = json.loads((tmp_path / "provenance.json").read_text())
    assert said["confirmed"]["seeds"] == [1000, 1001]
    assert "at 2 fresh seeds" in (tmp_path / "README.md").read_text()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as creating a model and committing files to it takes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.path, body, self.headers.get("Authorization")))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid credentials"}, 401)
        if self.path == "/api/repos/create":
            return self.answer({"url": f"{self.server.url}/me/tiny", "id": "me/tiny"})
        if self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            kept = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            return self.answer({"files": kept})
        if self.path.endswith("/commit/main"):
            for line in body.splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    content = base64.b64decode(told["value"]["content"])
                    self.server.stored[told["value"]["path"]] = content
            url = f"{self.server.url}/me/tiny/commit/1"
            return self.answer({"success": True, "commitOid": "1", "commitUrl": url})
        return self.answer({})

    def do_GET(self):
        self.answer({"error": "Repository not found"}, 404)

    def answer(self, told, code=200):
        text = json.dumps(told).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.stored = [], {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


def test_a_pushed_folder_is_on_the_hub_byte_by_byte_and_private(exported, tmp_path, hub, online):
    done = exported("sft")
    files = write(done, tmp_path / "out")
    address = push(tmp_path / "out", "me/tiny", api=HfApi(endpoint=hub.url, token=TOKEN))
    assert address.endswith("/me/tiny")
    assert TOKEN not in address
    assert hub.stored == {path.name: path.read_bytes() for path in files}
    created = next(json.loads(body) for path, body, _ in hub.asked if path.endswith("repos/create"))
    assert created.get("private") is True or created.get("visibility") == "private"
    assert all(TOKEN.encode() not in content for content in hub.stored.values())
    assert load_file(tmp_path / "out" / "adapter_model.safetensors")


def test_a_hub_that_refuses_is_told_of_without_the_token(tmp_path, hub, online):
    wrong = "hf_" + "wrong" * 7
    with pytest.raises(ExportError, match=r"the hub did not take 'me/tiny' \(HTTP 401\)") as said:
        push(tmp_path, "me/tiny", api=HfApi(endpoint=hub.url, token=wrong))
    assert wrong not in str(said.value)
    with pytest.raises(ExportError, match="needs your token of the hub, got none|HTTP 401"):
        push(tmp_path, "me/tiny", api=HfApi(endpoint=hub.url, token=False))
    with pytest.raises(ExportError, match="takes NAME or OWNER/NAME, got 'a/b/c'"):
        push(tmp_path, "a/b/c", api=HfApi(endpoint=hub.url, token=TOKEN))


def test_a_hub_out_of_reach_is_told_of_with_where_the_export_lies(tmp_path, online):
    api = HfApi(endpoint="http://127.0.0.1:9", token=TOKEN)
    with pytest.raises(ExportError, match=f"out of reach .*lies in {tmp_path}"):
        push(tmp_path, "me/tiny", api=api)
