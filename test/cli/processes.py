"""The command `humanloop` as processes of their own, as a user starts it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import subprocesses
from prepared import prepare

COMMAND = (sys.executable, "-m", "humanloop")
SECONDS = 120  # after which a process counts as hanging


def environment(**more: str) -> dict[str, str]:
    """This process's environment without the variables of humanloop, and with others."""
    variables = subprocesses.environment()
    return {**{n: text for n, text in variables.items() if "HUMANLOOP_" not in n}, **more}


def run(
    *arguments: str, cwd: Path, command: Sequence[str] = COMMAND, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    variables = options.pop("env", None) or environment()
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=variables, text=True, timeout=SECONDS, **options
    )


@dataclass
class Serving:
    """A server that runs; `printed` is what it has said, stderr included."""

    process: subprocess.Popen[str]
    printed: str

    @property
    def url(self) -> str:
        found = re.search(r"http://[^\s\"]+/v4", self.printed)
        assert found is not None, self.printed
        return found[0]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit code and what it printed since."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, rest


@contextmanager
def serving(cwd: Path, *options: str, first: bool = False, **variables: str) -> Generator[Serving]:
    """Run `humanloop serve` on a free port; it must end with exit code 0.

    first: whether the server makes the database in the folder, where there is none.
    """
    if not (first or (cwd / "humanloop.db").exists()):
        prepare(cwd / "humanloop.db")
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *options],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Serving(process, read_until(process, "Ctrl+C", '"url"'))
    try:
        yield server
    finally:
        if process.poll() is None:
            code, rest = server.stop()
            assert code == 0, rest
            assert "Traceback" not in rest


def read_until(process: subprocess.Popen[str], *marks: str) -> str:
    """Return the lines that a process prints, up to one with a mark, or all."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if any(mark in line for mark in marks):
            break
    return "".join(lines)


def json_lines(text: str) -> list[Any]:
    """Return the values of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]
