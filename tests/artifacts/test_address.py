"""What AUTOPEFT_ARTIFACTS takes, and what it refuses in one message without the secret."""

import re

import pytest

from autopeft.artifacts import Artifacts, artifacts_url
from autopeft.domain.errors import ArtifactError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/team/", "s3://bucket/team"),
        ("file:///nfs/autopeft", "file:///nfs/autopeft"),
        ("/nfs/autopeft", "file:///nfs/autopeft"),
        ("abfs://container@account.dfs.core.windows.net/x", None),
        ("sftp://user@host/x", None),
    ],
)
def test_an_address_is_kept_whole(given, kept):
    assert artifacts_url(given) == (kept or given)


@pytest.mark.parametrize(
    "given",
    [
        "s3://AKIAXXXX:hush@bucket/x",
        "s3://hush@bucket/x",
        "s3://bucket/x?secret=hush",
        "sftp://user:hush@host/x",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(given):
    with pytest.raises(ArtifactError, match="takes no credentials") as error:
        artifacts_url(given)
    assert "hush" not in str(error.value)
    assert "AWS_ACCESS_KEY_ID" in str(error.value)


@pytest.mark.parametrize("given", ["s3://", "simplecache::s3://bucket/x", "s3://b/[x]"])
def test_what_names_no_one_place_is_refused(given):
    with pytest.raises(ArtifactError, match=f"takes one place.*got {re.escape(given)}"):
        artifacts_url(given)


def test_an_unknown_protocol_and_a_missing_package_are_named():
    with pytest.raises(ArtifactError, match="URL that fsspec reads.*got nope://x"):
        Artifacts("nope://x").claim("rte", "1")
    with pytest.raises(ArtifactError, match="gs://b/x needs a package: .*gcsfs"):
        Artifacts("gs://b/x").claim("rte", "1")
