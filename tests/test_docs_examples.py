"""Every command and every YAML in the documents is one that autopeft takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from autopeft.cli import app
from autopeft.config.spec import parse

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]


def blocks(kind):
    return [
        (file.name, block)
        for file in FILES
        for block in re.findall(rf"```{kind}\n(.*?)```", file.read_text(), re.DOTALL)
    ]


def commands():
    """`autopeft ...` in blocks of shell and in text, without what only stands for something."""
    for name, block in blocks("(?:bash|sh|console)") + blocks(""):
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.match(r"\s*(?:\$ |[A-Z_]+=\S+ )*(autopeft .*)", line):
                yield name, match[1]
    for file in FILES:
        if file.parent.name == "benchmarks":  # `autopeft without costs` is a sampler there
            continue
        text = re.sub(r"```.*?```", "", file.read_text(), flags=re.DOTALL)
        for command in re.findall(r"`(autopeft [a-z][^`]*)`", text):
            yield file.name, command


COMMANDS = list(dict.fromkeys(commands()))


@pytest.mark.parametrize(("file", "line"), COMMANDS)
def test_a_command_is_one_of_ours_with_options_that_it_takes(file, line):
    words = shlex.split(line.split(" | ")[0].replace("...", ""), comments=True)[1:]
    group = typer.main.get_command(app)
    context = group.make_context("autopeft", [], resilient_parsing=True)
    name, command, rest = group.resolve_command(context, words)
    while hasattr(command, "resolve_command"):  # `autopeft store check`
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
        name, command, rest = command.resolve_command(context, rest)
    told = {option for word in rest if word.startswith("-") for option in [word.split("=")[0]]}
    takes = {option for parameter in command.params for option in parameter.opts}
    assert told <= takes | {option for p in command.params for option in p.secondary_opts}
    if rest:  # `autopeft resume` in a sentence is not whole
        command.make_context(name, list(rest), parent=context)


def documents():
    """Each YAML, alone; lines that begin alike are alternatives."""
    for name, block in blocks("yaml"):
        try:
            yield name, dict(YAML(typ="safe").load(block))
        except DuplicateKeyError:
            for line in block.splitlines():
                yield name, dict(YAML(typ="safe").load(line))


def whole(name, document):
    """What a fragment is read as a part of."""
    language = document.get("model", {}).get("task_type") == "CAUSAL_LM"
    if name == "language-models.md" or language:
        base = ROOT / "search_spaces" / "sft_lora.yaml"
    elif name == "own-training-code.md":
        base = next(block for _, block in blocks("yaml") if "\nevaluator:" in block)
    else:
        base = next(block for file, block in blocks("yaml") if file == "README.md")
    return dict(YAML(typ="safe").load(base))


DOCUMENTS = list(documents())


@pytest.mark.parametrize(("file", "document"), DOCUMENTS)
def test_a_yaml_is_a_space_file_or_a_part_of_one(file, document, tmp_path):
    (tmp_path / "evaluate_sft.py").touch()
    parse(
        document if "autopeft" in document else whole(file, document) | document,
        folder=str(tmp_path),
    )


def test_there_is_something_to_test():
    assert len(COMMANDS) > 20
    assert len(DOCUMENTS) > 8
