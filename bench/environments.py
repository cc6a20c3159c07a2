"""The virtual environments of the contestants, made under build/bench when they are first needed.

One for ours, one for ours with the extra `fast`, one for the rivals, one for the original, and one
for each rival of the server and of `log_later`. They are made anew when their requirements change,
with `uv` if it is installed, else with venv and pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.contestants import ROOT

__all__ = ["BUILD", "command", "make", "make_one", "pythons"]

BUILD = ROOT / "build" / "bench"

RIVALS = ["pydantic==2.14.3", "msgspec==0.22.0", "httpx==0.28.1", "pyyaml==6.0.3"]
NEEDS = {
    "ours": ["-e", f"{ROOT}[async]"],
    "fast": ["-e", f"{ROOT}[fast]"],
    "rivals": RIVALS,
    "original": ["humanloop==0.5.13", "frozendict==2.5.1", "urllib3==1.26.20"],
}
SERVERS = {"mlflow": ["mlflow==3.17.2"], "phoenix": ["arize-phoenix==20.26.1"]}
"""The rivals of the server, for `bench.load_rivals` alone."""
LOGGERS = {
    "langfuse": ["langfuse==5.0.4"],
    "opentelemetry": [
        "opentelemetry-sdk==1.45.2",
        "opentelemetry-exporter-otlp-proto-http==1.45.2",
    ],
    "sentry": ["sentry-sdk==2.75.0"],
    "posthog": ["posthog==7.91.1"],
}
"""The rivals of `log_later`, for `bench.enqueue` alone."""
SOURCES = [
    "pyproject.toml",
    "hatch_build.py",
    "humanloop/schemas/converters.py",
    "humanloop/schemas/converters.pxd",
]
"""The files that an installation of ours is built from, beside the checkout that it refers to."""

ORIGINAL_ON = ("3.10", "3.11")
"""The versions of Python that the original supports."""


def _works(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(python: str) -> str | None:
    return _works([python, "-c", "import sys; print(f'3.{sys.version_info[1]}')"])


def pythons(asked: Iterable[str]) -> dict[str, str]:
    """Return interpreters of the given versions, from PATH or pyenv; by default this one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for version in asked or [f"3.{sys.version_info.minor}"]:
        places = [sys.executable, shutil.which(f"python{version}")]
        places += map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))
        working = [place for place in places if place and _version(place) == version]
        if not working:
            raise SystemExit(f"Python {version} is not found, neither on PATH nor by pyenv")
        found[version] = working[0]
    return found


def make(version: str, python: str) -> dict[str, str]:
    """Return the interpreter of each of the client's environments for a Python version."""
    return {
        name: make_one(name, version, python)
        for name in NEEDS
        if name != "original" or version in ORIGINAL_ON
    }


def make_one(name: str, version: str, python: str) -> str:
    """Return the interpreter of one environment for a version of Python."""
    needs = (NEEDS | SERVERS | LOGGERS)[name]
    env = {**os.environ, "HUMANLOOP_BUILD": "require"}
    uv = shutil.which("uv")
    uv = uv if uv and _works([uv, "--version"]) else None
    place = BUILD / "envs" / version / name
    made = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    stamp, wanted = place / "needs.txt", "\n".join(needs)
    if name in ("ours", "fast"):
        wanted += "".join((ROOT / name).read_text("utf-8") for name in SOURCES)
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return made
    print(f"making the environment {version}/{name}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    if uv:
        subprocess.run([uv, "venv", "-q", "-p", python, str(place)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "-p", made, *needs], check=True, env=env)
    else:
        subprocess.run([python, "-m", "venv", str(place)], check=True)
        subprocess.run([made, "-m", "pip", "install", "-q", *needs], check=True, env=env)
    stamp.write_text(wanted, "utf-8")
    return made


def command(python: str, module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of a module of bench with an environment's interpreter.

    The checkout comes last on its path, so that the original is imported where it is installed.
    """
    code = f"import sys; sys.path.append({str(ROOT)!r}); from bench.{module} import main; main()"
    return [python, "-I", "-c", code, *arguments]
