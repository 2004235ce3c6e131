"""Ray for one search: an existing cluster where RAY_ADDRESS names one, else a local one.

Imported by `ray_tune` alone, which sets what Ray reads from its environment first.
"""

import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import ray

from autopeft.domain.errors import StudyError
from autopeft.domain.study import Resources

_OBJECT_STORE_BYTES = 128 * 2**20  # a spec and results travel; the default is 30 % of the memory
_CONNECT_S = 5

log = logging.getLogger("autopeft")


@contextmanager
def cluster(parallel: int, resources: Resources, files: Path | None = None) -> Iterator[None]:
    """Ray for `parallel` workers at once; one that the caller initialised is used as it is.

    files: a folder that Ray copies to every node, for workers to start in.

    Raises:
        StudyError: see `check_address` and `check_gpus`; the cluster refuses the connection.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    options = _options(resources)
    if files is not None:
        options["runtime_env"]["working_dir"] = str(files)
        os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"  # a job came with a folder of its own
    if address:
        check_address(address)
    else:
        # "local": never a cluster that somebody else left running on this machine.
        options |= {
            "address": "local",
            "num_cpus": max(1, math.ceil(parallel * resources.cpus_per_trial)),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
        make_token()
    with _own_sigterm(), _refused(address):
        ray.init(**options)
    try:
        check_gpus(resources, here=not address)
        check_memory(resources, here=not address)
        yield
    finally:
        ray.shutdown()


def make_token() -> None:
    """The token of this user's clusters, where there is none yet.

    Ray would make it as well. Of two searches that begin at once on a new machine both would then
    write one, and the first would lose its workers: here one of them wins.
    """
    if {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        return
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        return
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=token.parent) as whole:  # nobody else can read it
            whole.write(secrets.token_hex(32))
            whole.flush()
            with suppress(FileExistsError):  # the other one was quicker
                os.link(whole.name, token)
    except OSError as error:
        log.warning("no token was made in %s, Ray will say what it needs: %s", token.parent, error)


@contextmanager
def _refused(address: str | None) -> Iterator[None]:
    """Ray's own error is three tracebacks; what the user can do is in the innermost.

    Raises:
        StudyError: the cluster at `address` refuses the connection, or a local one did not start.
    """
    try:
        yield
    except Exception as error:  # of a process that did not start in time Ray's is a plain one
        if address is None:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise StudyError(
                f"Ray did not start on this machine ({lines[0]}): try again when it is less busy, "
                "or search with --local"
            ) from error
        if not isinstance(error, ConnectionError | ray.exceptions.AuthenticationError):
            raise
        wants = "token" in f"{error} {error.__cause__}".lower()
        raise StudyError(
            f"the cluster at {address} lets nobody in without its token: set RAY_AUTH_MODE=token "
            "and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it"
            if wants
            else f"the cluster at {address} could not be joined ({error}): `ray status --address "
            f"{address}` says what is wrong with it"
        ) from error


@contextmanager
def quiet_tune() -> Iterator[None]:
    """Tune logs a traceback for every worker that it loses; we say that in a line of our own."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _options(resources: Resources) -> dict[str, Any]:
    environment = {
        "OMP_NUM_THREADS": str(max(1, int(resources.cpus_per_trial))),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    return {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": environment},
    }


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Put back the caller's SIGTERM handler: `ray.init` replaces it by one that exits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_address(address: str) -> None:
    """Ray itself tries for minutes, and ends the process.

    Raises:
        StudyError: nothing answers at `host:port`, or it is an address that no search runs through:
            of a job server, or of Ray Client, which would have the driver's threads pickled.
    """
    if address.startswith(("http://", "https://")):
        raise StudyError(
            f"RAY_ADDRESS={address} names a job server, and this command would search from here: "
            "add --submit, or set RAY_ADDRESS=HEAD:6379 where this machine is a node of the cluster"
        )
    if address.startswith("ray://"):
        raise StudyError(
            f"RAY_ADDRESS={address} is Ray Client's, through which no search runs: hand it over by "
            "--submit with RAY_ADDRESS=http://HEAD:8265, or set RAY_ADDRESS=HEAD:6379 where this "
            "machine is a node of the cluster"
        )
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return  # `auto` and the like: Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except OSError as error:
        raise StudyError(
            f"RAY_ADDRESS names no cluster that answers, got {address} ({error}): "
            "start it, or unset RAY_ADDRESS for a local one"
        ) from error


def check_gpus(resources: Resources, *, here: bool) -> None:
    """A trial that can never start would wait for ever, without a word.

    here: whether the cluster is this machine, which gets no other GPU.

    Raises:
        StudyError: a trial needs more GPUs than this machine has.
    """
    has, needs = ray.cluster_resources().get("GPU", 0), resources.gpus_per_trial
    if has < needs and here:
        raise StudyError(
            f"resources.gpus_per_trial needs {needs:g}, this machine has {has:g}: lower it, "
            "or name a cluster by RAY_ADDRESS"
        )
    if has < needs:
        log.warning("trials need %g GPUs, the cluster has %g: they wait for a node", needs, has)
    if has and not needs and here:
        log.warning("resources.gpus_per_trial is 0: trials leave the GPU of this machine unused")


def check_memory(resources: Resources, *, here: bool) -> None:
    """As `check_gpus`, of the memory of a node, which a trial has to fit.

    Raises:
        StudyError: a trial needs more than this machine gives to trials.
    """
    needs = resources.memory_gib_per_trial
    has = max((node.get("memory", 0) / 2**30 for node in node_resources()), default=0.0)
    if has < needs and here:
        raise StudyError(
            f"resources.memory_gib_per_trial needs {needs:g}, this machine gives trials {has:.3g}: "
            "lower it, or name a cluster by RAY_ADDRESS"
        )
    if has < needs:
        log.warning("trials need %g GiB, no node has more than %.3g: they wait", needs, has)


def needed(resources: Resources) -> dict[str, float]:
    """What Ray sets aside for a trial, by its names."""
    needs = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
    if resources.memory_gib_per_trial:
        needs["memory"] = int(resources.memory_gib_per_trial * 2**30)
    return needs


def node_resources() -> list[dict[str, float]]:
    """What each node that is there has, by Ray's names."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def cluster_name() -> str:
    """The id of the cluster's first node, which is the cluster's for as long as it lives."""
    heads = [n for n in ray.nodes() if n["Alive"] and "node:__internal_head__" in n["Resources"]]
    return str(heads[0]["NodeID"]) if heads else ray.get_runtime_context().gcs_address
