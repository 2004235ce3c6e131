"""The contract of a place of artifacts, on every kind of backend that can be had here."""

import os
import uuid
from pathlib import Path

import pytest
from s3 import s3_server

from autopeft.artifacts import Artifacts, DamagedError, Manifest, artifacts_url
from autopeft.domain.errors import ArtifactError

KEY = "nlp/rte/checkpoints/trial-3/rung-0"


@pytest.fixture(scope="module")
def bucket():
    """A URL in a bucket of a local S3 server."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch, s3_server() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        yield "s3://bucket/team"


@pytest.fixture(params=["file", "memory", "s3"])
def place(request, tmp_path, bucket) -> Artifacts:
    url = {"file": str(tmp_path / "nfs"), "memory": "memory://autopeft", "s3": bucket}
    return Artifacts(artifacts_url(f"{url[request.param]}/{uuid.uuid4().hex}"))


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "made"
    (made / "checkpoint-3").mkdir(parents=True)
    (made / "weights.bin").write_bytes(os.urandom(50_000))
    (made / "checkpoint-3" / "state.json").write_text("{}")
    (made / "empty").touch()
    return made


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_was_put_is_got_to_the_byte(place, folder, tmp_path):
    there = tmp_path / "got"
    assert place.manifest(KEY) is None
    assert place.get(KEY, there) is None
    put = place.put(folder, KEY)
    assert place.manifest(KEY) == put
    there.mkdir()
    (there / "old").touch()
    assert place.get(KEY, there) == put
    assert contents(there) == contents(folder)
    (folder / "empty").unlink()
    (folder / "weights.bin").write_bytes(b"trained on")
    place.put(folder, KEY)
    place.get(KEY, there)
    assert contents(there) == contents(folder)
    assert {path.name for path in tmp_path.iterdir()} <= {"made", "got", "nfs"}  # no drafts


def test_an_empty_folder_is_there_too(place, tmp_path):
    (tmp_path / "nothing").mkdir()
    place.put(tmp_path / "nothing", KEY)
    assert place.get(KEY, tmp_path / "got") == Manifest({})
    assert (tmp_path / "got").is_dir()


def test_half_an_upload_is_not_there_but_is_listed_and_deleted(place, folder, tmp_path):
    place._fs.pipe_file(f"{place._at(KEY)}/weights.bin", b"half")
    assert place.get(KEY, tmp_path / "got") is None
    assert place.keys("nlp/rte") == {KEY}
    place.forget(KEY)
    assert place.keys("nlp/rte") == frozenset()
    place.forget(KEY)


@pytest.mark.parametrize("damage", ["changed", "missing", "garbage", "escape"])
def test_what_is_not_as_it_was_put_is_refused(place, folder, tmp_path, damage):
    place.put(folder, KEY)
    at = place._at(KEY)
    outside = b'{"files": {"../../escaped": [1, "00"]}}'
    harm = {
        "changed": lambda: place._fs.pipe_file(f"{at}/weights.bin", b"x" * 50_000),
        "missing": lambda: place._fs.rm_file(f"{at}/weights.bin"),
        "garbage": lambda: place._fs.pipe_file(f"{at}/autopeft-manifest.json", b"[1"),
        "escape": lambda: place._fs.pipe_file(f"{at}/autopeft-manifest.json", outside),
    }
    harm[damage]()
    with pytest.raises(DamagedError, match=r"weights.bin|cannot be read|outside its folder"):
        place.get(KEY, tmp_path / "got")
    assert {path.name for path in tmp_path.iterdir()} <= {"made", "nfs"}


def test_only_the_study_s_own_keys_are_listed(place, folder):
    place.claim("nlp/rte", "1")
    for key in (KEY, "nlp/rte/adapters/trial-12", "nlp/rte-2/adapters/trial-1"):
        place.put(folder, key)
    assert place.keys("nlp/rte") == {KEY, "nlp/rte/adapters/trial-12"}
    assert place.keys("nlp") == place.keys("rte") == frozenset()
    place.drop("nlp/rte")
    assert place.keys("nlp/rte") == frozenset()
    assert place.keys("nlp/rte-2") == {"nlp/rte-2/adapters/trial-1"}


def test_a_place_is_one_store_s_alone(place):
    place.claim("rte", "mine")
    place.claim("rte", "mine")
    with pytest.raises(ArtifactError, match="a study of this name in another store"):
        place.claim("rte", "theirs")
    left = place._fs.find(place._at("rte"))
    assert [path.rpartition("/")[2] for path in left] == ["study.json"]  # no probe stays


def test_copies_are_fetched_once_and_never_grow_old(place, folder, tmp_path):
    key = "rte/adapters/trial-3"
    assert place.cached(key, tmp_path) is None
    place.put(folder, key)
    first = place.cached(key, tmp_path)
    (first / "mark").touch()
    assert place.cached(key, tmp_path) == first
    assert (first / "mark").exists()
    (folder / "weights.bin").write_bytes(b"another study of this name")
    place.put(folder, key)
    assert (place.cached(key, tmp_path) / "weights.bin").read_bytes() != b""
    assert place.cached(key, tmp_path) != first


def test_a_bucket_that_is_not_there_and_a_server_that_is_away_are_said(bucket, monkeypatch):
    with pytest.raises(ArtifactError, match=r"bucket does not exist \(make it"):
        Artifacts("s3://no-such-bucket/x", hasty=True).claim("rte", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        ArtifactError, match="is the network there, and AWS_ENDPOINT_URL right"
    ) as e:
        Artifacts(bucket, hasty=True).claim("rte", "1")
    assert "planted-secret" not in str(e.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="needs to list, read, write and delete"):
        Artifacts(artifacts_url(str(tmp_path / "nfs"))).claim("rte", "1")
