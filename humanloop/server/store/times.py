"""Times: UTC inside, RFC 3339 outside.

Every time in the database is a naive UTC datetime, every datetime in the program is aware and in
UTC, and every time in a body is RFC 3339 text ending in Z. Only this module converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from humanloop.schemas import DateTimeSchema
from humanloop.server.errors import Location, invalid


class UtcDateTime(TypeDecorator[datetime]):
    """A column of aware UTC datetimes, kept without a zone so that every database sorts them."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a moment for the database."""
        return None if value is None else value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a moment from the database."""
        return None if value is None else value.replace(tzinfo=timezone.utc)


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(timezone.utc)


def to_text(moment: datetime) -> str:
    """Return RFC 3339 text with as many fraction digits as needed (none or six)."""
    return moment.replace(tzinfo=None).isoformat() + "Z"


def created_at(request: Mapping[str, Any], location: Location) -> datetime:
    """Return a request's `created_at`, to the microsecond; by default the current time.

    Raises Invalid for a time outside the years 1 to 9999 in UTC.
    """
    text = request.get("created_at")
    if text is None:
        return now()
    try:
        return DateTimeSchema(text).as_datetime.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        message = f"{text!r} is outside the years 1 to 9999 in UTC"
        raise invalid((*location, "created_at"), message, "format") from None
