"""Where settings come from, what is refused, and what never shows."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TLS

from humanloop import (
    ApiClient,
    ApiTypeError,
    ApiValueError,
    ClientConfigurationError,
    Configuration,
    Humanloop,
    InvalidHostConfigurationError,
    OpenApiException,
)
from humanloop.configuration import CallSettings


def test_defaults() -> None:
    configuration = Configuration(api_key="k")
    assert configuration.host == "https://api.humanloop.com/v4"
    assert (configuration.timeout, configuration.connect_timeout) == (60, 10)
    assert configuration.verify_ssl
    assert configuration.provider_api_keys == {}


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLOOP_API_KEY", "from-environment")
    monkeypatch.setenv("HUMANLOOP_BASE_URL", "http://127.0.0.1:8000/v4/")
    configuration = Configuration()
    assert configuration.api_key == {"APIKeyHeader": "from-environment"}
    assert configuration.host == "http://127.0.0.1:8000/v4"
    given = Configuration(api_key="given", host="http://10.0.0.1")
    assert (given.api_key["APIKeyHeader"], given.host) == ("given", "http://10.0.0.1")


def test_positional_arguments_are_those_of_0_5() -> None:
    names = tuple(inspect.signature(Configuration).parameters)[:19]
    assert names == (
        "host",
        "api_key",
        "api_key_prefix",
        "username",
        "password",
        "discard_unknown_keys",
        "x_api_key",
        "openai_api_key",
        "openai_azure_api_key",
        "openai_azure_endpoint_api_key",
        "ai21_api_key",
        "mock_api_key",
        "anthropic_api_key",
        "cohere_api_key",
        "disabled_client_side_validations",
        "server_index",
        "server_variables",
        "server_operation_index",
        "server_operation_variables",
    )


def test_the_key_in_all_its_forms() -> None:
    assert Configuration(api_key={"APIKeyHeader": "k"}).api_key == {"APIKeyHeader": "k"}
    assert Configuration(api_key="k", x_api_key="x").api_key == {"APIKeyHeader": "x"}
    assert Configuration(x_api_key="x").get_api_key_with_prefix("APIKeyHeader") == "x"
    prefixed = Configuration(api_key="k", api_key_prefix={"APIKeyHeader": "Bearer"})
    assert prefixed.get_api_key_with_prefix("APIKeyHeader") == "Bearer k"
    assert prefixed.get_api_key_with_prefix("other") is None
    assert prefixed.auth_settings() == {
        "APIKeyHeader": {"type": "api_key", "in": "header", "key": "X-API-KEY", "value": "Bearer k"}
    }


def test_no_key_says_how_to_give_one() -> None:
    with pytest.raises(ClientConfigurationError, match=r"api_key=.*HUMANLOOP_API_KEY"):
        Configuration()
    for keys in ({"other": "k"}, {"APIKeyHeader": ""}):
        with pytest.raises(ClientConfigurationError, match="APIKeyHeader"):
            Configuration(api_key=keys)


@pytest.mark.parametrize(
    "key", ["se cret", "secret\n", " secret", "sécret", "secret\r\nX: y", "\x00"]
)
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ClientConfigurationError) as caught:
        Configuration(api_key=key)
    assert "cret" not in str(caught.value) + repr(caught.value)


def test_keys_must_be_text() -> None:
    wrong: Any = 12345
    with pytest.raises(ClientConfigurationError, match="the API key must be a str, not int"):
        Configuration(api_key=wrong)
    with pytest.raises(
        ClientConfigurationError, match="openai_api_key must be a str, not int"
    ) as caught:
        Configuration(api_key="k", openai_api_key=wrong)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("api.humanloop.com", "http://"),
        ("ftp://api.humanloop.com", "http://"),
        ("http://", "host name"),
        ("https:///v4", "host name"),
        ("http://host:99999", "not a valid URL"),
        ("http://host:port", "not a valid URL"),
        ("http://[::1", "not a valid URL"),
        ("http://host/v4?x=1", "query"),
        ("http://host/v4?", "query"),
        ("http://host/v4#x", "fragment"),
        ("http://ho st/v4", "spaces"),
        ("http://host/v4\n", "spaces"),
        ("http://user:password@host/v4", "credentials"),
        ("http://user:pass/word@host/v4", "credentials"),
        (8000, "str"),
    ],
)
def test_a_bad_host_is_refused(host: Any, reason: str) -> None:
    with pytest.raises(InvalidHostConfigurationError, match=re.escape(reason)) as caught:
        Configuration(host=host, api_key="k")
    assert "pass" not in str(caught.value)
    assert reason in caught.value.reason
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.host, again.reason, str(again)) == (
        caught.value.host,
        caught.value.reason,
        str(caught.value),
    )
    configuration = Configuration(api_key="k")
    with pytest.raises(InvalidHostConfigurationError):
        configuration.host = host


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_bad_timeout_is_refused(value: Any) -> None:
    with pytest.raises(ClientConfigurationError, match="timeout must be a positive number"):
        Configuration(api_key="k", timeout=value)
    configuration = Configuration(api_key="k", timeout=None)
    with pytest.raises(ClientConfigurationError, match="connect_timeout must be a positive number"):
        configuration.connect_timeout = value


def test_an_unknown_option_gets_the_likely_name() -> None:
    options: Any = {"verify_sll": False}
    provider: Any = {"openai_apikey": "k"}
    with pytest.raises(ApiTypeError, match="'verify_sll'; did you mean 'verify_ssl'"):
        Configuration(api_key="k", **options)
    with pytest.raises(ApiTypeError, match="did you mean 'openai_api_key'"):
        Humanloop(api_key="k", **provider)


@pytest.mark.parametrize(
    ("name", "likely"),
    [("verify_sll", "verify_ssl"), ("tiemout", "timeout"), ("hosts", "host"), ("foo", None)],
)
def test_an_attribute_that_is_no_setting_is_refused(name: str, likely: str | None) -> None:
    class Ours(Configuration):
        pass

    with Humanloop("k") as client:
        for configuration in (Configuration(api_key="k"), Ours(api_key="k"), client.configuration):
            with pytest.raises(AttributeError, match=f"has no setting '{name}'") as caught:
                setattr(configuration, name, 1)
            assert isinstance(caught.value, OpenApiException)
            assert str(caught.value).endswith(
                f"; did you mean '{likely}'?" if likely else f"'{name}'"
            )
            assert not hasattr(configuration, name)


def test_a_configuration_of_the_users_may_have_attributes_of_its_own() -> None:
    class Declared(Configuration):
        region: str
        zone = "a"

    class Made(Configuration):
        def __init__(self, region: str, **options: Any) -> None:
            self.before = region
            super().__init__(**options)
            self.timeouts = {"slow": 60}

    declared = Declared(api_key="k")
    declared.region, declared.zone = "eu", "b"
    declared._cache = {}  # type: ignore[attr-defined]
    made = Made("eu", api_key="k")
    made.tenant = "t"  # type: ignore[attr-defined]
    for each in (copy.copy(made), copy.deepcopy(made)):
        assert (each.before, each.timeouts, each.tenant) == ("eu", {"slow": 60}, "t")  # type: ignore[attr-defined]
        with Humanloop(configuration=each) as client:
            assert client.with_options(timeout=5).configuration.timeout == 5


def test_what_has_no_effect_any_more_says_so() -> None:
    with pytest.warns(DeprecationWarning, match="discard_unknown_keys has no effect") as warned:
        configuration = Configuration(api_key="k", discard_unknown_keys=True)
    assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="logger_file has no effect") as warned:
        configuration.logger_file = "log"  # type: ignore[attr-defined]
    assert warned[0].filename == __file__
    assert configuration.logger_file == "log"  # type: ignore[attr-defined]
    unset = Configuration(api_key="k")
    assert (unset.username, unset.server_variables) == (None, {})  # type: ignore[attr-defined]
    assert not hasattr(unset, "user_name")


@pytest.mark.filterwarnings("error")
def test_the_defaults_of_0_5_are_silent() -> None:
    Configuration(None, "k", None, None, None, False, None, server_index=0)


def test_copies_are_independent() -> None:
    configuration = Configuration(api_key="k", proxy="http://proxy:1", openai_api_key="o")
    configuration.refresh_api_key_hook = lambda c: None
    for duplicate in (copy.copy(configuration), copy.deepcopy(configuration)):
        assert duplicate.proxy == "http://proxy:1"
        assert duplicate.refresh_api_key_hook is configuration.refresh_api_key_hook
        duplicate.api_key["APIKeyHeader"] = "other"
        duplicate.host = "http://other"
        assert configuration.api_key["APIKeyHeader"] == "k"
        assert configuration.host == "https://api.humanloop.com/v4"


def test_default_configuration() -> None:
    try:
        Configuration.set_default(Configuration(api_key="k", host="http://default"))
        assert Configuration.get_default_copy().host == "http://default"
        assert Configuration.get_default_copy() is not Configuration.get_default_copy()
        assert ApiClient().configuration.host == "http://default"
    finally:
        Configuration.set_default(None)
    with pytest.raises(ClientConfigurationError):
        Configuration.get_default_copy()


def test_the_hook_refreshes_the_key_before_each_use() -> None:
    configuration = Configuration(api_key="k0")
    keys = iter(["k1", "k 2"])

    def refresh(c: Configuration) -> None:
        c.api_key["APIKeyHeader"] = next(keys)

    configuration.refresh_api_key_hook = refresh
    assert configuration.get_api_key_with_prefix("APIKeyHeader") == "k1"
    with pytest.raises(ClientConfigurationError):
        configuration.get_api_key_with_prefix("APIKeyHeader")


def test_debug_is_the_level_of_the_logger() -> None:
    configuration = Configuration(api_key="k")
    logger = logging.getLogger("humanloop")
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])
    try:
        configuration.debug = True
        assert configuration.debug
        assert logger.level == logging.DEBUG
    finally:
        configuration.debug = False
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])


def test_debug_report() -> None:
    report = Configuration(api_key="secret").to_debug_report()
    assert "0.6.0" in report
    assert "secret" not in report


def test_humanloop_takes_a_configuration_or_its_arguments() -> None:
    configuration = Configuration(api_key="k", host="http://h")
    assert Humanloop(configuration).configuration is configuration
    assert Humanloop(configuration=configuration).configuration is configuration
    made = Humanloop("k", "http://h", mock_api_key="m", timeout=5, api_key_prefix={"a": "b"})
    assert made.configuration.host == "http://h"
    assert made.configuration.provider_api_keys == {"mock": "m"}
    assert made.configuration.timeout == 5
    assert Humanloop(x_api_key="x").configuration.api_key == {"APIKeyHeader": "x"}
    with pytest.raises(ApiTypeError, match="a configuration, or host, timeout, not both"):
        Humanloop(configuration, host="http://h", timeout=5)


# Every setting is checked where it is given


SECRET = "sEcReT-value"


class Hostile:
    """A value whose repr is a secret."""

    def __repr__(self) -> str:
        return SECRET


TIMEOUTS = [0, -1, True, False, float("nan"), "10", Hostile()]
COUNTS = ["10", True, 0, -1, 1.0, float("nan"), Hostile()]
BOOLS = [None, 0, 1, "false", "", Hostile()]
FUNCTIONS = [1, "print", Hostile(), [print]]
FILES = ["", b"file", 5, True, Hostile(), f"-----BEGIN PRIVATE KEY-----\n{SECRET}", "a\0b"]
HEADERS: list[Any] = [
    [],
    "X",
    {"X Y": "a"},
    {"": "a"},
    {"X": f"{SECRET}\r\nY: b"},
    {"X": 5},
    {"X": None},
]
REFUSED: dict[str, list[Any]] = {
    "timeout": TIMEOUTS,
    "connect_timeout": TIMEOUTS,
    "read_timeout": TIMEOUTS,
    "max_response_bytes": COUNTS,
    "connection_pool_maxsize": [None, *COUNTS],
    "retries": [-1, True, "2", 1.5, Hostile()],
    "response_validation": [None, "loose", Hostile(), ["strict"]],
    "bodies": [None, "dicts", Hostile(), 1],
    "skip_deserialization": BOOLS,
    "verify_ssl": BOOLS,
    "trust_env": BOOLS,
    "event_hooks": [None, [], {"reqest": []}, {"request": print}, {"request": [1]}, Hostile()],
    "on_drift": FUNCTIONS,
    "proxy": ["", 5, Hostile(), f"http://user:12/{SECRET}@proxy"],
    "proxy_headers": [*HEADERS, Hostile()],
    "ssl_context": [True, "context", Hostile()],
    "ssl_ca_cert": FILES,
    "cert_file": FILES,
    "key_file": FILES,
    "assert_hostname": [True, 0, "", "a b", f"a\n{SECRET}", 5, Hostile()],
    "socket_options": [5, "options", [1], [(1, 2)], [("a", 2, 3)], [(1, 2, None)], Hostile()],
    "openai_api_key": ["", 5, f"{SECRET}\n", f"{SECRET} ", Hostile()],
    "api_key_prefix": ["Bearer", {"APIKeyHeader": f"{SECRET}\n"}, {"APIKeyHeader": 5}, Hostile()],
}
COPIED = {*CallSettings.__annotations__}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values]
)
def test_a_setting_is_refused_where_it_is_given(name: str, value: Any) -> None:
    options: Any = {name: value}
    with Humanloop(api_key="k") as client:
        ways = [
            lambda: Configuration(api_key="k", **options),
            lambda: Humanloop(api_key="k", **options),
            lambda: setattr(Configuration(api_key="k"), name, value),
        ]
        if name in COPIED:
            ways.append(lambda: client.with_options(**options))
        for give in ways:
            with pytest.raises(ClientConfigurationError, match=name) as caught:
                give()
            assert SECRET not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "connect_timeout", "read_timeout", "bodies"])
def test_a_setting_of_one_call_is_checked_too(name: str, client: Humanloop, server: Any) -> None:
    for value in REFUSED[name]:
        options: Any = {name: value}
        with pytest.raises(ApiValueError, match=rf"projects\.list\(\): {name} must be") as caught:
            client.projects.list(**options)
        assert SECRET not in str(caught.value)
    wrong: Any = "false"
    with pytest.raises(ApiValueError, match="idempotent must be True or False"):
        client.projects.list(idempotent=wrong)
    assert server.requests == []


@pytest.mark.parametrize(
    "seconds",
    [sys.maxsize, 10**400, 10**5000, 1e300, 1e10],
    ids=["maxsize", "400 digits", "5000 digits", "1e300", "1e10"],
)
def test_a_huge_number_of_seconds_is_a_long_time(seconds: float) -> None:
    client = Humanloop(api_key="k", timeout=seconds, connect_timeout=seconds)
    for request in (
        client.build_request(client.projects.list),
        client.build_request(client.projects.list, timeout=seconds, connect_timeout=seconds),
    ):
        assert request.timeout == request.connect_timeout == 1e9
    assert "timeout=" in repr(client)


@pytest.mark.parametrize("name", ["api_key", "x_api_key", "host", "openai_api_key"])
def test_an_empty_argument_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLOOP_API_KEY", "from-environment")
    monkeypatch.setenv("HUMANLOOP_BASE_URL", "http://127.0.0.1:8000/v4")
    options: Any = {name: ""}
    for make in (Configuration, Humanloop):
        with pytest.raises(ClientConfigurationError, match=name.removeprefix("x_")):
            make(**options)
    with pytest.raises(ClientConfigurationError, match="api_key"):
        Configuration(api_key="", x_api_key="x")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLOOP_BASE_URL", "")
    assert Configuration(api_key="k").host == "https://api.humanloop.com/v4"
    monkeypatch.setenv("HUMANLOOP_API_KEY", "")
    with pytest.raises(ClientConfigurationError, match="no API key"):
        Configuration()


def test_what_is_wrong_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUMANLOOP_API_KEY", f"{SECRET}\n")
    with pytest.raises(ClientConfigurationError, match="HUMANLOOP_API_KEY") as caught:
        Configuration()
    assert SECRET not in str(caught.value)
    monkeypatch.setenv("HUMANLOOP_BASE_URL", "api.example")
    with pytest.raises(InvalidHostConfigurationError, match="HUMANLOOP_BASE_URL"):
        Configuration(api_key="k")


def test_a_key_may_be_set_later_and_is_checked() -> None:
    configuration = Configuration(api_key="k")
    configuration.api_key = "other"  # type: ignore[assignment]  # as some do
    assert configuration.api_key == {"APIKeyHeader": "other"}
    for wrong in ("", f"{SECRET} x", None, {"APIKeyHeader": 5}, Hostile()):
        with pytest.raises(ClientConfigurationError, match="api_key") as caught:
            configuration.api_key = wrong  # type: ignore[assignment]
        assert SECRET not in str(caught.value)
    configuration.api_key["APIKeyHeader"] = f"{SECRET}\n"
    with pytest.raises(ClientConfigurationError, match="api_key"):
        configuration.get_api_key_with_prefix("APIKeyHeader")


@pytest.mark.parametrize("name", ["ssl_ca_cert", "cert_file", "key_file"])
def test_a_file_is_read_when_it_is_given(name: str, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(SECRET)
    for path, reason in (
        (tmp_path / "nowhere", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "other.txt", "in PEM"),
    ):
        options: Any = {name: path}
        with pytest.raises(
            ClientConfigurationError, match=rf"^{name} can't be used: .*{reason}"
        ) as caught:
            Configuration(api_key="k", **options)
        assert SECRET not in str(caught.value)


def test_a_key_that_is_not_that_of_the_certificate() -> None:
    loopback, elsewhere = str(TLS / "loopback.pem"), str(TLS / "elsewhere.pem")
    Configuration(api_key="k", cert_file=loopback, key_file=loopback)
    with pytest.raises(ClientConfigurationError, match="the key does not match the certificate"):
        Configuration(api_key="k", cert_file=loopback, key_file=elsewhere)
    with pytest.raises(ClientConfigurationError, match="key_file needs cert_file"):
        Configuration(api_key="k", key_file=loopback)
    configuration = Configuration(api_key="k", cert_file=loopback)
    configuration.key_file = elsewhere  # one after the other, they can't fit at every time
    with pytest.raises(ClientConfigurationError, match="cert_file, key_file can't be used"):
        configuration.check_tls()


def test_a_client_takes_a_configuration_of_the_right_type() -> None:
    wrong: Any = {"api_key": SECRET}
    with pytest.raises(ApiTypeError, match="configuration must be a Configuration, not dict"):
        Humanloop(configuration=wrong)
