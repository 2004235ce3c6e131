"""Every type on a tiny model of every family: the model, its shape, a placed module, a batch."""

import copy
import re
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from peft import get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from tiny_models import CONFIGS
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

import autopeft.tuners  # noqa: F401 - makes our own known to PEFT
from autopeft.domain.architecture import Architecture, Module
from autopeft.domain.methods.placement import match_targets
from autopeft.domain.model import ModelShape
from autopeft.domain.networks.capabilities import BLOCK, CAPABILITIES, MODEL
from autopeft.domain.networks.counting import known_metrics
from autopeft.domain.networks.peft_config import named_targets
from autopeft.domain.rules.fit import unfit
from autopeft.training.loading.shapes import embeddings_of, inside_layers

T5 = T5Config(
    vocab_size=96, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
    decoder_start_token_id=0,
)  # fmt: skip
VIT = ViTConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    image_size=16, patch_size=8, num_labels=3,
)  # fmt: skip
FAMILIES = {
    "bert": (AutoModelForSequenceClassification, CONFIGS["bert"], "SEQ_CLS"),
    "llama": (AutoModelForCausalLM, CONFIGS["llama"], "CAUSAL_LM"),
    "gpt2": (AutoModelForCausalLM, CONFIGS["gpt2"], "CAUSAL_LM"),
    "t5": (T5ForConditionalGeneration, T5, "SEQ_2_SEQ_LM"),
    "vit": (ViTForImageClassification, VIT, "IMAGE_CLS"),
}
HEADS = {"bert": ("classifier",), "vit": ("classifier",)}
TARGETS = {
    "bert": r"(attention\.self\.(query|value)|output\.dense)$",
    "llama": r"(q_proj|v_proj|down_proj)$",
    "gpt2": r"(c_attn|c_fc)$",
    "t5": r"(\.q|\.v|\.wo)$",
    "vit": r"(q_proj|v_proj|query|value|output\.dense|fc2)$",
}
LILY_TARGETS = TARGETS | {"bert": r"(query|value)$", "t5": r"SelfAttention\.(q|v)$"}
ADALORA_STEPS = 4
FIELDS = {
    "ADALORA": {"init_r": 6, "target_r": 3, "total_step": ADALORA_STEPS, "tinit": 1, "tfinal": 1},
    "ADAPTION_PROMPT": {"adapter_len": 3, "adapter_layers": 2},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 8},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "CPT": {"cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 4]},
    "FOURIERFT": {"n_frequency": 40},
    "FROD": {"progressbar": False},
    "GRALORA": {"r": 4},
    "LILY": {"r": 4, "num_B": 3, "stride_A": 2},
    "MISS": {"r": 4},
    "OFT": {"oft_block_size": 8},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "PSOFT": {"r": 4},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "RANDLORA": {"r": 8},
    "ROAD": {"group_size": 8},
    "PACA": {"r": 4},
    "SHIRA": {"r": 2},
    "SVFIT": {"r": 4},
    "SUPERTUNING": {"sparsity": 0.9},
    "TRAINABLE_TOKENS": {"token_indices": [3, 5, 7]},
    "UNILORA": {"init_theta_d_bound": 0.5},  # as it is not the identity, let it be seen
    "VBLORA": {"vector_length": 8, "num_vectors": 10},
    "WAVEFT": {"n_frequency": 40},
}


@dataclass(frozen=True)
class Case:
    """A module placed on a tiny model."""

    family: str
    shape: ModelShape
    module: Module

    @cached_property
    def base(self):
        """The case's own: PEFT changes it."""
        return base_of(self.family)

    @property
    def task_type(self):
        return FAMILIES[self.family][2]

    def refusal(self, *, quantized=False):
        return unfit(self.module, shape=self.shape, task_type=self.task_type, quantized=quantized)

    def known(self):
        return known_metrics(Architecture((self.module,)), self.shape)

    def config(self):
        return config_of(self.module, self.task_type)

    def model(self):
        """What PEFT builds around the base, the same every time."""
        torch.manual_seed(2)
        return get_peft_model(self.base, self.config())


def placed(peft_type, family, **fields):
    shape = tiny_shape(family)
    return Case(family, shape, module_of(peft_type, family, shape, **fields))


def base_of(family):
    """The same random model every time."""
    auto, config, _ = FAMILIES[family]
    torch.manual_seed(0)
    build = getattr(auto, "from_config", None) or auto
    model = build(copy.deepcopy(config))
    for parameter in model.parameters():  # no zero bias: a wrong merge shows
        parameter.data += 0.02 * torch.randn_like(parameter)
    return model.eval()


@cache
def tiny_shape(family):
    return shape_of(base_of(family), head=HEADS.get(family, ()))


def shape_of(model, head=()):
    modules, blocks = inside_layers(model)
    config = model.config
    heads = config.num_attention_heads
    return ModelShape(
        model_type=config.model_type,
        layers=1 + max(module.layer for module in modules),
        modules=modules,
        blocks=blocks,
        kv_width=config.hidden_size // heads * getattr(config, "num_key_value_heads", heads),
        head=head,
        head_parameters=sum(p.numel() for name in head for p in getattr(model, name).parameters()),
        total_parameters=model.num_parameters(),
        embeddings=embeddings_of(model),
    )


def module_of(peft_type, family, shape, **fields):
    fields = {**FIELDS.get(peft_type, {}), **fields}
    targets = targets_of(peft_type, family, shape)
    if peft_type == "IA3":
        down = [m.name for m in shape.modules if m.feedforward and m.name in targets]
        fields["feedforward_modules"] = down
    return Module(peft_type, fields, targets, tuple(range(shape.layers)))


def targets_of(peft_type, family, shape):
    wraps = CAPABILITIES[peft_type].wraps
    if wraps == {MODEL}:
        return ()
    if peft_type == "LILY":  # it shares by kind, and `output.dense` ends as another kind does
        return tuple(m.name for m in shape.modules if re.search(LILY_TARGETS[family], m.name))
    if wraps == {BLOCK}:
        return tuple(target.name for target in match_targets(None, shape, peft_type))
    norms = tuple(m.name for m in shape.modules if m.norm)
    if peft_type == "LN_TUNING" and norms:  # none are known of ViT: layernorm_before, _after
        return norms
    return tuple(m.name for m in shape.modules if m.linear and re.search(TARGETS[family], m.name))


def config_of(module, task_type):
    fields = dict(module.fields) | named_targets(module)
    task = None if task_type == "IMAGE_CLS" else task_type
    if task is None and CAPABILITIES[module.peft_type].tasks is None:
        fields["modules_to_save"] = ["classifier"]
    return PEFT_TYPE_TO_CONFIG_MAPPING[module.peft_type](task_type=task, **fields)


def batch_of(family):
    torch.manual_seed(1)
    if family == "vit":
        return {"pixel_values": torch.randn(2, 3, 16, 16), "labels": torch.tensor([0, 2])}
    ids = torch.randint(3, 96, (2, 6))
    labels = torch.tensor([0, 1]) if family == "bert" else ids
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def logits(model, family, **more):
    """Of the text's own tokens; virtual tokens before it have some too."""
    batch = batch_of(family) | more
    labels = batch.pop("labels")  # a reloaded AdaLoRA has no loss
    if family == "t5":
        batch["decoder_input_ids"] = labels
    with torch.no_grad():
        found = model.eval()(**batch).logits
    return found[:, -6:] if found.ndim == 3 else found


def steps(model, family, count=2):
    """Train, AdaLoRA with its allocation, and give back the last step's {name: gradient}."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.05)
    allocate = getattr(getattr(model, "base_model", None), "update_and_allocate", None)
    model.train()
    for step in range(1, 1 + (ADALORA_STEPS if allocate else count)):
        optimizer.zero_grad()
        model(**batch_of(family)).loss.backward()
        optimizer.step()
        if allocate:
            allocate(step)
    return {name: p.grad for name, p in trained.items()}
