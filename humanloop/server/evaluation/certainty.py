"""Which of the type checker's problems are surely wrong.

The check is there to find what fails at every run. `re.search(...)[0]` and `scores.get("a") + 1`
are correct programs where the pattern matches and the key is there, and only a run can tell that.
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
"""Of a union, these name the member that does not fit, and not the union."""


def is_sure(kind: str, message: str) -> bool:
    """Tell whether what a problem is about fails whatever its values are.

    kind, message: the type checker's name of the rule and its text.
    """
    if kind == "no-matching-overload":  # it does not say which types came
        return False
    if kind in _NAMES_ONE_MEMBER and _NONE.search(message):
        return False
    if " in union `" in message or "can implicitly return `None`" in message:
        return False
    return not any(map(_is_union, _QUOTED.findall(_WANTED.sub("", message))))


def _is_union(text: str) -> bool:
    """Tell whether a type is a union itself, not a list or a function of unions."""
    while (shorter := _BRACKETED.sub("", text)) != text:
        text = shorter
    return " | " in text
