"""SpoolingClient: a client that can log later. The API's facade has the methods for that."""

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
    """A client with a spool, which it shares with its copies by `with_options`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._made: dict[str, Any] = {}  # what is made when it is needed, and shared
        self._base = ""  # of a relative path, for a program that changes its directory later
        with contextlib.suppress(OSError):  # the directory was deleted
            self._base = os.getcwd()

    @property
    def spool(self) -> Spool:
        """Return the spool; nothing is on the disk before the first `log_later`."""
        if "spool" not in self._made:
            with no_fork.importing():
                from humanloop.spool.spool import Spool

                transport, async_transport = self._transports
                made = Spool(self.api_client, transport or async_transport, self._base)
                self._made.setdefault("spool", made)
        spool: Spool = self._made["spool"]
        return spool

    def __getstate__(self) -> dict[str, Any]:
        """Return what makes an equal client, which gets a spool of its own."""
        return {**super().__getstate__(), "_made": {}}

    def _shared(self) -> dict[str, Any]:
        return {"_made": self._made}

    def flush(self, timeout: float | None = 10.0) -> Flushed:
        """Send what was logged later, now; see `humanloop.spool.spool.Spool.flush`.

        timeout: seconds to wait until all is sent; None: no limit.
        """
        return self.spool.flush(timeout)

    async def aflush(self, timeout: float | None = 10.0) -> Flushed:
        """Send what was logged later, in an event loop: as `flush`."""
        return await self.spool.aflush(timeout)

    def close(self) -> None:
        """Close the connections that are kept alive. A later call opens new ones.

        What was logged later is sent before, for up to two seconds; the rest stays on the disk for
        the next start. Connections of an event loop that runs are closed by that loop, soon;
        `aclose` waits for it.
        """
        if "spool" in self._made:
            self.spool.close()
        super().close()

    async def aclose(self) -> None:
        """Close in an event loop: as `close`, and wait until the connections are closed."""
        if "spool" in self._made:
            await self.spool.aclose()
        await super().aclose()
