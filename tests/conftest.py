"""What holds for all tests."""

import gc
import os

import pytest

# Read when the hub's client is imported; without it, a name that is nowhere is looked up for 20 s.
os.environ["HF_HUB_OFFLINE"] = "1"

_TRAINING = ("allocation", "end_to_end", "export", "training")


@pytest.fixture(scope="module", autouse=True)
def _imports_out_of_the_way_of_the_collector(request):
    """A trial collects garbage before it measures memory: half a second with all that is loaded."""
    trains = request.path.parent.name in _TRAINING
    if trains:
        gc.collect()
        gc.freeze()
    yield
    if trains:
        gc.unfreeze()
