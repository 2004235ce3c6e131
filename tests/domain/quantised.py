"""A real base in 4 or 8 bits, its twin in full precision, and what a type does on both."""

import copy
from functools import cache
from pathlib import Path

import bitsandbytes as bnb
import torch
from domain.matrix import Case, batch_of, logits, module_of, shape_of
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

_WIDE = LlamaConfig(  # a row of weights fills bitsandbytes' blocks
    vocab_size=96, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, pad_token_id=0,
)  # fmt: skip
_BITS = {
    4: {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    8: {"load_in_8bit": True},
}
_ROUNDING = 0.2  # of what the adapter does: 8 bit kernels round the activations too


def case_of(peft_type: str) -> Case:
    shape = _shape()
    return Case("llama", shape, module_of(peft_type, "llama", shape))


def works_on(peft_type: str, bits: int, folder: Path) -> str:
    """ "" if a type does on the quantised base what it does on its twin, else what goes wrong."""
    case = case_of(peft_type)
    try:
        torch.manual_seed(2)
        model = get_peft_model(quantised(bits, folder), case.config())
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        model.train()(**batch_of("llama")).loss.backward()
        if lost := [n for n, p in trained.items() if p.grad is None or not p.grad.isfinite().all()]:
            return f"no finite gradient at {lost[0]}"
        for parameter in trained.values():
            parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder / "adapter")
        found = logits(model, "llama")
        expected = logits(
            PeftModel.from_pretrained(twin(bits, folder), folder / "adapter"), "llama"
        )
        moved = (expected - logits(twin(bits, folder), "llama")).abs().max()
    except Exception as error:  # PEFT and torch raise all kinds
        return repr(error)
    off = (found - expected).abs().max()
    return "" if off < _ROUNDING * moved else f"off by {off:.3f} where it moves by {moved:.3f}"


def quantised(bits: int, folder: Path):
    if not (folder / "base").exists():
        _base().save_pretrained(folder / "base")
    model = AutoModelForCausalLM.from_pretrained(
        folder / "base",
        quantization_config=BitsAndBytesConfig(**_BITS[bits]),
        device_map="cpu",
        dtype=torch.float32,
    )
    for module in model.modules():  # on a CPU it would pack its weights in the first evaluation
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model.eval()


def twin(bits: int, folder: Path):
    """The same weights, rounded the same, in float32."""
    plain = _base()
    own = dict(plain.named_modules())
    for name, module in quantised(bits, folder).named_modules():
        if isinstance(module, bnb.nn.Linear4bit):
            weight = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bnb.nn.Linear8bitLt):
            weight = module.weight.CB.float() * module.weight.SCB.view(-1, 1) / 127
        else:
            continue
        own[name].weight.data.copy_(weight)
    return plain


def _base():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(_WIDE)).eval()


@cache
def _shape():
    return shape_of(_base())
