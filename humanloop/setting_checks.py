"""The checks of settings: what each one may be.

Invariants: a message names the setting and holds no value that may be a secret; a file that is
named is there and holds what it must when the setting is given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from humanloop.addresses import parse_proxy
from humanloop.exceptions import ClientConfigurationError
from humanloop.frames import shielded
from humanloop.secrets import brief, mask_keys, printable

if TYPE_CHECKING:
    import ssl

__all__ = [
    "CHECKS",
    "EVENTS",
    "HEADER_NAME",
    "HEADER_VALUE",
    "LONGEST_TIMEOUT",
    "PROVIDERS",
    "TlsSettings",
    "check_files",
    "check_key",
    "check_setting",
    "check_tls_settings",
    "is_header_name",
    "is_header_value",
    "load_client_certificate",
    "refused",
]

EVENTS = ("request", "response", "error")
PROVIDERS = (
    "openai",
    "openai_azure",
    "openai_azure_endpoint",
    "ai21",
    "mock",
    "anthropic",
    "cohere",
)
LONGEST_TIMEOUT = 1e9
"""Seconds, some 30 years: as long as no limit, and a number that can be reckoned with."""

_TIMEOUT = "a positive number of seconds, or None for no limit"
_NO_KEY_CHARACTER = re.compile(r"[^!-~]")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.1
HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5
# RFC 7468; the content begins as that of every certificate in DER does.
_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s*MI")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class TlsSettings(Protocol):
    """The settings of a configuration that say how TLS is done."""

    verify_ssl: bool
    ssl_ca_cert: str | os.PathLike[str] | None
    cert_file: str | os.PathLike[str] | None
    key_file: str | os.PathLike[str] | None
    assert_hostname: Any
    ssl_context: ssl.SSLContext | None


def refused(name: str, wanted: str, value: object) -> ClientConfigurationError:
    """Return the error for a value that a setting can't have."""
    return ClientConfigurationError(f"{name} must be {wanted}, not {brief(value)}")


def check_setting(name: str, value: object) -> None:
    """Raise ClientConfigurationError for a value that a setting can't have."""
    fits, wanted = CHECKS.get(name, (None, ""))
    if fits is not None and not fits(value):
        raise refused(name, wanted, value)


@shielded
def check_key(key: object, name: str) -> None:
    """Raise ClientConfigurationError for what is no key; name: of the setting."""
    if not isinstance(key, str):
        raise ClientConfigurationError(f"{name}: the API key must be a str, not {_type(key)}")
    if not key:
        raise ClientConfigurationError(f"{name} is empty; leave it out, or pass None, for no key")
    if unfit := _NO_KEY_CHARACTER.search(key):
        raise ClientConfigurationError(
            f"{name}: the API key, which is not shown here, has a space, a line break or another"
            f" character that no key has, at position {unfit.start()}"
        )


def is_header_name(name: object) -> bool:
    """Return whether this is the name of a header field."""
    return isinstance(name, str) and HEADER_NAME.fullmatch(name) is not None


def is_header_value(value: object) -> bool:
    """Return whether this is the value of a header field: Latin-1 without control characters."""
    return isinstance(value, str) and HEADER_VALUE.fullmatch(value) is not None


# -- of one setting -------------------------------------------------------------------------------


def _is_timeout(value: object) -> bool:
    if value is None:
        return True
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 < cast("float", value) < float("inf")


def _is_policy(value: Any) -> bool:
    from humanloop.retries import RetryPolicy  # not needed for a client that has the default

    RetryPolicy.of(value)  # ClientConfigurationError for what is none
    return True


def _is_spool(value: Any) -> bool:
    from humanloop.spool.options import check_setting as check_spool  # needed by few clients

    check_spool(value)  # ClientConfigurationError for what is none
    return True


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_one_of(*choices: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in choices


def _is_function(value: object) -> bool:
    return value is None or callable(value)


def _are_hooks(value: object) -> bool:
    hooks = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: ()}
    return all(
        event in EVENTS
        and isinstance(functions, Sequence)
        and all(map(callable, cast("Sequence[object]", functions)))
        for event, functions in hooks.items()
    )


def _is_proxy(value: object) -> bool:
    if value is not None:
        parse_proxy(value)  # ClientConfigurationError for what is none
    return True


def _are_headers(value: object) -> bool:
    if value is None or not isinstance(value, Mapping):
        return value is None
    fields = dict(cast("Mapping[object, object]", value))
    return all(is_header_name(k) and is_header_value(v) for k, v in fields.items())


def _is_text_by_scheme(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    fields = dict(cast("Mapping[object, object]", value))
    return all(isinstance(k, str) and is_header_value(v) for k, v in fields.items())


def _is_expected_host(value: object) -> bool:
    if isinstance(value, str):
        return bool(value) and value.isprintable() and not any(c.isspace() for c in value)
    return value is None or value is False


def _are_socket_options(value: object) -> bool:
    if value is None or not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return value is None
    options = cast("Sequence[object]", value)
    return all(isinstance(option, Sequence) and _is_socket_option(option) for option in options)  # pyright: ignore[reportUnknownArgumentType]  # of whatever


def _is_socket_option(option: Sequence[object]) -> bool:
    return (
        len(option) == 3
        and all(isinstance(number, int) for number in option[:2])
        and isinstance(option[2], (int, bytes))
    )


def _is_context(value: object) -> bool:
    if value is None:
        return True
    import ssl

    return isinstance(value, ssl.SSLContext) and value.protocol != ssl.PROTOCOL_TLS_SERVER


def _is_provider_key(name: str) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        if value is not None and not isinstance(value, str):
            raise ClientConfigurationError(f"{name} must be a str, not {_type(value)}")
        if value is not None:
            check_key(value, name)
        return True

    return fits


def _type(value: object) -> str:
    return type(value).__name__


# -- of files -------------------------------------------------------------------------------------


def _is_file(name: str) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        if isinstance(value, str | os.PathLike) and value != "":
            check_files(name, _FINDERS[name], cast("str | os.PathLike[str]", value))
            return True
        return value is None

    return fits


def check_files(name: str, use: Callable[..., object], *paths: str | os.PathLike[str]) -> None:
    """Call `use` with paths; raise ClientConfigurationError if the files can't be used.

    name: the setting, or the settings, that named them.
    """
    for path in paths:
        if "-----BEGIN" in os.fspath(path):
            raise ClientConfigurationError(f"{name} must be the path of a file, not its content")
    try:
        for path in paths:
            if not os.path.exists(path) or os.path.isdir(path):
                open(path, "rb").close()  # a reason in words, which OpenSSL does not always have
        use(*paths)
    except (OSError, ValueError) as error:  # also ssl.SSLError; ValueError for a path with NUL
        what = printable(mask_keys(", ".join([os.fspath(path) for path in paths])))
        reason = _reason(error)
        raise ClientConfigurationError(f"{name} can't be used: {what}: {reason}") from error


def _reason(error: Exception) -> str:
    import ssl

    if not isinstance(error, ssl.SSLError):
        return getattr(error, "strerror", None) or str(error)
    reasons = {
        "NO_CERTIFICATE_OR_CRL_FOUND": "it holds no certificate in PEM",
        "KEY_VALUES_MISMATCH": "the key does not match the certificate",
    }
    return reasons.get(error.reason or "", "it lacks the certificate or key, in PEM")


def _finder(pattern: re.Pattern[bytes], what: str) -> Callable[[str | os.PathLike[str]], None]:
    """Return a function that raises an OSError or ValueError for a file without what it needs."""

    def find(path: str | os.PathLike[str]) -> None:
        if os.path.isfile(path):  # what comes from a pipe can be read only once
            with open(path, "rb") as file:
                if not pattern.search(file.read()):
                    raise ValueError(f"it holds no {what} in PEM")

    return find


_FINDERS = {
    "ssl_ca_cert": _finder(_CERTIFICATE, "certificate"),
    "cert_file": _finder(_CERTIFICATE, "certificate"),
    "key_file": _finder(_PRIVATE_KEY, "private key"),
}


def load_client_certificate(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Let a context use the client's certificate, if there is one."""
    cert_file, key_file = settings.cert_file, settings.key_file
    if cert_file is None:
        return
    named = {"cert_file": cert_file, "key_file": key_file}
    paths = {name: path for name, path in named.items() if path is not None}

    def load(*_: str | os.PathLike[str]) -> None:
        context.load_cert_chain(cert_file, key_file, _no_password)

    check_files(", ".join(paths), load, *paths.values())


def _no_password() -> str:
    # Without one, OpenSSL would ask for it on the terminal, and wait.
    raise ValueError("the key is encrypted; decrypt it, or load it into a context: ssl_context=")


def check_tls_settings(settings: TlsSettings) -> None:
    """Raise ClientConfigurationError for settings of TLS that do not go together."""
    if settings.ssl_context is not None:
        changed = {
            "verify_ssl": settings.verify_ssl is not True,
            "ssl_ca_cert": settings.ssl_ca_cert is not None,
            "cert_file": settings.cert_file is not None,
            "key_file": settings.key_file is not None,
            "assert_hostname": settings.assert_hostname is not None,
        }
        if names := [name for name, is_changed in changed.items() if is_changed]:
            raise ClientConfigurationError(
                f"ssl_context is used as it is: it takes the place of {', '.join(names)}"
            )
    if settings.key_file is not None and settings.cert_file is None:
        raise ClientConfigurationError("key_file needs cert_file, the certificate of that key")
    if settings.cert_file is not None:
        import ssl

        load_client_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), settings)


_FILE = "the path of a file, or None"
_FUNCTION = "a function, or None"
_BOOL = "True or False"

CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "timeout": (_is_timeout, _TIMEOUT),
    "connect_timeout": (_is_timeout, _TIMEOUT),
    "read_timeout": (_is_timeout, _TIMEOUT),
    "retries": (_is_policy, ""),
    "idempotent": (_is_bool, _BOOL),
    "max_response_bytes": (
        lambda value: value is None or _is_count(value),
        "a positive number of bytes, or None for no limit",
    ),
    "response_validation": (_is_one_of("strict", "lenient"), '"strict" or "lenient"'),
    "bodies": (_is_one_of("models", "plain"), '"models" or "plain"'),
    "skip_deserialization": (_is_bool, _BOOL),
    "event_hooks": (
        _are_hooks,
        f"a dict of lists of functions, with the keys {', '.join(EVENTS)}",
    ),
    "on_drift": (_is_function, _FUNCTION),
    "spool": (_is_spool, ""),
    "refresh_api_key_hook": (_is_function, _FUNCTION),
    "api_key_prefix": (_is_text_by_scheme, "a dict of str without line breaks"),
    "proxy": (_is_proxy, ""),
    "proxy_headers": (
        _are_headers,
        "a dict of header names and values, str of Latin-1 characters without line breaks",
    ),
    "trust_env": (_is_bool, _BOOL),
    "verify_ssl": (_is_bool, _BOOL),
    "ssl_context": (_is_context, "an ssl.SSLContext for clients, or None"),
    "ssl_ca_cert": (_is_file("ssl_ca_cert"), _FILE),
    "cert_file": (_is_file("cert_file"), _FILE),
    "key_file": (_is_file("key_file"), _FILE),
    "assert_hostname": (_is_expected_host, "a host name, False for any, or None"),
    "connection_pool_maxsize": (_is_count, "a whole number from 1 up"),
    "socket_options": (
        _are_socket_options,
        "a list of arguments for setsockopt: level, name and value",
    ),
    **{f"{name}_api_key": (_is_provider_key(f"{name}_api_key"), "") for name in PROVIDERS},
}
"""The check of each setting, and the description of a valid value. A check whose message says
more raises its own error."""
