"""The surrogate's linear algebra on one thread: the same bits on any machine, and the trials' cores
theirs.

The matrices are small: beside other work on the machine, what the surrogate says of 1,000 trials
took 101 s of CPU with a BLAS thread a core, and 2.3 s with one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def on_one_thread() -> Iterator[None]:
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> "ThreadpoolController":
    """Found once: it looks through all libraries of the process."""
    import scipy.linalg  # noqa: F401  # its BLAS is not NumPy's, and is to be found as well
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
