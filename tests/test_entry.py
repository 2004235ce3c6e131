"""The way back into a study by a space file that lies elsewhere now."""

import os
import threading

from fakes import MemoryStore
from own_code import parsed, write

from autopeft import entry
from autopeft.orchestrator.lease import Lease


def test_a_study_goes_on_with_the_files_it_was_last_searched_with(tmp_path):
    store, specs = MemoryStore(), []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
        specs.append(parsed(tmp_path / name))
    entry.enter(specs[0], store)
    store.remember("free", "began", "yes")
    entry.enter(specs[1], store)
    assert store.study("free").folder == str(tmp_path / "b")
    with Lease(store, "free", threading.Event()).hold():  # whose driver reads its files there
        entry.enter(specs[0], store)
    assert store.study("free").folder == str(tmp_path / "b")
    assert os.path.isabs(specs[0].folder)
