"""BaseClient: what every client is, whichever API it calls: a configuration, and connections."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from humanloop.forks import no_fork
from humanloop.frames import shielded
from humanloop.lazy import cached_property

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import ParamSpec, Self, Unpack

    from humanloop.api_client import ApiClient, CallSettings
    from humanloop.configuration import Configuration
    from humanloop.transport import AsyncTransport, Request, Transport

    Arguments = ParamSpec("Arguments")

__all__ = ["BaseClient"]


class BaseClient:
    """The client of an API: a `Facade` that was generated from its document adds the tags.

    configuration: host, keys, and how to connect; transport, async_transport: what sends the
    requests; by default urllib3, aiohttp.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
    ) -> None:
        self._configuration = configuration
        self._transports = (transport, async_transport)

    @cached_property
    def api_client(self) -> ApiClient:
        """Return the ApiClient; it is imported and made when it is first needed."""
        with no_fork.importing():
            from humanloop.api_client import ApiClient

        transport, async_transport = self._transports
        return ApiClient(self._configuration, transport=transport, async_transport=async_transport)

    @property
    def configuration(self) -> Configuration:
        """Return the configuration in use."""
        made = self.__dict__.get("api_client")
        return self._configuration if made is None else cast("Configuration", made.configuration)

    @shielded
    def build_request(
        self, method: Callable[Arguments, Any], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Request:
        """Return the request that a method would send, and send nothing.

        An example is `build_request(client.projects.get, id="pr_1")`. `as_curl()` of the result is
        a command for curl, without keys.
        """
        from humanloop.api import build_request

        return build_request(self.api_client, method, *args, **kwargs)

    @shielded
    def with_options(
        self, *, headers: Mapping[str, str] | None = None, **settings: Unpack[CallSettings]
    ) -> Self:
        """Return a copy of the client with other settings: `with_options(timeout=5, retries=0)`.

        headers: sent with every call of the copy; timeout, connect_timeout, read_timeout, retries,
        response_validation, bodies, skip_deserialization, event_hooks, on_drift: as in
        `Configuration`. The copy and the client share their connections: closing one closes them
        for both.
        """
        duplicate = self._with(self.api_client.with_options(headers, **settings))
        duplicate.__dict__.update(self._shared())
        return duplicate

    def _shared(self) -> dict[str, Any]:
        """Return the attributes that copies by `with_options` have in common with this client."""
        return {}

    def _with(self, api_client: ApiClient) -> Self:
        """Return a copy that calls by `api_client`."""
        duplicate = object.__new__(type(self))
        duplicate.__dict__.update({**self.__getstate__(), "api_client": api_client})
        return duplicate

    def __copy__(self) -> Self:
        """Return a copy with settings of its own, and the same connections: `with_options()`."""
        return self._with(copy.copy(self.api_client))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy with settings and connections of its own; given transports are the same."""
        return self._with(copy.deepcopy(self.api_client))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of the client, without the tags, which are made when needed."""
        api_client = self.api_client
        return {
            name: value
            for name, value in self.__dict__.items()
            if getattr(value, "api_client", None) is not api_client
        }

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones.

        Those of an event loop that runs are closed by that loop, soon; `aclose` waits for it.
        """
        if "api_client" in self.__dict__:
            self.api_client.close()

    async def aclose(self) -> None:
        """Close the connections, in an event loop, and wait until they are closed."""
        if "api_client" in self.__dict__:
            await self.api_client.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.configuration!r})"
