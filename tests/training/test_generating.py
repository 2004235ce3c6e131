"""Texts generated for validation rows, and how they are scored."""

import sys

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tiny_models import chats, make_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
)

from autopeft.domain.errors import AutopeftError
from autopeft.domain.generation import Generation
from autopeft.training.scoring.generating import (
    check_generated,
    generate_texts,
    generation_metrics,
    last_number,
    prompt,
    reference,
    scorer,
    spread,
)
from autopeft.tuners import LayerPrefixConfig, SerialAdapterConfig
from autopeft.tuners.composite import inject_composite

ROWS = [
    {"prompt": f"what comes after {i} " * (1 + i % 3), "completion": f"{i + 1}"} for i in range(7)
]
SHORT = Generation(rows=7, max_new_tokens=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model("llama", tmp_path_factory.mktemp("generating") / "llama", "CAUSAL_LM")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


def without_cache(model, tokenizer, row, new):
    """The greedy text by whole forward passes."""
    ids = tokenizer(row["prompt"])["input_ids"]
    start = len(ids)
    for _ in range(new):
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long()
            ).logits
        ids = [*ids, int(logits[0, -1].argmax())]
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


def shaken(model):
    """Adapters start at zero: let them do something."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


CONFIGS = {
    "no adapter": (),
    "LORA": (LoraConfig(task_type="CAUSAL_LM"),),
    "PREFIX_TUNING": (PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),),
    "PROMPT_TUNING": (PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),),
    "LAYER_PREFIX": (
        LayerPrefixConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, target_modules=["self_attn"]
        ),
    ),
    "composite": (
        SerialAdapterConfig(
            task_type="CAUSAL_LM", bottleneck_size=4, target_modules=["mlp.down_proj"]
        ),
        LayerPrefixConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=2, target_modules=["self_attn"]
        ),
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_with_padding_and_cache_gives_what_plain_passes_give(folder, tokenizer, name):
    configs, model = CONFIGS[name], loaded(folder)
    if len(configs) > 1:
        model = inject_composite(model, configs)
    elif configs:
        model = get_peft_model(model, configs[0])
    model = shaken(model).train()
    texts = generate_texts(model, tokenizer, ROWS, SHORT, batch_size=4)
    assert model.training
    model.eval()
    assert texts == [without_cache(model, tokenizer, row, 8) for row in ROWS]
    assert any(texts)


def test_what_the_models_own_generation_config_draws_is_not_drawn(folder, tokenizer):
    model = loaded(folder)
    greedy = generate_texts(model, tokenizer, ROWS, SHORT)
    model.generation_config.update(do_sample=True, temperature=5.0, top_k=50, num_beams=3)
    assert generate_texts(model, tokenizer, ROWS, SHORT) == greedy


def test_options_reach_generate(folder, tokenizer):
    model = loaded(folder)
    plain = generate_texts(model, tokenizer, ROWS, SHORT)
    punished = Generation(max_new_tokens=8, options={"repetition_penalty": 1000.0})
    texts = generate_texts(model, tokenizer, ROWS, punished)
    assert texts != plain
    assert all(len(set(text.split())) == len(text.split()) for text in texts)


def test_a_prompt_without_room_loses_its_beginning(folder, tokenizer):
    model = loaded(folder)
    model.config.max_position_embeddings = 16
    long = {"prompt": "what " * 40 + "comes after 3 comes 4 after", "completion": "5"}
    tail = tokenizer(long["prompt"])["input_ids"][-8:]
    cut = {"prompt": tokenizer.decode(tail), "completion": "5"}
    assert tokenizer(cut["prompt"])["input_ids"] == tail
    assert generate_texts(model, tokenizer, [long], SHORT) == generate_texts(
        model, tokenizer, [cut], SHORT
    )
    with pytest.raises(AutopeftError, match="16 positions, evaluation.generate.max_new_tokens 16"):
        generate_texts(model, tokenizer, [long], Generation(max_new_tokens=16))


def test_an_encoder_and_decoder_generates_from_the_start_of_its_decoder(tokenizer):
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=96, d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
        max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=2, init_std=1.0,
    )  # fmt: skip
    model = BartForConditionalGeneration(config)
    texts = generate_texts(model, tokenizer, ROWS, SHORT, batch_size=4)
    assert texts == [generate_texts(model, tokenizer, [row], SHORT)[0] for row in ROWS]
    assert len(set(texts)) > 1
    rows = [{"text": row["prompt"], "target": row["completion"]} for row in ROWS]
    assert generate_texts(model, tokenizer, rows, SHORT) == texts
    assert [reference(row) for row in rows] == [reference(row) for row in ROWS]
    cut = [tokenizer.decode(tokenizer(row["text"])["input_ids"][:5]) for row in rows]
    assert generate_texts(model, tokenizer, rows, SHORT, longest=5) == generate_texts(
        model, tokenizer, [{"text": text, "target": ""} for text in cut], SHORT
    )


def test_messages_are_put_through_the_chat_template(folder, tokenizer):
    row = chats(1)[0]
    question = row["messages"][0]["content"]
    assert prompt(row) == row["messages"][:1]
    assert reference(row) == row["messages"][1]["content"]
    plain = {"prompt": f"<|user|> {question} </s><|assistant|>", "completion": "?"}
    model = loaded(folder)
    assert generate_texts(model, tokenizer, [row], SHORT) == generate_texts(
        model, tokenizer, [plain], SHORT
    )
    shaped = {"prompt": row["messages"][:1], "completion": row["messages"][1:]}
    assert reference(shaped) == reference(row)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n#### 18", 18),
        ("#### 1,234.50 dollars, not 5", 1234.5),
        ("It is 3. No, -4.", -4),
        ("10-3", 3),
        ("12 apples\n####", 12),
        ("about .5", 0.5),
        ("none", None),
    ],
)
def test_the_number_is_that_after_the_mark_or_the_last(text, number):
    assert last_number(text) == number


def test_scores_are_means_over_so_many_rows_with_their_errors(folder, tokenizer):
    model = loaded(folder)
    texts = generate_texts(model, tokenizer, ROWS, SHORT)
    rows = [{**row, "completion": texts[i] if i < 3 else "9"} for i, row in enumerate(ROWS)]
    metrics, errors = generation_metrics(
        model, tokenizer, rows, {"exact_match", "eval_loss"}, SHORT, batch_size=4
    )
    assert metrics == {"exact_match": pytest.approx(3 / 7)}
    assert errors == {"exact_match": pytest.approx((3 / 7 * 4 / 7 / 7) ** 0.5)}
    assert [row["completion"] for row in spread(ROWS, 3)] == ["1", "4", "7"]


def test_a_number_that_was_not_generated_is_wrong():
    assert scorer("numeric_answer")("no number", "#### 4") == 0
    assert scorer("numeric_answer")("the answer is 4.0", "#### 4") == 1


def test_rouge_is_the_packages():
    pytest.importorskip("rouge_score")
    assert scorer("rouge1")("the cat sat", "the cat lay") == pytest.approx(2 / 3)
    assert scorer("rougeL")("sat cat the", "the cat sat") == pytest.approx(1 / 3)


def test_without_the_package_the_extra_is_named_before_any_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(AutopeftError, match=r"rougeL needs the package rouge_score.*\[rouge\]"):
        check_generated(ROWS, {"rougeL"}, SHORT)


@pytest.mark.parametrize(
    ("row", "metric", "said"),
    [
        ({"text": "all of it"}, "exact_match", "got text: name them under data.columns"),
        ({"messages": chats(1)[0]["messages"][:1]}, "rouge1", "end with the assistant's"),
        ({"prompt": "2 + 2", "completion": "four"}, "numeric_answer", "needs a number in every"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused_before_any_training(row, metric, said, monkeypatch):
    if metric == "rouge1":
        pytest.importorskip("rouge_score")
    with pytest.raises(AutopeftError, match=said):
        check_generated([row], {metric}, SHORT)
