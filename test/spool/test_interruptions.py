"""What interrupts logging: signal handlers, hooks, log handlers, and closed descriptors."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from humanloop import Flushed, SpoolFullError, SpoolOptions
from humanloop.forks import no_fork
from humanloop.http import Request
from humanloop.spool.descriptors import OpenFile, Target

from .conftest import LOG, Place
from .programs import begun, flushed, needs_fork, program, wait_until

needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")

# A program whose signal handler raises, at any moment, while `interrupted()` runs.
RAISE = """
import signal
class Interrupted(Exception):
    pass
armed = False
parent = os.getpid()
def handle(*_):
    if armed and os.getpid() == parent:
        raise Interrupted
signal.signal(signal.SIGALRM, handle)
def interrupted(action, seconds):
    global armed
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        armed = True
        action()
        armed = False
    except Interrupted:
        armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
import random
chance = random.Random(7)
"""


@needs_timers
def test_a_signal_handler_that_raises_while_one_waits(place: Place) -> None:
    """The thread that sends goes on, whatever the waiting one was doing."""
    code = (
        RAISE
        + """
for number in range(300):
    client.log_later(**LOG)
    interrupted(lambda: client.flush(5), chance.random() * 0.006)
print(client.flush(20).left, client.spool.stats().sent)
"""
    )
    with place.server():
        done = program(place, code)
        assert done.stdout == "0 300\n", done.stderr
        assert len(place.records()) == 300


@needs_timers
def test_a_signal_handler_that_takes_longer_than_a_flush_may(place: Place) -> None:
    code = """
import signal
client.log_later(**LOG)
signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.5))
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(client.flush(0.3).left)
"""
    assert program(place, code).stdout == "1\n"


@needs_timers
@pytest.mark.parametrize("durability", ["process", "interval", "fsync"])
def test_a_signal_handler_that_raises_while_one_logs(place: Place, durability: str) -> None:
    """No record that is in a file is forgotten, also when it was not counted."""
    code = (
        RAISE
        + f"""
from humanloop import SpoolOptions
options = SpoolOptions(spool, max_bytes=400_000, durability={durability!r})
returned = []
def log():
    for _ in range(20):
        returned.append(client.log_later(**LOG, output="x" * 1000))
for number in range(60):
    if number % 20 == 0:
        client = Humanloop(key, host, spool=options)
        clients = [client] if number == 0 else [*clients, client]
        client.log_later(**LOG)
    interrupted(log, chance.random() * 0.004)
    if number % 6 == 0:
        left = client.flush(20).left
        assert left == 0, left
for each in clients:
    assert each.flush(20).left == 0
print(len(returned))
"""
    )
    with place.server():
        done = program(place, code)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 0
        assert flushed(place) == Flushed(0, 0)
        assert len(place.records()) >= int(done.stdout)
    assert place.files(".spool") == []


def test_a_handler_that_raises_amid_a_change_of_files(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptor to which all threads write leads to a file, and nothing else says so."""

    class Interrupted(Exception):
        pass

    lead_to = Target.lead_to

    def interrupted(target: Target, source: OpenFile | None) -> None:
        lead_to(target, source)
        monkeypatch.undo()
        raise Interrupted

    client = place.client()
    with place.server():
        client.log_later(**LOG)
        assert client.flush().left == 0
        monkeypatch.setattr(Target, "lead_to", interrupted)
        with pytest.raises(Interrupted):
            client.log_later(**LOG)
        for number in range(5):
            client.log_later(**LOG, output=str(number))
            assert client.flush().left == 0
        assert {str(number) for number in range(5)} <= {
            each.get("output") for each in place.records()
        }
    assert place.files() == []


@needs_timers
@needs_fork
def test_a_signal_handler_that_raises_when_a_fork_returns(place: Place) -> None:
    """No other thread waits for the lock that a fork takes."""
    code = (
        RAISE
        + """
client.log_later(**LOG)
client.spool.close(0)
ballast = bytearray(50_000_000)
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
for _ in range(60):
    interrupted(fork, 0.0002 + chance.random() * 0.003)
ended = threading.Event()
threading.Thread(target=lambda: (client.log_later(**LOG), ended.set()), daemon=True).start()
print(ended.wait(20), flush=True)
os._exit(0)
"""
    )
    assert program(place, code).stdout == "True\n"


@needs_timers
@pytest.mark.parametrize("durability", ["process", "interval", "fsync"])
def test_a_signal_handler_that_flushes(place: Place, durability: str) -> None:
    """It does not wait for the thread that it interrupts, wherever that is."""
    code = f"""
import signal
from humanloop import SpoolOptions
options = SpoolOptions(spool, max_bytes=400_000, durability={durability!r})
client = Humanloop(key, host, spool=options)
longest = count = 0
def handle(*_):
    global longest, count
    began = time.monotonic()
    client.log_later(**LOG)
    assert client.flush(20).left == 0
    longest = max(longest, time.monotonic() - began)
    count += 1
    if count < 40:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
client.log_later(**LOG)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while count < 40:
    client.log_later(**LOG, output="x" * 2000)
print(longest < 10, longest)
"""
    with place.server():
        done = program(place, code)
        assert (done.stdout.split()[:1], done.stderr) == (["True"], "")


@needs_timers
def test_signal_handlers_and_other_threads_that_log(place: Place) -> None:
    """Two threads never take two locks in opposite orders."""
    code = """
import signal
from humanloop import SpoolOptions
options = SpoolOptions(spool, max_bytes=80_000, when_full="drop_newest")
clients = [Humanloop(key, host, spool=options) for _ in range(3)]
count = 0
def handle(*_):
    global count
    count += 1
    for each in clients:
        each.log_later(**LOG, output="x" * 900)
    if count < 100:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
def work(client):
    while count < 100:
        client.log_later(**LOG, output="x" * 900)
threads = [threading.Thread(target=work, args=[each]) for each in clients]
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001)
for each in threads:
    each.start()
while count < 100:
    for each in clients:
        each.log_later(**LOG, output="x" * 900)
for each in threads:
    each.join()
print([each.flush(30).left for each in clients])
"""
    with place.server():
        done = program(place, code)
        assert (done.stdout, done.stderr.count("\n")) == ("[0, 0, 0]\n", 3), done.stderr


# A program in which another thread logs for the first time while the main thread holds a lock of
# Python's own, as it does when a signal handler interrupts it there. `log()` is that handler.
LOCKED = """
def wait_for(name):
    while True:
        frame = sys._current_frames().get(thread.ident)
        while frame is not None:
            if frame.f_code.co_name == name:
                return
            frame = frame.f_back
        time.sleep(0.001)
def log():
    client.log_later(**LOG)
    print("logged")
thread = threading.Thread(target=client.log_later, kwargs=LOG)
"""


def test_a_handler_that_interrupts_the_start_of_a_thread(place: Place) -> None:
    code = (
        LOCKED
        + """
thread.start()
with threading._active_limbo_lock:
    wait_for("start")
    log()
"""
    )
    assert program(place, code).stdout == "logged\n"


def test_a_handler_that_interrupts_an_import(place: Place) -> None:
    code = (
        LOCKED
        + """
from importlib.machinery import ModuleSpec
class Stringprep:
    def find_spec(self, name, *_):
        return ModuleSpec(name, self) if name == "stringprep" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        thread.start()
        wait_for("acquire")
        log()
sys.meta_path.insert(0, Stringprep())
import encodings.idna
"""
    )
    assert program(place, code).stdout == "logged\n"


@pytest.mark.parametrize("what", ["own", "adopted", "refused"])
def test_a_flush_by_a_handler_that_has_interrupted_the_lock(place: Place, what: str) -> None:
    """The sending thread waits for the lock, but not for long."""
    if what == "adopted":
        program(place, "client.log_later(**LOG); os._exit(0)")
    client = place.client()
    client.log_later(**LOG) if what != "refused" else client.log_later(config={"model": "m"})
    began = time.monotonic()
    with place.server():
        with no_fork.lock:
            assert client.flush(20).left == 0
        assert time.monotonic() - began < 15
        assert client.flush().left == 0
    assert len(place.files()) == (what == "refused")


def test_a_handler_that_has_interrupted_the_lock_waits_for_no_room(place: Place) -> None:
    """With the lock taken, nothing can be deleted."""
    options = SpoolOptions(place.spool, max_bytes=20_000, when_full="block")
    client = place.client(spool=options)
    with no_fork.lock:
        for _ in range(9):
            client.log_later(**LOG, output="x" * 2000)
        with pytest.raises(SpoolFullError):
            client.log_later(**LOG, output="x" * 2000)


def test_a_program_that_can_start_no_thread(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that waits for a flush sends; also when a hook closes the client meanwhile."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def hook(_: Request) -> None:
        if closing:
            client.close()

    closing: list[bool] = []
    client = place.client(event_hooks={"request": [hook]})
    with place.server():
        monkeypatch.setattr(threading.Thread, "start", fail)
        client.log_later(**LOG)
        assert client.flush() == Flushed(1, 0)
        client.log_later(**LOG)
        client.log_later(**LOG, reference_id="child", parent_reference_id="none")
        closing.append(True)
        used = time.process_time()
        client.flush(5)
        assert time.process_time() - used < 3
        closing.clear()
        assert client.flush(0.5).left == 1
        monkeypatch.undo()
        assert len(place.records()) == 2


@needs_fork
def test_a_program_that_has_too_many_files_open(place: Place) -> None:
    """It can still close the client, and whoever comes next sends its records."""
    code = """
import resource
client.log_later(**LOG)
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
[thread] = [each for each in threading.enumerate() if each.name == "humanloop-spool"]
client.spool.close(0)
thread.join(20)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
print(Humanloop(key, host, spool=spool).flush(20))
"""
    with place.server():
        assert program(place, code).stdout == "Flushed(sent=1, left=0)\n"


def test_a_program_that_lowers_its_limit(place: Place) -> None:
    """Of the files that it may open, as before it runs other people's code."""
    code = """
import resource
client.log_later(**LOG)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
for _ in range(5):
    assert client.flush(20).left == 0
    client.log_later(**LOG)
print(client.flush(20).left, len(os.listdir("/proc/self/fd")) < 25 or os.listdir("/proc/self/fd"))
"""
    with place.server():
        done = program(place, code, "-X", "dev")
        assert (done.stdout, done.stderr) == ("0 True\n", "")
    assert place.files() == []


def test_a_handler_that_logs_while_the_first_log_is_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal handler may; both use one sender."""
    client = place.client()

    def read(setting: Any) -> Any:
        monkeypatch.undo()
        client.log_later(**LOG)
        return SpoolOptions(place.spool)

    monkeypatch.setattr("humanloop.spool.spool.read_setting", read)
    client.log_later(**LOG)
    assert len(place.files()) == 1
    assert client.spool.stats().written == client.spool.stats().left == 2
    with place.server():
        assert client.flush() == Flushed(2, 0)


def test_a_hook_that_logs_into_a_full_spool(place: Place) -> None:
    """The sending thread can't wait for itself to make room."""
    caught: list[Exception] = []

    def hook(request: Request) -> None:
        try:
            while not caught:
                client.log_later(**LOG, output="x" * 3000)
        except SpoolFullError as error:
            caught.append(error)

    options = SpoolOptions(place.spool, max_bytes=50_000, when_full="block")
    client = place.client(spool=options, event_hooks={"request": [hook]})
    with place.server():
        client.log_later(**LOG)
        assert client.flush(20).left > 0
        assert len(caught) == 1
        assert client.flush(20).left == 0
        assert client.spool.stats().refused == 1


@pytest.mark.parametrize("action", ["flush", "aflush", "close"])
def test_a_hook_that_waits_for_the_sending(place: Place, action: str) -> None:
    """It runs in the sending thread, which can't wait for itself."""
    found: list[Any] = []

    def hook(request: Request) -> None:
        if action == "aflush":
            found.append(asyncio.run(client.aflush(20)))
        else:
            found.append(getattr(client, action)(*[20][: action == "flush"]))

    client = place.client(event_hooks={"request": [hook]})
    with place.server():
        client.log_later(**LOG)
        client.flush(20)
        assert found
        assert found[0] == (None if action == "close" else Flushed(0, 1))
        flushed(place)
        assert len(place.records()) == 1


def test_a_log_handler_that_waits_for_a_thread_that_logs(place: Place) -> None:
    """No lock is held while a warning is logged."""

    class Logs(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread = threading.Thread(target=client.log_later, kwargs=LOG, daemon=True)
            thread.start()
            thread.join(20)
            ended.append(not thread.is_alive())

    ended: list[bool] = []
    options = SpoolOptions(place.spool, max_bytes=5_000, when_full="drop_newest")
    client = place.client(spool=options)
    handler = Logs()
    logger = logging.getLogger("humanloop.spool")
    logger.addHandler(handler)
    try:
        while not ended:
            client.log_later(**LOG, output="x" * 1000)
    finally:
        logger.removeHandler(handler)
    assert ended == [True]


def test_a_flush_that_is_cancelled(place: Place) -> None:
    """It leaves no request: otherwise each later record would be sent in a request of its own."""
    client = place.client()
    client.log_later(**LOG)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.aflush(30), 0.05)

    asyncio.run(main())
    sender = client.spool._sender
    assert sender is not None
    wait_until(lambda: not sender._flushes)


@pytest.mark.skipif(sys.platform == "win32", reason="needs closerange")
@pytest.mark.parametrize("limit", [1024, 256, 64])
@pytest.mark.parametrize("durability", ["process", "interval", "fsync"])
def test_a_program_that_closes_all_its_files(
    place: Place, tmp_path: Path, durability: str, limit: int
) -> None:
    """As one that becomes a daemon may; no other file gets the records."""
    code = f"""
import resource
from humanloop import RetryPolicy, SpoolOptions
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, limits[1]))
retries = RetryPolicy(backoff=60, backoff_cap=60, random=lambda: 1.0)
client = Humanloop(
    key, host, spool=SpoolOptions(spool, durability={durability!r}), retries=retries
)
for number in range(3):
    client.log_later(**LOG, output=str(number))
client.flush(0)
while client.spool.stats().state != "waiting":  # the sender has no file in its hands
    time.sleep(0.01)
os.closerange(3, 2000)
others = [open(f"{tmp_path}/other-{{n}}", "a+") for n in range(20)]
for number in range(3, 7):
    client.log_later(**LOG, output=str(number))
print("closed", flush=True)
sys.stdin.readline()
print(client.flush(20).left)
for each in others:
    each.write("mine")
    each.flush()
"""
    process = begun(place, code)
    assert process.stdout is not None
    assert process.stdout.readline() == "closed\n"
    with place.server():
        out, error = process.communicate("go\n", timeout=60)
        assert out == "0\n", error
        flushed(place)
        outputs = {each["output"] for each in place.records()}
    assert outputs == {*map(str, range(7))}
    assert {path.read_text() for path in tmp_path.glob("other-*")} == {"mine"}
    assert place.files() == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs closerange")
def test_clients_of_a_program_that_closes_all_its_files(place: Place) -> None:
    """The files of one client may get the numbers that those of another one had."""
    code = """
import fcntl
from humanloop import RetryPolicy
retries = RetryPolicy(backoff=60, backoff_cap=60, random=lambda: 1.0)
clients = [Humanloop(key, host, spool=spool, retries=retries) for _ in range(4)]
for each in clients:
    each.log_later(**LOG, output="before")
    each.flush(0)
while {each.spool.stats().state for each in clients} != {"waiting"}:
    time.sleep(0.01)
os.closerange(3, 2000)
for number in range(3):
    for each in reversed(clients):
        each.log_later(**LOG, output=str(number))
files = held = 0
for path in os.scandir(next(os.scandir(spool)).path):
    files += 1
    try:
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held += 1
print(files, held, flush=True)
os._exit(0)
"""
    assert program(place, code).stdout == "8 4\n"
    with place.server():
        assert flushed(place) == Flushed(16, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs closerange")
def test_a_program_that_closes_all_its_files_and_opens_the_null_device(place: Place) -> None:
    """As daemons do, for their output; no record goes there."""
    code = """
client.log_later(**LOG, output="0")
assert client.flush(20).left == 0
client.close()
os.closerange(3, 2000)
for _ in range(20):
    os.open(os.devnull, os.O_RDWR)
for number in range(1, 4):
    client.log_later(**LOG, output=str(number))
    assert client.flush(20).left == 0
"""
    with place.server():
        done = program(place, code)
        assert (done.returncode, done.stderr) == (0, "")
        assert {each["output"] for each in place.records()} == {*map(str, range(4))}


@needs_fork
def test_a_fork_after_a_program_has_closed_all_its_files(place: Place, tmp_path: Path) -> None:
    """The child closes no file of the program that has the number of one of the spool's."""
    code = f"""
client.log_later(**LOG)
os.closerange(3, 2000)
others = [open(f"{tmp_path}/other-{{n}}", "a+") for n in range(20)]
child = os.fork()
if child == 0:
    for each in others:
        each.write("mine")
        each.flush()
    client.log_later(**LOG)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""
    done = program(place, code)
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in tmp_path.glob("other-*")] == ["mine"] * 20
    with place.server():
        assert flushed(place) == Flushed(2, 0)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="needs _interpreters")
def test_an_interpreter_that_allows_no_threads(place: Place) -> None:
    """Subinterpreters allow no daemon threads; a flush sends in the thread that waits."""
    code = """
import _interpreters
made = _interpreters.create(_interpreters.new_config("legacy", allow_daemon_threads=False))
failed = _interpreters.exec(made, f'''
from humanloop import Humanloop
client = Humanloop({key!r}, {host!r}, spool={spool!r})
client.log_later(project="p", config={{"model": "m"}})
print(client.flush(20), flush=True)
client.close()
''')
print(failed, flush=True)
os._exit(0)
"""
    with place.server():
        done = program(place, code)
        assert done.stdout.splitlines() == ["Flushed(sent=1, left=0)", "None"], done.stderr
