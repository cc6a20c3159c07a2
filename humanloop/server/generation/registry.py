"""The server's providers by the operator's names, and the choice of one for a config.

`NAME` is a provider with a known address; `NAME=URL` is a provider at a base URL. A config's
`provider` is one of the API's names. Other names, such as `local`, are OpenAI-compatible servers of
the operator's own: a config of the provider `openai` chooses one by a model `NAME/MODEL`, and the
first of them serves all configs of that provider if the server has no `openai`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from humanloop.model import ModelProviders
from humanloop.secrets import did_you_mean
from humanloop.server.errors import StartError
from humanloop.server.generation import addresses
from humanloop.server.generation.anthropic_wire import Anthropic
from humanloop.server.generation.egress import ProviderLimits
from humanloop.server.generation.mock import Mock
from humanloop.server.generation.openai_wire import OpenAI
from humanloop.server.generation.providers import Provider
from humanloop.server.generation.remote import Key, Remote
from humanloop.server.generation.wires import Wire

Given = Mapping[str, Provider | str] | Iterable[str]
"""The operator's choice: providers and base URLs by name, or `NAME` and `NAME=URL`."""

_MOCK, _DEFAULT = "mock", "openai"
_API_NAMES = frozenset(cast("list[str]", ModelProviders.__openapi__["enum"]))
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_URLS = {_DEFAULT: "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1"}
_VARIABLES = {"openai_azure": "AZURE_OPENAI_API_KEY"}
_NEED_KEYS = frozenset({*_URLS, "openai_azure"})


@dataclass(frozen=True)
class Found:
    """The provider that serves a config, its name, and its name for the model."""

    name: str
    provider: Provider
    model: str


@dataclass(frozen=True)
class Description:
    """A provider, described for the operator.

    url: its base URL; None for a provider in this process. lacks: why it can't be used.
    """

    name: str
    url: str | None
    lacks: str | None


class Registry:
    """The providers of a server."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        own = [name for name in providers if name not in _API_NAMES]
        self._own = frozenset(own)
        self._stand_in = own[0] if own else None

    @classmethod
    def of(cls, given: Given, limits: ProviderLimits) -> Registry:
        """Return the operator's providers and `mock`; raises StartError for an invalid one."""
        if isinstance(given, Mapping):
            named = cast("Mapping[str, Provider | str]", given)
        else:
            named = _parse(given)
        opened = {name: _open(name, each, limits) for name, each in named.items()}
        return cls({_MOCK: Mock(), **opened})

    def find(self, name: str, model: str) -> Found | None:
        """Return the provider of a model, by the provider that a config names; None without one."""
        if name == _DEFAULT:
            prefix, slash, rest = model.partition("/")
            if slash and rest and prefix in self._own:
                return Found(prefix, self._providers[prefix], rest)
            if name not in self._providers and self._stand_in is not None:
                return Found(self._stand_in, self._providers[self._stand_in], model)
        provider = self._providers.get(name)
        return None if provider is None else Found(name, provider, model)

    @property
    def names(self) -> list[str]:
        """Return the names of all, in their order."""
        return list(self._providers)

    def describe(self) -> list[Description]:
        """Return a description of each."""
        return [_describe(name, each) for name, each in self._providers.items()]


def settled(given: Given) -> Given:
    """Return the same in a form that can be read more than once; raises StartError."""
    if isinstance(given, str):
        raise StartError("`providers` must be a list of names, or a mapping.")
    if isinstance(given, Mapping):
        return cast("Mapping[str, Provider | str]", given)
    return tuple(given)


def advice(name: str) -> str:
    """Return instructions for adding the provider that a config names."""
    return f"--provider {name}" if name in _URLS else f"--provider {name}=URL"


def _parse(given: Iterable[str]) -> dict[str, str]:
    """Return the URLs by name; an empty one for a known address."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, url = each.partition("=")
        if name in found:
            raise StartError(f"The provider {name!r} is given twice.")
        if equals and not url:
            raise StartError(f"The provider {name!r} has no URL after the `=`.")
        if name != _MOCK or equals:
            found[name] = url
    return found


def _open(name: str, given: Provider | str, limits: ProviderLimits) -> Provider:
    if not isinstance(given, str):
        return given
    if not _NAME.fullmatch(name):
        raise StartError(
            "A provider is NAME or NAME=URL, and a name consists of small letters, digits, `_` and"
            " `-`."
        )
    if name == _MOCK:
        raise StartError("The provider 'mock' is built in, and has no URL.")
    if name == "humanloop":  # its key's variable would be that of this server's own key
        raise StartError("A provider can't be named 'humanloop'.")
    url = given or _URLS.get(name)
    if url is None:
        guess = did_you_mean(name, _URLS)
        raise StartError(
            f"The provider {name!r} needs its URL, such as {name}=http://127.0.0.1:8080/v1{guess}"
        )
    try:
        target = addresses.parse(url)
    except ValueError as error:
        raise StartError(f"The provider {name!r} can't be used: {error}.") from None
    if name == "anthropic" and not target.path.endswith("/v1"):
        target = replace(target, path=f"{target.path}/v1")
    variable = _VARIABLES.get(name) or f"{name.upper().replace('-', '_')}_API_KEY"
    needs_key = name in _NEED_KEYS and target.reach == "global"
    return Remote(_wire(name), target, Key(name, variable, needs_key), limits)


def _wire(name: str) -> Wire:
    if name == "anthropic":
        return Anthropic()
    return OpenAI("api-key") if name == "openai_azure" else OpenAI()


def _describe(name: str, provider: Provider) -> Description:
    if not isinstance(provider, Remote):
        return Description(name, None, None)
    lacks = None
    if provider.key.missing:
        lacks = f"no key: set {provider.key.variable}, or callers send their own"
    return Description(name, provider.target.url, lacks)
