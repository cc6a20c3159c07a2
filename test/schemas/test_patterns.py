r"""`pattern`: a search with the meaning of ECMA-262 (OpenAPI 3.0.3, Schema Object).

This holds also where Python's `re` differs; characters are code points as with the flag `u`, and
forms forbidden by that flag are read as in Annex B. Patterns that `re` can't express are refused.

The verdicts are those of Node.js 20, where the comment gives no other source.
"""

from __future__ import annotations

import sys
import warnings

import pytest

from humanloop.schemas.patterns import compile_pattern

from .support import accepts, make

MATCHES = [
    ("b", "abc"),  # a search, not a full match (JSON Schema Validation 5.8)
    ("", ""),
    ("^a*$", "aaa"),
    (r"^\d+$", "019"),
    (r"^\w+$", "aZ_9"),
    (r"^\s$", "\u00a0"),
    (r"^\s$", "\ufeff"),
    (r"^\s$", "\u2029"),
    (r"^\s$", "\u3000"),
    (r"^\s$", "\x0b"),
    (r"^\S$", "\x1c"),
    (r"^\S$", "\x85"),
    (r"^\D$", "\u0661"),
    (r"^\W$", "é"),
    (r"^[\s\S]*$", "a\n b"),
    (r"^[^\S]$", " "),
    (r"^[\w\S]$", "é"),
    (r"^[\d\D]$", "x"),
    (r"^[\s]$", "\ufeff"),
    (r"^[^\s]$", "a"),
    (r"^.$", "\x85"),
    (r"^.$", "\x0b"),
    (r"^[^]$", "\n"),
    (r"^[[]$", "["),
    (r"^[\]]$", "]"),
    (r"^[a&&b]+$", "&&ab"),
    (r"^[a||b]$", "|"),
    (r"^[\w-]+$", "a-b"),
    (r"^[\b]$", "\b"),
    (r"^\x41\u0042$", "AB"),
    (r"^\cJ$", "\n"),
    (r"^\/\-$", "/-"),
    (r"^\t\n\v\f\r\0$", "\t\n\v\f\r\0"),
    (r"(?:a|b){2}", "ab"),
    (r"^(a)(b)\2\1$", "abba"),
    (r"^a(?=b)", "ab"),
    (r"^a(?!b)", "ac"),
    (r"^a+?$", "aa"),
    (r"\bfoo\b", "a foo b"),
    (r"\bé", "aé"),
    (r"^\$\^\.$", "$^."),
    (r"a]", "a]"),
    ("^🐲*$", "🐲🐲"),
    (r"^\ud83d\udc32$", "🐲"),
    (r"^\ud800$", "\ud800"),
    (r"^.$", "🐲"),
    (r"^[🐀-🐳]$", "🐲"),
    (r"^\u{1F432}\u{61}$", "🐲a"),
    (r"^[^a]$", "\udc00"),
    (r"^$", ""),
    (r"$^", ""),
    (r"^\B$", ""),
    (r"a$|^b", "ca"),
    (r"(^|,)b(,|$)", "a,b"),
    (r"(?:^a|\bb)+c", "bc"),
    (r"(?<=a)b", "ab"),
    (r"(?<!a)b", "bb"),
    (r"(?<=^|,)b(?=,|$)", "a,b"),
    (r"(?<=(?=ab)..)c", "abc"),  # a lookahead inside a lookbehind
    (r"(?=(?<=a)b(?!c))b", "abd"),
    (r"(?<=\bfoo) bar", "a foo bar"),
    (r"(?!^)a", "aa"),
    (r"(?=a)*b", "b"),  # B.1.2: a lookahead with a quantifier
    (r"^(?:(?=\d)|a)+\d$", "aa1"),
    (r"^(a?b?){3}$", "abba"),
    (r"^(?:a|\b){3}-$", "a-"),
    (r"^((a?){2}b){2}$", "abaab"),
    (r"^(a{2,3}){2}$", "aaaaaa"),
    (r"^(?:){5,}$", ""),
    (r"^(a*)*$", "aaa"),
    (r"^(a*?)+?b$", "aab"),
    (r"^a{0}$", ""),
    (r"^x{2,}$", "xxxx"),
    (r"^\b(?:a|ab)(?:c|bcd)\b$", "abcd"),
    (r"^(?<year>\d{4})-\k<year>$", "2024-2024"),
    (r"^(?=(a+))\1$", "aaa"),
    (r"^(a)?\1b$", "b"),  # a group without a match is the empty text
    (r"^(?:(a)|b\1)$", "b"),
    (r"^([\"'])?x\1$", "x"),
    (r"^([\"'])?x\1$", "'x'"),
    (r"^(?:(.)(?!.*\1))+$", "abc"),  # in each round, the capture of that round
    (r"^(?!.*(.)\1)", "abab"),
    (r"()" * 100 + r"(a)\1\101$", "aa"),
    (r"^(?:(a*?)\1)+b$", "aaaab"),
    # Annex B
    (r"^a{,2}$", "a{,2}"),
    (r"^[[][--a][&&][~~][||]$", "[-&~|"),  # re would warn of set operations
    (r"^[a-\d-z]+$", "a-1z"),
    (r"^[^]]$", "x]"),  # the class ends at once
    (r"^{a}$", "{a}"),
    (r"^}]$", "}]"),
    (r"^a{1$", "a{1"),
    (r"^\Z\A\Q$", "ZAQ"),
    (r"^\k$", "k"),
    (r"^\1$", "\x01"),
    (r"^\101\60$", "A0"),
    (r"^\8$", "8"),
    (r"^\c$", "\\c"),
    (r"^[\c1\c_]+$", "\x11\x1f"),
    (r"^\x4\u12\u{x}$", "x4u12u{x}"),
    (r"^[\w-.]+$", "a-."),
    (r"^[\d-x]+$", "1-x"),
    (r"^[\B\k]+$", "Bk"),
    (r"^\pL$", "pL"),
    # properties
    (r"^\p{L}$", "é"),
    (r"^\p{Letter}\P{L}$", "ß1"),
    (r"^[\p{Lu}\d]+$", "Ä1"),
    (r"^[^\p{L}]$", "1"),
    (r"^\p{Nd}\p{digit}\p{Decimal_Number}$", "\u06f0\u06f1\u06f2"),
    (r"^\p{gc=Sc}\p{General_Category=Currency_Symbol}$", "€$"),
    (r"^\p{punct}+$", "!?_-"),
    (r"^\p{Cs}$", "\ud800"),
]
MISMATCHES = [
    ("^a*$", "aab"),
    (r"^abc$", "abc\n"),
    (r"^\d$", "\u0661"),
    (r"^\w$", "é"),
    (r"^\s$", "\x1c"),
    (r"^\s$", "\x85"),
    (r"^\S$", "\ufeff"),
    (r"^.$", "\n"),
    (r"^.$", "\r"),
    (r"^.$", "\u2028"),
    (r"^.$", "\u2029"),
    (r"[]", "a"),
    (r"^[]]$", "]"),
    (r"^(?:[])*b$", "ab"),
    (r"^(a)?\1$", "a"),
    (r"^([\"'])?x\1$", "'x"),
    (r"^(?:(.)(?!.*\1))+$", "abca"),
    (r"^(?!.*(.)\1)", "abba"),
    (r"(?<!ab|c)d", "abd"),
    (r"^b", "a\nb"),
    (r"a$", "a\nb"),
    (r"^[^\S]$", "a"),
    ("^🐲*$", "🐉"),
    (r"^a(?!b)", "ab"),
    (r"A", "a"),
    (r"\bfoo\b", "xfoo"),
    (r"^..$", "🐲"),
    (r"\b", ""),
    (r"^(?:a|\b){3}$", "aaaa"),
    (r"(?<=a)b", "bb"),
    (r"(?<!a)b", "ab"),
    (r"(?<=^|,)b(?=,|$)", "a,bc"),
    (r"(?<=(?=ac)..)c", "abc"),
    (r"^(?!.*--)[a-z-]+$", "a--b"),
    (r"^(?=.*\d)(?=.*[a-z]).{8,}$", "abcdefgh"),
    (r"^(?=.*\d)(?=.*[a-z]).{8,}$", "abc1"),
    (r"^(a?b?){3}$", "bababa" + "ba"),
    (r"^((a?){2}b){2}$", "abaaab"),
    (r"^(a{2,3}){2}$", "aaaaaaa"),
    (r"^(aa|aaa){2}$", "aaaaaaa"),
    (r"^a{2}$", "aaa"),
    (r"^x{2,}$", "x"),
    (r"^(a)\1$", "ab"),
    (r"^(?=(a+))\1a$", "aaa"),  # a lookahead's match is final
    (r"^\p{L}$", "1"),
    (r"^\p{Lowercase_Letter}$", "ª"),
    (r"^[\p{Lu}\d]+$", "ä"),
    (r"^[^\p{L}\d]$", "1"),
]


@pytest.mark.parametrize(("pattern", "text"), MATCHES)
def test_matches(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accepts({"pattern": pattern}, text)


@pytest.mark.parametrize(("pattern", "text"), MISMATCHES)
def test_mismatches(pattern: str, text: str) -> None:
    assert not accepts({"pattern": pattern}, text)


@pytest.mark.parametrize(
    "pattern",
    [
        *["(", ")", "[a", "*", "a**", "a|*", "(?<=", "\\", "[b-a]", "(?", "a{2}{3}", "{1}", "^*"],
        *[r"\b+", "(?<=a)*", "a{2,1}", "(?<a>b)(?<a>c)", "(?<1>a)", "(?<a)", r"(?<a>b)\k<c>"],
        *[r"(?<a>b)\k", r"\u{110000}", r"[\d", "(?<>a)"],
    ],
)
def test_no_regular_expression(pattern: str) -> None:
    """It is refused when the schema is made, and named."""
    with pytest.raises(ValueError, match=r"pattern .* can't be used: "):
        make({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "pattern",
    [
        *["(?P<x>a)", "(?P<x>a)(?P=x)", "(?i)a", "(?i:a)", "(?#x)a", "(?>a)", "(a)(?(1)b|c)"],
        *["a++", "a*+", "a?+", "a{2}+"],
    ],
)
def test_what_only_python_knows_is_refused(pattern: str) -> None:
    """A SyntaxError in ECMA-262."""
    with pytest.raises(ValueError, match="pattern"):
        make({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "name", ["Script=Greek", "sc=Grek", "Alphabetic", "Emoji", "LC", "x=L", "", "=L"]
)
def test_other_properties_than_general_categories_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the property '{name}' is not supported"):
        make({"pattern": rf"\p{{{name}}}"})


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"^(?:(a)|b)*\1$", "repeated or left out"),  # ECMA-262 resets the captures in each round
        (r"^(a?)*\1$", "repeated or left out"),
        (r"^(?:(?:(a)|b)\1)+$", "repeated or left out"),
        (r"^(?:(?=(a)))?a\1", "repeated or left out"),
        (r"^(?!(a)b)\1a$", "repeated or left out"),
        (r"^\k<a>(?<a>b)$", "ends later"),
        (r"^(a\1)$", "ends later"),
        (r"(?<=\1(a))b", "ends later"),  # a lookbehind reads from right to left
        (r"(?<=(a)\1)b", "same lookbehind"),
        (r"(?<=a{2}b*)c", "fixed-width"),
        ("a{4294967296}", "too large"),
        ("a{" + "9" * 5000 + "}", "."),
        ("(" * 5_000 + ")" * 5_000, "nested too deeply"),
    ],
)
def test_what_python_cannot_say_is_refused_by_name_and_place(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^schema at Thing#/properties/a: pattern .*{reason}"):
        make({"properties": {"a": {"pattern": pattern}}})


def test_white_space_and_all_else_are_every_character() -> None:
    """ECMA-262 5.1, sections 7.2 and 7.3."""
    space, other = compile_pattern(r"^\s$"), compile_pattern(r"^[\S]$")
    found = {c for c in map(chr, range(sys.maxunicode + 1)) if space.search(c)}
    assert found == {
        *"\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff",
        *map(chr, range(0x2000, 0x200B)),
    }
    assert all((c in found) is not bool(other.search(c)) for c in map(chr, range(0x11000)))
