"""The provider `mock`, whose answers depend on the request alone: for first steps and for tests.

It uses no randomness and no clock: the same request gets the same pieces, and each sample of a call
contains its number. A token is a word of up to 100 characters with the whitespace before it; the
joined tokens are the text. A config's `other` may ask for a certain output, a long or a slow one,
or a failure.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from humanloop.server.generation.providers import Ending, ProviderError, ProviderRequest

MAX_CHARACTERS = 1_000_000
"""The most characters of an output; a longer one is cut as if the model's context were full."""

_TOKEN = re.compile(r"\s{0,100}\S{1,100}|\s{1,100}")
_MAX_REPEAT = 100_000
_MAX_DELAY = 10


@dataclass(frozen=True)
class _Options:
    """The options in a config's `other`.

    output: the text, in place of an answer to the request; repeat: how often it occurs.
    delay: seconds to wait before each token.
    error: the error to fail with; error_after: the number of tokens before it.
    """

    output: str | None
    repeat: int
    delay: float
    error: str | None
    error_after: int

    @classmethod
    def of(cls, other: Mapping[str, Any]) -> _Options:
        return cls(
            output=_text(other, "output"),
            repeat=int(_number(other, "repeat", 1, _MAX_REPEAT)),
            delay=float(_number(other, "delay", 0, _MAX_DELAY)),
            error=_text(other, "error"),
            error_after=int(_number(other, "error_after", 0, MAX_CHARACTERS)),
        )


def _text(other: Mapping[str, Any], key: str) -> str | None:
    value = other.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ProviderError(f"`other.{key}` must be a text")


def _number(other: Mapping[str, Any], key: str, least: int, most: int) -> int | Decimal:
    """Return a number from `least`, which it is by default, to `most`."""
    value = other.get(key, least)
    if not isinstance(value, bool) and isinstance(value, (int, Decimal)) and least <= value <= most:
        return value
    raise ProviderError(f"`other.{key}` must be a number from {least} to {most}")


class Mock:
    """The provider that repeats its request."""

    def generate(self, request: ProviderRequest) -> Generator[str, None, Ending]:
        """Yield the tokens of the answer."""
        options = _Options.of(request.other)
        tokens, finish_reason = _cut(_answer(request, options), request.parameters)
        for number, token in enumerate(tokens):
            if options.error is not None and number >= options.error_after:
                break
            if options.delay:
                request.cancellation.wait(float(options.delay))
            yield token
        if options.error is not None:
            raise ProviderError(options.error)
        return Ending(
            finish_reason,
            prompt_tokens=sum(len(_TOKEN.findall(text)) for text in _asked(request)),
            generation_tokens=len(tokens),
            response=_echo(request),
        )


def _asked(request: ProviderRequest) -> list[str]:
    """Return the texts that the model reads."""
    if request.messages is None:
        return [request.prompt or ""]
    return [message.get("content", "") for message in request.messages]


def _answer(request: ProviderRequest, options: _Options) -> str:
    """Return the whole text, limited by MAX_CHARACTERS alone."""
    text = options.output
    if text is None:
        number = f" {request.index + 1}" if request.index else ""
        if request.messages is None:
            text = f"Mock completion{number} of: {request.prompt}"
        else:
            text = f"Mock answer{number} to: {_last_of_user(request.messages)}"
    repeat = min(options.repeat, MAX_CHARACTERS // (len(text) + 1) + 1)
    return " ".join([text] * repeat)


def _last_of_user(messages: Iterable[Mapping[str, Any]]) -> str:
    said = [each.get("content", "") for each in messages if each["role"] == "user"]
    return said[-1] if said else ""


def _cut(text: str, parameters: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the tokens that `stop` and `max_tokens` leave, and the finish reason."""
    kept = text[:MAX_CHARACTERS]
    finish_reason = "stop" if kept == text else "length"
    stop = parameters.get("stop", [])
    stops = [stop] if isinstance(stop, str) else cast("list[str]", stop)
    ends = [kept.find(each) for each in stops if each and each in kept]
    if ends:
        kept, finish_reason = kept[: min(ends)], "stop"
    tokens = _TOKEN.findall(kept)
    limit = parameters.get("max_tokens")
    if limit is not None and len(tokens) > limit:
        tokens, finish_reason = tokens[: int(max(limit, 0))], "length"
    return tokens, finish_reason


def _echo(request: ProviderRequest) -> dict[str, Any]:
    """Return the request as sent, without the keys."""
    sent: dict[str, Any] = {"model": request.model, **request.parameters, **request.other}
    if request.messages is None:
        sent["prompt"] = request.prompt
    else:
        sent["messages"] = list(request.messages)
    return {"object": "mock", "request": sent}
