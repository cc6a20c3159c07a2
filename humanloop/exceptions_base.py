"""The errors that schemas and client have in common.

They live apart from `humanloop.exceptions` so that a schema can raise one without knowing of HTTP.
Each of the four `Api*Error` classes is also the built-in error that it specialises, takes the place
where it happened as a sequence of keys and indices, and pickles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "ApiAttributeError",
    "ApiKeyError",
    "ApiTypeError",
    "ApiValueError",
    "OpenApiException",
    "render_path",
]


def render_path(path: Sequence[str | int]) -> str:
    """`path` as an RFC 6901 JSON pointer: `("a", 0)` gives `/a/0`, the root the empty string."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


class OpenApiException(Exception):
    """The root of every error that this package raises."""


class _LocatedError(OpenApiException):
    """An error with a message and, where known, the path of the item that it speaks of."""

    def __init__(self, msg: str = "", path_to_item: Sequence[str | int] | None = None) -> None:
        self.path_to_item = path_to_item
        self.full_msg = f"{msg} at {render_path(path_to_item)}" if path_to_item else msg
        super().__init__(self.full_msg)

    def __str__(self) -> str:  # KeyError would show the repr of its message
        return self.full_msg

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[_LocatedError], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ApiTypeError(_LocatedError, TypeError):
    """A value, or a call's arguments, of the wrong type."""

    def __init__(
        self,
        msg: str = "",
        invalid_value: Any = None,
        path_to_item: Sequence[str | int] | None = None,
        valid_classes: tuple[type, ...] | None = None,
        key_type: bool | None = None,
    ) -> None:
        self.invalid_value = invalid_value
        self.valid_classes = valid_classes
        self.key_type = key_type
        super().__init__(msg, path_to_item)


class ApiValueError(_LocatedError, ValueError):
    """A value of the right type that is not allowed."""


class ApiKeyError(_LocatedError, KeyError):
    """A key that is not there."""


class ApiAttributeError(_LocatedError, AttributeError):
    """An attribute that is not there, or that can't be set."""
