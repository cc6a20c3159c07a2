"""Secrets: their names, the objects that hold them, and their redaction. Also the shortening of
texts in messages, and the suggestion of names.

A leaf: it imports nothing of the package. Each of these meanings is defined here and nowhere else.

Invariants: text is redacted before anything is cut from it or put together with it; a redacted text
holds a secret in none of the forms in which JSON, a URL or Python write it. A `Secret` shows in
nothing that prints, iterates or walks an object; only `reveal` returns what it holds.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from functools import lru_cache
from itertools import islice
from typing import Any, cast
from urllib.parse import quote, unquote

__all__ = [
    "MASK",
    "Redactor",
    "Secret",
    "SecretMapping",
    "brief",
    "did_you_mean",
    "hidden",
    "is_secret_header",
    "is_secret_name",
    "likely_name",
    "linked_errors",
    "mask_keys",
    "masked_start",
    "one_line",
    "printable",
    "redact",
    "redact_error",
    "redact_json",
    "redact_url",
    "revealed",
    "secret_values",
    "shorten",
    "shorten_middle",
]

MASK = "***"

SHORTEST_SECRET = 8
"""Characters. What is shorter may be an ordinary word, and is not replaced in text."""

SHOWN_CHARACTERS = 60
"""The characters of a value that a message shows."""

SHOWN_ITEMS = 3
"""The most items of a list in a message."""

SEARCHED_CHARACTERS = 200
"""The characters of a value that are searched for keys before a message shows its start."""

LIKENESS = 0.7
"""The similarity of two spellings, from 0 to 1, from which one is suggested for the other."""

CANDIDATES = 1000
LONGEST_NAME = 64
"""The most names that are compared for a suggestion, and their length: comparing is slow."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
"""A word of a name, in whichever way names are put together: `X-API-KEY`, `api_key`, `apiKey`."""

_ANYWHERE = re.compile(
    r"(api|access|secret|private)[-_]?key|authorization|passw(or)?d|passphrase|secret|credential"
    r"|cookie|dpop|(access|auth|security|session)[-_]?token",
    re.IGNORECASE,
)
_SECRET_WORDS = frozenset({"auth", "authentication", "bearer", "jwt", "otp", "pwd"})
_HEADER_WORDS = frozenset(
    {
        *("assertion", "hmac", "jsessionid", "macaroon", "mfa", "oidc", "passcode", "pin"),
        *("saml", "session", "sessionid", "sid", "sig", "signature", "sso", "ticket", "totp"),
    }
)
"""Words that mean a secret in a header, and are ordinary keys of JSON bodies."""

_LAST_WORDS = frozenset({"key", "keys", "token"})
"""Words that mean a secret at the end of a name: a `token` is one, and `token_count` is not."""

_HARMLESS = frozenset(
    {
        *("cache", "cursor", "foreign", "idempotency", "next", "page", "partition", "per"),
        *("primary", "public", "routing", "sort", "stop", "surrogate"),
    }
)
"""Words that mark a following `key` or `token` as no credential: `Idempotency-Key`."""

_KEY = re.compile(r"\b(sk|pk|hl|key)[-_][A-Za-z0-9_-]{6,}", re.IGNORECASE)

_USER_INFO = re.compile(r"//[^/?#]*@")
_PARAMETER = re.compile(r"([?&#]([^=&#]+)=)[^&#]*")

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_JSON_TOKEN = re.compile(
    rf"(?P<name>{_STRING})\s*:|(?P<open>[\[{{])|(?P<close>[\]}}])|(?P<next>,)"
    rf"|(?P<value>{_STRING}|-?[0-9][^\s,\]}}]*)",
)


# -- secrets --------------------------------------------------------------------------------------


def is_secret_name(name: object) -> bool:
    """Return whether a key of JSON, or a parameter, of this name holds a secret."""
    return isinstance(name, str) and _is_secret(name, _SECRET_WORDS)


@lru_cache(maxsize=1024)  # a few names come with every call
def is_secret_header(name: str) -> bool:
    """Return whether a header field of this name holds a credential."""
    return _is_secret(name, _SECRET_WORDS | _HEADER_WORDS)


@lru_cache(maxsize=1024)
def _is_secret(name: str, secret_words: frozenset[str]) -> bool:
    if _ANYWHERE.search(name):
        return True
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if words[-1] in _LAST_WORDS and not _HARMLESS.intersection(words[-2:-1]):
        return True
    return not secret_words.isdisjoint(words)


class Secret:
    """Holds a value that must not show: printing it gives a mask, and `reveal` returns the value.

    It is no `str`, so nothing sends or joins the mask, or the text, by mistake. The value is in no
    attribute: a bound method of C holds it, where those that walk through objects don't enter.
    """

    __slots__ = ("_item",)

    def __init__(self, value: Any) -> None:
        self._item: Callable[[int], Any] = (value,).__getitem__

    def reveal(self) -> Any:
        """Return the value."""
        return self._item(0)

    def __repr__(self) -> str:
        return f"'{MASK}'"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return self.reveal() == other.reveal() if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.reveal(),)


class SecretMapping(MutableMapping[str, str]):
    """A dict of secrets: `[name]` and `reveal` return them; iterating over items shows masks."""

    def __init__(self, values: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._secrets = {name: _hide(value) for name, value in dict(values).items()}

    def __getitem__(self, name: str) -> str:
        value: str = revealed(self._secrets[name])
        return value

    def __setitem__(self, name: str, value: str) -> None:
        self._secrets[name] = _hide(value)

    def __delitem__(self, name: str) -> None:
        del self._secrets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __len__(self) -> int:
        return len(self._secrets)

    def reveal(self) -> dict[str, str]:
        """Return the names and values in clear."""
        return {name: self[name] for name in self._secrets}

    def items(self) -> ItemsView[str, str]:
        """Return the names, each with a mask."""
        return dict.fromkeys(self._secrets, MASK).items()

    def values(self) -> ValuesView[str]:
        """Return a mask for each name."""
        return dict.fromkeys(self._secrets, MASK).values()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.reveal() == dict(cast("Mapping[str, str]", other))

    def __copy__(self) -> SecretMapping:
        return SecretMapping(self)

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self._secrets, MASK))


class _HiddenAttribute:
    """An attribute that reads as what it was set to; its object holds it as a Secret."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return None
        value = instance.__dict__.get(self._name)
        return value.reveal() if isinstance(value, Secret) else value

    def __set__(self, instance: object, value: Any) -> None:
        if isinstance(value, Mapping):
            value = SecretMapping(cast("Mapping[str, str]", value))
        instance.__dict__[self._name] = _hide(value, self._kind)


def hidden(kind: type = str) -> Any:
    """Return an attribute for a class whose values of a kind, or mappings, don't show.

    It is None until it is set. An instance holds a Secret or a SecretMapping.
    """
    return _HiddenAttribute(kind)


def _hide(value: Any, kind: type = str) -> Any:
    return Secret(value) if isinstance(value, kind) else value


def revealed(value: Any) -> Any:
    """Return the value of a Secret, and any other value as it is."""
    return value.reveal() if isinstance(value, Secret) else value


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


class Redactor:
    """Takes secrets out of texts. find: returns them, each time a text comes."""

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find

    def __call__(self, text: str) -> str:
        """Return the text with stars for the secrets."""
        return redact(text, self._find())


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


def redact_url(url: str) -> str:
    """Mask user and password, and the parameters of secret names, in a URL."""

    def masked(parameter: re.Match[str]) -> str:
        return f"{parameter[1]}{MASK}" if is_secret_header(unquote(parameter[2])) else parameter[0]

    return _PARAMETER.sub(masked, _USER_INFO.sub(f"//{MASK}@", url))


def redact_error(error: BaseException, redact: Callable[[str], str]) -> None:
    """Redact the texts of an error and of its causes, which a traceback all shows.

    The errors of its context may be the caller's own, so they stay as they are; where they hold a
    secret, the traceback leaves them out.
    """
    for inner in linked_errors(error, lambda e: [e.__cause__, *e.args]):
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
    texts = map(str, linked_errors(error, lambda e: [e.__cause__, e.__context__]))
    return any(redact(text) != text for text in texts)


def linked_errors(
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
    """Describe a refused value: in full if it can't be a secret, else by its type alone."""
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
