"""Programs that are run as processes, with `client` and `LOG`, in the tests of the spool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from subprocesses import environment

from humanloop import Flushed

from .conftest import KEY, Place
from .killing import WARNINGS

BEGIN = """
import os, sys, threading, time
from humanloop import Humanloop
host, key, spool = sys.argv[1:]
client = Humanloop(key, host, spool=spool)
LOG = {"project": "p", "config": {"model": "m"}}
"""
SECONDS = 100
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def program(
    place: Place, code: str, *flags: str, begin: str = BEGIN
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return the result; one that hangs says where."""
    with subprocess.Popen(
        [sys.executable, *flags, "-c", begin + code, place.host, KEY, str(place.spool)],
        env=environment(PYTHONWARNINGS=WARNINGS, PYTHONFAULTHANDLER="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            out, err = running.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)  # it writes the stacks of its threads
            out, err = running.communicate()
            pytest.fail(f"the program did not end within {SECONDS} seconds:\n{out}\n{err}")
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def begun(place: Place, code: str) -> subprocess.Popen[str]:
    """Start a program, which can be talked to."""
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code, place.host, KEY, str(place.spool)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def flushed(place: Place) -> Flushed:
    """Send the logs that other processes left, with a new client."""
    return place.client().flush()


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for a condition that has no event."""
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)
