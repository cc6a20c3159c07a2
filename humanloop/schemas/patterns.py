r"""ECMA-262 regular expressions: the dialect of the keyword `pattern`, read and made ready.

A pattern means what it does there with the flag `u`: a character is a code point, `\d`, `\w` and
`\b` are ASCII, `\s` is ECMA's white space, `$` is the very end. What that flag forbids but
patterns in the wild have is read as Annex B of ECMA-262 reads it: `\Z` and `\-` are the letter
itself, braces that count nothing are characters. Properties (`\p{...}`) are the general
categories, and those whose exact members Python knows.

The answer takes time linear in the text, and memory for one byte per character and lookaround.
Patterns with a back reference are the exception: they get a fixed number of steps, and no match
if these do not suffice.

Refused, since nothing would bound the time otherwise, are patterns of more than 30,000 characters
or 64 lookarounds, groups nested more than 50 deep, and repetitions that amount to more than 262,144
characters or to too many ways between these (`automaton` counts them). An upper limit of 2**31 - 1
or more, which no text reaches, is none.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

from humanloop.schemas.automaton import (
    STEPS,
    WORD,
    Automaton,
    Back,
    Backtracking,
    Capture,
    Chars,
    Choice,
    Edge,
    Look,
    Node,
    Repeat,
    Run,
)

__all__ = ["Pattern", "compile_pattern"]

_DEPTH = 50
_LENGTH = 30_000
_LOOKS = 64
_UNBOUNDED = 2**31 - 1  # no text is longer
_END = 0x110000

Bounds = tuple[int, ...]


class Pattern:
    """A pattern, ready to use.

    `search` tells whether it matches anywhere in a text, and `note` what a user has to know of
    the verdict.
    """

    def __init__(self, source: str) -> None:
        if len(source) > _LENGTH:
            raise ValueError(f"it is longer than {_LENGTH:,} characters")
        parser = _Parser(source, {}, 0)
        node = parser.read()
        if parser.groups:
            parser = _Parser(source, parser.names, parser.groups)
            node = parser.read()
        self.note = ""
        self.search: Callable[[str], bool]
        if parser.backs:
            self.note = f", found within {STEPS:,} steps"
            self.search = Backtracking(node, parser.groups).search
            return
        self._looks = [Automaton(look.body, backward=not look.behind) for look in parser.looks]
        self._whole = Automaton(node)
        self.search = self._look_and_search if self._looks else self._whole.search

    def _look_and_search(self, text: str) -> bool:
        tables: list[bytearray] = []
        for look in self._looks:
            tables.append(look.marks(text, tables))
        return self._whole.search(text, tables)


@lru_cache(maxsize=256)
def compile_pattern(source: str) -> Pattern:
    """The pattern `source` of ECMA-262, ready to `search` with.

    Raises:
        ValueError: `source` is no regular expression, or one that is refused (see above).
    """
    try:
        return Pattern(source)
    except ValueError as error:
        raise ValueError(f"pattern {source!r:.80} can't be used: {error}") from error


def _union(parts: Iterable[Bounds]) -> Bounds:
    """The characters of all the parts."""
    bounds: list[int] = []
    pairs = [pair for part in parts for pair in zip(part[::2], part[1::2], strict=True)]
    for start, end in sorted(pairs):
        if bounds and start <= bounds[-1]:
            bounds[-1] = max(bounds[-1], end)
        else:
            bounds += (start, end)
    return tuple(bounds)


def _others(bounds: Bounds) -> Bounds:
    """All the other characters."""
    start = bounds[1:] if bounds[:1] == (0,) else (0, *bounds)
    return start[:-1] if start[-1:] == (_END,) else (*start, _END)


_NEWLINES = (10, 11, 13, 14, 0x2028, 0x202A)
_SETS = {
    "d": (48, 58),
    "w": WORD.bounds,
    "s": (
        *(9, 14, 32, 33, 0xA0, 0xA1, 0x1680, 0x1681, 0x2000, 0x200B, 0x2028, 0x202A),
        *(0x202F, 0x2030, 0x205F, 0x2060, 0x3000, 0x3001, 0xFEFF, 0xFF00),
    ),
}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_DIGITS = frozenset("0123456789")
_OCTAL = frozenset("01234567")
_HEX = frozenset("0123456789abcdefABCDEF")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _Parser:
    """Reads a pattern by recursive descent.

    A reference may come before its group, and stands for characters where there is no such group:
    `known` and `count` are the names and the number of all groups.
    """

    def __init__(self, source: str, known: Mapping[str, int], count: int) -> None:
        self.source, self.index = source, 0
        self.known, self.count = known, count
        self.names: dict[str, int] = {}
        self.groups = 0
        self.looks: list[Look] = []
        self.backs = False
        self.sets: dict[Bounds, Chars] = {}

    def read(self) -> Node:
        """The tree of the whole pattern."""
        node = self.choice(0)
        if self.index < len(self.source):
            raise ValueError(f"unmatched ')' at {self.index}")
        return node

    def take(self, text: str) -> bool:
        """Whether `text` comes next; then it is read."""
        found = self.source.startswith(text, self.index)
        self.index += len(text) if found else 0
        return found

    def take_while(self, allowed: Container[str], most: int) -> str:
        """The characters that come next, as long as they are allowed, but so many at the most."""
        start = self.index
        end = min(start + most, len(self.source))
        while self.index < end and self.source[self.index] in allowed:
            self.index += 1
        return self.source[start : self.index]

    def next(self) -> str:
        """The next character."""
        if self.index == len(self.source):
            raise ValueError("it ends too early")
        self.index += 1
        return self.source[self.index - 1]

    def choice(self, depth: int) -> Node:
        """Alternatives, up to the end or a closing parenthesis."""
        if depth > _DEPTH:
            raise ValueError(f"groups are nested more than {_DEPTH} deep")
        options: list[list[Node]] = [[]]
        while self.index < len(self.source) and not self.source.startswith(")", self.index):
            if self.take("|"):
                options.append([])
            else:
                options[-1].append(self.term(depth))
        runs = [items[0] if len(items) == 1 else Run(items) for items in options]
        return runs[0] if len(runs) == 1 else Choice(runs)

    def term(self, depth: int) -> Node:
        """One part and how often it comes."""
        start, groups = self.index, self.groups
        if self.quantifier():
            raise ValueError(f"nothing to repeat at {start}")
        node = self.atom(depth)
        start = self.index
        found = self.quantifier()
        if found is None:
            return node
        if isinstance(node, Edge) or (isinstance(node, Look) and node.behind):
            raise ValueError(f"nothing to repeat at {start}")
        low, high = found
        if high is not None and high < low:
            raise ValueError(f"numbers out of order at {start}")
        return Repeat(node, low, high, self.take("?"), (groups, self.groups))

    def quantifier(self) -> tuple[int, int | None] | None:
        """The least and the greatest number of times, if a quantifier comes next."""
        for sign, found in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return found
        start = self.index
        if self.take("{") and (low := self.take_while(_DIGITS, _LENGTH)):
            high = self.take_while(_DIGITS, _LENGTH) if self.take(",") else low
            if self.take("}"):
                return int(low), int(high) if high and int(high) < _UNBOUNDED else None
        self.index = start
        return None

    def atom(self, depth: int) -> Node:
        """One part: a group, an assertion, a reference or a set of characters."""
        char = self.next()
        if char == "(":
            return self.group(depth + 1)
        if char in "^$":
            return Edge(char)
        if char == ".":
            return self.chars(_others(_NEWLINES))
        if char == "[":
            return self.chars(self.char_class())
        if char != "\\":
            return self.chars(_one(ord(char)))
        if self.take("b"):
            return Edge("b")
        if self.take("B"):
            return Edge("B")
        return self.reference() or self.chars(_bounds(self.escape(in_class=False)))

    def chars(self, bounds: Bounds) -> Chars:
        """The set of characters, equal ones being one."""
        return self.sets.setdefault(bounds, Chars(bounds))

    def group(self, depth: int) -> Node:
        """What stands in parentheses, the opening one being read."""
        start = self.index
        for sign in ("?=", "?!", "?<=", "?<!"):
            if self.take(sign):
                body = self.close(depth)
                if len(self.looks) == _LOOKS:
                    raise ValueError(f"it has more than {_LOOKS} lookarounds")
                look = Look(body, "<" in sign, "!" in sign, len(self.looks))
                self.looks.append(look)
                return look
        if self.take("?:"):
            return Run([self.close(depth)])  # a group may be repeated, whatever it contains
        number = self.groups
        self.groups += 1
        if self.take("?<"):
            name = self.name()
            if name in self.names:
                raise ValueError(f"two groups are named {name!r:.40}")
            self.names[name] = number
        elif self.take("?"):
            raise ValueError(f"unknown kind of group at {start}")
        return Capture(self.close(depth), number)

    def close(self, depth: int) -> Node:
        """The rest of a group."""
        body = self.choice(depth)
        if not self.take(")"):
            raise ValueError("a group has no end")
        return body

    def name(self) -> str:
        """The name of a group, up to the bracket that ends it."""
        end = self.source.find(">", self.index)
        name = self.source[self.index : end]
        if end < 0 or not name.replace("$", "_").isidentifier():
            raise ValueError(f"a group has no proper name at {self.index}")
        self.index = end + 1
        return name

    def reference(self) -> Node | None:
        """What comes after a backslash, if it refers to a group."""
        start = self.index
        if self.known and self.take("k"):
            name = self.name() if self.take("<") else ""
            if name not in self.known:
                raise ValueError(f"there is no group named {name!r:.40}")
            self.backs = True
            return Back(self.known[name])
        digits = self.take_while(_DIGITS, 6)
        if digits and digits[0] != "0" and int(digits) <= self.count:
            self.backs = True
            return Back(int(digits) - 1)
        self.index = start
        return None

    def char_class(self) -> Bounds:
        """The set in brackets, the opening one being read."""
        negated = self.take("^")
        parts: list[Bounds] = []
        while not self.take("]"):
            low = self.class_atom()
            if not self.source.startswith("-", self.index) or self.source.startswith(
                "-]", self.index
            ):
                parts.append(_bounds(low))
                continue
            self.next()
            high = self.class_atom()
            if isinstance(low, tuple) or isinstance(high, tuple):
                parts += (_bounds(low), _one(ord("-")), _bounds(high))
            elif low > high:
                raise ValueError(f"a range is out of order at {self.index}")
            else:
                parts.append((low, high + 1))
        return _others(_union(parts)) if negated else _union(parts)

    def class_atom(self) -> int | Bounds:
        char = self.next()
        if char != "\\":
            return ord(char)
        return 8 if self.take("b") else self.escape(in_class=True)

    def escape(self, *, in_class: bool) -> int | Bounds:
        """What comes after a backslash: a code point or a set of characters."""
        letter = self.next()
        if letter.lower() in _SETS:
            bounds = _SETS[letter.lower()]
            return bounds if letter.islower() else _others(bounds)
        if letter in "pP" and self.take("{"):
            bounds = _property(self.until("}"))
            return bounds if letter == "p" else _others(bounds)
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "c":
            allowed = _LETTERS | _DIGITS | {"_"} if in_class else _LETTERS
            if control := self.take_while(allowed, 1):
                return ord(control) % 32
            self.index -= 1
            return ord("\\")
        if letter in _OCTAL:
            self.index -= 1
            return int(self.take_while(_OCTAL, 3 if letter in "0123" else 2), 8)
        if letter == "k" and self.known:
            raise ValueError(f"nothing to refer to at {self.index}")
        code = self.hexadecimal(letter) if letter in "xu" else None
        return ord(letter) if code is None else code

    def hexadecimal(self, letter: str) -> int | None:
        """The code point that `x` or `u` begins, a surrogate pair being one, if it does."""
        start = self.index
        if letter == "u" and self.take("{"):
            digits = self.take_while(_HEX, _LENGTH)
            if digits and self.take("}"):
                if int(digits, 16) >= _END:
                    raise ValueError(f"there is no such character at {start}")
                return int(digits, 16)
            self.index = start
            return None
        digits = self.take_while(_HEX, length := 2 if letter == "x" else 4)
        if len(digits) < length:
            self.index = start
            return None
        code, start = int(digits, 16), self.index
        if 0xD800 <= code < 0xDC00 and self.take("\\u"):
            low = self.take_while(_HEX, 4)
            if len(low) == 4 and 0xDC00 <= int(low, 16) < 0xE000:
                return 0x10000 + (code - 0xD800 << 10) + int(low, 16) - 0xDC00
            self.index = start
        return code

    def until(self, end: str) -> str:
        """What stands before `end`, which is read too."""
        found = self.source.find(end, self.index)
        if found < 0:
            raise ValueError(f"{end!r} is missing")
        text, self.index = self.source[self.index : found], found + 1
        return text


def _one(code: int) -> Bounds:
    return code, code + 1


def _bounds(found: int | Bounds) -> Bounds:
    return _one(found) if isinstance(found, int) else found


# General_Category in UnicodeData.txt's letters, with the aliases of PropertyValueAliases.txt.
_CATEGORIES = """
C Other|Cc Control cntrl|Cf Format|Cn Unassigned|Co Private_Use|Cs Surrogate|L Letter
LC Cased_Letter|Ll Lowercase_Letter|Lm Modifier_Letter|Lo Other_Letter|Lt Titlecase_Letter
Lu Uppercase_Letter|M Mark Combining_Mark|Mc Spacing_Mark|Me Enclosing_Mark|Mn Nonspacing_Mark
N Number|Nd Decimal_Number digit|Nl Letter_Number|No Other_Number|P Punctuation punct
Pc Connector_Punctuation|Pd Dash_Punctuation|Pe Close_Punctuation|Pf Final_Punctuation
Pi Initial_Punctuation|Po Other_Punctuation|Ps Open_Punctuation|S Symbol|Sc Currency_Symbol
Sk Modifier_Symbol|Sm Math_Symbol|So Other_Symbol|Z Separator|Zl Line_Separator
Zp Paragraph_Separator|Zs Space_Separator
"""


# `isupper` and `islower` look at these derived properties; `isalpha`, `isspace` and the other
# methods of `str` have rules of their own.
_BINARY = {
    "Uppercase": str.isupper,
    "Upper": str.isupper,
    "Lowercase": str.islower,
    "Lower": str.islower,
}


@lru_cache
def _property(name: str) -> Bounds:
    r"""The members of the property that stands between the braces of `\p{...}`."""
    import unicodedata

    if name in ("Any", "ASCII"):
        return 0, _END if name == "Any" else 128
    if name == "Assigned":
        return _others(_property("Cn"))
    if name in _BINARY:
        return _members(_BINARY[name], (True,))
    key, equals, value = name.rpartition("=")
    known = [line.split() for line in _CATEGORIES.strip().replace("\n", "|").split("|")]
    codes = [line[0] for line in known if value in line]
    if not codes or (equals and key not in ("General_Category", "gc")):
        raise ValueError(f"the property {name!r:.40} is not supported")
    prefix = ("Lu", "Ll", "Lt") if codes[0] == "LC" else codes[0]
    return _members(unicodedata.category, [line[0] for line in known if line[0].startswith(prefix)])


def _members(classify: Callable[[str], object], wanted: Container[object]) -> Bounds:
    """The characters that are classified as wanted."""
    starts = _changes(classify)
    ends = [start for start, _ in starts[1:]] + [_END]
    return _union(
        [(start, end) for (start, found), end in zip(starts, ends, strict=True) if found in wanted]
    )


@lru_cache
def _changes(classify: Callable[[str], object]) -> list[tuple[int, object]]:
    """Where in the order of all characters the classification changes, and to what.

    It takes a few tenths of a second, once.
    """
    classified = enumerate(map(classify, map(chr, range(_END))))
    return [next(group) for _, group in groupby(classified, key=itemgetter(1))]
