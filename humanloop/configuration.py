"""Configuration: the host, the keys, and how to connect.

Invariants: an instance can make a request (host and API key are checked when they are given, and
the key once more when it is used, since a hook may change it); no key shows in a repr, a report or
an error. The constructor's positional arguments are those of version 0.5; connection
settings are keyword arguments, and every setting is a plain attribute that may be changed until
the client's first request.
"""

from __future__ import annotations

import copy
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, cast
from urllib.parse import urlsplit

from humanloop.exceptions import (
    ClientConfigurationError,
    InvalidHostConfigurationError,
    unexpected_argument,
)
from humanloop.secrets import redact
from humanloop.version import __version__

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from humanloop.drift import DriftReport
    from humanloop.retries import RetryPolicy

__all__ = ["CallSettings", "Configuration", "ConnectionOptions"]

EVENTS = ("request", "response", "error")
EventHooks: TypeAlias = "Mapping[str, Sequence[Callable[..., Any]]]"
DEFAULT_HOST = "https://api.humanloop.com/v4"
SECURITY_SCHEME = "APIKeyHeader"
API_KEY_HEADER = "X-API-KEY"
TIMEOUT = "a positive number of seconds, or None for no limit"
PROVIDERS = (
    "openai",
    "openai_azure",
    "openai_azure_endpoint",
    "ai21",
    "mock",
    "anthropic",
    "cohere",
)
_NO_KEY_CHARACTER = re.compile(r"[^!-~]")
# What else 0.5 had, with what it was by default.
_NO_EFFECT: Mapping[str, Any] = {
    "client_side_validation": True,
    "disabled_client_side_validations": "",
    "discard_unknown_keys": False,
    "logger_file": None,
    "logger_format": "%(asctime)s - %(name)s - %(levelname)s - %(message)s",
    "password": None,
    "safe_chars_for_path_param": "",
    "server_index": 0,
    "server_operation_index": {},
    "server_operation_variables": {},
    "server_variables": {},
    "temp_folder_path": None,
    "username": None,
}


class CallSettings(TypedDict, total=False):
    """The settings that a copy of a client may change; `Configuration` explains each."""

    timeout: float | None
    connect_timeout: float | None
    read_timeout: float | None
    retries: RetryPolicy | int
    response_validation: Literal["strict", "lenient"]
    bodies: Literal["models", "plain"]
    skip_deserialization: bool
    event_hooks: EventHooks
    on_drift: Callable[[DriftReport], object] | None


class ConnectionOptions(CallSettings, total=False):
    """All settings that are options of `Configuration`, which explains each."""

    max_response_bytes: int | None
    proxy: str | None
    proxy_headers: Mapping[str, str] | None
    verify_ssl: bool
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    assert_hostname: str | bool | None
    connection_pool_maxsize: int
    socket_options: Sequence[tuple[int, int, int | bytes]] | None


class Configuration:
    """The settings of a client.

    host: base URL; by default `HUMANLOOP_BASE_URL` from the environment, else the hosted service.
    api_key: the key, or `{"APIKeyHeader": key}`; by default `HUMANLOOP_API_KEY`.
    api_key_prefix: `{"APIKeyHeader": prefix}` sends `prefix key`.
    x_api_key: the same as api_key, and stronger.
    openai_api_key, ...: keys of model providers; sent only where an operation has a place for them.

    What else came before the options in version 0.5 is accepted, warns, and has no effect. Raises
    ClientConfigurationError without a usable key, InvalidHostConfigurationError for a bad host.
    """

    timeout: float | None = 60.0
    """Seconds for a whole call, retries included; None: no limit."""
    connect_timeout: float | None = 10.0
    """Seconds for connecting, within `timeout`."""
    read_timeout: float | None = None
    """Seconds to wait for each next part of an answer, within `timeout`; None: as long as that."""
    retries: RetryPolicy | int = 2
    """When to try again: a `RetryPolicy`, or how often at most; 0: never."""
    max_response_bytes: int | None = 268_435_456
    """The largest answer, decompressed, and the largest event of a stream; None: no limit."""
    response_validation: Literal["strict", "lenient"] = "strict"
    """How to treat a success whose body does not fit its schema. "strict": an error. "lenient": the
    body as plain decoded JSON, with a `ResponseValidationWarning`."""
    bodies: Literal["models", "plain"] = "models"
    """How to hand out the bodies of responses, events of streams included, that fit their schemas.
    "models": as instances of these. "plain": as dict, list, str, int, float, bool and None."""
    skip_deserialization: bool = False
    """True: return bodies as plain decoded JSON, not validated; `bodies` has no effect then."""
    event_hooks: EventHooks = MappingProxyType({})
    """Functions to call, by event. "request": each with the `Request`, before every try; it may
    return another one to send in its place. "response": with the `Request` and its `RawResponse` or
    stream, after every answer. "error": with the `Request` and the `ApiConnectionError`, when no
    answer came. In asynchronous calls they may be coroutine functions."""
    on_drift: Callable[[DriftReport], object] | None = None
    """Called when a response has keys or enum values that openapi.yaml does not declare."""
    proxy: str | None = None
    """URL of an HTTP proxy; may hold `user:password@`."""
    proxy_headers: Mapping[str, str] | None = None
    """Headers for the proxy alone."""
    verify_ssl: bool = True
    """Check the server's certificate."""
    ssl_ca_cert: str | None = None
    """File of the authorities to trust, in place of certifi's."""
    cert_file: str | None = None
    """The client's own certificate."""
    key_file: str | None = None
    """The key of `cert_file`, unless that holds it."""
    assert_hostname: str | bool | None = None
    """The name to expect in the certificate, in place of the host's; False: any."""
    connection_pool_maxsize: int = 100
    """Connections kept alive; more are opened when needed, and closed after use."""
    socket_options: Sequence[tuple[int, int, int | bytes]] | None = None
    """Arguments for `setsockopt`, in place of urllib3's."""
    refresh_api_key_hook: Callable[[Configuration], None] | None = None
    """Called with the configuration before each use of the API key."""

    default_host: ClassVar[str] = DEFAULT_HOST
    environment: ClassVar[str] = "HUMANLOOP"
    """The names of the environment variables begin with it: `HUMANLOOP_API_KEY`."""
    key_headers: ClassVar[Mapping[str, str]] = {SECURITY_SCHEME: API_KEY_HEADER}
    """The header of each security scheme. A key that is given alone is for the first one."""
    key_prefixes: ClassVar[Mapping[str, str]] = {}
    """What stands before the key in the header, by scheme: `Bearer`."""
    needs_key: ClassVar[bool] = True
    """Raise where no key is given; False where an API has operations for anybody."""

    _default: ClassVar[Configuration | None] = None

    def __init__(
        self,
        host: str | None = None,
        api_key: str | Mapping[str, str] | None = None,
        api_key_prefix: Mapping[str, str] | None = None,
        username: str | None = None,
        password: str | None = None,
        discard_unknown_keys: bool = False,
        x_api_key: str | None = None,
        openai_api_key: str | None = None,
        openai_azure_api_key: str | None = None,
        openai_azure_endpoint_api_key: str | None = None,
        ai21_api_key: str | None = None,
        mock_api_key: str | None = None,
        anthropic_api_key: str | None = None,
        cohere_api_key: str | None = None,
        disabled_client_side_validations: str = "",
        server_index: int | None = None,
        server_variables: Mapping[str, str] | None = None,
        server_operation_index: Mapping[str, int] | None = None,
        server_operation_variables: Mapping[str, Mapping[str, str]] | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        arguments = locals()
        self.host = host or os.environ.get(f"{self.environment}_BASE_URL") or self.default_host
        key = x_api_key or api_key or os.environ.get(f"{self.environment}_API_KEY")
        self.api_key = self._keys(key)
        self.api_key_prefix = {**self.key_prefixes, **(api_key_prefix or {})}
        self.openai_api_key = openai_api_key
        self.openai_azure_api_key = openai_azure_api_key
        self.openai_azure_endpoint_api_key = openai_azure_endpoint_api_key
        self.ai21_api_key = ai21_api_key
        self.mock_api_key = mock_api_key
        self.anthropic_api_key = anthropic_api_key
        self.cohere_api_key = cohere_api_key
        for name, value in options.items():
            if name not in ConnectionOptions.__annotations__:
                known = [
                    *(arguments.keys() - _NO_EFFECT.keys()),
                    *ConnectionOptions.__annotations__,
                ]
                raise unexpected_argument(type(self).__name__, name, known)
            setattr(self, name, value)
        for name in sorted(_NO_EFFECT.keys() & arguments.keys()):
            if arguments[name]:
                self._keep_without_effect(name, arguments[name])
        for key in self.api_key.values():
            _check_key(key)
        _ = self.provider_api_keys  # ClientConfigurationError for what is none

    if not TYPE_CHECKING:  # a type checker would take any name for granted

        def __setattr__(self, name: str, value: Any) -> None:
            if name in _NO_EFFECT:
                self._keep_without_effect(name, value)
                return
            fits, wanted = CHECKS.get(name, (None, ""))
            if fits and not fits(value):
                raise ClientConfigurationError(f"{name} must be {wanted}, not {value!r}")
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            if name in _NO_EFFECT:
                default = _NO_EFFECT[name]
                return dict(default) if isinstance(default, dict) else default
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _keep_without_effect(self, name: str, value: Any) -> None:
        message = f"Configuration.{name} has no effect since humanloop 0.6"
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        object.__setattr__(self, name, value)

    def _keys(self, given: str | Mapping[str, str] | None) -> dict[str, str]:
        first = next(iter(self.key_headers), SECURITY_SCHEME)
        if not given and not self.needs_key:
            return {}
        if not given:
            raise ClientConfigurationError(
                f"no API key: pass api_key=..., or set {self.environment}_API_KEY"
                " in the environment"
            )
        keys = dict(given) if isinstance(given, Mapping) else {first: given}
        if self.needs_key and not keys.get(first):
            raise ClientConfigurationError(
                f"api_key must be a str, or a dict with the key {first!r}"
            )
        return keys

    @property
    def host(self) -> str:
        """The base URL, without a slash at its end."""
        return self._host

    @host.setter
    def host(self, value: str) -> None:
        self._host = _checked_host(value)

    @property
    def provider_api_keys(self) -> dict[str, str]:
        """The configured provider keys, as the schema ProviderApiKeys names them."""
        keys: dict[str, str] = {}
        for name in PROVIDERS:
            key = getattr(self, f"{name}_api_key")
            if key is not None and not isinstance(key, str):
                raise ClientConfigurationError(
                    f"{name}_api_key must be a str, not {type(key).__name__}"
                )
            if key:
                keys[name] = key
        return keys

    def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str | None:
        """Return the value that authenticates for a security scheme; None if there is no key."""
        if self.refresh_api_key_hook is not None:
            self.refresh_api_key_hook(self)
        key = self.api_key.get(identifier) or self.api_key.get(alias or identifier)
        if key is None:
            return None
        _check_key(key)
        prefix = self.api_key_prefix.get(identifier)
        return f"{prefix} {key}" if prefix else key

    def auth_settings(self) -> dict[str, dict[str, str | None]]:
        """Return how a request authenticates, by security scheme. Holds the keys in clear."""
        return {
            scheme: {
                "type": "api_key",
                "in": "header",
                "key": header,
                "value": self.get_api_key_with_prefix(scheme),
            }
            for scheme, header in self.key_headers.items()
        }

    def redact(self, text: str) -> str:
        """Return `text` with stars for every configured key, but for those as short as a word."""
        return redact(text, self.secrets)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every configured key, and the password for the proxy, in clear."""
        password = urlsplit(self.proxy).password if self.proxy else None
        return (*self.api_key.values(), *self.provider_api_keys.values(), password or "")

    @classmethod
    def set_default(cls, default: Configuration | None) -> None:
        """Keep a copy of `default` for clients that are made without a configuration."""
        cls._default = copy.deepcopy(default)

    @classmethod
    def get_default_copy(cls) -> Configuration:
        """Return a copy of the default configuration; without one, a new configuration."""
        return cls() if cls._default is None else copy.deepcopy(cls._default)

    @property
    def debug(self) -> bool:
        """True if the logger `humanloop` lets one line per request and response through."""
        import logging

        return logging.getLogger("humanloop").isEnabledFor(logging.DEBUG)

    @debug.setter
    def debug(self, value: bool) -> None:
        import logging

        logging.getLogger("humanloop").setLevel(logging.DEBUG if value else logging.NOTSET)

    def to_debug_report(self) -> str:
        """Return versions, for a bug report; no keys, no host."""
        return (
            f"Python SDK Debug Report:\nOS: {sys.platform}\nPython Version: {sys.version}\n"
            f"Version of the API: 4.0.0\nSDK Package Version: {__version__}"
        )

    def __copy__(self) -> Self:
        duplicate = object.__new__(type(self))
        own = {"api_key": dict(self.api_key), "api_key_prefix": dict(self.api_key_prefix)}
        duplicate.__dict__.update({**self.__dict__, **own})
        return duplicate

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # a hook's own state, such as a lock, is not ours to copy

    def __repr__(self) -> str:
        keys = [name for name in PROVIDERS if getattr(self, f"{name}_api_key")]
        shown = "".join(f", {name}_api_key='***'" for name in keys)
        shown += f", timeout={self.timeout}"
        return f"{type(self).__name__}(host={self.host!r}, api_key='***'{shown})"


def is_timeout(value: object) -> bool:
    """Tell whether `value` is what TIMEOUT says."""
    if value is None:
        return True
    return isinstance(value, (int, float)) and value is not True and 0 < value < math.inf


def _is_policy(value: Any) -> bool:
    from humanloop.retries import RetryPolicy  # not needed for a client that has the default

    RetryPolicy.of(value)  # ClientConfigurationError for what is none
    return True


def _is_size(value: object) -> bool:
    return value is None or (type(value) is int and value >= 1)


def _are_hooks(value: object) -> bool:
    hooks = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: ()}
    return all(
        event in EVENTS
        and isinstance(functions, Sequence)
        and all(map(callable, cast("Sequence[object]", functions)))
        for event, functions in hooks.items()
    )


CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "timeout": (is_timeout, TIMEOUT),
    "connect_timeout": (is_timeout, TIMEOUT),
    "read_timeout": (is_timeout, TIMEOUT),
    "retries": (_is_policy, ""),
    "max_response_bytes": (_is_size, "a positive number of bytes, or None for no limit"),
    "response_validation": (("strict", "lenient").__contains__, '"strict" or "lenient"'),
    "bodies": (("models", "plain").__contains__, '"models" or "plain"'),
    "skip_deserialization": (lambda value: isinstance(value, bool), "True or False"),
    "event_hooks": (
        _are_hooks,
        f"a dict of lists of functions, with the keys {', '.join(EVENTS)}",
    ),
    "on_drift": (lambda value: value is None or callable(value), "a function, or None"),
}
"""Settings that are checked when they are set: how, and what they must be."""


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ClientConfigurationError(f"the API key must be a str, not {type(key).__name__}")
    if unfit := _NO_KEY_CHARACTER.search(key):
        raise ClientConfigurationError(
            "the API key, which is not shown here, has a space, a line break or another"
            f" character that no key has, at position {unfit.start()}"
        )


def _checked_host(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidHostConfigurationError(repr(value), "it must be a str")
    reason = ""
    try:
        parts = urlsplit(value)
        if any(c.isspace() or not c.isprintable() for c in value):
            reason = "spaces and control characters are not allowed"
        elif parts.scheme not in ("http", "https"):
            reason = 'it must start with "http://" or "https://"'
        elif not parts.hostname:
            reason = "the host name is missing"
        elif "@" in parts.netloc:
            reason = "credentials are not allowed"
        elif "?" in value or "#" in value:
            reason = f"a {'query' if '?' in value else 'fragment'} is not allowed"
        _ = parts.port  # ValueError for what is none
    except ValueError:
        reason = "it is not a valid URL"
    if reason:
        raise InvalidHostConfigurationError(re.sub("//.*@", "//***@", value), reason)
    return value.rstrip("/")
