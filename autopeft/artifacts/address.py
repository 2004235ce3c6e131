"""What AUTOPEFT_ARTIFACTS may say."""

from pathlib import Path
from urllib.parse import urlsplit

from autopeft.domain.errors import ArtifactError

_USERS = ("abfs", "abfss", "sftp", "ssh", "smb", "hdfs", "webhdfs", "ftp")  # user@host is no secret


def artifacts_url(given: str) -> str:
    """The URL as it is kept with a study: with a protocol, an absolute path, no slash at its end.

    fsspec would take `*?[` for a pattern where it deletes.

    Raises:
        ArtifactError: it holds credentials, which would be stored with every study and shown; or it
            is no URL of a place.
    """
    if "://" not in given:
        given = f"file://{Path(given).expanduser().absolute()}"
    protocol, _, rest = given.partition("://")
    try:
        parts = urlsplit(given)
        secret = parts.password is not None or bool(parts.query or parts.fragment)
    except ValueError:
        secret = True
    if secret or ("@" in parts.netloc and protocol not in _USERS):
        raise ArtifactError(
            f"AUTOPEFT_ARTIFACTS takes no credentials or options in the URL, got some in "
            f"{protocol}://***: give them by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, "
            "AWS_ENDPOINT_URL, ...) or in ~/.config/fsspec"
        )
    if "::" in protocol or not rest.strip("/") or any(sign in rest for sign in "*?["):
        raise ArtifactError(
            "AUTOPEFT_ARTIFACTS takes one place, as in s3://bucket/prefix or file:///nfs/autopeft, "
            f"got {given}"
        )
    return given.rstrip("/")


def in_one_process(url: str) -> bool:
    """Whether no other process sees what is kept there."""
    return url.startswith("memory:")
