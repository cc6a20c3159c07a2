"""Programs with the processes and threads of gevent, celery and multiprocessing."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from subprocesses import environment

from .conftest import KEY, Place
from .killing import WARNINGS
from .programs import flushed, needs_fork, program

needs_gevent = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="needs the extra `pools`"
)
needs_celery = pytest.mark.skipif(
    importlib.util.find_spec("celery") is None, reason="needs the extra `pools`"
)


@needs_gevent
@needs_fork
def test_gevent(place: Place) -> None:
    """Other greenlets run while one waits for a flush; a fork's child logs like other processes."""
    code = """
import gevent.monkey; gevent.monkey.patch_all()
import gevent
from humanloop import Humanloop
host, key, spool = __import__("sys").argv[1:]
client = Humanloop(key, host, spool=spool)
LOG = {"project": "p", "config": {"model": "m"}}
def work():
    for _ in range(10):
        client.log_later(**LOG)
        gevent.sleep(0)
others = []
def count():
    while True:
        others.append(0)
        gevent.sleep(0.001)
gevent.joinall([gevent.spawn(work) for _ in range(20)])
gevent.spawn(count)
print(client.flush(20), len(others) > 1, flush=True)
child = gevent.os.fork()
if child == 0:
    client.log_later(**LOG)
    print(client.flush(20), flush=True)
    gevent.os._exit(0)
print(gevent.os.waitpid(child, 0)[1], flush=True)
client.log_later(**LOG)
"""
    with place.server():
        done = program(place, code, begin="")
        assert (done.returncode, done.stderr) == (0, "")
        lines = ["Flushed(sent=200, left=0) True", "Flushed(sent=1, left=0)", "0"]
        assert done.stdout.splitlines() == lines
        assert len(place.records()) == 202
    assert place.files() == []


CELERY = """
import os, sys
from celery import Celery
from humanloop import Humanloop

host, key, spool, broker = sys.argv[1:5]
folders = {"data_folder_in": broker, "data_folder_out": broker, "control_folder": broker + "-c"}
folders["polling_interval"] = 0.05
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = folders
client = Humanloop(key, host, spool=spool)  # before the pool is forked

@app.task(name="work")
def work(number):
    client.log_later(project="p", config={"model": "m"}, output=str(number))
    if number == 19:
        os._exit(1)  # as one that the system has killed

if sys.argv[5] == "send":
    for number in range(20):
        work.delay(number)
else:
    app.worker_main(
        ["worker", "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle",
         "--without-heartbeat", "--loglevel=ERROR"]
    )
"""


@needs_celery
@needs_fork
def test_celery(place: Place, tmp_path: Path) -> None:
    """Each process of the pool sends its logs; others send the logs of one that dies."""
    broker = tmp_path / "broker"
    broker.mkdir()
    script = tmp_path / "tasks.py"
    script.write_text(CELERY)
    arguments = [sys.executable, str(script), place.host, KEY, str(place.spool), str(broker)]
    variables = environment(C_FORCE_ROOT="1")
    subprocess.run([*arguments, "send"], env=variables, check=True, timeout=60)
    with place.server():
        worker = subprocess.Popen(
            [*arguments, "work"],
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            end, client = time.monotonic() + 60, place.client()
            while len(place.records()) < 20 and time.monotonic() < end:
                client.flush()  # which adopts the dead process's segments
                time.sleep(0.1)
        finally:
            os.killpg(worker.pid, signal.SIGKILL)  # also its pool, which may not end by itself
            worker.wait()
        flushed(place)
        assert sorted(int(each["output"]) for each in place.records()) == [*range(20)]
    assert place.files() == []


@pytest.mark.parametrize(
    "method",
    ["spawn", pytest.param("fork", marks=needs_fork), pytest.param("forkserver", marks=needs_fork)],
)
def test_multiprocessing(place: Place, tmp_path: Path, method: str) -> None:
    """A module's global client: the children use the forked one, or import the module again."""
    script = tmp_path / "program.py"
    script.write_text(f"""
import multiprocessing, sys
from humanloop import Humanloop
client = Humanloop({KEY!r}, {place.host!r}, spool={str(place.spool)!r})

def work(number):
    client.log_later(project="p", config={{"model": "m"}}, output=str(number))
    return number

if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(pool.map(work, range(20)))
""")
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", WARNINGS.partition(",")[0], str(script)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{[*range(20)]}\n", "")
    with place.server():
        assert flushed(place).left == 0
        assert sorted(int(each["output"]) for each in place.records()) == [*range(20)]
    assert place.files() == []
