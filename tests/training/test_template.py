"""What a recipe asks of a tokenizer, and of the rows that it reads, is checked before trials."""

import json

import pytest
from tiny_models import chats, make_model

from autopeft import build
from autopeft.config import load
from autopeft.domain.errors import SpecError

MARKED = (
    "{% for message in messages %}{% generation %}{{ message['content'] }} </s>"
    "{% endgeneration %}{% endfor %}"
)
SPACE = """\
autopeft: 1
study: asked
model: {{model_name_or_path: {model}, task_type: CAUSAL_LM}}
data:
  train: {{path: json, data_files: {rows}.jsonl}}
  validation: {{path: json, data_files: {rows}.jsonl}}
training: {{max_steps: 1}}
space:
  lora:
    modules: [{{peft_type: LORA, r: 2, target_modules: [q_proj]}}]
    training:
      {training}
objectives: [eval_loss]
budget: {{trials: 2}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    make_model("llama", folder / "plain", "CAUSAL_LM")
    marked = make_model("llama", folder / "marked", "CAUSAL_LM")
    (marked / "chat_template.jinja").write_text(MARKED)
    bare = make_model("llama", folder / "bare", "CAUSAL_LM")
    (bare / "chat_template.jinja").unlink()
    (folder / "chat.jinja").write_text(MARKED)
    (folder / "chats.jsonl").write_text("\n".join(map(json.dumps, chats(4))))
    pairs = [{"prompt": "what comes", "completion": " after 1"}] * 4
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return folder


def bound(folder, training, *, model="plain", rows="chats"):
    path = folder / "space.yaml"
    path.write_text(SPACE.format(training=training, model=model, rows=rows))
    return build.bound(load(path), path)


@pytest.mark.parametrize(
    ("training", "place", "rule"),
    [
        ("eos_token: <end>", ":12:18", "is a token of the model's vocabulary, got '<end>'"),
        ("pad_token: <end>", ":12:18", "is a token of the model's vocabulary, got '<end>'"),
        ("eos_token: {choice: [</s>, <end>]}", ":12:34", "eos_token.choice[1]"),
        ("assistant_only_loss: true", ":12:28", "needs {% generation %} marks in the model's"),
        ("chat_template_path: away.jinja", ":12:27", "names a file that does not exist: "),
    ],
)
def test_what_a_tokenizer_lacks_is_shown_where_it_is_asked_for(folder, training, place, rule):
    with pytest.raises(SpecError) as caught:
        bound(folder, training)
    (mistake,) = caught.value.mistakes
    assert mistake.path.startswith(f"space.lora.training.{training.partition(':')[0]}")
    assert f"space.yaml{place}: " in str(caught.value)
    assert rule in str(caught.value)


def test_an_assistants_tokens_are_those_of_messages_with_a_template(folder):
    bound(folder, "assistant_only_loss: true", model="marked")
    bound(folder, "{assistant_only_loss: true, chat_template_path: chat.jinja}")
    with pytest.raises(SpecError, match="marks in the model's chat template, and it has none"):
        bound(folder, "assistant_only_loss: true", model="bare")
    with pytest.raises(SpecError, match="needs rows of messages, got prompt, completion: remove"):
        bound(folder, "assistant_only_loss: true", model="marked", rows="pairs")


@pytest.mark.parametrize(
    "training",
    [
        "eos_token: <|user|>",
        "{eos_token: </s>, pad_token: <pad>}",
        "chat_template_path: chat.jinja",
        "chat_template_path: /only/on/the/cluster.jinja",
        "chat_template_path: HuggingFaceTB/SmolLM3-3B",
    ],
)
def test_what_trials_find_is_not_refused(folder, training):
    bound(folder, training)
