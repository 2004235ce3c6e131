"""What keeping checkpoints away costs a rung: upload, download, and where the copy is here already.

    PYTHONPATH=.:tests python benchmarks/service/artifacts.py [MIB ...]

A checkpoint is seven files, as `training.pausing` writes them: two tensors of half the size each and
five small ones. To a folder, and to an S3 server on this machine (moto: one Python process, so its
throughput is no S3's; what it shows is the fixed cost of the requests). Medians of five. Then the
server goes away: for 12 s while something is uploaded, and for good.
"""

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import s3fs
from s3 import s3_server

from autopeft.artifacts import Artifacts, Manifest, artifacts_url
from autopeft.domain.errors import ArtifactError

REPEATS = 5
KEY = "study/checkpoints/trial-{}/rung-0"


def checkpoint(folder: Path, mib: float) -> Path:
    folder.mkdir()
    for name in ("trainable.safetensors", "optimizer.pt"):
        (folder / name).write_bytes(os.urandom(int(mib * 2**19)))
    for name in ("pause.json", "scheduler.pt", "rng_state.pth", "scaler.pt", "trainer_state.json"):
        (folder / name).write_bytes(os.urandom(3000))
    return folder


def seconds(act) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measure(place: Artifacts, made: Path, to: Path) -> list[float]:
    place.put(made, KEY.format("warm"))  # the client connects
    rows = []
    for trial in range(REPEATS):
        key = KEY.format(trial)
        rows.append(
            (
                seconds(lambda: Manifest.of(made)),
                seconds(lambda k=key: place.put(made, k)),
                seconds(lambda k=key: place.get(k, to)),
                seconds(lambda k=key: place.manifest(k)),
            )
        )
        place.forget(key)
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def outages(made: Path) -> tuple[float, float]:
    """Seconds of an upload over 12 s without the server, and until one is given up."""
    with s3_server() as variables:
        os.environ.update(variables)
        port = int(variables["AWS_ENDPOINT_URL"].rpartition(":")[2])
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        place = Artifacts("s3://bucket/x")
        place.put(made, KEY.format(0))
    ended = threading.Event()

    def come_back() -> None:
        time.sleep(12)
        with s3_server(port):
            s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
            ended.wait()

    away = threading.Thread(target=come_back)
    away.start()
    survived = seconds(lambda: place.put(made, KEY.format(1)))
    ended.set()
    away.join()
    began = time.perf_counter()
    with suppress(ArtifactError):
        place.put(made, KEY.format(2))
    return survived, time.perf_counter() - began


def main() -> None:
    sizes = [float(mib) for mib in sys.argv[1:]] or [1.0, 30.0, 300.0]
    print("| place | MiB | of it SHA-256, s | upload, s | download, s | already here, s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, s3_server() as variables:
        os.environ.update(variables)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        for mib in sizes:
            made = checkpoint(Path(scratch) / "made", mib)
            for url in (f"{scratch}/nfs", "s3://bucket/x"):
                found = measure(Artifacts(artifacts_url(url)), made, Path(scratch) / "got")
                where = "S3 (moto)" if url.startswith("s3") else "folder"
                cells = " | ".join(f"{value:.3f}" for value in found)
                print(f"| {where} | {mib:g} | {cells} |", flush=True)
            shutil.rmtree(made)
    with tempfile.TemporaryDirectory() as scratch:
        survived, given_up = outages(checkpoint(Path(scratch) / "made", 1))
    print(
        f"uploaded in {survived:.1f} s with the server away for 12 s; given up after {given_up:.0f} s"
    )


if __name__ == "__main__":
    main()
