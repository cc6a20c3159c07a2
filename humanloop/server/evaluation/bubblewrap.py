"""Worker processes in namespaces of their own, by bubblewrap (the program `bwrap`, Linux).

A second wall: code that breaks out of the interpreter is in a process that sees no network, no
other processes and no files except the system's libraries, and has no capabilities.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from humanloop.server.evaluation.engine import EngineUnavailable

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_INSIDE = "/worker"
_TRIED_SECONDS = 10


def command(program: str) -> Sequence[str]:
    """Return the command that runs a program in its own namespaces; arguments may follow."""
    libraries = [word for path in _LIBRARIES for word in ("--ro-bind-try", path, path)]
    return [
        *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"),
        *("--cap-drop", "ALL", *libraries, "--ro-bind", program, _INSIDE),
        *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/", "--chdir", "/"),
        *("--", _INSIDE),
    ]


class Wrapper:
    """A script that starts a program in its own namespaces, for callers that accept only a path.

    program: the script's path; it exists inside the `with` block.
    """

    def __init__(self, program: str) -> None:
        """Take the program to wrap."""
        self._wrapped = program
        self._directory = tempfile.TemporaryDirectory(prefix="humanloop-")
        self.program = str(Path(self._directory.name) / "worker")

    def __enter__(self) -> Self:
        """Write the script and test it; raises EngineUnavailable if it doesn't work."""
        try:
            if shutil.which("bwrap") is None:
                raise EngineUnavailable("bubblewrap is not installed: there is no program `bwrap`")
            # bwrap ends when the thread that started it ends, and the server's threads come and go.
            # The shell therefore stays: its only thread ends with it.
            text = f'#!/bin/sh\n{shlex.join(command(self._wrapped))} "$@"\nexit $?\n'
            Path(self.program).write_text(text)
            Path(self.program).chmod(0o700)
            self._try()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Remove the script."""
        self._directory.cleanup()

    def _try(self) -> None:
        try:
            subprocess.run(
                [self.program, "--version"],
                check=True,
                capture_output=True,
                text=True,
                timeout=_TRIED_SECONDS,
            )
        except subprocess.CalledProcessError as error:
            raise EngineUnavailable(
                f"bubblewrap can't be used here: {str(error.stderr).strip()}"
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineUnavailable(f"bubblewrap can't be used here: {error}") from error
