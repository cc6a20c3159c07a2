"""The settings, the statistics and the directory of a spool.

Invariants: this module is cheap to import, and does not access the disk.
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


# Named tuples, since importing `dataclasses` takes longer than this whole module.
class SpoolOptions(NamedTuple):
    """The settings of a spool, as in `Humanloop(spool=SpoolOptions(...))`.

    path: a directory for one server's records; "auto": a directory of the user's, see
        `spool_directory`.
    max_bytes: the approximate disk space for all processes of one account together, in bytes.
    when_full: the reaction of `log_later` to a full spool: "raise" a SpoolFullError, "block" until
        there is room, or "drop_newest", which returns the reference ID of a log that is lost.
    durability: the failures that a record survives once `log_later` has returned. "process": any
        end of the process; the record is in the system's memory. "interval": also a crash of the
        system, except for the last 50 milliseconds. "fsync": also a crash; each record is on the
        disk.
    """

    path: str | os.PathLike[str] = "auto"
    max_bytes: int = 268_435_456
    when_full: Literal["raise", "block", "drop_newest"] = "raise"
    durability: Literal["process", "interval", "fsync"] = "process"


class Flushed(NamedTuple):
    """The result of a flush.

    sent: the number of records that the server has acknowledged since the last flush ended; left:
    the number of pending records of this process, and of dead processes whose files it adopted.
    """

    sent: int
    left: int


class SpoolStats(NamedTuple):
    """The statistics of a client's spool in this process, since its first use or since a fork.

    directory: the directory of the files, None without a spool. state: "idle", "sending", "waiting"
    for the server, or "paused" because the server refuses the requests; last_error: the reason, in
    one line. Numbers of records: written: by this process; sent: acknowledged by the server, those
    of dead processes included; duplicates: of these, the ones that the server already had; left:
    pending; held: of these, the ones that are tried again apart from the others, since their log is
    not known yet, or they alone were refused; set_aside: put into `.bad` files; dropped, refused:
    not written because the spool was full, see `when_full`. blocked: the number of times a caller
    waited for room. bytes: the size of all processes' files.
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
    """Return the options for a setting; None: there is no spool.

    setting: "auto", a path, SpoolOptions or None. Raises ClientConfigurationError for others.
    """
    if setting is None:
        return None
    path: object = setting.path if isinstance(setting, SpoolOptions) else setting
    if not isinstance(path, (str, os.PathLike)) or not str(cast("object", path)):
        raise ClientConfigurationError(
            f'spool must be "auto", the path of a directory, SpoolOptions or None, not {path!r}'
        )
    if "\0" in str(cast("object", path)):
        raise ClientConfigurationError(f"spool: no path has the character NUL: {path!r}")
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
    """Return the options for a setting, with "auto" or a directory as the path.

    None: there is no spool. The environment variable `HUMANLOOP_SPOOL`, a path or "off", takes the
    place of "auto" if it is set.
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
    """Return the directory of an account. base: the directory to which a relative path belongs.

    "auto" is in `humanloop/spool` in the system's directory for the state of a user's programs:
    `XDG_STATE_HOME`, else `~/.local/state` (XDG Base Directory Specification), or
    `~/Library/Application Support` on macOS. Raises ClientConfigurationError if there is none.
    """
    if options.path == "auto":
        return state_directory() / _account_name(host, keys, transport)
    try:
        root = Path(base, Path(options.path).expanduser()).absolute()
    except (RuntimeError, OSError) as error:  # no home, or no current directory
        raise ClientConfigurationError(
            f"spool: the path {os.fspath(options.path)!r} can't be resolved: {error}"
        ) from error
    return root / _account_name(None, keys, transport)


def state_directory() -> Path:
    """Return the directory of this user's spools; raises ClientConfigurationError if no home."""
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
        # The specification says to ignore relative paths.
        state = Path(given) if os.path.isabs(given) else home / ".local" / "state"
    return state / "humanloop" / "spool"


def _account_name(host: str | None, keys: Iterable[str], transport: object = None) -> str:
    """Return the name of an account's directory, which does not reveal the key.

    Two keys have two names, so that each record is sent with the key it was logged with. host: the
    directory's server; None for a directory that the user has chosen, since the address of its
    server may change between two starts. transport: the user's own transport, if any, so that a
    test's transport never gets the records of a program.
    """
    kind = "" if transport is None else f"{type(transport).__module__}.{type(transport).__name__}"
    secret = "\0".join(["humanloop spool", host or "", *sorted(keys), kind])
    digest = hashlib.blake2b(secret.encode(), digest_size=10).hexdigest()
    place = "account" if host is None else _NO_NAME.sub("-", host.partition("://")[2])
    return f"{place[:60]}-{digest}"
