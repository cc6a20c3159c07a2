r"""`pattern`: a search with the meaning of ECMA-262 edition 5.1 (OpenAPI 3.0.3, Schema Object),
also where Python's `re` means something else."""

from __future__ import annotations

import warnings

import pytest

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
    "pattern", ["(", ")", "[a", "*", "a**", "a|*", "(?<=", "\\", "[b-a]", "(?"]
)
def test_no_regular_expression(pattern: str) -> None:
    """It is refused when the schema is made, and named."""
    with pytest.raises(ValueError, match="pattern"):
        make({"type": "string", "pattern": pattern})


@pytest.mark.parametrize(
    "pattern", ["(?P<x>a)", "(?P<x>a)(?P=x)", "(?i)a", "(?#x)a", "a++", "(?>a)", "(a)(?(1)b|c)"]
)
def test_what_only_python_knows_is_refused(pattern: str) -> None:
    """A SyntaxError in ECMA-262."""
    with pytest.raises(ValueError, match="pattern"):
        make({"type": "string", "pattern": pattern})


def test_what_python_cannot_express_is_refused_or_right() -> None:
    r"""`\p{L}` has no meaning without the flag u; an unset group's back-reference is empty."""
    for pattern, text, valid in [
        (r"^\p{L}$", "é", False),
        (r"^(a)?b\1$", "b", True),
        (r"^a{,2}$", "aa", False),
    ]:
        try:
            cls = make({"pattern": pattern})
        except ValueError as error:
            assert "pattern" in str(error)  # noqa: PT017
        else:
            assert accepts(cls, text) is valid, pattern
