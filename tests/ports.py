"""The ports of the servers that tests start."""

import random
import socket
from contextlib import suppress

# Above those of Ray's workers, below those that Linux gives to clients: between a test's finding
# one and its server's taking it, another test's connection cannot.
PORTS = range(20000, 32768)


def free_port() -> int:
    """One that nobody listens at, of 127.0.0.1."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise OSError("of 100 ports, none is free")
