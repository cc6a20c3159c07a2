"""`humanloop doctor`: look for faults in an installation, a database and its server."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from humanloop import __version__
from humanloop.cli import version
from humanloop.cli.support import add_database, add_json, add_port, print_json
from humanloop.secrets import did_you_mean, one_line

NAME = "doctor"
HELP = "look for what is wrong"

_EXTRAS = {
    "server": ("sqlalchemy", "alembic", "starlette", "uvicorn"),
    "postgres": ("psycopg",),
    "async": ("aiohttp",),
    "fast": ("msgspec",),
    "completion": ("shtab",),
    "parquet": ("duckdb",),
}
VARIABLES = (
    "HUMANLOOP_API_KEY",
    "HUMANLOOP_BASE_URL",
    "HUMANLOOP_DATABASE",
    "HUMANLOOP_LOG",
    "HUMANLOOP_PURE_PYTHON",
    "HUMANLOOP_BUILD",
)
_ROOM = 100_000_000  # bytes that should be free
_SECONDS = 5  # time limit for the server's answer

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The result of a check; advice: the way to solve a problem."""

    check: str
    state: State
    text: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = (
        "Check the installation, the database and the server, which may be running. The exit code"
        " is 1 if something is wrong. Nothing is changed."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the server's host (default: %(default)s)"
    )
    add_port(parser, "the server's port")
    parser.add_argument(
        "--quick", action="store_true", help="don't read the whole database to check it"
    )
    add_database(parser)
    add_json(parser, "print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the findings."""
    findings: list[Finding] = []
    for finding in _findings(options):
        findings.append(finding)
        if not options.json:
            advice = f" {finding.advice}" if finding.advice else ""
            line = one_line(f"{finding.text}{advice}")
            print(f"{finding.state:<6}{finding.check:<13}{line}", flush=True)
    is_well = all(finding.state != "wrong" for finding in findings)
    if options.json:
        print_json({"ok": is_well, "checks": [asdict(finding) for finding in findings]})
    return int(not is_well)


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    yield _versions()
    yield _extras()
    yield from _variables()
    if any(find_spec(module) is None for module in _EXTRAS["server"]):
        from humanloop.extras import how_to_install

        advice = f"To run one, {how_to_install('server')}."
        yield Finding("server", "note", "The embedded server is not installed.", advice)
        return
    yield from _database(options.database, quick=options.quick)
    yield _server(options.host, options.port)


def _versions() -> Finding:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    text = f"humanloop {__version__} ({version.form()}), {python}, {platform.platform(terse=True)}"
    return Finding("version", "ok", text)


def _extras() -> Finding:
    there = {name: all(map(find_spec, modules)) for name, modules in _EXTRAS.items()}
    texts = [f"{name} {'installed' if found else 'not installed'}" for name, found in there.items()]
    return Finding("extras", "ok", ", ".join(texts))


def _variables() -> Iterator[Finding]:
    names = sorted(name for name in os.environ if name.startswith("HUMANLOOP_"))
    known = [name for name in names if name in VARIABLES]
    yield Finding("environment", "ok", f"set: {', '.join(known) or 'nothing'}")
    for name in sorted(set(names) - set(known)):
        guess = did_you_mean(name, VARIABLES)
        yield Finding("environment", "note", f"{name} is set, but has no meaning{guess}")


def _database(name: str, *, quick: bool) -> Iterator[Finding]:
    from humanloop.server.errors import StartError
    from humanloop.server.store import health, key_file, urls

    path: Path | None = None
    try:
        url = urls.parse(name)
        path = urls.file_of(url)
        if path is not None and not path.exists():
            yield _no_database(path)
            return
        with health.examine(name) as examination:
            shown = urls.shown(url) if path is None else str(path)
            yield Finding("database", "ok", f"{shown}{_owner(path)}")
            yield Finding("schema", "ok", f"{examination.revision}, the newest")
            projects, logs = examination.counts()
            yield Finding("content", "ok", f"logs: {logs:,}, projects: {projects:,}")
            if path is not None and not quick:
                yield _integrity(examination.damage)
    except StartError as error:
        yield Finding("database", "wrong", str(error))
    if path is not None:
        yield _room(path)
        yield _key(path, key_file.path_beside(name))


def _no_database(path: Path) -> Finding:
    if not os.access(path.parent, os.W_OK):
        return Finding("database", "wrong", f"{path.parent} is not a folder that you can write to.")
    return Finding("database", "note", f"There is no {path} yet.", "`humanloop serve` creates it.")


def _owner(path: Path | None) -> str:
    from humanloop.server.store import ownership

    if path is None:
        return ""
    owner = ownership.owner_of(path)
    return ", used by no server" if owner is None else f", used by the server {owner}"


def _integrity(damage: Callable[[], str | None]) -> Finding:
    found = damage()
    if found is None:
        return Finding("integrity", "ok", "quick_check found no damage")
    advice = "Stop the server, keep a copy of the file, and `humanloop restore` a backup."
    return Finding("integrity", "wrong", f"The database is damaged: {found}.", advice)


def _room(path: Path) -> Finding:
    files = [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm")]
    size = sum(each.stat().st_size for each in files if each.exists())
    free = shutil.disk_usage(path.parent).free
    text = f"{size / 1e6:,.1f} MB used, {free / 1e6:,.1f} MB free in {path.parent}"
    if free < _ROOM:
        return Finding("disk", "wrong", text, "Free some space: a full disk stops all writing.")
    if free < size:
        return Finding("disk", "note", text, "A backup or an upgrade needs space for a copy.")
    return Finding("disk", "ok", text)


def _key(path: Path, file: Path | None) -> Finding:
    from humanloop.server.store import key_file

    if file is None or not file.exists():
        return Finding(
            "key",
            "note",
            f"There is no key file {path.name}.key.",
            "A server that is started without keys creates it.",
        )
    if not key_file.is_private(file):
        advice = f"chmod 600 {file}; if others may have read it, delete it and restart the server."
        return Finding("key", "wrong", f"Others can read the key file {file}.", advice)
    return Finding("key", "ok", f"{file}, readable by its owner only")


def _server(host: str, port: int) -> Finding:
    import urllib3

    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/health"
    try:
        answer = urllib3.request("GET", url, retries=False, timeout=_SECONDS)
        body: Any = answer.json()
        status = body["status"]
    except urllib3.exceptions.HTTPError:
        advice = "Give --host and --port if it has others."
        return Finding("server", "note", f"No server answers at {url}.", advice)
    except (ValueError, TypeError, KeyError):
        return Finding("server", "wrong", f"Another program answers at {url}.")
    if answer.status != 200:
        return Finding("server", "wrong", f"{url}: {status}: {body.get('detail')}")
    running = body.get("version")
    if running != __version__:
        text = f"{url} is ok, but has version {running}"
        return Finding("server", "note", text, "Restart it to run this version.")
    return Finding("server", "ok", f"{url} is ok")
