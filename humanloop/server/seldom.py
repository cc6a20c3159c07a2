"""A log that nobody can fill: the same text is logged once in a while."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("humanloop.server")
_SECONDS = 60
_TEXTS = 100


class Seldom:
    """Log each text at most once a minute, as long as there are not too many of them."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def warning(self, text: str) -> None:
        """Log what somebody else causes."""
        self._log(logging.WARNING, text)

    def error(self, text: str) -> None:
        """Log what whoever runs the server must mend."""
        self._log(logging.ERROR, text)

    def _log(self, level: int, text: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(text, -_SECONDS) >= _SECONDS:
            if len(self._logged) >= _TEXTS:
                self._logged.clear()
            self._logged[text] = now
            logger.log(level, text)
