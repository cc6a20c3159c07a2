"""A log that nobody can flood: a repeated text is logged rarely."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("humanloop.server")
_SECONDS = 60
_TEXTS = 100


class Seldom:
    """A log that writes each text at most once a minute, unless there are very many texts."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def warning(self, text: str) -> None:
        """Log an event that clients cause."""
        self._log(logging.WARNING, text)

    def error(self, text: str) -> None:
        """Log a problem that the operator must solve."""
        self._log(logging.ERROR, text)

    def _log(self, level: int, text: str) -> None:
        now = time.monotonic()
        if now - self._logged.get(text, -_SECONDS) >= _SECONDS:
            if len(self._logged) >= _TEXTS:
                self._logged.clear()
            self._logged[text] = now
            logger.log(level, text)
