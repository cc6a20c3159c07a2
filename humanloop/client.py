"""Humanloop: what a user holds. The tags are attributes of it, made when they are first used."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from humanloop.apis.facade import Facade
from humanloop.configuration import Configuration, ConnectionOptions
from humanloop.exceptions import ApiTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self, Unpack

    from humanloop.api_client import ApiClient

__all__ = ["Humanloop"]


class HumanloopOptions(ConnectionOptions, total=False):
    """The options of `Configuration` that are not arguments of `Humanloop`."""

    api_key_prefix: Mapping[str, str] | None
    x_api_key: str | None


class Humanloop(Facade):
    """A client of the Humanloop API.

    api_key: by default `HUMANLOOP_API_KEY` from the environment; host: the base URL, by default
    `HUMANLOOP_BASE_URL`, else the hosted service; openai_api_key, ...: keys of model providers,
    sent with the operations that call a model. The remaining options are those of `Configuration`;
    a ready configuration takes the place of all of them, and may be the first argument, as in
    version 0.5.

    Share one client between threads; close it, or use it in a `with` block, to close its
    connections.
    """

    def __init__(
        self,
        api_key: str | Mapping[str, str] | Configuration | None = None,
        host: str | None = None,
        openai_api_key: str | None = None,
        openai_azure_api_key: str | None = None,
        openai_azure_endpoint_api_key: str | None = None,
        ai21_api_key: str | None = None,
        mock_api_key: str | None = None,
        anthropic_api_key: str | None = None,
        cohere_api_key: str | None = None,
        configuration: Configuration | None = None,
        **options: Unpack[HumanloopOptions],
    ) -> None:
        given = {
            k: v for k, v in locals().items() if v and k not in ("self", "configuration", "options")
        }
        if isinstance(api_key, Configuration):
            configuration, given = api_key, {k: v for k, v in given.items() if k != "api_key"}
        if configuration is None:
            configuration = Configuration(**given, **options)
        elif names := [*given, *options]:
            raise ApiTypeError(
                f"Humanloop() takes a configuration, or {', '.join(names)}, not both"
            )
        self._configuration = configuration

    @cached_property
    def api_client(self) -> ApiClient:  # type: ignore[override]
        """What makes the calls; imported and made when it is first needed."""
        from humanloop.api_client import ApiClient

        return cast(
            ApiClient, self.__dict__.setdefault("api_client", ApiClient(self._configuration))
        )

    @property
    def configuration(self) -> Configuration:
        """The configuration in use."""
        made = self.__dict__.get("api_client")
        return self._configuration if made is None else cast(Configuration, made.configuration)

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones."""
        if "api_client" in self.__dict__:
            self.api_client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.configuration!r})"
