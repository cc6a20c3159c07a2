"""The server's errors, split by whose fault they are.

RequestError
├── BadRequest 400, Unauthorized 401, Forbidden 403
├── NotFound 404          what the path or the query names does not exist
├── MethodNotAllowed 405, RequestTimeout 408, TooLarge 413, UnsupportedMediaType 415
├── Invalid 422           the body or a parameter does not fit, with every location
└── Unavailable 503         the database or a provider can't be used right now
    ├── Busy                nothing was done, and soon there may be room
    └── ProviderFailed
StartError                the server can't start: one line for whoever starts it

A RequestError's text goes to the caller unchanged, so it never holds a key or a stack trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from humanloop.schemas import ErrorDetail

MAX_PROBLEMS = 1000
"""The most invalid places that one answer lists."""

Location = tuple[str | int, ...]
"""The place of something in a request: ("body", "config", "temperature") or ("query", "page")."""


class StartError(Exception):
    """The server can't start; the text says why and what to do."""


class RequestError(Exception):
    """A request that gets an answer other than success."""

    status = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers that belong to the answer."""
        return {}

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON body."""
        return {"detail": self.detail}


class BadRequest(RequestError):
    status = 400


class Unauthorized(RequestError):
    status = 401


class Forbidden(RequestError):
    status = 403


class NotFound(RequestError):
    status = 404


class MethodNotAllowed(RequestError):
    status = 405

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"This path does not take {method}, only {self.allowed}.")

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the allowed methods, which a 405 must list (RFC 9110, section 15.5.6)."""
        return {"Allow": self.allowed}


class RequestTimeout(RequestError):
    status = 408


class TooLarge(RequestError):
    status = 413


class UnsupportedMediaType(RequestError):
    status = 415

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the content types that a body may have (RFC 9110, section 15.5.16)."""
        return {"Accept": "application/json", "Accept-Encoding": "identity"}


class Unavailable(RequestError):
    status = 503


class Busy(Unavailable):
    """The server is overloaded; nothing was done."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the seconds after which to try again (RFC 9110, section 10.2.3)."""
        return {"Retry-After": "1"}


class ProviderFailed(Unavailable):
    """A model's provider gave no answer, or only a part of one."""

    def __init__(self, provider: str, said: str) -> None:
        super().__init__(f"The provider {provider!r} failed: {said}")


@dataclass(frozen=True)
class Problem:
    """One fault of a request: its place, what is wrong, and the keyword of the violated rule."""

    location: Location
    message: str
    keyword: str = "value"


class Invalid(RequestError):
    """A body or parameters that don't fit the schema; the answer is an HTTPValidationError."""

    status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)

    @classmethod
    def from_details(
        cls, details: Iterable[ErrorDetail], locate: Callable[[Location], Location]
    ) -> Invalid:
        """Return the Invalid for the errors that a schema found, up to MAX_PROBLEMS.

        locate: turns a path in the value into a location in the request.
        """
        told = islice(details, MAX_PROBLEMS)
        return cls([Problem(locate(each.path), each.message, each.keyword) for each in told])

    def body(self) -> dict[str, Any]:
        """Return `{"detail": [{"loc", "msg", "type"}]}`."""
        return {
            "detail": [
                {"loc": list(problem.location), "msg": problem.message, "type": problem.keyword}
                for problem in self.problems
            ]
        }


def invalid(location: Location, message: str, keyword: str = "value") -> Invalid:
    """Return an Invalid with a single problem."""
    return Invalid([Problem(location, message, keyword)])
