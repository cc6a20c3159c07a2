"""The running form of `converters`: its source, or the same source compiled to C.

An installation may have the compiled form beside the source. It is used unless it was compiled from
another source, can't be loaded, or `HUMANLOOP_PURE_PYTHON` is set to any value.
"""

from __future__ import annotations

import os
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["FastPathMiss", "compiled", "converters"]


def _compiled_form() -> Any:
    """Return the compiled form of `converters`; None if there is none of the present source."""
    if os.environ.get("HUMANLOOP_PURE_PYTHON"):
        return None
    try:
        found: Any = import_module("humanloop.schemas._converters")
    except ImportError:
        return None
    try:
        with open(os.path.join(os.path.dirname(__file__), "converters.py"), "rb") as source:
            # `hatch_build.py` puts this checksum of the source into the compiled form.
            return found if zlib.crc32(source.read()) == found.SOURCE else None
    except OSError:  # without sources, nothing is newer
        return found


if TYPE_CHECKING:
    from humanloop.schemas import converters
else:
    converters = _compiled_form() or import_module("humanloop.schemas.converters")

compiled: bool = converters.__name__.endswith("._converters")
"""True if the form compiled to C runs."""

FastPathMiss = converters.FastPathMiss
