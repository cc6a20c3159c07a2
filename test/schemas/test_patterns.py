r"""`pattern`: a search with the meaning of ECMA-262 (OpenAPI 3.0.3, Schema Object), also where
Python's `re` means something else; code points as with the flag `u`, and what that flag forbids as
in Annex B.

The verdicts are those of Node.js 20, where the comment gives no other source.
"""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanloop.schemas.patterns import compile_pattern

from .support import accepts, make, message_of

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
    (r"^(?:(a)|b)\1$", "b"),  # a group that took no part matches the empty text
    (r"^(a)?b\1$", "b"),
    (r"^(a)\1+0$", "aaa0"),
    (r"^(?:(?<=a|^|bc)d)$", "d"),
    # Annex B
    (r"^a{,2}$", "a{,2}"),
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
    "pattern", ["(?P<x>a)", "(?P<x>a)(?P=x)", "(?i)a", "(?#x)a", "a++", "(?>a)", "(a)(?(1)b|c)"]
)
def test_what_only_python_knows_is_refused(pattern: str) -> None:
    """A SyntaxError in ECMA-262."""
    with pytest.raises(ValueError, match="pattern"):
        make({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "name", ["Script=Greek", "sc=Grek", "Alphabetic", "Emoji", "x=L", "", "=L"]
)
def test_other_properties_are_refused(name: str) -> None:
    """Python does not know their members."""
    with pytest.raises(ValueError, match=f"the property '{name}' is not supported"):
        make({"pattern": rf"\p{{{name}}}"})


# -- the same verdicts as another engine ----------------------------------------------------------

_ATOMS = [
    "a",
    "b",
    "[ab]",
    "[^a]",
    ".",
    "",
    "^",
    r"\b",
    r"\B",
    r"\w",
    "(?=a)",
    "(?!b)",
    "(?<=a)",
    "(?<!b)",
]
_patterns = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda both: f"(?:{both[0]}|{both[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
            lambda both: f"(?:{both[0]}){both[1]}"
        ),
        inner.map(lambda body: f"(?={body})"),
        inner.map(lambda body: f"(?!{body})"),
    ),
    max_leaves=8,
)


@given(_patterns, st.lists(st.text("ab-", max_size=10), min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_agrees_with_python_where_both_mean_the_same(pattern: str, texts: list[str]) -> None:
    """Whatever is neither Unicode nor a reference: no line ends, ASCII only."""
    # Before 3.14, Python says that the empty text has no place that is no word's boundary.
    ours, theirs = compile_pattern(pattern), re.compile(pattern, re.ASCII)
    for text in texts:
        if text or r"\B" not in pattern:
            assert bool(ours.search(text)) is bool(theirs.search(text)), text


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"^(?:(a)|b)*\1$", "it refers back, and repeats a group that captures"),
        (r"(?=(a))\1", "it refers back, and repeats"),
        (r"\1(a)", "the group that is referred to at 0 ends later"),
        (r"(a\1)", "the group that is referred to at 2 ends later"),
        (r"\k<a>(?<a>b)", "the group that is referred to at 0 ends later"),
        ("(?<=a*)b", "fixed-width"),
        ("(" * 5_000, "deeply|no end"),
        ("a{" + "9" * 5_000 + "}", "."),
    ],
)
def test_what_re_can_not_say_is_refused(pattern: str, reason: str) -> None:
    """The message names the pattern and the place in the schema."""
    with pytest.raises(ValueError, match=f"schema at Thing/properties/a: pattern .*{reason}"):
        make({"properties": {"a": {"pattern": pattern}}})


def test_a_value_that_does_not_match_is_told_the_pattern() -> None:
    assert message_of({"pattern": r"^\d+$"}, "x").startswith("expected a string that matches '^")
