"""Every tuner on the tiny models that it has a place in, with its number of parameters by formula."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from peft import PeftConfig
from tiny_models import CONFIGS
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from autopeft.tuners import (
    PacaConfig,
    ParallelAdapterConfig,
    SerialAdapterConfig,
    SSFConfig,
    SVFitConfig,
)

_VIT = ViTConfig(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    image_size=16,
    initializer_range=0.2,
    patch_size=8,
)
_T5 = T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=96)
_TASKS = {"bert": "SEQ_CLS", "llama": "CAUSAL_LM", "gpt2": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM"}
_IDS = torch.arange(2, 22).view(2, 10)


@cache
def _pristine(family: str) -> nn.Module:
    with torch.random.fork_rng():  # made on first use, in the middle of what a test draws
        torch.manual_seed(0)
        return _made(family)


def _made(family: str) -> nn.Module:
    if family == "vit":
        return ViTForImageClassification(_VIT).eval()
    if family == "t5":
        return T5ForConditionalGeneration(_T5).eval()
    config = copy.deepcopy(CONFIGS[family])
    config.initializer_range = 0.2  # With the usual .02 attention hardly depends on its input.
    auto = AutoModelForSequenceClassification if family == "bert" else AutoModelForCausalLM
    return auto.from_config(config).eval()


def base(family: str) -> nn.Module:
    """A copy of the family's tiny model, the same weights each time, in evaluation mode.

    Frozen, as PEFT leaves it: attention kernels, and with them the last bits, depend on that.
    """
    model = copy.deepcopy(_pristine(family)).requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # Zero in fresh models, which would hide what is done to them.
            parameter.normal_(std=0.1, generator=generator)
    return model


@torch.no_grad()
def logits(model: nn.Module, family: str) -> torch.Tensor:
    """What the model says to the family's fixed input."""
    return forward(model, family)


def forward(model: nn.Module, family: str) -> torch.Tensor:
    """The same, with the graph of its gradients."""
    if family == "vit":
        return model(pixel_values=torch.linspace(-1, 1, 1536).view(2, 3, 16, 16)).logits
    if family == "t5":
        return model(input_ids=_IDS, decoder_input_ids=_IDS[:, :4]).logits
    return model(input_ids=_IDS).logits


def disturb(model: nn.Module, seed: int = 2) -> None:
    """Move every trained parameter away from where it starts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in own(model):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def own(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The trained parameters without a head that PEFT trains beside them."""
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "modules_to_save" not in name
    ]


@dataclass(frozen=True)
class Case:
    """A tuner in a model; `parameters` is the number by the formula of its docstring."""

    family: str
    config_class: type[PeftConfig]
    target_modules: str | tuple[str, ...]
    parameters: int
    fields: tuple[tuple[str, object], ...] = ()

    def config(self, **fields: object) -> PeftConfig:
        targets = self.target_modules
        return self.config_class(
            task_type=_TASKS.get(self.family),
            target_modules=targets if isinstance(targets, str) else list(targets),
            **dict(self.fields) | fields,
        )

    def __str__(self) -> str:
        words = [self.family, self.config_class.peft_type, str(self.target_modules)]
        return " ".join([*words, *(f"{name}={value}" for name, value in self.fields)])


def dense(d_in: int, d_out: int, m: int = 8) -> int:
    return m * (d_in + d_out) + m + d_out


def phm(d_in: int, d_out: int, n: int, m: int = 8) -> int:
    return 2 * n**3 + d_in + d_out + 2 * m + m + d_out


def _cases(
    config_class: type[PeftConfig], **fields: object
) -> Callable[[str, str | tuple[str, ...], int], Case]:
    return lambda family, targets, parameters: Case(
        family, config_class, targets, parameters, tuple(fields.items())
    )


_serial = _cases(SerialAdapterConfig, bottleneck_size=8)
_serial_phm = _cases(SerialAdapterConfig, bottleneck_size=8, phm_dim=4, act_fn="gelu")
_parallel = _cases(ParallelAdapterConfig, bottleneck_size=8)
_parallel_phm = _cases(ParallelAdapterConfig, bottleneck_size=8, phm_dim=2)
_ssf = _cases(SSFConfig)
_svfit = _cases(SVFitConfig, r=5)
_paca = _cases(PacaConfig, r=5)

BOTTLENECKS = [
    _serial("bert", ("output.dense",), 6 * dense(32, 32)),
    _serial("bert", r".*layer\.\d+\.output\.dense", 3 * dense(32, 32)),
    _serial("llama", ("down_proj",), 3 * dense(32, 32)),
    _serial("llama", ("mlp", "self_attn"), 6 * dense(32, 32)),
    _serial("gpt2", ("mlp.c_proj",), 3 * dense(32, 32)),
    _serial("vit", ("fc2",), 3 * dense(32, 32)),
    _serial("t5", ("wo",), 4 * dense(32, 32)),
    _serial_phm("llama", ("down_proj",), 3 * phm(32, 32, 4)),
    _parallel("bert", r".*layer\.\d+\.output", 3 * dense(32, 32)),
    _parallel("bert", ("attention.output",), 3 * dense(32, 32)),
    _parallel("llama", ("mlp",), 3 * dense(32, 32)),
    _parallel("llama", ("self_attn",), 3 * dense(32, 32)),
    _parallel("llama", ("v_proj",), 3 * dense(32, 16)),
    _parallel("gpt2", ("mlp", "attn"), 6 * dense(32, 32)),
    _parallel("vit", ("mlp", "attention"), 6 * dense(32, 32)),
    _parallel("t5", ("DenseReluDense", "SelfAttention"), 8 * dense(32, 32)),
    _parallel_phm("bert", r".*layer\.\d+\.output", 3 * phm(32, 32, 2)),
]
MERGING = [
    _ssf("bert", ("query", "LayerNorm"), 2 * (3 * 32 + 7 * 32)),
    _ssf("gpt2", ("c_attn", "ln_1"), 3 * 2 * (96 + 32)),
    _ssf("vit", ("projection", "layernorm_before", "fc1"), 2 * (32 + 3 * (32 + 48))),
    _svfit("bert", ("query",), 3 * 5),
    _svfit("llama", ("v_proj", "down_proj"), 6 * 5),
    _svfit("gpt2", ("c_attn",), 3 * 5),
    _svfit("t5", ("wi",), 4 * 5),
    _paca("bert", ("query", "output.dense"), 9 * 5 * 32),
    _paca("llama", ("v_proj",), 3 * 5 * 16),
    _paca("gpt2", ("c_attn",), 3 * 5 * 96),
    _paca("vit", ("fc1",), 3 * 5 * 48),
    _paca("t5", ("wi",), 4 * 5 * 48),
]
# A shift has no place in a layer without bias, a bottleneck none in any weight.
REFUSING = [
    _ssf("llama", ("down_proj", "input_layernorm"), 6 * 2 * 32),
    _ssf("t5", ("layer_norm", "wi"), 2 * (10 * 32 + 4 * 48)),
    *BOTTLENECKS,
]
ALL = [*MERGING, *REFUSING]
