"""Who searches a study, or did so last: a process somewhere, or a job of a cluster."""

import time
from typing import Any

from autopeft.orchestrator.lease import Driver
from autopeft.terminal import clock


def driver_document(driver: Driver | None) -> dict[str, Any] | None:
    """For `--json`; times in Unix seconds."""
    if driver is None:
        return None
    who = driver.who
    return {
        "searches": driver.now,
        "host": who.host,
        "pid": who.pid,
        "job": who.job or None,
        "since": who.since,
        "heard": driver.heard,
    }


def driver_line(driver: Driver | None) -> str:
    """`Searched by job rte-1f, process 12 on node-3 since ...; heard of 2 s ago.`"""
    if driver is None:
        return ""
    ago = clock(max(0.0, time.time() - driver.heard))
    begins = "Searched" if driver.now else "Last searched"
    return f"{begins} by {driver.who}; heard of {ago} ago."
