"""The names of databases, a file or a URL of a supported kind, and their secrets.

Invariants: every shown URL went through `shown` or `redact`. An engine's URL holds no secret but
its password, which SQLAlchemy masks in all its output.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from humanloop.secrets import MASK, one_line
from humanloop.server.errors import StartError

_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})
# Parameters of a PostgreSQL URL that may be shown. All others may be secrets, such as
# `sslpassword`, a misspelled `password`, or `options`, which sets any setting.
_PUBLIC = frozenset(
    [
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "sslmode",
        "sslcert",
        "sslkey",
        "sslrootcert",
        "passfile",
        "service",
        "connect_timeout",
        "application_name",
        "target_session_attrs",
        "channel_binding",
        "gssencmode",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    ]
)
_CONNECTION_STRING = re.compile(r"\b(host|dbname|user|password)\s*=")  # libpq's


# Of a URL; a single letter is a Windows drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def parse(name: str) -> URL:
    """Return the URL of a database, given as a SQLAlchemy URL or as the path of a SQLite file.

    Raises StartError for a name that can't be used.
    """
    if name and _SCHEME.match(name) is None and not _CONNECTION_STRING.search(name):
        return URL.create("sqlite", database=name)
    try:
        parsed = _with_password(make_url(re.sub("^postgres:", "postgresql:", name)))
        if "@" in (parsed.host or ""):
            raise StartError("An @ in a user's name or password has to be written as %40.")
        if parsed.drivername == "postgresql":
            # The default driver depends on SQLAlchemy's version.
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in _DRIVERS:
            return parsed
    except (ArgumentError, ValueError):
        pass
    # The text may hold a password, so it is not repeated.
    raise StartError(
        "The database must be a file such as humanloop.db, or a URL such as "
        "sqlite:///humanloop.db or postgresql://user@host/name."
    )


def file_of(url: URL) -> Path | None:
    """Return the path of a SQLite URL's file, without symbolic links; None for other databases.

    Raises StartError for a SQLite database that is not a file.
    """
    if url.get_backend_name() != "sqlite":
        return None
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise StartError("The database must be a file, such as sqlite:///humanloop.db.")
    path = Path(name).resolve()
    if path.is_dir():
        raise StartError(f"The database must be a file, and {path} is a directory.")
    return path


def is_sqlite(url: URL) -> bool:
    """Return whether it is a SQLite database."""
    return url.get_backend_name() == "sqlite"


def shown(url: str | URL) -> str:
    """Return a URL as it may be shown to anybody, with stars for its secrets."""
    parsed = parse(url) if isinstance(url, str) else url
    if not is_sqlite(parsed):
        parsed = parsed.set(drivername="postgresql")
    masked = parsed.update_query_dict(dict.fromkeys(secret_options(parsed), MASK))
    return masked.render_as_string(hide_password=True).replace(quote(MASK), MASK)


def secret_options(url: URL) -> dict[str, Any]:
    """Return the parameters of a parsed URL that may be secret, except the password."""
    public = url.query if is_sqlite(url) else _PUBLIC
    return {key: each for key, each in url.query.items() if key not in public}


def without_secrets(url: URL) -> URL:
    """Return a parsed URL without secrets other than the password."""
    return url.difference_update_query(list(secret_options(url)))


def redact(url: URL, text: str) -> str:
    """Return a message about a database on one line, with stars for its URL's secrets."""
    values = [url.password or "", *map(str, secret_options(url).values())]
    forms = {form for each in values for form in _written_forms(each)}
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return one_line(text)


def _written_forms(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, as in URLs, and as in libpq's connection strings."""
    escaped = secret.replace("\\", "\\\\").replace("'", "\\'")
    return secret, quote(secret), quote(secret, ""), quote_plus(secret), escaped


def _with_password(url: URL) -> URL:
    """Move a password from the parameters, where libpq accepts it too, to its own place."""
    given = url.query.get("password")
    if given is None:
        return url
    password = given if isinstance(given, str) else given[-1]
    return url.difference_update_query(["password"]).set(password=password)
