"""The worker processes of this process, as the system lists them."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are listed in /proc")


def workers(parent: int | None = None) -> set[int]:
    """Return the process ids of the workers below a process, dead ones left out."""
    found: set[int] = set()
    for listed in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"subprocess" in arguments:
                found.add(child)
    return found


def wait_for_end(pid: int, seconds: float = 20) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        assert ready, f"process {pid} still runs"
    finally:
        os.close(descriptor)
