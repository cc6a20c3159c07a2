"""The members of enums: class attributes for their values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any
from unicodedata import normalize

__all__ = ["Member", "enum_members"]


class Member:
    """The class attribute for a value of an enum: an instance of the class that it is read from."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: object, owner: Any) -> Any:
        return owner.validate(self._text)


def enum_members(values: Iterable[Any]) -> dict[str, str]:
    """Return the class attributes for the strings of an enum, named as in version 0.5.

    `In progress` is `IN_PROGRESS`; a common prefix of all values, up to an underscore, is left out.
    Other values get a valid name: `EMPTY` for the empty string, `VALUE_1ST` for `1st`, `VALUE_3`
    for a third value without letters or digits. Of equal names, all but the first get a number.
    """
    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    words = [text.split("_")[:-1] for text in texts]
    shared = list(takewhile(lambda column: len({*column}) == 1, zip(*words, strict=False)))
    start = len("".join(f"{column[0]}_" for column in shared)) if len(texts) > 1 else 0
    members: dict[str, str] = {}
    for position, text in enumerate(texts, 1):
        wanted = _member_name(text[start:], position)
        name, number = wanted, 2
        while name in members:
            name, number = f"{wanted}_{number}", number + 1
        members[name] = text
    return members


def _member_name(text: str, position: int) -> str:
    """Return an identifier for a value, in the normal form NFKC, in which Python reads names."""
    name = "".join(c if c.isalnum() else "_" for c in normalize("NFKC", text.upper()))
    if name.isidentifier() and not name.startswith("_"):
        return name
    rest = name.strip("_") if f"_{name}".isidentifier() else ""
    return f"VALUE_{rest or position}" if text else "EMPTY"
