"""Segments and results as plain data: what travels between the driver and the workers."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from autopeft.domain.architecture import Configuration
from autopeft.domain.trial import Failure, FailureReason, Result, Segment, Stop
from autopeft.hygiene import redacted, redacted_tree


def segment_out(segment: Segment) -> dict[str, Any]:
    return {
        "study": segment.study,
        "trial": segment.trial,
        "configuration": segment.configuration.document(),
        "seed": segment.seed,
        "rung": segment.rung,
        "stop": asdict(segment.stop),
        "resume": segment.resume,
        "last": segment.last,
        "test": segment.test,
        "seconds": segment.seconds,
    }


def segment_in(data: Mapping[str, Any]) -> Segment:
    return Segment(
        study=data["study"],
        trial=data["trial"],
        configuration=Configuration.from_document(data["configuration"]),
        seed=data["seed"],
        rung=data["rung"],
        stop=Stop(**data["stop"]),
        resume=data["resume"],
        last=data["last"],
        test=data["test"],
        seconds=data["seconds"],
    )


def without_secrets(result: Result | Failure) -> Result | Failure:
    """A result whose texts hold no secret of this process's environment."""
    if isinstance(result, Failure):
        message, details = redacted(result.message), redacted(result.details)
        return replace(result, message=message, details=details)
    return replace(result, provenance=redacted_tree(result.provenance))


def result_out(result: Result | Failure) -> dict[str, Any]:
    result = without_secrets(result)
    if isinstance(result, Failure):
        return {"failure": {**asdict(result), "reason": str(result.reason)}}
    return {
        "result": {
            **{name: float(getattr(result, name)) for name in ("seconds", "started", "ended")},
            "step": int(result.step),
            "worker": result.worker,
            "metrics": {name: float(value) for name, value in result.metrics.items()},
            "stderr": {name: float(value) for name, value in result.stderr.items()},
            "test": {name: float(value) for name, value in result.test.items()},
            "test_stderr": {name: float(value) for name, value in result.test_stderr.items()},
            "provenance": dict(result.provenance),
        }
    }


def result_in(data: Mapping[str, Any]) -> Result | Failure:
    if "failure" in data:
        failure = data["failure"]
        return Failure(FailureReason(failure["reason"]), failure["message"], failure["details"])
    return Result(**data["result"])
