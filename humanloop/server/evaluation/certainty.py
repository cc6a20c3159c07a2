"""The type checker's problems that are certain to be errors.

The check looks for code that fails in every run. `re.search(...)[0]` and `scores.get("a") + 1` are
correct where the pattern matches and the key exists; only a run can tell.
"""

from __future__ import annotations

import re

_BRACKETED = re.compile(r"\[[^\[\]]*\]|\([^()]*\)")
_WANTED = re.compile(r"((?i:expected)|assignable to|upper bound|(?:parameter|return) type) `[^`]*`")
_QUOTED = re.compile(r"`([^`]*)`")
_NONE = re.compile(r"(?:object |value )?of type `None`")

_NAMES_ONE_MEMBER = (
    "call-non-callable",
    "invalid-assignment",
    "invalid-parameter-default",
    "not-iterable",
    "not-subscriptable",
)
"""Rules whose message names the union's member that does not fit, not the union."""


def is_sure(kind: str, message: str) -> bool:
    """Return whether the code that a problem reports fails whatever its values are.

    kind: the name of the type checker's rule.
    message: the problem's text.
    """
    if kind == "no-matching-overload":  # the message does not name the types
        return False
    if kind in _NAMES_ONE_MEMBER and _NONE.search(message):
        return False
    if " in union `" in message or "can implicitly return `None`" in message:
        return False
    return not any(map(_is_union, _QUOTED.findall(_WANTED.sub("", message))))


def _is_union(text: str) -> bool:
    """Return whether a type is itself a union, not a list or a function of unions."""
    while (shorter := _BRACKETED.sub("", text)) != text:
        text = shorter
    return " | " in text
