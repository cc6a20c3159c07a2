"""Configuration: the host, the keys, and how to connect.

Invariants: an instance can make a request (host and API key are checked when they are given, and
the key once more when it is used, since a hook may change it); no key shows in a repr, a report or
an error. The constructor's positional arguments are those of version 0.5; connection
settings are keyword arguments, and every setting is a plain attribute that may be changed until
the client's first request.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict, cast

from humanloop.addresses import checked_base_url, parse_proxy
from humanloop.exceptions import (
    ApiAttributeError,
    ApiTypeError,
    ClientConfigurationError,
    unexpected_argument,
    warn,
)
from humanloop.frames import shielded
from humanloop.secrets import Secret, brief, did_you_mean, hidden, redact, shorten
from humanloop.setting_checks import PROVIDERS, check_key, check_setting, check_tls_settings
from humanloop.version import __version__

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Self, Unpack

    from humanloop.drift import DriftReport
    from humanloop.retries import RetryPolicy
    from humanloop.spool.options import SpoolOptions

__all__ = ["CallSettings", "Configuration", "ConnectionOptions"]

FilePath: TypeAlias = "str | os.PathLike[str]"
EventHooks: TypeAlias = "Mapping[str, Sequence[Callable[..., Any]]]"
DEFAULT_HOST = "https://api.humanloop.com/v4"
SECURITY_SCHEME = "APIKeyHeader"
API_KEY_HEADER = "X-API-KEY"
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
    trust_env: bool
    verify_ssl: bool
    ssl_context: ssl.SSLContext | None
    ssl_ca_cert: FilePath | None
    cert_file: FilePath | None
    key_file: FilePath | None
    assert_hostname: str | Literal[False] | None
    connection_pool_maxsize: int
    socket_options: Sequence[tuple[int, int, int | bytes]] | None
    spool: str | os.PathLike[str] | SpoolOptions | None


class Configuration:
    """The settings of a client.

    host: base URL; by default `HUMANLOOP_BASE_URL` from the environment, else the hosted service.
    api_key: the key, or `{"APIKeyHeader": key}`; by default `HUMANLOOP_API_KEY`.
    api_key_prefix: `{"APIKeyHeader": prefix}` sends `prefix key`.
    x_api_key: the same as api_key, and stronger.
    openai_api_key, ...: keys of model providers; sent only where an operation has a place for them.

    What else came before the options in version 0.5 is accepted, warns, and has no effect.

    Raises ClientConfigurationError, with the name of the setting, for what can't be used, and
    without a key; InvalidHostConfigurationError for a bad host. Files are read when they are given,
    and settings that must go together are checked when all are given, or at the first connection.
    """

    timeout: float | None = 60.0
    """Seconds for a whole call, retries included; None: no limit."""
    connect_timeout: float | None = 10.0
    """Seconds for connecting, within `timeout`."""
    read_timeout: float | None = None
    """Seconds to wait for each next part of an answer, within `timeout`; None: as long as that."""
    retries: RetryPolicy | int = 2
    """The policy for retries: a `RetryPolicy`, or the number of retries at most; 0: none."""
    max_response_bytes: int | None = 268_435_456
    """The largest answer, decompressed, and the largest event of a stream; None: no limit."""
    response_validation: Literal["strict", "lenient"] = "strict"
    """The treatment of a success whose body does not fit its schema. "strict": an error. "lenient":
    the body as plain decoded JSON, with a `ResponseValidationWarning`."""
    bodies: Literal["models", "plain"] = "models"
    """The form of valid bodies of responses, events of streams included. "models": instances of
    their schemas. "plain": dict, list, str, int, float, bool and None."""
    skip_deserialization: bool = False
    """True: return bodies as plain decoded JSON, not validated; `bodies` has no effect then."""
    event_hooks: EventHooks = MappingProxyType({})
    """Functions to call, by event. "request": each with the `Request`, before every try; it may
    return another one to send in its place. "response": with the `Request` and its `RawResponse` or
    stream, after every answer. "error": with the `Request` and the `ApiConnectionError`, when no
    answer came. In asynchronous calls they may be coroutine functions."""
    on_drift: Callable[[DriftReport], object] | None = None
    """Called when a response has keys or enum values that openapi.yaml does not declare."""
    proxy: str | None = hidden()
    """URL of an HTTP proxy; may hold `user:password@`. None: the one of the environment."""
    proxy_headers: Mapping[str, str] | None = hidden()
    """Headers for the proxy alone."""
    trust_env: bool = True
    """Take the proxy and the authorities to trust from the environment, if they are not given."""
    verify_ssl: bool = True
    """Check the server's certificate."""
    ssl_context: ssl.SSLContext | None = None
    """The TLS context for connections, in place of `verify_ssl` and the next four settings. It
    is used as it is, and shared with copies of the configuration, which then can't be pickled."""
    ssl_ca_cert: FilePath | None = None
    """File of the authorities to trust, in place of the environment's and of certifi's."""
    cert_file: FilePath | None = None
    """The client's own certificate."""
    key_file: FilePath | None = None
    """The key of `cert_file`, unless that holds it."""
    assert_hostname: str | Literal[False] | None = None
    """The name to expect in the certificate, in place of the host's; False: any."""
    connection_pool_maxsize: int = 100
    """Connections kept alive; more are opened when needed, and closed after use."""
    socket_options: Sequence[tuple[int, int, int | bytes]] | None = None
    """Arguments for `setsockopt`, in place of urllib3's."""
    spool: str | os.PathLike[str] | SpoolOptions | None = "auto"
    """The place where `log_later` keeps unsent logs: "auto", a directory, or `SpoolOptions`; None:
    nowhere, so there is no `log_later`."""
    api_key: MutableMapping[str, str] = hidden()
    """The key of each security scheme. Iterating over its items shows masks in place of keys."""
    openai_api_key: str | None = hidden()
    openai_azure_api_key: str | None = hidden()
    openai_azure_endpoint_api_key: str | None = hidden()
    ai21_api_key: str | None = hidden()
    mock_api_key: str | None = hidden()
    anthropic_api_key: str | None = hidden()
    cohere_api_key: str | None = hidden()
    api_key_prefix: dict[str, str]
    """The text before the key in the header, by scheme."""
    refresh_api_key_hook: Callable[[Configuration], object] | None = None
    """Called with the configuration before each try of a call; it may change any key. In
    asynchronous calls it may be a coroutine function."""

    default_host: ClassVar[str] = DEFAULT_HOST
    environment: ClassVar[str] = "HUMANLOOP"
    """The names of the environment variables begin with it: `HUMANLOOP_API_KEY`."""
    key_headers: ClassVar[Mapping[str, str]] = {SECURITY_SCHEME: API_KEY_HEADER}
    """The header of each security scheme. A key that is given alone is for the first one."""
    key_prefixes: ClassVar[Mapping[str, str]] = {}
    """The text before the key in the header, by scheme: `Bearer`."""
    needs_key: ClassVar[bool] = True
    """Raise where no key is given; False where an API has operations for anybody."""

    _default: ClassVar[Configuration | None] = None

    @shielded
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
        # An argument is never replaced by the environment, in which an empty value is none at all.
        variable = f"{self.environment}_BASE_URL"
        if host is None and os.environ.get(variable):
            host = checked_base_url(os.environ[variable], variable)
        self.host = self.default_host if host is None else host
        variable = f"{self.environment}_API_KEY"
        given = {"x_api_key": x_api_key, "api_key": api_key, variable: os.environ.get(variable)}
        keys = [
            self._keys(key, name)
            for name, key in given.items()
            if key is not None and (name != variable or key)
        ]
        self.api_key = keys[0] if keys else self._keys(None, "api_key")
        prefix: object = {} if api_key_prefix is None else api_key_prefix
        self.api_key_prefix = cast("dict[str, str]", prefix)
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
        self.check_tls()

    if not TYPE_CHECKING:  # a type checker would take any name for granted

        @shielded
        def __setattr__(self, name: str, value: Any) -> None:
            if name in _NO_EFFECT:
                self._keep_without_effect(name, value)
                return
            _check_name(type(self), name)
            if name == "api_key":
                value = self._keys(value, name)
            check_setting(name, value)
            if name == "api_key_prefix":
                value = {**self.key_prefixes, **value}
            object.__setattr__(self, name, value)

        def __getattr__(self, name: str) -> Any:
            if name in _NO_EFFECT:
                default = _NO_EFFECT[name]
                return dict(default) if isinstance(default, dict) else default
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _keep_without_effect(self, name: str, value: Any) -> None:
        warn(f"Configuration.{name} has no effect since humanloop 0.6", DeprecationWarning)
        object.__setattr__(self, name, value)

    def _keys(self, given: str | Mapping[str, str] | None, name: str) -> dict[str, str]:
        """Return the keys by security scheme. name: the setting or variable that gave them."""
        first = next(iter(self.key_headers), SECURITY_SCHEME)
        if given is None:
            if not self.needs_key:
                return {}
            raise ClientConfigurationError(
                f"no API key: pass api_key=..., or set {self.environment}_API_KEY"
                " in the environment"
            )
        keys = dict(given) if isinstance(given, Mapping) else {first: given}
        if self.needs_key and not keys.get(first):
            raise ClientConfigurationError(
                f"{name} must be a str that is not empty, or a dict with the key {first!r}"
            )
        for key in keys.values():
            check_key(key, name)
        return keys

    def check_tls(self) -> None:
        """Raise ClientConfigurationError for settings of TLS that do not go together."""
        check_tls_settings(self)

    @property
    def host(self) -> str:
        """The base URL, without a slash at its end."""
        return self._host

    @host.setter
    def host(self, value: str) -> None:
        self._host = checked_base_url(value)

    @property
    def provider_api_keys(self) -> dict[str, str]:
        """The configured provider keys, as the schema ProviderApiKeys names them."""
        keys = {name: getattr(self, f"{name}_api_key") for name in PROVIDERS}
        return {name: key for name, key in keys.items() if key is not None}

    def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str | None:
        """Return the value that authenticates for a security scheme; None if there is no key."""
        if self.refresh_api_key_hook is not None:
            self.refresh_api_key_hook(self)
        return self.credential(identifier, alias)

    def credential(self, identifier: str, alias: str | None = None) -> str | None:
        """Return the same as `get_api_key_with_prefix`; don't call `refresh_api_key_hook`."""
        key = self.api_key.get(identifier) or self.api_key.get(alias or identifier)
        if key is None:
            return None
        check_key(key, "api_key")
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
        proxy = None if self.proxy is None else parse_proxy(self.proxy)
        return (
            *dict(self.api_key).values(),
            *self.provider_api_keys.values(),
            *(() if proxy is None else proxy.secrets),
        )

    def credentials(self) -> Secret:
        """Return all that a request takes from the keys, to compare it with what it was."""
        prefixes = tuple(sorted(self.api_key_prefix.items()))
        keys = tuple(sorted(dict(self.api_key).items()))
        return Secret((keys, prefixes, tuple(self.provider_api_keys.items())))

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
        duplicate.__dict__.update(self.__dict__)
        duplicate.api_key = self.api_key  # of which it holds a copy
        duplicate.api_key_prefix = dict(self.api_key_prefix)
        return duplicate

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)  # a hook's own state, such as a lock, is not ours to copy

    def __getstate__(self) -> dict[str, Any]:
        for name, value in self.__dict__.items():
            _check_pickles(name, value)
        return self.__dict__

    def __repr__(self) -> str:
        keys = [name for name in PROVIDERS if getattr(self, f"{name}_api_key")]
        shown = "".join(f", {name}_api_key='***'" for name in keys)
        shown += f", timeout={brief(self.timeout)}"
        return f"{type(self).__name__}(host={self.host!r}, api_key='***'{shown})"


def _check_name(kind: type[Configuration], name: str) -> None:
    """Raise ApiAttributeError for an attribute that is no setting: it would have no effect.

    Classes of the user's may have attributes of their own: private ones, those that the class
    declares, and any if it has a constructor.
    """
    if hasattr(kind, name) or name.startswith("_") or kind.__init__ is not Configuration.__init__:
        return
    known = {n: None for base in kind.__mro__[:-1] for n in base.__annotations__ if n[0] != "_"}
    if name not in known:
        likely = did_you_mean(name, ["host", *known])
        raise ApiAttributeError(f"{kind.__name__} has no setting {name!r}{likely}")


def _check_pickles(name: str, value: object) -> None:
    import pickle  # which few programs need

    try:
        pickle.dumps(value)
    except Exception as error:
        raise ApiTypeError(
            f"a configuration with {name}={shorten(repr(value))} can't be pickled:"
            f" pickle it without {name}, and set that after loading"
        ) from error
