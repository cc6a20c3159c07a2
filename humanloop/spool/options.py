"""The settings of a spool, what it reports, and where it is.

Invariants: importing this module costs nothing, and nothing here touches the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, cast

from humanloop.exceptions import ClientConfigurationError

__all__ = [
    "ENVIRONMENT",
    "Flushed",
    "SpoolOptions",
    "SpoolStats",
    "check_setting",
    "read_setting",
    "spool_directory",
    "state_directory",
]

ENVIRONMENT = "HUMANLOOP_SPOOL"
WHEN_FULL = ("raise", "block", "drop_newest")
DURABILITY = ("process", "interval", "fsync")
_NO_NAME = re.compile(r"[^A-Za-z0-9.]+")


# Named tuples, since importing `dataclasses` takes longer than all of this module.
class SpoolOptions(NamedTuple):
    """How a client keeps what it logs later, as in `Humanloop(spool=SpoolOptions(...))`.

    path: the directory, of one server; "auto" is one of the user's own, see `spool_directory`.
    max_bytes: how much disk all processes of one account together may take with it, about.
    when_full: what `log_later` does then: "raise" a SpoolFullError, "block" until there is room, or
        "drop_newest", which returns a reference ID of a log that is lost.
    durability: what a record outlives once `log_later` has returned. "process": the end of the
        process, in any way; it is in the system's memory. "interval": also the end of the system,
        but for the last 50 milliseconds. "fsync": also that; each record is on the disk.
    """

    path: str | os.PathLike[str] = "auto"
    max_bytes: int = 268_435_456
    when_full: Literal["raise", "block", "drop_newest"] = "raise"
    durability: Literal["process", "interval", "fsync"] = "process"


class Flushed(NamedTuple):
    """What a flush has done.

    sent: how many logs and pieces of feedback the server has taken since the last flush ended;
    left: how many of this process, and of dead ones whose files it has taken over, are not sent.
    """

    sent: int
    left: int


class SpoolStats(NamedTuple):
    """What a client's spool has done in this process since it was first used, or since a fork.

    directory: where the files are, None without a spool. state: "idle", "sending", "waiting" for
    the server, or "paused" since the server refuses what is sent; last_error: why, in one line.
    written: records by this process; sent: records that the server took, those of dead processes
    included; duplicates: of these, how many it had already. left: not sent yet; held: of these,
    how many name a log that the server does not know yet. set_aside: put into `.bad` files;
    dropped, refused: not written since the spool was full, by `when_full`; blocked: how often a
    caller waited for room. bytes: on the disk, of all processes, as it was last looked at.
    """

    directory: str | None = None
    state: Literal["idle", "sending", "waiting", "paused"] = "idle"
    last_error: str | None = None
    written: int = 0
    sent: int = 0
    duplicates: int = 0
    left: int = 0
    held: int = 0
    set_aside: int = 0
    dropped: int = 0
    refused: int = 0
    blocked: int = 0
    bytes: int = 0


def check_setting(setting: object) -> SpoolOptions | None:
    """Return the options that a setting stands for; None: there is no spool.

    setting: "auto", a path, SpoolOptions or None. Raises ClientConfigurationError for another one.
    """
    if setting is None:
        return None
    path: object = setting.path if isinstance(setting, SpoolOptions) else setting
    if not isinstance(path, (str, os.PathLike)) or not str(cast("object", path)):
        raise ClientConfigurationError(
            f'spool must be "auto", the path of a directory, SpoolOptions or None, not {path!r}'
        )
    chosen = cast("str | os.PathLike[str]", path)
    options = setting if isinstance(setting, SpoolOptions) else SpoolOptions(chosen)
    size: object = options.max_bytes
    if type(size) is not int or size < 1:
        raise ClientConfigurationError(f"spool: max_bytes must be a number above 0, not {size!r}")
    for name, wanted in (("when_full", WHEN_FULL), ("durability", DURABILITY)):
        value: object = getattr(options, name)
        if value not in wanted:
            listed = " or ".join(f'"{each}"' for each in wanted)
            raise ClientConfigurationError(f"spool: {name} must be {listed}, not {value!r}")
    return options


def read_setting(setting: object) -> SpoolOptions | None:
    """Return the options that a setting stands for, with the path "auto" or that of a directory.

    None: there is no spool. "auto" is what the environment's `HUMANLOOP_SPOOL` says, a path or
    "off", where it is set.
    """
    options = check_setting(setting)
    if options is None:
        return None
    path = os.fspath(options.path)
    if path == "auto":
        path = os.environ.get(ENVIRONMENT) or "auto"
    return None if path == "off" else options._replace(path=path)


def spool_directory(
    options: SpoolOptions,
    host: str,
    keys: Iterable[str],
    transport: object = None,
    base: str | os.PathLike[str] = "",
) -> Path:
    """Return the directory of an account. base: the directory in which a relative path is.

    "auto" is in `humanloop/spool`, where the system keeps the state of a user's programs: in
    `XDG_STATE_HOME`, else `~/.local/state` (XDG Base Directory Specification); in
    `~/Library/Application Support` on macOS. Raises ClientConfigurationError where there is none.
    """
    if options.path == "auto":
        return state_directory() / _account_name(host, keys, transport)
    try:
        root = Path(base, Path(options.path).expanduser()).absolute()
    except (RuntimeError, OSError) as error:  # no home, or no directory that it is relative to
        raise ClientConfigurationError(
            f"spool: the path {os.fspath(options.path)!r} leads nowhere: {error}"
        ) from error
    return root / _account_name(None, keys, transport)


def state_directory() -> Path:
    """Return where the spools of this user are; raises ClientConfigurationError."""
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ClientConfigurationError(
            f"there is no home directory to keep a spool in: pass spool=PATH, or set {ENVIRONMENT}"
        ) from error
    if sys.platform == "darwin":
        state = home / "Library" / "Application Support"
    else:
        given = os.environ.get("XDG_STATE_HOME", "")
        # The specification has relative paths ignored.
        state = Path(given) if os.path.isabs(given) else home / ".local" / "state"
    return state / "humanloop" / "spool"


def _account_name(host: str | None, keys: Iterable[str], transport: object = None) -> str:
    """Return the name of an account's directory; nobody can tell the key from it.

    Two keys have two names, so that nothing is sent with another key than it was logged with. host:
    the server that the directory is for; None where the user has chosen it, whatever the address
    of the server is from one start to the next. transport: what the user gave to send with, so that
    one of a test is never handed what a program has logged.
    """
    kind = "" if transport is None else f"{type(transport).__module__}.{type(transport).__name__}"
    secret = "\0".join(["humanloop spool", host or "", *sorted(keys), kind])
    digest = hashlib.blake2b(secret.encode(), digest_size=10).hexdigest()
    place = "account" if host is None else _NO_NAME.sub("-", host.partition("://")[2])
    return f"{place[:60]}-{digest}"
