"""What leaves as text: no secret of the environment, and nothing that a terminal obeys."""

import io
import logging
import sys

import pytest
from rich.table import Table
from rich.text import Text

from autopeft import cli
from autopeft.hygiene import public_url, redacted, redacted_tree, secrets_of, visible
from autopeft.terminal import PlainConsole


@pytest.fixture(autouse=True)
def planted(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "abcdefgh-token")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AUTOPEFT_STORE", "postgresql://me:p%40ssword1@host/db")
    (tmp_path / "ray").write_text("a-token-in-a-file\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "ray"))


def test_values_of_variables_files_and_urls_are_named_in_their_place():
    text = "abcdefgh-token wJalrXUtnFEMI/K7MDENG p%40ssword1 p@ssword1 a-token-in-a-file"
    assert redacted(text) == (
        "***HF_TOKEN*** ***AWS_SECRET_ACCESS_KEY*** ***AUTOPEFT_STORE*** ***AUTOPEFT_STORE*** "
        "***RAY_AUTH_TOKEN***"
    )
    assert redacted_tree({"a": ["abcdefgh-token", 1, None]}) == {"a": ["***HF_TOKEN***", 1, None]}


def test_a_token_that_is_made_after_the_first_look_is_one_as_well(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "later"))
        assert redacted("of-later") == "of-later"
        (tmp_path / "later").write_text("of-later\n")
        assert redacted("of-later") == "***RAY_AUTH_TOKEN***"


def test_secrets_of_nobody_s_environment_are_known_by_their_form():
    assert redacted("https://u:pw@host/x?a=1&password=xy") == (
        "https://u:***@host/x?a=1&password=***"
    )
    assert redacted("token hf_" + "a" * 30) == "token ***"
    assert public_url("postgresql://host/db") == "postgresql://host/db"


def test_what_is_no_secret_stays():
    kept = {"RAY_AUTH_MODE": "token-mode", "TOKENIZERS_PARALLELISM": "falsefalse"}
    kept |= {"SSH_AUTH_SOCK": "/tmp/agent", "API_KEY": "short", "PATH": "/usr/bin"}
    kept |= {"RAY_AUTH_TOKEN_PATH": "/nowhere", "HF_TOKEN_PATH": "/nowhere"}
    assert secrets_of(kept) == {}
    assert redacted("a/b.py:3: KeyError: 'r'") == "a/b.py:3: KeyError: 'r'"


def test_a_terminal_is_shown_escapes_and_does_not_obey_them():
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202ered\r[bold]x[/bold] [link=http://x]y[/link]"
    assert visible(evil) == "]0;owned[2J31mred[bold]x[/bold] [link=http://x]y[/link]"
    assert visible("two\n\tlines é 漢") == "two\n\tlines é 漢"
    table = Table()
    table.add_column("x")
    table.add_row(Text(evil, style="red"))
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, color_system="standard", width=200).print(table)
    shown = out.getvalue()
    assert "[link=http://x]y[/link]" in shown
    assert "\x1b[31m" in shown, "our own red"
    for obeyed in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e", "\r"):
        assert obeyed not in shown


def test_errors_and_log_lines_are_as_clean(monkeypatch, capsys):
    def fail(**_):
        logging.getLogger("autopeft").warning("lost: \x1b[2J%s", "abcdefgh-token")
        raise cli.AutopeftError("refused: \x1b[2Jabcdefgh-token")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert said == "lost: [2J***HF_TOKEN***\nerror: refused: [2J***HF_TOKEN***\n"


def test_a_library_with_a_handler_of_its_own_writes_every_line_once(monkeypatch, capsys):
    library = logging.getLogger("chatty_library")

    def chat(**_):
        library.addHandler(logging.StreamHandler(sys.stderr))  # on import, as the hub's client does
        for line in ("retrying", "retrying with abcdefgh-token", "gave up"):
            logging.getLogger("chatty_library.http").warning(line)
        logging.warning("of nobody")

    monkeypatch.setattr(cli, "app", chat)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    cli.main()
    said = capsys.readouterr().err
    assert said == "retrying\nretrying with ***HF_TOKEN***\ngave up\nof nobody\n"
    assert not library.handlers


def test_a_library_whose_handler_writes_nothing_loses_no_line(monkeypatch, capsys):
    silent, strict = (logging.getLogger(name) for name in ("silent_library", "strict_library"))

    def chat(**_):
        silent.addHandler(
            logging.NullHandler()
        )  # what logging's own documentation asks of libraries
        strict.addHandler(logging.StreamHandler(sys.stderr))
        strict.handlers[0].setLevel(logging.ERROR)
        silent.warning("a pool is full")
        strict.warning("a file is old")

    monkeypatch.setattr(cli, "app", chat)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    cli.main()
    assert capsys.readouterr().err == "a pool is full\na file is old\n"
