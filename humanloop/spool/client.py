"""SpoolingClient: a client with a spool. The methods that log later are in the API's facade."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from humanloop.base_client import BaseClient
from humanloop.forks import no_fork

if TYPE_CHECKING:
    from humanloop.spool.options import Flushed
    from humanloop.spool.spool import Spool

__all__ = ["SpoolingClient"]


class SpoolingClient(BaseClient):
    """A client with a spool; copies made by `with_options` share the spool."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._made: dict[str, Any] = {}  # objects made on first use, and shared with copies
        self._base = ""  # for relative paths: the program may change its directory later
        with contextlib.suppress(OSError):  # the current directory was deleted
            self._base = os.getcwd()

    @property
    def spool(self) -> Spool:
        """The spool; it has no files before the first `log_later`."""
        if "spool" not in self._made:
            with no_fork.importing():
                from humanloop.spool.spool import Spool

                transport, async_transport = self._transports
                made = Spool(self.api_client, transport or async_transport, self._base)
                self._made.setdefault("spool", made)
        spool: Spool = self._made["spool"]
        return spool

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of an equal client, which gets a spool of its own."""
        return {**super().__getstate__(), "_made": {}}

    def _shared(self) -> dict[str, Any]:
        return {"_made": self._made}

    def flush(self, timeout: float | None = 10.0) -> Flushed:
        """Send all pending records now; see `humanloop.spool.spool.Spool.flush`.

        timeout: seconds to wait until all is sent that was logged before; None: no limit.
        """
        return self.spool.flush(timeout)

    async def aflush(self, timeout: float | None = 10.0) -> Flushed:
        """Send all pending records now, in an event loop; see `flush`."""
        return await self.spool.aflush(timeout)

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones.

        Pending records are sent first, for up to two seconds; the rest stays on the disk for the
        next start. A running event loop closes its own connections soon; `aclose` waits for that.
        """
        if "spool" in self._made:
            self.spool.close()
        super().close()

    async def aclose(self) -> None:
        """Close in an event loop, like `close`, and wait until the connections are closed."""
        if "spool" in self._made:
            await self.spool.aclose()
        await super().aclose()
