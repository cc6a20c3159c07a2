"""Programs as processes: their ends, and the sending of the logs that they leave."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from subprocesses import environment

from humanloop import Flushed, SpoolOptions
from humanloop.spool import segments
from humanloop.spool.directory import Directory
from humanloop.spool.writer import Writer

from .conftest import KEY, LOG, Place
from .programs import begun, flushed, needs_fork, program


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "os.abort()"]
)
def test_what_an_end_leaves_is_sent_by_others(place: Place, end: str) -> None:
    program(place, f"print(client.log_later(**LOG, output='Hi'), flush=True); {end}")
    assert len(place.files(".spool")) == 1
    with place.server():
        assert flushed(place) == Flushed(1, 0)
        assert [each["output"] for each in place.records()] == ["Hi"]
    assert place.files() == []


def test_the_end_of_the_interpreter_sends_what_is_left(place: Place) -> None:
    code = (
        "import atexit; atexit.register(lambda: client.log_later(**LOG)); client.log_later(**LOG)"
    )
    with place.server():
        done = program(place, code, "-X", "dev", "-W", "error")
        assert (done.returncode, done.stderr) == (0, "")
        flushed(place)
        assert len(place.records()) == 2


@pytest.mark.parametrize("is_there", [True, False])
def test_the_end_sends_what_a_dropped_client_left(place: Place, is_there: bool) -> None:
    """As of a client in `main()`."""
    code = """
def main():
    client = Humanloop(key, host, spool=spool)
    client.log_later(**LOG)
main()
"""
    with place.server() if is_there else nullcontext():
        done = program(place, code, "-X", "dev", "-W", "error")
        assert done.returncode == 0
        if is_there:
            assert done.stderr == ""
            assert len(place.records()) == 1
    if not is_there:
        [line] = done.stderr.splitlines()
        assert line.endswith(f"1 record waits in {place.directory} for the next start")
        assert len(place.files()) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="has no address 127.0.0.2")
def test_the_end_of_a_client_delays_no_other(place: Place, tmp_path: Path) -> None:
    """One server hangs, and delays the records for no other."""
    code = f"""
clients = [Humanloop(key, host, spool="{tmp_path}/two")]
clients[:0] = [Humanloop(key, sys.argv[1].replace("127.0.0.1", "127.0.0.2"), spool=spool)
               for _ in range(2)]
for each in clients:
    each.log_later(**LOG)
"""
    with place.server(), socket.create_server(("127.0.0.2", place.port)):
        done = program(place, code)
        lines = done.stderr.splitlines()
        assert len(lines) == 2
        assert all("1 record waits in" in line for line in lines)
        assert len(place.records()) == 1


def test_clients_that_are_dropped_while_the_server_is_away(place: Place) -> None:
    """One thread is enough for all of them."""
    code = """
for _ in range(20):
    Humanloop(key, host, spool=spool).log_later(**LOG)
end = time.monotonic() + 30
while sum(each.name == "humanloop-spool" for each in threading.enumerate()) > 1:
    assert time.monotonic() < end
    time.sleep(0.05)
print("one", len(os.listdir("/proc/self/fd")) < 30 if os.path.exists("/proc") else True, flush=True)
sys.stdin.readline()
end = time.monotonic() + 30
while any(each.name == "humanloop-spool" for each in threading.enumerate()):
    assert time.monotonic() < end
    time.sleep(0.05)
print("none", flush=True)
"""
    process = begun(place, code)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "one True\n"
    with place.server():
        out, error = process.communicate("go\n", timeout=60)
        assert (process.returncode, out) == (0, "none\n"), error
        assert len(place.records()) == 20
    assert place.files() == []


def test_an_end_without_a_server_takes_two_seconds_and_loses_nothing(place: Place) -> None:
    began = time.monotonic()
    done = program(place, "client.log_later(**LOG)", "-X", "dev", "-W", "error")
    assert time.monotonic() - began > 2
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith(f"POST {place.host}/logs: can't connect: Connection refused; 1 record ")
    assert line.endswith(f"waits in {place.directory} for the next start")
    with place.server():
        assert flushed(place) == Flushed(1, 0)


def test_an_end_with_a_server_that_hangs_takes_two_seconds(place: Place) -> None:
    code = """
client.log_later(**LOG)
while client.spool.stats().state != "sending":
    time.sleep(0.01)
print("sends", flush=True)
"""
    with socket.create_server(("127.0.0.1", place.port)):
        began = time.monotonic()
        done = program(place, code, "-X", "dev", "-W", "error")
        assert time.monotonic() - began < 30
    assert (done.returncode, done.stdout) == (0, "sends\n")
    [line] = done.stderr.splitlines()
    assert line.startswith("the server has not answered yet; 1 record waits in ")
    with place.server():
        assert flushed(place) == Flushed(1, 0)


def test_in_a_function_that_flushes(place: Place) -> None:
    """AWS Lambda freezes a process as soon as its function has returned."""
    with place.server():
        done = program(
            place, "client.log_later(**LOG); print(client.flush(5), flush=True); os._exit(0)"
        )
        assert done.stdout == "Flushed(sent=1, left=0)\n"
        assert len(place.records()) == 1


@needs_fork
def test_a_fork_s_child_writes_and_sends_by_itself(place: Place) -> None:
    code = """
client.log_later(**LOG, output="parent")
if os.fork() == 0:
    client.log_later(**LOG, output="child")
    print(client.flush(10), client.spool.stats().written, flush=True)
    os._exit(0)
os.wait()
print(client.flush(10), client.spool.stats().written)
"""
    with place.server():
        done = program(place, code)
        assert done.stderr == ""
        lines = ["Flushed(sent=1, left=0) 1"] * 2
        assert done.stdout.splitlines() == lines
        assert len(place.records()) == 2
    assert place.files() == []


@needs_fork
def test_forks_that_open_files_before_they_log(place: Place) -> None:
    """The files of the child may have the numbers that those of the parent had."""
    code = """
client.log_later(**LOG)
for lowest in range(3, 12):
    child = os.fork()
    if child == 0:
        files = [open(os.devnull)]
        while files[-1].fileno() < lowest - 1:
            files.append(open(os.devnull))
        for number in range(3):
            client.log_later(**LOG, output=f"{lowest} {number}")
            assert client.flush(20).left == 0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    with place.server():
        done = program(place, code)
        assert (done.returncode, done.stderr) == (0, "")
        assert flushed(place).left == 0
        outputs = {each.get("output") for each in place.records()}
        assert outputs >= {f"{lowest} {number}" for lowest in range(3, 12) for number in range(3)}


@needs_fork
def test_forks_while_threads_log(place: Place) -> None:
    """The child can log, whatever lock a thread of the parent holds during the fork."""
    code = """
client.log_later(**LOG)
threads = [threading.Thread(target=lambda: [client.log_later(**LOG) for _ in range(300)])
           for _ in range(4)]
for thread in threads:
    thread.start()
children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        client.log_later(**LOG)
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join()
assert client.flush(30).left == 0
"""
    with place.server():
        done = program(place, code)
        assert (done.returncode, done.stderr) == (0, "")
        assert flushed(place).left == 0
        assert len(place.records()) == 1221


@needs_fork
@pytest.mark.parametrize(
    ("first", "module"),
    [
        ("client.log_later(**LOG)", "humanloop.spool.writer"),
        ("client.log_later(**LOG)", "humanloop.model.log_request"),
        ("client.log_later(**LOG)", "urllib3"),
        ("client.log_later(**LOG)", "encodings.idna"),
        (
            "client.build_request(client.projects.create, name='p')",
            "humanloop.model.create_project_request",
        ),
    ],
)
def test_a_fork_while_another_thread_imports(place: Place, first: str, module: str) -> None:
    """The child can log, whatever lock the client's first use holds during the fork."""
    code = f"""
class Slow:
    def find_spec(self, name, *_):
        if name == {module!r} and os.getpid() == parent:
            importing.set()
            time.sleep(0.2)
parent, importing = os.getpid(), threading.Event()
sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=lambda: {first}, daemon=True)
thread.start()
assert importing.wait(20)
child = os.fork()
if child == 0:
    import faulthandler
    faulthandler.dump_traceback_later(20, exit=True)
    client.log_later(**LOG)
    os._exit(0)
os._exit(os.waitpid(child, 0)[1])
"""
    done = program(place, code)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_use_imports_all_that_sending_needs(place: Place) -> None:
    """The sender's thread imports nothing, so no fork can happen during an import."""
    code = """
client.log_later(**LOG)
client.feedback_later(type="rating", value="good", reference_id=client.log_later(**LOG))
client.spool.update(client.log_later(**LOG), {"output": "Hi"})
before = {*sys.modules}
client.log_later(config={"model": "m"})
print(client.flush(10), client.spool.stats().set_aside, {*sys.modules} - before)
"""
    with place.server():
        assert program(place, code).stdout == "Flushed(sent=5, left=0) 1 set()\n"


@needs_fork
def test_a_child_does_not_keep_the_files_of_its_parent(place: Place) -> None:
    code = """
client.log_later(**LOG)
if os.fork():
    print("ready", flush=True)
    os._exit(0)
os.close(1); os.close(2)
time.sleep(20)
"""
    program(place, code)
    with place.server():
        assert flushed(place) == Flushed(1, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_a_signal_handler_logs_while_the_program_does(place: Place) -> None:
    code = """
import signal
references = [client.log_later(**LOG)]
def handle(*_):
    references.append(client.log_later(**LOG))
    if len(references) < 1000:  # one at a time: a busy machine would have them without end
        signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while len(references) < 1000:
    references.append(client.log_later(**LOG))
signal.setitimer(signal.ITIMER_REAL, 0)
print(client.flush(30) == (len(references), 0))
"""
    with place.server():
        done = program(place, code)
        assert (done.stdout, done.stderr) == ("True\n", "")


def leave_many(place: Place) -> Path:
    """Leave the files of 150 writers, with a log in each; return their directory."""
    directory = Directory(Path(str(place.client().spool.stats().directory)))
    for number in range(150):
        writer = Writer(directory, SpoolOptions())
        writer.append(b"logs.log", json.dumps({**LOG, "reference_id": str(number)}).encode())
        writer.close()
    assert len(place.files()) == 150
    return directory.path


@pytest.mark.parametrize("limit", [0, 60, 100])
def test_many_files_of_ended_processes(place: Place, limit: int) -> None:
    """They are adopted some at a time; limit: of open files; 0: the system's."""
    leave_many(place)
    code = f"""
import resource
if {limit}:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, limits[1]))
print(client.flush(30))
open(os.devnull).close()  # there are descriptors left
print(len(os.listdir("/proc/self/fd")) < 30 if os.path.exists("/proc") else True)
"""
    with place.server():
        done = program(place, code)
        assert done.stdout == "Flushed(sent=150, left=0)\nTrue\n", done.stderr
        assert len(place.records()) == 150
    assert place.files() == []


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_adoption_leaves_descriptors_to_the_program(place: Place) -> None:
    """Also when nothing can be sent."""
    leave_many(place)
    code = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(client.flush(1).sent, len(os.listdir("/proc/self/fd")) < 50)
client.spool.close(0)
"""
    done = program(place, code)
    assert (done.stdout, done.stderr) == ("0 True\n", "")
    assert len(place.files()) == 150


def test_many_files_are_moved_and_dropped(place: Place) -> None:
    one, other = Directory(leave_many(place)), Directory(place.spool / "other")
    assert one.move_to(other) == 150
    assert len([*other.path.iterdir()]) == len(place.files()) == 150
    for segment in chain.from_iterable(other.orphans()):
        segment.close(remove=True)
    assert place.files() == []


@pytest.mark.parametrize("kind", ["link", "link to nothing", "directory", "pipe", "socket"])
def test_what_others_put_beside_the_files(
    place: Place, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays there, and keeps nothing from being sent."""
    program(place, "client.log_later(**LOG); os._exit(0)")
    entry = place.directory / "0000-1-a-000001.spool"
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(segments.head() + segments.record(b"logs.log\n{}"))
        entry.symlink_to(tmp_path / "elsewhere")
    elif kind == "link to nothing":
        entry.symlink_to(tmp_path / "nothing")
    elif kind == "directory":
        entry.mkdir()
    elif kind == "pipe":
        os.mkfifo(entry)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            short = tmp_path.parent / "s"
            listener.bind(str(short))
            short.rename(entry)
    assert Directory(place.directory).look().left == 1
    with place.server():
        assert flushed(place) == Flushed(1, 0)
        place.clients[-1].log_later(**LOG)
        assert place.clients[-1].flush() == Flushed(1, 0)
    assert place.files() == [entry]
    assert caplog.text.count("can't read the segment") == 1


def test_nobody_takes_the_files_of_a_living_process(place: Place) -> None:
    place.client(retries=0).log_later(**LOG)
    with place.server():
        done = program(place, "print(client.flush(5))")
        assert done.stdout == "Flushed(sent=0, left=0)\n"


class TestDamage:
    """Damaged files."""

    def leave(self, place: Place, count: int) -> Path:
        """Let a process leave a file with `count` records."""
        code = "for n in range(%d): client.log_later(**LOG, output=str(n))\nos._exit(0)"
        program(place, code % count)
        [path] = place.files()
        return path

    def outputs(self, place: Place) -> list[Any]:
        with place.server():
            assert place.client().flush().left == 0
            return sorted(int(each["output"]) for each in place.records())

    @pytest.mark.parametrize("cut", [1, 100, 160])
    def test_a_torn_tail_is_cut(self, place: Place, cut: int) -> None:
        path = self.leave(place, 5)
        os.truncate(path, path.stat().st_size - cut)
        assert self.outputs(place) == [0, 1, 2, 3]
        assert place.files() == []

    @pytest.mark.parametrize("where", [0, 4, 60])
    def test_a_bad_record_is_set_aside_alone(self, place: Place, where: int) -> None:
        """The damage is in its length, its checksum, or its text."""
        path = self.leave(place, 9)
        data = bytearray(path.read_bytes())
        size = (len(data) - 20) // 9
        data[20 + 4 * size + where] ^= 0x55
        path.write_bytes(data)
        assert self.outputs(place) == [0, 1, 2, 3, 5, 6, 7, 8]
        [bad] = place.files()
        assert bad.name.endswith(".bad")

    def test_a_damaged_cursor_costs_nothing(self, place: Place) -> None:
        path = self.leave(place, 3)
        data = bytearray(path.read_bytes())
        data[9] ^= 0x55
        path.write_bytes(data)
        assert self.outputs(place) == [0, 1, 2]

    def test_a_file_that_can_no_longer_be_read(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As on a disk that fails; it keeps no other from being sent."""
        for _ in range(2):
            program(place, "client.log_later(**LOG)\nos._exit(0)")
        number = place.files()[0].stat().st_ino
        original, known = os.pread, set[tuple[int, int]]()

        def read_once(descriptor: int, length: int, position: int) -> bytes:
            if os.fstat(descriptor).st_ino == number:
                if (length, position) in known:
                    raise OSError(errno.EIO, "Input/output error")
                known.add((length, position))
            return original(descriptor, length, position)

        monkeypatch.setattr(os, "pread", read_once)
        client = place.client()
        with place.server():
            assert client.flush(1) == Flushed(1, 1)
            assert "can't be read: Input/output error" in caplog.text
            monkeypatch.undo()
            assert client.flush() == Flushed(1, 0)
            assert len(place.records()) == 2

    def test_a_file_of_another_version_stays(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = self.leave(place, 3)
        data = bytearray(path.read_bytes())
        data[7] = 2
        path.write_bytes(data)
        assert place.client().flush() == Flushed(0, 0)
        assert path.read_bytes() == data
        assert "this version can't read the segment" in caplog.text


class TestCommand:
    """`humanloop spool`."""

    def run(self, place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = environment(
            HUMANLOOP_API_KEY=KEY,
            HUMANLOOP_BASE_URL=place.host,
            HUMANLOOP_SPOOL=str(place.spool),
        )
        command = [sys.executable, "-m", "humanloop", "spool", *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)

    def test_status_send_and_drop(self, place: Place) -> None:
        program(place, "client.log_later(**LOG); client.log_later(**LOG); os._exit(0)")
        assert place.directory.name in self.run(place, "status").stdout
        assert '"left": 2, "in_use": 0, ' in self.run(place, "status", "--json").stdout
        with place.server():
            sent = self.run(place, "send")
            assert (sent.returncode, sent.stdout) == (0, "2 sent, 0 left\n")
        client = place.client(retries=0)
        client.log_later(**LOG)
        program(place, "client.log_later(**LOG); os._exit(0)")
        assert '"left": 2, "in_use": 1, ' in self.run(place, "status", "--json").stdout
        assert self.run(place, "send", "--timeout", "0.3").returncode == 1
        assert self.run(place, "drop").returncode == 1
        dropped = self.run(place, "drop", "--yes")
        assert "1 unsent and 0 refused dropped; 1 belong to running programs" in dropped.stdout
        with place.server():
            assert client.flush() == Flushed(1, 0)

    def test_many_files_are_dropped(self, place: Place) -> None:
        """With fewer descriptors than there are files."""
        resource = pytest.importorskip("resource")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        leave_many(place)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
        try:
            done = self.run(place, "drop", "--yes")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert "150 unsent and 0 refused dropped" in done.stdout, done.stderr
        assert place.files() == []

    def test_what_was_refused_is_put_back(self, place: Place) -> None:
        """For example, the missing project exists now."""
        client = place.client()
        client.log_later(project_id="pr_none", config={"model": "m"}, reference_id="r")
        client.feedback_later(type="rating", value="good", data_id="data_none")
        client.spool.update("r", {"output": "Hi"})
        with place.server(), pytest.MonkeyPatch.context() as patch:
            patch.setattr("humanloop.spool.delivery.HOLD_SECONDS", 0.0)
            client.flush(5)
            client.close()
            [bad] = place.files()
            with bad.open("a") as file:
                file.write('{"error": "damaged", "bytes": "AAAA"}\n')
            before = bad.read_text().splitlines()
            assert len(before) == 4
            assert self.run(place, "retry", "nobody").returncode == 1
            done = self.run(place, "retry")
            assert done.stdout == f"{place.directory.name}: 3 put back; 1 damaged left in place\n"
            assert bad.read_text().splitlines() == before[3:]
            status = self.run(place, "status", "--json").stdout
            assert '"left": 3, "in_use": 0, "set_aside": 1, ' in status
            place.client().log_later(**LOG, reference_id="r")
            assert place.clients[-1].flush(5).left == 0
            [record] = place.records()
            assert record["output"] == "Hi"
            [again] = {*place.files(".bad")} - {bad}
            actions = [json.loads(line)["action"] for line in again.read_text().splitlines()]
            assert sorted(actions) == ["feedback_api.feedback", "logs.log"]

    def test_what_was_logged_with_another_key_is_sent(self, place: Place) -> None:
        """The other key was wrong, or is an old one."""
        client = place.client(api_key="hl_wrong", retries=0)
        client.log_later(**LOG)
        client.log_later(**LOG)
        name = place.directory.name
        with place.server():
            client.flush(5)
            assert self.run(place, "send", "--from", name).stdout == "0 sent, 0 left\n"
            client.spool.close(0)
            sent = self.run(place, "send", "--from", name)
            assert (sent.returncode, sent.stdout, sent.stderr) == (0, "2 sent, 0 left\n", "")
            assert len(place.records()) == 2
        missing = self.run(place, "send", "--from", "nobody")
        assert missing.returncode == 1
        assert missing.stderr == "humanloop: there is no account 'nobody' in this spool\n"

    def test_sending_takes_no_longer_than_it_may(self, place: Place) -> None:
        program(place, "client.log_later(**LOG); os._exit(0)")
        with socket.create_server(("127.0.0.1", place.port)):
            began = time.monotonic()
            done = self.run(place, "send", "--timeout", "0.1")
            assert time.monotonic() - began < 30
        assert (done.returncode, done.stdout, done.stderr) == (
            1,
            "0 sent, 1 left\n",
            "humanloop: not all requests were answered within 0.1 seconds\n",
        )

    def test_it_asks_before_it_drops(self, place: Place) -> None:
        program(place, "client.log_later(**LOG); os._exit(0)")
        assert self.run(place, "drop", "--bad").returncode == 0
        refused = self.run(place, "drop")
        assert refused.returncode == 1
        what = "1 unsent record and 0 refused records"
        assert refused.stderr == f"humanloop: to delete {what}, give --yes\n"
        assert len(place.files()) == 1

    def test_without_a_spool(self, place: Place) -> None:
        assert self.run(place, "status").returncode == 0
        assert self.run(place, "send").stdout == "0 sent, 0 left\n"
        assert self.run(place, "drop", "nobody", "--yes").returncode == 1
