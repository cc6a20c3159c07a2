r"""`pattern`: a search with the meaning of ECMA-262 (OpenAPI 3.0.3, Schema Object), also where
Python's `re` means something else; code points as with the flag `u`, and what that flag forbids as
in Annex B. Each answer takes time linear in the text.

The verdicts are those of Node.js 20, where the comment gives no other source.
"""

from __future__ import annotations

import random
import re
import tracemalloc
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from humanloop.schemas.patterns import compile_pattern

from .support import accepts, deadline, make, message_of

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
    (r"(?<=a{2}b*)c", "aabbc"),
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
    (r"^\k<a>(?<a>b)$", "b"),  # a group that took no part matches empty
    (r"^(?:(a)|b)*\1$", "ab"),  # each repetition begins with empty groups
    (r"^(?=(a+))\1$", "aaa"),
    (r"(?<=(a)\1)b", "ab"),  # a lookbehind reads from right to left
    (r"(?<=\1(a))b", "aab"),
    (r"^(z)((a+)?(b+)?(c))*\3$", "zaacbbbcac" + "a"),  # RepeatMatcher's third note, and a reference
    (r"^(?:(a*?)\1)+b$", "aaaab"),
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
    (r"^\p{LC}\p{Cased_Letter}$", "aǅ"),
    (r"^\p{Any}\p{ASCII}\p{Assigned}$", "🐲aa"),
    (r"^\P{Assigned}\p{Cn}$", "\uffff\uffff"),
    (r"^\p{Uppercase}\p{Upper}\p{Lowercase}\p{Lower}$", "\u2160A\u2170ª"),
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
    (r"^(?:(a)|b)*\1$", "c"),
    (r"(?<=\1(a))b", "ab"),
    (r"^(?=(a+))\1a$", "aaa"),  # what a lookahead has matched is not tried otherwise
    (r"^(?!(a+)b)\1a$", "aab"),
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
        *[r"(?<a>b)\k", r"\u{110000}", r"[\d", "(?<>a)", r"(?<a>b)[\k]"],
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
            assert ours.search(text) is (theirs.search(text) is not None), text


# -- time and space -------------------------------------------------------------------------------

_MANY = 1_000_000


@pytest.mark.parametrize(
    ("pattern", "text", "valid"),
    [
        ("a*b", "a" * _MANY, False),
        ("^(a+)+$", "a" * _MANY + "!", False),
        ("(x+x+)+y", "x" * _MANY, False),
        ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * _MANY, False),
        ("(.*a){20}", "b" * _MANY, False),
        (r"(?=.*\d)(?=.*[a-z]).{8,}", "A" * (_MANY // 5), False),
        (r"\s+$", " " * _MANY + "x", False),
        (r"^(?!.*--)\w+$", "a" * (_MANY // 5), True),
        (r"(?<=a)c", "ab" * (_MANY // 10), False),
        ("^.*$", "".join(map(chr, range(0x4E00, 0x9FFF))) * 50, True),
    ],
)
def test_time_is_linear(pattern: str, text: str, valid: bool) -> None:
    """Each is quadratic or worse for who tries one way after the other."""
    search = compile_pattern(pattern).search
    with deadline(60):
        assert search(text) is valid


@pytest.mark.parametrize(
    ("pattern", "text", "valid"),
    [
        ("^(a?){1000}$", "a" * 1000, True),
        ("^(a?){1000}$", "a" * 1001, False),
        ("^(a?){200}a{200}$", "a" * 200, True),
        ("^(a|b)*a(a|b){20}$", "ab" * 20_000, False),
        ("^(a|b)*a(a|b){20}$", "ab" * 20_000 + "a", True),
        ("^((a{1,30}b){1,30}c){1,30}$", "aabaabc" * 30, True),
        ("^((a{1,30}b){1,30}c){1,30}$", "aabaabc" * 31, False),
        ("(a{1,100}b){1,500}c", "aab" * 1000, False),
        ("^.{0,200000}$", "a" * 1000, True),
        ("^.{1000}$", "a" * 1001, False),
        ("^.{0,2147483647}$", "a" * 1000, True),
        ("^(((a?){9}){9}){9}$", "a" * 729, True),
        ("^(((a?){9}){9}){9}$", "a" * 730, False),
        ("^(?:" + "|".join(f"word{n}" for n in range(2000)) + ")$", "word1999", True),
        ("^((((a*)*)*)*)*$", "a" * 1000 + "b", False),
        ("(?=a{1,50}b)" * 20, "a" * 2000, False),
    ],
)
def test_counts_and_choices_do_not_explode(pattern: str, text: str, valid: bool) -> None:
    with deadline(30):
        assert compile_pattern(pattern).search(text) is valid


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("((a{1,100}){1,100}){1,100}", "it repeats too much"),
        ("a{1000000}", "it repeats too much"),
        ("(a{1000}){2000000}", "it repeats too much"),
        ("((((a?b?){16}){16}){16}){16}", "it repeats too much"),
        ("((a|b?c){9}d?){20000}", "it repeats too much"),
        ("(" * 30_000, "nested more than 50 deep"),
        ("(?:" * 51 + ")" * 51, "nested more than 50 deep"),
        ("(?=" * 51 + ")" * 51, "nested more than 50 deep"),
        ("a" * 30_001, "longer than 30,000 characters"),
        ("(?=a)" * 65, "more than 64 lookarounds"),
        ("a{" + "9" * 5000 + "}", "."),
    ],
)
def test_what_could_not_be_bounded_is_refused(pattern: str, reason: str) -> None:
    with deadline(30), pytest.raises(ValueError, match=f"pattern .* can't be used: .*{reason}"):
        compile_pattern(pattern)


def test_deep_patterns_work() -> None:
    for opening in ("(", "(?:a|b*|", "(?=", "(?<!"):
        for closing in (")", ")" if opening == "(?<!" else ")*"):
            compile_pattern(opening * 50 + closing * 50).search("aab")


def test_states_are_forgotten_when_they_are_many() -> None:
    """The verdicts stay right then, and what is kept stays small."""
    search = compile_pattern("^(a|b)*a(a|b){16}$").search
    texts = ["".join(random.Random(n).choices("ab", k=8000)) for n in range(4)]
    tracemalloc.start()
    try:
        for text in texts:
            assert search(text) is (text[-17] == "a")
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("pattern", "valid"), [("^b", False), ("^ab*c", False), ("ab", True)])
def test_the_end_is_not_read_when_it_cannot_matter(pattern: str, valid: bool) -> None:
    class Text(str):
        read = 0

        def __iter__(self) -> Iterator[str]:
            for char in super().__iter__():
                self.read += 1
                yield char

    text = Text("ab" * 50)
    assert compile_pattern(pattern).search(text) is valid
    assert text.read <= 4


def test_threads_may_share_a_pattern() -> None:
    texts = ["".join(random.Random(n).choices("ab1-", k=50)) for n in range(64)]
    source = r"^(?=.*\d)(?!.*----)(a|b|1|-)*a(a|b|1|-){6}$"
    wanted = [re.search(source, text) is not None for text in texts]
    compile_pattern.cache_clear()
    search = compile_pattern(source).search
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(search, texts * 4)) == wanted * 4
    assert {*wanted} == {True, False}


def test_back_references_have_a_budget_of_steps() -> None:
    """They are not regular. Who uses the budget up does not match, and the message says so."""
    cls = make({"pattern": r"^(a+)+\1$"})
    assert accepts(cls, "aa")
    assert "found within 200,000 steps" in message_of(cls, "b")
    assert "steps" not in message_of(make({"pattern": "a"}), "b")
    with deadline(30):
        assert not compile_pattern(r"^(a+)+\1$").search("a" * 30 + "!")
        assert not compile_pattern(r"(.)(.)(.*)\3\2\1x").search("ab" * 1_000_000)
        assert not compile_pattern(r"(?:(?=(a+))|\b)*\1c").search("a" * 1_000_000)
