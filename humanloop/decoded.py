"""Look into decoded JSON that others sent, and that may be anything.

A leaf. Each function returns what is wanted, or an empty value of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["JsonObject", "as_count", "as_list", "as_object", "as_text"]

JsonObject = Mapping[str, Any]


def as_object(value: Any) -> JsonObject:
    """Return a JSON object; an empty one for anything else."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> Sequence[Any]:
    """Return a JSON array; an empty one for anything else."""
    return cast("Sequence[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a JSON string; an empty one for anything else."""
    return value if isinstance(value, str) else ""


def as_count(value: Any) -> int | None:
    """Return a whole number; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
