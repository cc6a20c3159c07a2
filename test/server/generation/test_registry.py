"""Which provider serves a config, and what an operator is told."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from humanloop.server import Settings, StartError
from humanloop.server.generation.mock import Mock
from humanloop.server.generation.registry import Registry

LOCAL = "local=http://127.0.0.1:8080/v1"
OTHER = "other=http://127.0.0.1:8081/v1"


def found(providers: Any, provider: str, model: str) -> tuple[str, str] | None:
    """The names of the provider and of the model that serve a config."""
    one = Settings(providers=providers).registry.find(provider, model)
    return None if one is None else (one.name, one.model)


class TestChoice:
    """Who serves a config."""

    def test_mock_is_always_there_beside_names(self) -> None:
        assert found([], "mock", "m") == ("mock", "m")
        assert found([LOCAL, "openai"], "mock", "local/m") == ("mock", "local/m")
        assert found([], "openai", "m") is None

    def test_a_name_of_the_operators_own_stands_in_for_openai(self) -> None:
        assert found([LOCAL, OTHER], "openai", "gpt-4") == ("local", "gpt-4")
        assert found([LOCAL, OTHER], "openai", "other/m") == ("other", "m")
        assert found([LOCAL], "anthropic", "m") is None

    def test_beside_openai_it_is_chosen_by_the_model(self) -> None:
        providers = [LOCAL, "openai"]
        assert found(providers, "openai", "gpt-4") == ("openai", "gpt-4")
        assert found(providers, "openai", "local/org/model") == ("local", "org/model")
        assert found(providers, "openai", "meta/llama") == ("openai", "meta/llama")
        assert found(providers, "openai", "local/") == ("openai", "local/")

    def test_other_names_of_the_api_are_chosen_by_the_provider(self) -> None:
        providers = ["cohere=https://api.cohere.ai/compatibility/v1"]
        assert found(providers, "cohere", "command") == ("cohere", "command")
        assert found(providers, "openai", "cohere/command") is None

    def test_a_mapping_has_adapters_and_urls(self) -> None:
        providers = {"openai": Mock(), "local": "http://127.0.0.1:8080"}
        assert Settings(providers=providers).registry.names == ["mock", "openai", "local"]
        assert found(providers, "openai", "local/m") == ("local", "m")


def test_settings_that_are_changed_keep_them() -> None:
    settings = Settings(providers=(each for each in [LOCAL, OTHER]))
    assert replace(settings, sampling="thompson").registry.names == ["mock", "local", "other"]


def test_a_registry_goes_to_other_processes() -> None:
    again: Registry = pickle.loads(pickle.dumps(Settings(providers=[LOCAL]))).registry
    assert again.describe() == Settings(providers=[LOCAL]).registry.describe()


def test_who_needs_a_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789")
    providers = ["openai", "anthropic", "openai_azure=https://x.openai.azure.com/openai/v1", LOCAL]
    described = Settings(providers=providers).registry.describe()
    assert [(each.name, each.url, each.lacks) for each in described] == [
        ("mock", None, None),
        (
            "openai",
            "https://api.openai.com/v1",
            "no key: set OPENAI_API_KEY, or callers send their own",
        ),
        ("anthropic", "https://api.anthropic.com/v1", None),
        (
            "openai_azure",
            "https://x.openai.azure.com/openai/v1",
            "no key: set AZURE_OPENAI_API_KEY, or callers send their own",
        ),
        ("local", "http://127.0.0.1:8080/v1", None),
    ]


@pytest.mark.parametrize(
    ("providers", "said"),
    [
        (["local"], "needs its URL"),
        (["opnai"], "did you mean 'openai'"),
        (["openai_azure"], "needs its URL"),
        (["local="], "no URL after"),
        (["humanloop=http://127.0.0.1:1"], "can't be named"),
        (["mock=http://127.0.0.1:1"], "built in"),
        ([LOCAL, LOCAL], "twice"),
        (["sk-SECRET.KEY"], "a name consists of small letters"),
        (["=http://127.0.0.1:1"], "a name consists of small letters"),
        (["local=http://127.1:1"], "another spelling"),
        ("openai", "must be a list"),
    ],
)
def test_what_can_t_be_is_refused_at_the_start(providers: Any, said: str) -> None:
    with pytest.raises(StartError, match=said) as error:
        Settings(providers=providers)
    assert "SECRET" not in str(error.value)
