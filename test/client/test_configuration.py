"""Where settings come from, what is refused, and what never shows."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import re
from typing import Any

import pytest

from humanloop import (
    ApiClient,
    ApiTypeError,
    ClientConfigurationError,
    Configuration,
    Humanloop,
    InvalidHostConfigurationError,
)


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
        ("http://user:pass/word@host/v4", "not a valid URL"),
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
