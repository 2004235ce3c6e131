"""An evaluator of the user's own that writes down what it returns, and misbehaves when it is told to.

Copied beside the space file of a run. What it writes stays out of the store, and is compared with
it: `begun`, `ordered` and `worked`, a JSON line each. An order is a file in `orders`: whichever
trial comes first takes it.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
EPOCHS = 3


def note(name, *row):
    descriptor = os.open(HERE / name, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, (json.dumps(row) + "\n").encode())
    os.fsync(descriptor)
    os.close(descriptor)


def score(x, y, epoch):
    """What a trial of these parameters measures, and nothing else does."""
    return math.exp(-((x - 0.3) ** 2) - epoch / 10) + math.sin(17 * y) / 10


def evaluate(configuration, context):
    rung = int(context.checkpoint.name.partition("-")[2])
    trial = int(context.checkpoint.parent.name.partition("-")[2])
    note("begun", trial, rung, os.getpid())
    order = taken()
    if order is not None:
        note("ordered", trial, rung, order["id"], order["what"])
        answer = ORDERS[order["what"]](context)
        if answer is not None:
            return answer
    x, y = configuration.parameters["x"], configuration.parameters["y"]
    epoch = 0
    if context.resume_from is not None:
        kept = json.loads((context.resume_from / "state.json").read_text())
        assert kept["x"] == x, "the checkpoint of another trial"
        epoch = kept["epoch"]
    while epoch < EPOCHS:
        time.sleep(context.options["seconds"] / EPOCHS)
        epoch += 1
        context.report(epoch, {"score": score(x, y, epoch)})
        if context.should_pause(epoch=epoch):
            break
    state = {"x": x, "epoch": epoch, "weights": "0" * 65536}
    (context.checkpoint / "state.json").write_text(json.dumps(state))
    nonce = int.from_bytes(os.urandom(4), "big")
    found = {"score": score(x, y, epoch), "size": abs(x) + y, "epoch": epoch, "nonce": nonce}
    note("worked", trial, rung, nonce, found["score"])
    return found


def taken():
    """The oldest order, which is then nobody else's."""
    for path in sorted((HERE / "orders").glob("*.json")):
        try:
            path.rename(path.with_suffix(".taken"))
        except FileNotFoundError:  # another trial was quicker
            continue
        return json.loads(path.with_suffix(".taken").read_text())
    return None


# -- what a trial does wrong; an answer that is not None is what it returns --------------------


def hang(context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note("children", child.pid)
    while True:
        try:
            time.sleep(600)
        except Exception:
            continue


def memory(context):
    """A real limit: of this process's address space."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
    try:
        return {"score": len(bytearray(2**30)), "size": 0, "nonce": 0}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def killed_for_memory(context):
    """A real limit: of a cgroup, where the kernel kills who goes over it."""
    group = Path("/sys/fs/cgroup/memory") / f"autopeft-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(2**28))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    (HERE / "cgroups").mkdir(exist_ok=True)
    (HERE / "cgroups" / group.name).touch()
    held = []
    while True:
        held.append(bytearray(os.urandom(2**20)) * 16)


def exits(context):
    raise SystemExit(3)


def dies(context):
    os._exit(7)


def nan(context):
    return {"score": math.nan, "size": 1.0, "nonce": 0}


def raises_bytes(context):
    raise RuntimeError(b"\xff\x00".decode(errors="surrogateescape") * 50)


def raises_much(context):
    raise RuntimeError("no end of it " * 2_000_000)


def returns_object(context):
    return object()


def returns_text(context):
    return {"score": "a lot", "size": [1], "nonce": None}


def returns_nothing(context):
    return {}


def much_beside(context):
    """100,000 further metrics and a curve of 100,000 points."""
    for step in range(100_000):
        context.report(step, {"loss": 1.0 / (step + 1)})
    return {
        "score": 0.0,
        "size": 99.0,
        "nonce": _noted(context, 0.0),
        **{f"junk {i}": i for i in range(100_000)},
    }


def odd_curve(context):
    context.report(1, {"loss": math.nan, "x" * 5000: 1.0, "\x00<b>": math.inf, "a": "text"})


def litters(context):
    """Junk in its own folder, deep and oddly named; then a trial as any other."""
    junk = context.checkpoint / "a\nb" / "\udcff" / ("c" * 200)
    junk.mkdir(parents=True)
    (junk / "file").write_bytes(os.urandom(4096))
    (context.checkpoint / "state.json").symlink_to("/nowhere/at/all")
    (context.checkpoint / "state.json").unlink()


def babbles(context):
    """Garbage on both streams, as bytes, past Python's own."""
    for stream in (1, 2):
        os.write(stream, os.urandom(65536))
    print("\x1b[2J\udcff", file=sys.stdout, end="") if sys.stdout.errors != "strict" else None


def gigabyte(context):
    line = b"x" * 1023 + b"\n"
    for _ in range(1024):
        os.write(1, line * 1024)


def _noted(context, told):
    rung = int(context.checkpoint.name.partition("-")[2])
    trial = int(context.checkpoint.parent.name.partition("-")[2])
    nonce = int.from_bytes(os.urandom(4), "big")
    note("worked", trial, rung, nonce, told)
    return nonce


ORDERS = {
    f.__name__: f
    for f in (
        hang,
        memory,
        killed_for_memory,
        exits,
        dies,
        nan,
        raises_bytes,
        raises_much,
        returns_object,
        returns_text,
        returns_nothing,
        much_beside,
        odd_curve,
        litters,
        babbles,
        gigabyte,
    )
}
