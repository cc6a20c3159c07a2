r"""ECMA-262 regular expressions (the dialect of `pattern`) as Python's `re` understands them.

The two differ in what a few constructs mean; each is rewritten here, and whatever has no
counterpart is refused when the schema is built: `\d`, `\w`, `\b` are ASCII, `\s` is ECMA's white
space, `$` is the very end, `.` stops at four line ends, `\cX`, `\uXXXX` and `\/` are spelled out,
`(?<name>` is named, and identity escapes such as `\Z` are the letter itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["compile_pattern"]

_SPACE = r"\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_OUTSIDE = {"s": f"[{_SPACE}]", "S": f"[^{_SPACE}]"}
_SAME = frozenset("dDwWbBtnvfr0123456789.^$*+?()[]{}|\\-k")


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> re.Pattern[str]:
    """The pattern `source` of ECMA-262, ready to `search` with.

    Raises:
        ValueError: `source` is no regular expression, or one that Python can't express.
    """
    try:
        return re.compile(_translate(source), re.ASCII)
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern {source!r:.80} can't be used: {error}") from error


def _translate(source: str) -> str:
    out: list[str] = []
    index, in_class = 0, False
    while index < len(source):
        char = source[index]
        if char == "\\":
            text, index = _escape(source, index + 1, in_class)
            out.append(text)
            continue
        index += 1
        if in_class:
            in_class = char != "]"
            out.append("\\[" if char == "[" else char)
        elif char == "[":
            in_class = True
            if source.startswith("[^]", index - 1):
                out.append(r"[\s\S]")
                in_class, index = False, index + 2
            elif source.startswith("[]", index - 1):
                out.append(r"(?!)")
                in_class, index = False, index + 1
            else:
                out.append(char)
        elif char == "$":
            out.append(r"\Z")
        elif char == ".":
            out.append(r"[^\n\r\u2028\u2029]")
        elif char == "(" and re.match(r"\?<[A-Za-z_$]", source[index:]):
            out.append("(?P<")
            index += 2
        else:
            out.append(char)
    return "".join(out)


def _escape(source: str, index: int, in_class: bool) -> tuple[str, int]:
    """The translation of the escape whose letter stands at `index`, and where it ends."""
    letter = source[index]
    if letter in "sS":
        if not in_class:
            return _OUTSIDE[letter], index + 1
        if letter == "s":
            return _SPACE, index + 1
        raise re.error(r"\S inside a class has no counterpart")
    if letter == "u" and source.startswith("{", index + 1):
        end = source.index("}", index)
        return re.escape(chr(int(source[index + 2 : end], 16))), end + 1
    for kind, digits in (("u", 4), ("x", 2)):
        code = source[index + 1 : index + 1 + digits]
        if letter == kind and re.fullmatch(f"[0-9A-Fa-f]{{{digits}}}", code):
            return re.escape(chr(int(code, 16))), index + 1 + digits
    if letter == "c" and re.match("[A-Za-z]", source[index + 1 : index + 2]):
        return re.escape(chr(ord(source[index + 1]) % 32)), index + 2
    if letter == "k" and source.startswith("<", index + 1):
        end = source.index(">", index)
        return f"(?P={source[index + 2 : end]})", end + 1
    if letter in "pP" and source.startswith("{", index + 1):
        raise re.error(rf"\{letter}{{...}} has no counterpart")
    if letter in _SAME:
        return f"\\{letter}", index + 1
    return re.escape(letter), index + 1
