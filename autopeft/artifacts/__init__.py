"""Checkpoints and adapters of all studies in one place, which AUTOPEFT_ARTIFACTS names.

    <url>/<study>/study.json                          whose the files are
    <url>/<study>/checkpoints/trial-<n>/rung-<m>/     paused trials
    <url>/<study>/adapters/trial-<n>/                 completed trials of front and baselines

Any URL that fsspec reads: s3://, gs://, abfs://, sftp://, file://, ... Without the variable nothing
here is used: a study's files lie in its folder (`autopeft.home`), which its workers then share.
A worker writes to a scratch folder of its own and uploads before it tells its result, so what is
told has its files. fsspec is imported here alone.
"""

from autopeft.artifacts.address import artifacts_url, in_one_process
from autopeft.artifacts.manifest import DamagedError, Manifest
from autopeft.artifacts.place import Artifacts
from autopeft.artifacts.scratch import sweep
from autopeft.artifacts.worker import DistantEvaluator

__all__ = [
    "Artifacts",
    "DamagedError",
    "DistantEvaluator",
    "Manifest",
    "artifacts_url",
    "in_one_process",
    "sweep",
]
