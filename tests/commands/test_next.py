"""What a search says to do next."""

import pytest

from autopeft.commands.running import _next_commands
from autopeft.home import Home


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://u:secret@mlflow"])
def test_a_server_of_mlflow_is_an_address_to_open(uri, monkeypatch, tmp_path):
    """`mlflow ui --backend-store-uri http://...` is refused by MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    first = _next_commands("s", Home(tmp_path), weights=True)[0]
    assert first.startswith(("http://", "https://"))
    assert "mlflow ui" not in first
    assert "secret" not in first


def test_what_cannot_be_exported_is_not_to_be_exported(tmp_path):
    assert not any(
        " export " in line for line in _next_commands("s", Home(tmp_path), weights=False)
    )
