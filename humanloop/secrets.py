"""Which names hold secrets, how a text loses them, and how messages shorten text and guess names.

A leaf: it imports nothing of the package. Each of these meanings is defined here and nowhere else.

Invariants: text is redacted before anything is cut from it or put together with it; a redacted text
holds a secret in none of the forms in which JSON, a URL or Python write it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast
from urllib.parse import quote

__all__ = [
    "MASK",
    "brief",
    "did_you_mean",
    "is_secret_name",
    "likely_name",
    "mask_keys",
    "masked_start",
    "one_line",
    "printable",
    "redact",
    "redact_error",
    "redact_json",
    "secret_values",
    "shorten",
    "shorten_middle",
]

MASK = "***"

SHORTEST_SECRET = 8
"""Characters. What is shorter may be an ordinary word, and is not replaced in text."""

SHOWN_CHARACTERS = 60
"""How much of a value a message shows."""

SHOWN_ITEMS = 3
"""How many items a list that a message shows may have."""

SEARCHED_CHARACTERS = 200
"""How much of a value is searched for keys before a message shows the start of it."""

LIKENESS = 0.7
"""How similar two spellings are, from 0 to 1, before one is suggested for the other."""

CANDIDATES = 1000
LONGEST_NAME = 64
"""Where names are guessed: how many are compared, and of how many characters. Comparing is slow."""

_SECRET_NAME = re.compile(
    r"(api|access|secret|private)[-_]?key|authorization|passw(or)?d|secret|(access|auth)[-_]?token"
    r"|(^|[-_])(keys?|token|cookie)$",
    re.IGNORECASE,
)
_KEY = re.compile(r"\b(sk|pk|hl|key)[-_][A-Za-z0-9_-]{6,}", re.IGNORECASE)

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_JSON_TOKEN = re.compile(
    rf"(?P<name>{_STRING})\s*:|(?P<open>[\[{{])|(?P<close>[\]}}])|(?P<next>,)"
    rf"|(?P<value>{_STRING}|-?[0-9][^\s,\]}}]*)",
)


# -- secrets --------------------------------------------------------------------------------------


def is_secret_name(name: object) -> bool:
    """Tell whether a header, a key or a parameter of this name holds a secret."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def mask_keys(text: str) -> str:
    """Replace by stars whatever looks like an API key."""
    return _KEY.sub(MASK, text)


def masked_start(text: str) -> str:
    """Return the start of a text, more than a message shows, with stars for API keys."""
    return mask_keys(text[:SEARCHED_CHARACTERS])


def secret_values(value: object, *, secret: bool = False) -> Iterator[str]:
    """Yield the strings that stand under secret names in decoded JSON."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from secret_values(item, secret=secret or is_secret_name(name))
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from secret_values(item, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def redact(text: str, secrets: Iterable[str], mask: str = MASK) -> str:
    """Replace each secret that is longer than a word, in whichever form it is written."""
    long = (secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
    forms = {form for secret in long for form in _written_forms(secret)}
    # The longest first, since one may be the beginning of another.
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= SHORTEST_SECRET:
            text = text.replace(form, mask)
    return text


def _written_forms(secret: str) -> tuple[str, ...]:
    as_json = (json.dumps(secret, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False))
    texts = (secret, secret.strip(), *as_json, repr(secret)[1:-1])
    return (*texts, quote(secret, safe=""), quote(secret))


def redact_json(text: str) -> str:
    """Mask the strings and numbers under secret names in JSON text; leave all else as it is.

    Raises:
        ValueError: it is not JSON, so where a value ends can't be known.
    """
    try:
        json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    stack = [False]  # for each open container: does it stand under a secret name?
    secret = False

    def masked(token: re.Match[str]) -> str:
        nonlocal secret
        if token["name"]:
            secret = stack[-1] or is_secret_name(json.loads(token["name"]))
        elif token["open"]:
            stack.append(secret)
        elif token["value"]:
            return f'"{MASK}"' if secret else token[0]
        else:
            if token["close"]:
                stack.pop()
            secret = stack[-1]
        return token[0]

    return _JSON_TOKEN.sub(masked, text)


def redact_error(error: BaseException, redact: Callable[[str], str]) -> None:
    """Redact the texts of an error and of its causes, which a traceback all shows.

    The errors of its context may be the caller's own, so they stay as they are; where they hold a
    secret, the traceback leaves them out.
    """
    for inner in _chain(error, lambda e: [e.__cause__, *e.args]):
        if _contains_secret(inner.__context__, redact):
            inner.__suppress_context__ = True
        args = tuple(redact(a) if isinstance(a, str) else a for a in inner.args)
        if args != inner.args:
            inner.args = args
        for name, value in vars(inner).items():
            if isinstance(value, str) and redact(value) != value:
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(inner, name, redact(value))


def _contains_secret(error: BaseException | None, redact: Callable[[str], str]) -> bool:
    texts = map(str, _chain(error, lambda e: [e.__cause__, e.__context__]))
    return any(redact(text) != text for text in texts)


def _chain(
    error: object, parts: Callable[[BaseException], Iterable[object]]
) -> Iterator[BaseException]:
    """Yield an error and all that `parts` leads to, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, BaseException) and id(inner) not in seen:
            seen.add(id(inner))
            yield inner
            waiting += parts(inner)


# -- text in messages -----------------------------------------------------------------------------


def brief(value: object) -> str:
    """Say what a refused value was: in full if it can be no secret, else by its type alone."""
    kind = type(value)
    if kind is list and len(cast("list[object]", value)) <= SHOWN_ITEMS:
        items = cast("list[object]", value)
        return f"[{', '.join('list' if type(i) is list else brief(i) for i in items)}]"
    is_word = kind is str and len(cast("str", value)) < SHORTEST_SECRET
    is_empty = kind is dict and not value
    if value is None or is_word or is_empty or kind in (bool, int, float, complex):
        with contextlib.suppress(ValueError):  # an int may have more digits than Python writes
            return repr(value)
    return kind.__name__


def shorten(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """Cut a long text at its end."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def shorten_middle(text: str, limit: int) -> str:
    """Cut a long text in its middle."""
    return text if len(text) <= limit else f"{text[: limit // 2]}...{text[-limit // 2 :]}"


def printable(text: str) -> str:
    """Escape line breaks and whatever else can't be printed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Put a text on one line: with single spaces, and all else that can't be printed escaped."""
    return printable(" ".join(text.split()))


def likely_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `name` was probably meant to be."""
    if len(name) > LONGEST_NAME:
        return None
    from difflib import get_close_matches  # its import takes a while, and few programs need it

    candidates = [word for word in islice(known, CANDIDATES) if len(word) <= LONGEST_NAME]
    return next(iter(get_close_matches(name, candidates, 1, LIKENESS)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return how a message on an unknown name ends: with the likely one, if there is any."""
    likely = likely_name(name, known)
    return "" if likely is None else f"; did you mean {likely!r}?"
