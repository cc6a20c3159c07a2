"""Workers in namespaces of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from humanloop.server.evaluation import bubblewrap
from humanloop.server.evaluation.engine import Engine, EngineUnavailable, Failure
from humanloop.server.evaluation.engines import open_engine

from .processes import ON_LINUX, wait_for_end, workers

GOOD = "def f(log): return len(log['output'])"
LOG = {"output": "four"}


def works() -> bool:
    """Tell whether bubblewrap is here and may make namespaces."""
    if shutil.which("bwrap") is None:
        return False
    command = [*bubblewrap.command(shutil.which("true") or "/bin/true")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


WORKS = pytest.mark.skipif(not works(), reason="bubblewrap is not installed or may not run here")


@pytest.fixture
def wrapped() -> Iterator[Engine]:
    engine = open_engine(sandbox="bwrap")
    yield engine
    engine.close()


@WORKS
def test_evaluators_run_as_without_it(wrapped: Engine) -> None:
    assert wrapped.check(GOOD) == []
    assert wrapped.run(GOOD, LOG) == 4
    endless = wrapped.run("def f(log):\n    while True:\n        pass", LOG)
    assert endless == Failure("TimeoutError: the evaluator takes longer than 1 s")
    large = wrapped.run("def f(log): return len([0] * 10**9)", LOG)
    assert isinstance(large, Failure)
    assert "MemoryError" in large.text


@WORKS
@ON_LINUX
def test_a_worker_that_is_killed_takes_all_of_its_processes_along(wrapped: Engine) -> None:
    before = workers()
    wrapped.run(GOOD, LOG)
    [shell] = workers() - before
    [monitor] = workers(shell)
    [inside] = workers(monitor)
    os.kill(shell, signal.SIGKILL)
    for pid in (shell, monitor, inside):
        wait_for_end(pid)
    assert wrapped.run(GOOD, LOG) == 4
    [shell] = workers() - before
    [monitor] = workers(shell)
    wrapped.close()
    for pid in (shell, monitor):
        wait_for_end(pid)


@WORKS
def test_a_program_sees_no_files_no_network_and_no_processes() -> None:
    shell = os.path.realpath("/bin/sh")
    look = (
        'for each in /*; do echo "$each"; done;'
        " for each in /proc/[0-9]*; do echo process; done;"
        " while read -r line; do echo network; done < /proc/net/route; echo > /new"
    )
    result = subprocess.run(
        [*bubblewrap.command(shell), "-c", look], capture_output=True, text=True, check=False
    )
    seen = result.stdout.split()
    assert {*seen} <= {"/dev", "/proc", "/lib", "/lib64", "/usr", "/worker", "process", "network"}
    assert seen.count("process") <= 2  # bubblewrap's own and the program
    assert seen.count("network") <= 1  # the head of the table
    assert "Read-only file system" in result.stderr


def test_the_command_shares_nothing() -> None:
    command = [*bubblewrap.command("/opt/monty")]
    assert command[0] == "bwrap"
    assert {"--unshare-all", "--die-with-parent", "--new-session", "--clearenv"} < {*command}
    assert command[command.index("/opt/monty") - 1] == "--ro-bind"
    assert not {"--bind", "--share-net", "--dev-bind"} & {*command}


def test_it_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineUnavailable, match="bubblewrap is not installed"):
        open_engine(sandbox="bwrap")
