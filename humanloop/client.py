"""Humanloop, the client of the API: the tags and shortcuts of `Facade`, with a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from humanloop.apis.facade import Facade
from humanloop.configuration import Configuration, ConnectionOptions
from humanloop.exceptions import ApiTypeError
from humanloop.frames import shielded
from humanloop.lazy import removed_names
from humanloop.spool.client import SpoolingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from humanloop.tracing.spans import Session
    from humanloop.tracing.tracer import Function, TraceOptions, Tracer
    from humanloop.transport import AsyncTransport, Transport

__all__ = ["Humanloop"]


_NO_SETTINGS = ("self", "__class__", "configuration", "transport", "async_transport", "options")


class HumanloopOptions(ConnectionOptions, total=False):
    """The options of `Configuration` that are not arguments of `Humanloop`."""

    api_key_prefix: Mapping[str, str] | None
    x_api_key: str | None


class Humanloop(Facade, SpoolingClient):
    """A client of the Humanloop API.

    api_key: by default `HUMANLOOP_API_KEY` from the environment; host: the base URL, by default
    `HUMANLOOP_BASE_URL`, else the hosted service; openai_api_key, ...: keys of model providers,
    sent with the operations that call a model. The remaining options are those of `Configuration`;
    a Configuration object takes the place of all of them, and may be the first argument, as in
    version 0.5. transport, async_transport: send the requests; by default urllib3 and aiohttp.

    Share one client between threads and event loops; close it, or use it in a `with` or `async
    with` block, to close its connections.
    """

    @shielded
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
        *,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **options: Unpack[HumanloopOptions],
    ) -> None:
        given = {k: v for k, v in locals().items() if v is not None and k not in _NO_SETTINGS}
        if isinstance(api_key, Configuration):
            configuration, given = api_key, {k: v for k, v in given.items() if k != "api_key"}
        if configuration is None:
            configuration = Configuration(**given, **options)
        elif names := [*given, *options]:
            raise ApiTypeError(
                f"Humanloop() takes a configuration, or {', '.join(names)}, not both"
            )
        if not isinstance(cast("object", configuration), Configuration):
            raise ApiTypeError(
                f"configuration must be a Configuration, not {type(configuration).__name__}"
            )
        super().__init__(configuration, transport=transport, async_transport=async_transport)

    @property
    def tracer(self) -> Tracer:
        """The tracer of this client; its `failures` counts the errors of tracing."""
        if "tracer" not in self._made:
            from humanloop.tracing.tracer import Tracer

            self._made.setdefault("tracer", Tracer(self.spool))
        tracer: Tracer = self._made["tracer"]
        return tracer

    def traced(self, **options: Unpack[TraceOptions]) -> Callable[[Function], Function]:
        """Return a decorator that logs each call of a function: `@client.traced(project="p")`.

        options: see `humanloop.tracing.tracer.TraceOptions`. See the guide "Tracing".
        """
        return self.tracer.traced(**options)

    def session(self, reference_id: str | None = None) -> Session:
        """Return a session for a `with` or `async with` block, whose logs belong to it.

        reference_id: of the session; that of an earlier session continues it.
        """
        from humanloop.tracing.spans import Session

        return Session(reference_id)


if not TYPE_CHECKING:  # a type checker would take any name for granted
    __getattr__ = removed_names(__name__)
