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
_NOT_SPACE = (
    r"\x00-\x08\x0e-\x1f!-\u009f\u00a1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e"
    r"\u2030-\u205e\u2060-\u2fff\u3001-\ufefe\uff00-\U0010ffff"
)
_SETS = {"s": _SPACE, "S": _NOT_SPACE}
_SAME = frozenset("dDwWbBtnvfr0.^$*+?()[]{}|\\-")
_PLAIN = {"$": r"\Z", ".": r"[^\n\r\u2028\u2029]", "{": r"\{", "}": r"\}"}
_quantifier = re.compile(r"[*+?]|\{[0-9]+(,[0-9]*)?\}").match
_group = re.compile(r"\((?:\?(?:[:=!]|<[=!]|<(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)>))?").match
_back_reference = re.compile(r"k<(\w+)>|([1-9][0-9]*)").match
_code = re.compile(r"u\{([0-9A-Fa-f]+)\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})").match
_low_surrogate = re.compile(r"\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE).match


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> re.Pattern[str]:
    """The pattern `source` of ECMA-262, ready to `search` with.

    Raises:
        ValueError: `source` is no regular expression, or one that Python can't express.
    """
    try:
        return re.compile(_translate(source), re.ASCII)
    except (re.error, IndexError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern {source!r:.80} can't be used: {error}") from error


def _translate(source: str) -> str:
    out: list[str] = []
    index, in_class = 0, False
    while index < len(source):
        char = source[index]
        if char == "\\":
            text, index = _escape(source, index + 1, in_class)
        elif in_class:
            in_class = char != "]"
            text, index = (f"\\{char}" if char in "[&|~" else char), index + 1
        elif char == "[":
            text, index, in_class = _open_class(source, index)
        elif char == "(":
            text, index = _open_group(source, index)
        elif found := _quantifier(source, index):
            text, index = found[0], found.end()
            if source.startswith("?", index):
                text, index = f"{text}?", index + 1
            if _quantifier(source, index):
                raise re.error(f"nothing to repeat at {index}")
        else:
            text, index = _PLAIN.get(char, char), index + 1
        out.append(text)
    return "".join(out)


def _open_class(source: str, index: int) -> tuple[str, int, bool]:
    """The translation of a class's beginning, where it ends, and whether the class goes on."""
    if source.startswith("[^]", index):
        return r"[\s\S]", index + 3, False
    if source.startswith("[]", index):
        return "(?!)", index + 2, False
    start = 2 if source.startswith("[^", index) else 1
    return source[index : index + start], index + start, True


def _open_group(source: str, index: int) -> tuple[str, int]:
    """The translation of a group's beginning, and where it ends."""
    found = _group(source, index)
    if found is None or (found[0] == "(" and source.startswith("?", index + 1)):
        raise re.error(f"unknown kind of group at {index}")
    return (f"(?P<{found['name']}>" if found["name"] else found[0]), found.end()


def _escape(source: str, index: int, in_class: bool) -> tuple[str, int]:
    """The translation of the escape whose letter stands at `index`, and where it ends."""
    letter = source[index]
    if letter in _SETS:
        return (_SETS[letter] if in_class else f"[{_SETS[letter]}]"), index + 1
    if letter in "ux":
        return _code_point(source, index)
    if letter == "c" and re.match("[A-Za-z]", source[index + 1 : index + 2]):
        return re.escape(chr(ord(source[index + 1]) % 32)), index + 2
    if letter in "pP" and source.startswith("{", index + 1):
        raise re.error(rf"\{letter}{{...}} has no counterpart")
    found = None if in_class else _back_reference(source, index)
    if found is not None:
        # A group that took no part in the match is empty there.
        again = f"(?P={found[1]})" if found[1] else f"(?:\\{found[2]})"
        return f"(?({found[1] or found[2]}){again})", found.end()
    return (f"\\{letter}" if letter in _SAME else re.escape(letter)), index + 1


def _code_point(source: str, index: int) -> tuple[str, int]:
    r"""The character that `u` or `x` at `index` begins, a surrogate pair being one; its end."""
    found = _code(source, index)
    if found is None:
        return source[index], index + 1
    code, end = int(found[1] or found[2] or found[3], 16), found.end()
    low = _low_surrogate(source, end)
    if 0xD800 <= code <= 0xDBFF and low is not None:
        code, end = 0x10000 + (code - 0xD800 << 10) + int(low[1], 16) - 0xDC00, low.end()
    return re.escape(chr(code)), end
