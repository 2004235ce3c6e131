"""Tiny models of several families, made from their configs, as folders that transformers loads."""

import copy
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BartConfig,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    T5Config,
    ViTConfig,
    ViTImageProcessorPil,
)

_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} </s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_WIDE = {"hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 48, "vocab_size": 96}
_ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CONFIGS = {
    "bert": BertConfig(num_attention_heads=4, max_position_embeddings=64, **_WIDE),
    "distilbert": DistilBertConfig(
        dim=32, n_layers=3, n_heads=4, hidden_dim=48, vocab_size=96, max_position_embeddings=64
    ),
    "gpt2": GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, vocab_size=96, **_ENDS),
    "llama": LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **_WIDE, **_ENDS),
    "qwen3": Qwen3Config(
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, **_WIDE, **_ENDS
    ),
    "t5": T5Config(
        d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=96,
        decoder_start_token_id=0, **_ENDS,
    ),
    "bart": BartConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=96,
        max_position_embeddings=64, decoder_start_token_id=2, **_ENDS,
    ),
    "vit": ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        image_size=16, patch_size=8,
    ),
}  # fmt: skip
AUTO_CLASSES = {
    "SEQ_CLS": AutoModelForSequenceClassification,
    "TOKEN_CLS": AutoModelForTokenClassification,
    "SEQ_2_SEQ_LM": AutoModelForSeq2SeqLM,
    "IMAGE_CLS": AutoModelForImageClassification,
    "CAUSAL_LM": AutoModelForCausalLM,
}


def make_model(family: str, folder: Path, task_type: str, **changes: int) -> Path:
    """A folder with config, random weights and a tokenizer (or an image processor).

    changes: fields of the config with other values, as `hidden_size=128`.
    """
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[family])
    config.update(changes)
    AUTO_CLASSES[task_type].from_config(config).save_pretrained(folder)
    if task_type == "IMAGE_CLS":
        side = {"height": config.image_size, "width": config.image_size}
        ViTImageProcessorPil(size=side).save_pretrained(folder)
    else:
        _tokenizer().save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    special = ["<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>"]
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.train_from_iterator(
        [json.dumps(row) for row in chats(20)],
        trainers.BpeTrainer(vocab_size=96, special_tokens=special, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=_CHAT,
    )


def chats(count: int) -> list[dict]:
    """Conversations of one question and one answer."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"what comes after {i % 9}"},
                {"role": "assistant", "content": f"after {i % 9} comes {i % 9 + 1}"},
            ]
        }
        for i in range(count)
    ]
