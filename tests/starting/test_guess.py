"""Which task and which columns: from names and contents; what cannot be seen is asked."""

import pytest

from autopeft.domain.errors import AutopeftError
from autopeft.domain.tasks import KINDS
from autopeft.starting import Column, SeenData, columns_for, kind_for


def data_of(**holds):
    """Columns by name: what they hold, or (that, distinct values) of 100 rows."""
    columns = [
        Column(name, *(said if isinstance(said, tuple) else (said, 100)))
        for name, said in holds.items()
    ]
    return SeenData({}, 100, tuple(columns), 100)


class Asked(Exception):
    pass


def nobody(what, options, flag):
    raise Asked(f"{what} ({', '.join(options)}) by {flag}")


CASES = {
    "reviews": (
        "encoder",
        data_of(id="whole", review="text", sentiment=("text", 3)),
        "SEQ_CLS",
        {"text": "review", "label": "sentiment"},
    ),
    "a pair by its names": (
        "encoder",
        data_of(premise="text", hypothesis="text", idx="whole", label=("class", 2)),
        "SEQ_CLS",
        {"text": "premise", "text_pair": "hypothesis", "label": "label"},
    ),
    "a class of no usual name": (
        "encoder",
        data_of(words="text", kind=("class", 4)),
        "SEQ_CLS",
        {"text": "words", "label": "kind"},
    ),
    "numbers to predict": (
        "encoder",
        data_of(text="text", score="number"),
        "SEQ_CLS regression",
        {"text": "text", "label": "score"},
    ),
    "several labels a row": (
        "encoder",
        data_of(text="text", labels="texts"),
        "SEQ_CLS multi_label_classification",
        {"text": "text", "label": "labels"},
    ),
    "tags of words": (
        "encoder",
        data_of(tokens="texts", ner_tags="numbers", pos_tags="numbers"),
        "TOKEN_CLS",
        {"tokens": "tokens", "tags": "ner_tags"},
    ),
    "summaries": (
        "encoder-decoder",
        data_of(article="text", highlights="text", id="text"),
        "SEQ_2_SEQ_LM",
        {"text": "article", "target": "highlights"},
    ),
    "images": (
        "vision",
        data_of(image="image", label=("class", 10)),
        "IMAGE_CLS",
        {"image": "image", "label": "label"},
    ),
    "chats": (
        "decoder",
        data_of(conversations="messages", source="text"),
        "CAUSAL_LM",
        {"messages": "conversations"},
    ),
    "instructions": (
        "decoder",
        data_of(instruction="text", output="text"),
        "CAUSAL_LM",
        {"prompt": "instruction", "completion": "output"},
    ),
    "choices": (
        "decoder",
        data_of(question="text", choices="texts", answer=("whole", 4)),
        "CAUSAL_LM",
        {"prompt": "question", "choices": "choices", "answer": "answer"},
    ),
    "a corpus": ("decoder", data_of(text="text"), "CAUSAL_LM", {"text": "text"}),
    "labels for a language model": (
        "decoder",
        data_of(text="text", label=("whole", 2)),
        "SEQ_CLS",
        {"text": "text", "label": "label"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_names_and_contents_tell(case):
    family, data, name, columns = CASES[case]
    kind = kind_for(data, family, None, nobody)
    assert kind == KINDS[name]
    assert columns_for(kind, data, {}, nobody) == columns


def test_what_they_do_not_tell_is_asked_with_the_answers_there_are():
    data = data_of(one="text", other="text", kind=("text", 3))
    with pytest.raises(Asked, match=r"which column holds the text \(one, other\) by --column text"):
        columns_for(KINDS["SEQ_CLS"], data, {}, nobody)
    assert columns_for(KINDS["SEQ_CLS"], data, {}, lambda *_: "one")["text"] == "one"
    with pytest.raises(
        Asked, match=r"which kind of task this is \(SEQ_CLS, .*TOKEN_CLS\) by --task"
    ):
        kind_for(data_of(one="text", other="text"), "encoder", None, nobody)
    data = data_of(text="text", a=("whole", 2), b=("whole", 3))
    with pytest.raises(Asked, match=r"which column holds the label \(text, a, b\)"):
        columns_for(KINDS["SEQ_CLS"], data, {}, nobody)


def test_what_the_user_names_counts():
    data = data_of(text="text", note="text", label=("class", 2), stars=("whole", 5))
    given = {"text": "note", "label": "stars"}
    assert columns_for(KINDS["SEQ_CLS"], data, given, nobody) == given
    given = {"text_pair": "note"}
    found = columns_for(KINDS["SEQ_CLS"], data, given, nobody)
    assert found == {"text": "text", "text_pair": "note", "label": "label"}
    assert kind_for(data, "encoder", "regression", nobody) == KINDS["SEQ_CLS regression"]
    with pytest.raises(
        AutopeftError, match="the data have no column 'texts': they have text, note"
    ):
        columns_for(KINDS["SEQ_CLS"], data, {"text": "texts"}, nobody)
    with pytest.raises(AutopeftError, match="--column takes text, text_pair, label of SEQ_CLS"):
        columns_for(KINDS["SEQ_CLS"], data, {"words": "text"}, nobody)
    with pytest.raises(AutopeftError, match="--task takes one of SEQ_CLS, .*, got 'chat'"):
        kind_for(data, "encoder", "chat", nobody)


def test_a_task_that_the_model_is_not_for_is_refused():
    with pytest.raises(
        AutopeftError, match="CAUSAL_LM is for a model that is a decoder, got an enc"
    ):
        kind_for(data_of(messages="messages"), "encoder", None, nobody)
