"""Advice on installing an extra of the package. A leaf, so that every message says the same.

PyPI's `humanloop` of 0.7 and later is another SDK, so nobody is told to install by that name.
"""

from __future__ import annotations

__all__ = ["how_to_install"]


def how_to_install(extra: str) -> str:
    """Return what to do to get an extra, as the end of a sentence."""
    return (
        f"install the extra `{extra}`: pip install '.[{extra}]' in a clone of the repository,"
        f" or pip install 'PATH/TO/WHEEL.whl[{extra}]'"
    )
