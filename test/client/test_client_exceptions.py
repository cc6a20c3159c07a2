"""The tree of errors: who is whose child, what each holds, and that all of them pickle."""

from __future__ import annotations

import builtins
import copy
import pickle
from typing import Any

import pytest

from humanloop import exceptions as e
from humanloop.api_response import ApiResponse, Headers
from humanloop.schemas import ErrorDetail
from humanloop.transport import RawResponse

HEADERS = Headers([("Retry-After", "3"), ("Set-Cookie", "a"), ("Set-Cookie", "b")])


def answer(status: int, body: Any) -> ApiResponse[Any]:
    raw = RawResponse(status, "Reason", HEADERS, b"...", 0.5)
    return ApiResponse(HEADERS, status, raw, 0.5, body)


def made() -> list[Exception]:
    """One of each class."""
    body = {"detail": [{"loc": ["body"], "msg": "no", "type": "t"}]}
    errors: list[Exception] = [
        kind(api_response=answer(418, body), method="GET", path="/x")
        for kind in vars(e).values()
        if isinstance(kind, type) and issubclass(kind, e.ApiException)
    ]
    errors += [
        kind("refused", method="GET", host="http://h", path="/x")
        for kind in (e.ApiConnectionError, e.ApiTimeoutError, e.ApiTlsError)
    ]
    unfit = e.ApiResponseValidationError(api_response=answer(200, "{}"))
    unfit.errors = (ErrorDetail(("a", 0), "type", "expected"),)
    return [
        *errors,
        unfit,
        e.ClientConfigurationError("no key"),
        e.InvalidHostConfigurationError("ftp://h", "scheme"),
        e.MissingRequiredParametersError("missing 'id'"),
        e.ApiTypeError("bad", path_to_item=["a", 0]),
        e.ApiValueError("bad"),
        e.ApiKeyError("bad"),
        e.ApiAttributeError("bad"),
        e.SchemaValidationError([ErrorDetail(("a",), "type", "expected")], "Thing"),
    ]


@pytest.mark.parametrize("error", made(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_pickles_and_copies(error: Exception, protocol: int) -> None:
    error.__cause__ = ValueError("the cause does not hinder")
    for again in (
        pickle.loads(pickle.dumps(error, protocol)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(again) is type(error)
        assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)
        assert vars(again) == vars(error)


@pytest.mark.parametrize("error", made(), ids=lambda error: type(error).__name__)
def test_every_error_has_one_root(error: Exception) -> None:
    assert isinstance(error, e.OpenApiException)
    assert isinstance(error, Exception)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        ("ApiTypeError", "TypeError"),
        ("MissingRequiredParametersError", "TypeError"),
        ("ApiValueError", "ValueError"),
        ("SchemaValidationError", "ValueError"),
        ("ApiKeyError", "KeyError"),
        ("ApiAttributeError", "AttributeError"),
        ("ApiTimeoutError", "TimeoutError"),
    ],
)
def test_the_builtin_kinship(kind: str, builtin: str) -> None:
    assert issubclass(getattr(e, kind), getattr(builtins, builtin))


def test_the_tree_names_every_class_there_is() -> None:
    kinds = {
        n for n, k in vars(e).items() if isinstance(k, type) and issubclass(k, e.OpenApiException)
    }
    public = {name for name in kinds if not name.startswith("_")}
    assert public <= set(e.__all__)
    assert e.__doc__ is not None
    assert [name for name in public if name not in e.__doc__] == []


def test_api_exception_as_in_0_5() -> None:
    bare = e.ApiException()
    assert (bare.status, bare.reason, bare.body, bare.headers) == (None, None, None, None)
    assert (bare.round_trip_time, str(bare)) == (None, "ApiException")
    assert str(e.ApiException(404, "Not Found")) == "404 Not Found"
    error = e.ApiException(api_response=answer(409, {"detail": "taken"}))
    assert (error.status, error.reason, error.body) == (409, "Reason", {"detail": "taken"})
    assert (error.headers, error.round_trip_time) == (HEADERS, 0.5)
    assert str(error) == "409 Reason: taken"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "gone"}, "gone"),
        ({"detail": [{"loc": ["body", 0], "msg": "no"}, {"msg": "also"}, 5]}, "body.0: no; also"),
        ({"detail": [{"loc": "body", "msg": None}]}, "None"),
        ({"detail": {"unknown": "shape"}}, ""),
        ({"message": "m"}, "m"),
        ({"error": "e", "detail": []}, "e"),
        (" two\n lines ", "two lines"),
        ("x" * 1000, "x" * 297 + "..."),
        ("", ""),
        (None, ""),
        ([1], ""),
        (5, ""),
    ],
)
def test_describe(body: Any, words: str) -> None:
    assert e.describe(body) == words


def test_headers_of_an_error_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(e.RateLimitError(api_response=answer(429, ""))))
    assert error.headers["retry-after"] == "3"
    assert error.headers.getlist("set-cookie") == ["a", "b"]
