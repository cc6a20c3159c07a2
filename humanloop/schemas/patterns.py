r"""Compile the keyword `pattern`: translate ECMA-262 regular expressions for Python's `re`.

OpenAPI 3.0.3 names the dialect of ECMA-262 5.1, section 15.10. A character is a code point. What
that edition leaves open but patterns in use have is read as web browsers do (Annex B of later
editions): `\-` is the letter itself, braces that count nothing are characters. Of later editions,
lookbehinds, named groups, `\u{...}` and general categories (`\p{Lu}`) are known.

Invariants: a pattern is read as ECMA-262 reads it, or it is refused when the schema's class is
made. Only quantifiers, whose syntax is the same, reach `re` as they are written.

The time of a search is not bounded: patterns come from the schema's author, who is trusted.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple
from unicodedata import category

__all__ = ["compile_pattern"]

_HEX = "[0-9a-fA-F]"
_NAME = r"(?:[^\W\d]|\$)[\w$]*"
_CLASS = r"\[(?P<negated>\^?)(?P<body>(?:\\.|[^\\\]])*)\]"
_ESCAPE = rf"""
    (?P<set> [dDwWsS] )
  | (?P<property> [pP]\{{[^}}]*\}} )
  | (?P<pair> u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}} )
  | (?P<hex> x{_HEX}{{2}} | u{_HEX}{{4}} | u\{{{_HEX}+\}} )
  | (?P<octal> [0-3][0-7]{{0,2}} | [4-7][0-7]? )
  | (?P<letter> [tnvfr] )
  | (?P<backslash> (?=c) )
  | (?P<character> . )
"""
_TERM = re.compile(
    rf"""(?xs)
    (?P<open> \( (?: (?!\?) | \?[:=!] | \?<[=!] | \?<{_NAME}> ) )
  | (?P<bar> \| )
  | (?P<close> \) )
  | (?P<quantifier> (?: [*+?] | \{{[0-9]+(?:,[0-9]*)?\}} ) \?? )
  | (?P<edge> [\^$] | \\[bB] )
  | (?P<dot> \. )
  | (?P<class> {_CLASS} )
  | (?P<reference> \\ (?: (?P<number>[1-9][0-9]*) | k(?:<(?P<name>[^>]*)>)? ) )
  | \\ (?: (?P<control>c[A-Za-z]) | {_ESCAPE} )
  | (?P<literal> [^\\\[(] )
"""
)
_CLASS_ITEM = re.compile(
    rf"(?xs) \\ (?: (?P<backspace>b) | (?P<control>c[A-Za-z0-9_]) | {_ESCAPE} ) | (?P<literal>.)"
)
_CAPTURE = re.compile(rf"(?s)\\.|{_CLASS}|(?P<open>\((?!\?)|\(\?<(?P<name>{_NAME})>)")

_EDGES = {"^": "^", "$": r"\Z", r"\b": r"\b", r"\B": r"(?!\b)"}  # not \B: re finds none in ""
_SETS = {
    **{letter: f"\\{letter}" for letter in "dDwW"},  # ECMA's, given re.ASCII
    "s": r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
    "S": r"\0-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e"
    r"\u2060-\u2fff\u3001-\ufefe\uff00-\U0010ffff",
}


class _Group(NamedTuple):
    """How `re` writes a kind of group; first: the number of the first capture in it."""

    opener: str
    bar: str
    closer: str
    first: int = 0


# `re` wants each alternative of a lookbehind to have one width, so each becomes its own.
_GROUPS = {
    "(?:": _Group("(?:", "|", ")"),
    "(?=": _Group("(?=", "|", ")"),
    "(?!": _Group("(?!", "|", ")"),
    "(?<=": _Group("(?:(?<=", ")|(?<=", "))"),
    "(?<!": _Group("(?:(?<!", ")(?<!", "))"),
}


def compile_pattern(source: str) -> re.Pattern[str]:
    """Return a compiled pattern, whose `search` finds what ECMA-262 finds with `source`.

    Raises:
        ValueError: `source` is no regular expression of ECMA-262, or `re` can't say the same.
    """
    try:
        return re.compile(_Translation(source).run(), re.ASCII)
    except re.error as error:
        reason = error.msg  # its position is in the translation
    except (ValueError, OverflowError) as error:
        reason = str(error)
    except RecursionError:
        reason = "its groups are nested too deeply"
    raise ValueError(f"pattern {source!r:.80} can't be used: {reason}")


class _Translation:
    """One pass over a pattern, term by term."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.names = [found["name"] or "" for found in _CAPTURE.finditer(source) if found["open"]]
        if len({*filter(None, self.names)}) < len([*filter(None, self.names)]):
            raise ValueError("two groups have one name")
        self.groups: list[_Group] = []
        self.captures = 0
        self.open_captures: list[int] = []
        self.repeatable: range | None = None  # the captures in the last term; None: no quantifier
        self.refers_back = self.forgets = False

    def run(self) -> str:
        """Return the pattern in `re`'s words."""
        parts: list[str] = []
        at = 0
        while at < len(self.source):
            term = _TERM.match(self.source, at)
            if term and term.lastgroup == "reference" and not self.is_reference(term):
                term = _CLASS_ITEM.match(self.source, at)  # an octal number, or the letter k
            if not term:
                raise ValueError(f"{self.source[at : at + 10]!r} at {at} is not ECMA-262")
            parts.append(self.translate(term))
            at = term.end()
        if self.groups:
            raise ValueError("a group has no end")
        if self.refers_back and self.forgets:
            # In ECMA-262 each round of a repetition forgets what its groups matched; `re` does not.
            raise ValueError("it refers back, and repeats a group that captures")
        return "".join(parts)

    def translate(self, term: re.Match[str]) -> str:
        kind, text = term.lastgroup, term[0]
        if kind == "quantifier":
            return self.quantifier(term)
        if kind == "open":
            return self.open(text)
        if kind == "close":
            return self.close(term.start())
        self.repeatable = None if kind in ("bar", "edge") else range(0)
        if kind == "bar":
            return self.groups[-1].bar if self.groups else "|"
        if kind == "edge":
            return _EDGES[text]
        if kind == "dot":
            return r"[^\n\r\u2028\u2029]"
        if kind == "class":
            return _char_class(term["body"], negated=term["negated"] == "^")
        if kind == "reference":
            return self.reference(term)
        meaning = _meaning(term)
        return f"[{meaning}]" if isinstance(meaning, str) else re.escape(chr(meaning))

    def quantifier(self, term: re.Match[str]) -> str:
        if self.repeatable is None:
            raise ValueError(f"nothing to repeat at {term.start()}")
        self.forgets |= bool(self.repeatable) and term[0] not in ("?", "??")
        self.repeatable = None
        return term[0]

    def open(self, sign: str) -> str:
        self.repeatable = None
        first = self.captures + 1
        if sign in _GROUPS:
            group = _GROUPS[sign]
            self.forgets |= sign != "(?:"  # the captures of lookarounds have rules of their own
        else:
            self.captures = first
            self.open_captures.append(first)
            group = _Group(f"(?P<_{first}>", "|", ")")  # named: `re` numbers no more than 99
        self.groups.append(group._replace(first=first))
        return group.opener

    def close(self, at: int) -> str:
        if not self.groups:
            raise ValueError(f"unmatched ')' at {at}")
        group = self.groups.pop()
        if group.opener.startswith("(?P"):
            self.open_captures.pop()
        is_lookbehind = group.closer == "))"
        self.repeatable = None if is_lookbehind else range(group.first, self.captures + 1)
        return group.closer

    def is_reference(self, term: re.Match[str]) -> bool:
        """Tell whether what looks like a back reference is one in this pattern."""
        number = term["number"]
        return int(number) <= len(self.names) if number else any(self.names)

    def reference(self, term: re.Match[str]) -> str:
        name = term["name"] or ""
        if not term["number"] and (not name or name not in self.names):
            raise ValueError(f"there is no group named {name!r:.40}")
        number = int(term["number"] or self.names.index(name) + 1)
        if number > self.captures or number in self.open_captures:
            raise ValueError(f"the group that is referred to at {term.start()} ends later")
        self.refers_back = True
        return f"(?(_{number})(?P=_{number}))"  # a group that took no part matches the empty text


def _char_class(body: str, *, negated: bool) -> str:
    """Return a class in `re`'s words, given what stands in its brackets."""
    items = [*_CLASS_ITEM.finditer(body)]
    if not items:
        return r"[\d\D]" if negated else r"[^\d\D]"
    meanings = [_meaning(item) for item in items]
    parts = [m if isinstance(m, str) else re.escape(chr(m)) for m in meanings]
    at = 0
    while at + 2 < len(items):
        is_range = items[at + 1][0] == "-"
        if is_range and isinstance(meanings[at], int) and isinstance(meanings[at + 2], int):
            parts[at + 1] = "-"  # elsewhere the hyphen is itself, as in [\w-.]
        at += 3 if is_range else 1
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _meaning(term: re.Match[str]) -> int | str:
    """Return the code point that a term stands for, or the inner text of a class for a set."""
    kind = term.lastgroup or ""
    text = term[kind]
    match kind:
        case "set":
            return _SETS[text]
        case "property":
            return _category(text[2:-1], member=text[0] == "p")
        case "pair":
            return ord(bytes.fromhex(text[1:5] + text[7:]).decode("utf-16-be"))
        case "hex":
            return int(text.strip("xu{}"), 16)
        case "octal":
            return int(text, 8)
        case "control":
            return ord(text[1]) % 32
        case "letter":
            return ord("\t") + "tnvfr".index(text)
        case "backspace":
            return ord("\b")
        case "backslash":
            return ord("\\")
        case _:
            return ord(text)


# General_Category by UnicodeData.txt's letters, with aliases of PropertyValueAliases.txt.
_CATEGORIES = """
C Other|Cc Control cntrl|Cf Format|Cn Unassigned|Co Private_Use|Cs Surrogate|L Letter
Ll Lowercase_Letter|Lm Modifier_Letter|Lo Other_Letter|Lt Titlecase_Letter|Lu Uppercase_Letter
M Mark Combining_Mark|Mc Spacing_Mark|Me Enclosing_Mark|Mn Nonspacing_Mark|N Number
Nd Decimal_Number digit|Nl Letter_Number|No Other_Number|P Punctuation punct
Pc Connector_Punctuation|Pd Dash_Punctuation|Pe Close_Punctuation|Pf Final_Punctuation
Pi Initial_Punctuation|Po Other_Punctuation|Ps Open_Punctuation|S Symbol|Sc Currency_Symbol
Sk Modifier_Symbol|Sm Math_Symbol|So Other_Symbol|Z Separator|Zl Line_Separator
Zp Paragraph_Separator|Zs Space_Separator
"""


@lru_cache
def _category(name: str, *, member: bool) -> str:
    """Return the characters in a general category, or all others, as the inner text of a class."""
    known = [line.split() for line in _CATEGORIES.strip().replace("\n", "|").split("|")]
    value = re.sub("^(General_Category|gc)=", "", name)
    letters = next((line[0] for line in known if value in line), None)
    if letters is None:
        raise ValueError(f"the property {name!r:.40} is not supported")
    runs = groupby(map(chr, range(sys.maxunicode + 1)), lambda c: category(c).startswith(letters))
    ranges = [[*run] for is_member, run in runs if is_member is member]
    return "".join(f"{re.escape(run[0])}-{re.escape(run[-1])}" for run in ranges)
