"""Ctrl-C once, twice, and what is said."""

import signal
import threading

import pytest
import typer

from autopeft.commands.stopping import says_how_to_go_on, stops


def test_the_first_one_asks_to_stop_and_the_second_interrupts():
    stop, heard = threading.Event(), []
    before = signal.getsignal(signal.SIGINT)
    with stops(stop, lambda: heard.append(1)) as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        assert interrupted()
        assert heard == [1]
        signal.raise_signal(signal.SIGTERM)  # who asks politely twice still waits
        assert heard == [1]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interruption_says_how_to_go_on(capsys):
    with pytest.raises(typer.Exit) as end, says_how_to_go_on("autopeft resume mine"):
        raise KeyboardInterrupt
    assert end.value.exit_code == 130
    assert "Go on with: autopeft resume mine" in capsys.readouterr().err
