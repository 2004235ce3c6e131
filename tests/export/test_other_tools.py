"""Recipes against the tools that they are for: skipped where those are not installed.

    pip install --no-deps --target TOOLS axolotl==0.19.0 llamafactory==0.9.5 addict posthog \
        backoff distro omegaconf antlr4-python3-runtime==4.9.3
    PYTHONPATH=$PWD:TOOLS pytest tests/export/test_other_tools.py

Both pin older versions of what they share with autopeft, so they cannot be its dependencies.
"""

import os

import peft
import pytest
import torch
import trl
from export.test_recipes import LORA, SPREAD, of_trial, with_tree, written
from transformers import AutoModelForCausalLM, HfArgumentParser

from autopeft.domain.networks.peft_config import peft_arguments

TREES = {
    "lora": {"modules": [LORA]},
    "patterns": SPREAD,
    "dora": {"modules": [LORA | {"use_dora": True, "use_rslora": True}], "layers": {"last": 1}},
    "pissa": {"modules": [LORA | {"init_lora_weights": "pissa", "lora_dropout": 0.0}]},
    "oft": {
        "modules": [{"peft_type": "OFT", "target_modules": ["q_proj", "v_proj"],
                     "oft_block_size": 8}]
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def axolotl():
    os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"
    schema = pytest.importorskip("axolotl.utils.schemas.config", reason="axolotl is not installed")
    loader = pytest.importorskip("axolotl.loaders.adapter")

    def build(folder, base):
        """As `axolotl.loaders` does."""
        import yaml
        from axolotl.utils.dict import DictDefault

        told = yaml.safe_load((folder / "axolotl.yaml").read_text())
        checked = schema.AxolotlInputConfig(**told).model_dump(exclude_none=True)
        assert set(told) <= set(checked), "the schema drops nothing that is written"
        return peft.get_peft_model(base, loader._build_peft_lora_config(base, DictDefault(checked)))

    return build


@pytest.fixture(scope="module")
def llama_factory():
    os.environ["DISABLE_VERSION_CHECK"] = "1"  # it pins older libraries
    if not hasattr(trl, "AutoModelForCausalLMWithValueHead"):  # which it imports, for PPO alone
        trl.AutoModelForCausalLMWithValueHead = object
    hparams = pytest.importorskip("llamafactory.hparams.parser", reason="no LLaMA-Factory here")
    adapter = pytest.importorskip("llamafactory.model.adapter")

    def build(folder, base):
        parser = HfArgumentParser(hparams._TRAIN_ARGS)
        model, _, training, tuning, _ = parser.parse_yaml_file(str(folder / "llama_factory.yaml"))
        assert (training.learning_rate, training.lr_scheduler_type) == (2e-3, "cosine")
        return adapter._setup_lora_tuning(base.config, base, model, tuning, True, True)

    return build


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        *(("axolotl", name) for name in ("lora", "patterns", "dora", "pissa")),
        *(("llama_factory", name) for name in ("lora", "dora", "pissa", "oft")),
    ],
)
def test_the_tool_builds_the_network_of_the_trial(exported, request, tmp_path, tool, name):
    """Its own parser and builder: the trained parameters, every scaling and the logits."""
    build = request.getfixturevalue(tool)
    done = exported("sft")
    trial = with_tree(done, TREES[name])
    written(done, tool.replace("_", "-"), tmp_path / "out", trial)
    base = AutoModelForCausalLM.from_pretrained(done.prepared.model)
    theirs = build(tmp_path / "out", base)
    trained = {n: tuple(p.shape) for n, p in theirs.named_parameters() if p.requires_grad}
    scaled = {
        n: module.scaling["default"]
        for n, module in theirs.named_modules()
        if isinstance(getattr(module, "scaling", None), dict) and module.scaling
    }
    assert (trained, scaled) == of_trial(done, trial)
    config = dict(
        peft_arguments(trial.configuration.architecture, task_type="CAUSAL_LM", total_steps=10)[0]
    )
    kind = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING[config.pop("peft_type")]
    ours = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(done.prepared.model), kind(**config)
    )
    torch.manual_seed(0)
    weights = {
        n: w + 0.05 * torch.randn_like(w) for n, w in peft.get_peft_model_state_dict(ours).items()
    }
    ids = torch.randint(3, 90, (2, 7))
    found = []
    for model in (ours, theirs):
        peft.set_peft_model_state_dict(model, weights)
        with torch.no_grad():
            found.append(model.eval()(input_ids=ids).logits)
    torch.testing.assert_close(*found, rtol=0, atol=0)
