r"""The keyword `pattern`: ECMA-262 regular expressions, translated for Python's `re`.

OpenAPI 3.0.3 names the dialect of ECMA-262 5.1, section 15.10. A character is a code point, as with
JavaScript's flag `u`. Forms that this edition leaves undefined but that real patterns contain are
read as in web browsers (Annex B of later editions): `\Z` and `\-` are the letter itself, braces
that are no quantifier are characters. Of later editions, lookbehinds, named groups, `\u{...}` and
the general categories (`\p{Lu}`) are supported.

Invariants:
- A pattern is read as ECMA-262 reads it, or it is refused when the schema's class is made.
- Only quantifiers, whose syntax is the same, reach `re` as they are written.

The time of a search is not bounded: patterns come from the schema's author, who is trusted.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
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
# The opening of a group, its separator after a bar, and its end. `re` supports only lookbehinds of
# one width, so each alternative becomes a lookbehind of its own. Captures have names, since `\N`
# ends at 99.
_GROUPS = {
    "(": ("(?P<_{number}>", "|", ")"),
    "(?:": ("(?:", "|", ")"),
    "(?=": ("(?=", "|", ")"),
    "(?!": ("(?!", "|", ")"),
    "(?<=": ("(?:(?<=", ")|(?<=", "))"),
    "(?<!": ("(?:(?<!", ")(?<!", "))"),
}
# General_Category, UnicodeData.txt's letters with the aliases of PropertyValueAliases.txt.
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


def compile_pattern(source: str) -> re.Pattern[str]:
    """Return a compiled pattern, whose `search` has the matches of `source` in ECMA-262.

    Raises:
        ValueError: `source` is not a regular expression of ECMA-262, or `re` has no equivalent.
    """
    try:
        return re.compile(_Translation(source).run(), re.ASCII)
    except re.error as error:
        reason = error.msg  # its position is that in the translation
    except (ValueError, OverflowError) as error:
        reason = str(error)
    except RecursionError:
        reason = "its groups are nested too deeply"
    raise ValueError(f"pattern {source!r:.80} can't be used: {reason}")


@dataclass
class _Group:
    """An open group.

    sign: its key in _GROUPS. first: the number of its first capture, if it has one. sure: the
        captures in it, by number, that have matched whenever a search reaches the present place.
    barred: it has more than one alternative.
    """

    sign: str
    first: int
    sure: set[int] = field(default_factory=lambda: set[int]())
    barred: bool = False


class _Translation:
    """One pass over a pattern, term by term.

    Back references need care. In ECMA-262, a reference to a group that has not matched is the empty
    text, and each round of a repetition resets its groups. In `re`, such a reference fails, and
    groups are not reset.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.names = [found["name"] or "" for found in _CAPTURE.finditer(source) if found["open"]]
        named = [name for name in self.names if name]
        if len(set(named)) < len(named):
            raise ValueError("two groups have one name")
        self.out: list[str] = []
        self.opened = 0
        self.groups = [_Group("(?:", 1)]  # the whole pattern is a group, too
        self.repeatable: range | None = None  # the captures in the previous term, if it can repeat
        self.unsure = False  # a back reference may refer to a group without a match
        self.forgets = False  # ECMA-262 may reset a capture later

    def run(self) -> str:
        """Return the pattern in the syntax of `re`."""
        at = 0
        while at < len(self.source):
            term = _TERM.match(self.source, at)
            if term and term.lastgroup == "reference" and not self.refers(term):
                term = _CLASS_ITEM.match(self.source, at)  # an octal number, or the letter k
            if not term:
                raise ValueError(f"{self.source[at : at + 10]!r} at {at} is not ECMA-262")
            self.out.append(self.translate(term))
            at = term.end()
        if len(self.groups) > 1:
            raise ValueError("a group has no end")
        if self.unsure and self.forgets:
            raise ValueError("it refers back to a group that may have been repeated or left out")
        return "".join(self.out)

    def translate(self, term: re.Match[str]) -> str:
        """Return a term in the syntax of `re`."""
        kind, text = term.lastgroup, term[0]
        if kind == "quantifier":
            return self.quantifier(term)
        if kind == "open":
            return self.open(text)
        if kind == "close":
            return self.close(term.start())
        self.repeatable = None if kind in ("bar", "edge") else range(0)
        if kind == "bar":
            self.groups[-1].sure.clear()
            self.groups[-1].barred = True
            return _GROUPS[self.groups[-1].sign][1]
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
        self.groups[-1].sure.difference_update(self.repeatable)
        self.forgets |= bool(self.repeatable) and term[0] not in ("?", "??")
        self.repeatable = None
        return term[0]

    def open(self, text: str) -> str:
        self.repeatable = None
        sign = text if text in _GROUPS else "("  # otherwise it is named
        self.groups.append(_Group(sign, self.opened + 1))
        self.opened += sign == "("
        self.forgets |= sign not in ("(", "(?:")
        return _GROUPS[sign][0].format(number=self.opened)

    def close(self, at: int) -> str:
        if len(self.groups) == 1:
            raise ValueError(f"unmatched ')' at {at}")
        group = self.groups.pop()
        sure = self.groups[-1].sure
        if group.sign == "(":
            sure.add(group.first)
        if not group.barred and not group.sign.endswith("!"):
            sure |= group.sure
        self.repeatable = range(group.first, self.opened + 1)
        if group.sign.startswith("(?<"):  # Annex B lets only lookaheads repeat
            self.repeatable = None
        return _GROUPS[group.sign][2]

    def refers(self, term: re.Match[str]) -> bool:
        """Return whether a term that looks like a back reference is one in this pattern."""
        number = term["number"]
        return int(number) <= len(self.names) if number else any(self.names)

    def reference(self, term: re.Match[str]) -> str:
        name = term["name"] or ""
        if not term["number"] and (not name or name not in self.names):
            raise ValueError(f"there is no group named {name!r:.40}")
        number = int(term["number"] or self.names.index(name) + 1)
        if number > self.opened or any((g.sign, g.first) == ("(", number) for g in self.groups):
            raise ValueError(f"the group that is referred to at {term.start()} ends later")
        if any(number in group.sure for group in self.groups):
            return f"(?P=_{number})"
        self.unsure = True  # without a match, it is the empty text
        return f"(?(_{number})(?P=_{number}))"


def _char_class(body: str, *, negated: bool) -> str:
    """Return a character class in the syntax of `re`, given the text between its brackets."""
    items = [*_CLASS_ITEM.finditer(body)]
    meanings = [_meaning(item) for item in items]
    if not items:
        return r"[\d\D]" if negated else r"[^\d\D]"
    parts: list[str] = []
    at = 0
    while at < len(items):
        size = 3 if at + 2 < len(items) and items[at + 1][0] == "-" else 1
        present = meanings[at : at + size]
        texts = [m if isinstance(m, str) else re.escape(chr(m)) for m in present]
        if size == 3 and isinstance(present[0], int) and isinstance(present[2], int):
            texts[1] = "-"  # otherwise the hyphen is literal, as in [\w-.]
        parts += texts
        at += size
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _meaning(term: re.Match[str]) -> int | str:
    """Return the code point of a term, or for a set, the inner text of a character class."""
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
            if (code := int(text.strip("xu{}"), 16)) > sys.maxunicode:
                raise ValueError(f"there is no character {text!r:.40}")
            return code
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
