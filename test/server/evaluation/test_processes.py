"""The worker processes: started with the first use, replaced, shared, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from humanloop.server.evaluation.engine import Engine, EngineUnavailable, Failure, Limits
from humanloop.server.evaluation.engines import open_engine

from .processes import ON_LINUX, wait_for_end, workers

GOOD = "def f(log): return len(log['output'])"
LOG = {"output": "four"}
ENDLESS = "def f(log):\n    while True:\n        pass"
DIED = Failure("the process of the sandbox died")


@pytest.fixture
def own() -> Iterator[Engine]:
    """An engine of the test's own, with two workers."""
    engine = open_engine(Limits(workers=2))
    yield engine
    engine.close()


@ON_LINUX
def test_workers_start_with_the_first_use_and_end_with_the_engine(engine: Engine) -> None:
    engine.run(GOOD, LOG)  # so that only the other's workers change
    before = workers()
    own = open_engine()
    assert workers() == before
    assert own.run(GOOD, LOG) == 4
    started = workers() - before
    assert started
    own.close()
    own.close()
    for pid in started:
        wait_for_end(pid)
    with pytest.raises(EngineUnavailable, match="stopping"):
        own.run(GOOD, LOG)
    with pytest.raises(EngineUnavailable, match="stopping"):
        own.check(GOOD)
    open_engine().close()  # never used


@ON_LINUX
def test_a_killed_worker_is_replaced(own: Engine) -> None:
    before = workers()
    assert own.run(GOOD, LOG) == 4
    for _ in range(3):
        [idle] = workers() - before
        os.kill(idle, signal.SIGKILL)
        wait_for_end(idle)
        assert own.run(GOOD, LOG) == 4


@ON_LINUX
def test_who_runs_in_a_worker_that_is_killed_gets_a_failure(own: Engine) -> None:
    before = workers()
    own.run(GOOD, LOG)
    [worker] = workers() - before
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(own.run, ENDLESS, LOG)
        # The evaluator's time runs only while it executes.
        while _executed(worker) < 0.05:
            assert not running.done()
        os.kill(worker, signal.SIGKILL)
        assert running.result() == DIED
    assert own.run(GOOD, LOG) == 4


def _executed(pid: int) -> float:
    """Return how many seconds a process has run."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def test_fifty_at_once_are_all_answered(engine: Engine) -> None:
    with ThreadPoolExecutor(50) as threads:
        sources = [f"def f(log): return {number} + len(log['output'])" for number in range(50)]
        scores = threads.map(lambda source: engine.run(source, LOG), sources)
        assert list(scores) == [number + 4 for number in range(50)]


def test_none_holds_up_another_longer_than_its_limits(own: Engine) -> None:
    """Six endless ones in two workers take three seconds; all others are answered meanwhile."""
    started = time.monotonic()
    with ThreadPoolExecutor(50) as threads:
        endless = [threads.submit(own.run, ENDLESS, LOG) for _ in range(6)]
        good = [threads.submit(own.run, GOOD, LOG) for _ in range(44)]
        assert {future.result() for future in good} == {4}
        texts = {str(future.result()) for future in endless}
    assert texts == {str(Failure("TimeoutError: the evaluator takes longer than 1 s"))}
    assert time.monotonic() - started < 40


def test_a_check_waits_for_no_run(own: Engine) -> None:
    own.check(GOOD)
    with ThreadPoolExecutor(6) as threads:
        endless = [threads.submit(own.run, ENDLESS, LOG) for _ in range(6)]
        answered = 0
        while not endless[0].done():
            assert own.check(GOOD) == []
            answered += 1
    assert answered > len(endless)  # so no call waited for a whole run


def test_closing_waits_for_what_runs_and_refuses_what_waits() -> None:
    engine = open_engine(Limits(workers=1))
    engine.run(GOOD, LOG)
    began = threading.Barrier(3)

    def run() -> object:
        began.wait()
        try:
            return engine.run(ENDLESS, LOG)
        except EngineUnavailable as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        outcomes = [threads.submit(run) for _ in range(2)]
        began.wait()
        while not any(future.running() for future in outcomes):
            pass
        engine.close()
        results = [future.result() for future in outcomes]
    assert any(isinstance(result, EngineUnavailable) for result in results)
    assert {type(result) for result in results} <= {Failure, EngineUnavailable}


@ON_LINUX
def test_nothing_is_left_of_a_server_that_is_killed() -> None:
    program = (
        "import threading\n"
        "from humanloop.server.evaluation.engines import open_engine\n"
        "engine = open_engine()\n"
        f"engine.run({GOOD!r}, {LOG!r})\n"
        "print(flush=True)\n"
        f"threading.Thread(target=engine.run, args=({ENDLESS!r}, {{}})).start()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        pids = workers(server.pid)
        server.kill()
    assert pids
    for pid in pids:
        wait_for_end(pid)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@ON_LINUX
def test_a_fork_is_told_and_harms_nothing(own: Engine) -> None:
    assert own.run(GOOD, LOG) == 4
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own.run(GOOD, LOG)
        except EngineUnavailable as error:
            code = 0 if "forked" in str(error) else 2
        finally:
            own.close()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert own.run(GOOD, LOG) == 4


@ON_LINUX
def test_a_worker_that_dies_at_once_is_replaced_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The worker is killed at the only place between two runs where that is possible."""
    monty = shutil.which("monty", path=sysconfig.get_path("scripts"))
    program = tmp_path / "monty"
    program.write_text(f'#!/bin/sh\nmkdir {tmp_path}/once && exit 3\nexec {monty} "$@"\n')
    program.chmod(0o700)
    monkeypatch.setenv("MONTY_BIN", str(program))
    engine = open_engine(Limits(workers=1))
    assert engine.run(GOOD, LOG) == 4
    engine.close()
    program.write_text("#!/bin/sh\nexit 3\n")
    engine = open_engine(Limits(workers=1))
    with pytest.raises(EngineUnavailable, match="no sandbox could be started"):
        engine.run(GOOD, LOG)
    engine.close()


def test_a_program_that_can_t_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    engine = open_engine()
    with pytest.raises(EngineUnavailable, match=r"can't be started: .*nowhere"):
        engine.run(GOOD, LOG)
    monkeypatch.delenv("MONTY_BIN")
    assert engine.run(GOOD, LOG) == 4  # it is tried again
    engine.close()


def test_without_the_extra_it_is_told_how_to_install_it() -> None:
    program = (
        "import sys\n"
        "sys.modules['pydantic_monty'] = None\n"
        "from humanloop.server.evaluation.engines import open_engine\n"
        "from humanloop.server.evaluation.engine import EngineNotInstalled\n"
        "engine = open_engine()\n"
        "for call in (lambda: engine.check('x'), lambda: engine.run('x', {})):\n"
        "    try:\n"
        "        call()\n"
        "    except EngineNotInstalled as error:\n"
        "        print(error)\n"
        "engine.close()\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert printed.count("install the extra `evaluators`: pip install '.[evaluators]'") == 2
