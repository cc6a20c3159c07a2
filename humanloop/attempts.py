"""The tries of one call: how many there were, how much time is left, and whether there is one more.

The rules are those of a `RetryPolicy`; what stays true here is the deadline: all tries and the
waits between them together never take longer than the call may.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TypeVar

from humanloop.exceptions import (
    ApiConnectionError,
    ApiException,
    ApiResponseTooLargeError,
    ApiTimeoutError,
    ApiTlsError,
    ClientClosedError,
)
from humanloop.http import Headers
from humanloop.operation import RETRY_HEADER
from humanloop.retries import Decision, Fault, RetryPolicy, after_fault, after_response
from humanloop.transport import AsyncRawStream, RawResponse, RawStream, Request

__all__ = ["Attempts"]

_TICK = 0.005  # seconds by which two clocks may differ

ErrorType = TypeVar("ErrorType", ApiConnectionError, ApiException)


class Attempts:
    """The tries of one call.

    timeout: seconds for all of it, None: no limit; repeatable: whether doing the request twice is
    no more than doing it once. `end` is when it must be over, by `time.monotonic()`.
    """

    def __init__(self, timeout: float | None, policy: RetryPolicy, repeatable: bool) -> None:
        self.made = 0
        self.began = time.monotonic()
        self.timeout = timeout
        self.end = None if timeout is None else self.began + timeout
        self._policy = policy
        self._repeatable = repeatable

    def next_request(self, request: Request) -> Request:
        """The request to send next: with as much time as is left."""
        self.made += 1
        if self.made == 1:
            return request
        headers = Headers(request.headers)
        headers[RETRY_HEADER] = str(self.made - 1)
        return self.in_time(replace(request, headers=headers))

    def in_time(self, request: Request) -> Request:
        """The request with as much time as is left, unless it has less."""
        if self.end is None:
            return request
        left = max(self.end - time.monotonic(), 0.001)
        return replace(request, timeout=min(left, request.timeout or left))

    def describe(self, error: ErrorType) -> ErrorType:
        """Tell `error` what it has taken so far."""
        late = isinstance(error, ApiTimeoutError) and not isinstance(error, ApiException)
        if late and self.made > 1 and self._is_over():
            # The last try had only what was left of it.
            error.reason = f"no complete answer within {self.timeout or 0:.3g} seconds"
        error.tries = self.made
        error.elapsed = time.monotonic() - self.began
        return error

    def wait_after_fault(self, error: ApiConnectionError) -> float | None:
        """Seconds to wait before the next try; None: there is none."""
        if isinstance(error, (ApiTlsError, ApiResponseTooLargeError, ClientClosedError)):
            return None  # it would happen again
        fault: Fault = "broken" if error.sent else "connect"
        if isinstance(error, ApiTimeoutError):
            fault = "timeout"
        decision = after_fault(
            self._policy, fault, attempt=self.made, repeatable=self._repeatable, sent=error.sent
        )
        return self._in_time(decision)[0]

    def wait_after_response(
        self, answer: RawResponse | RawStream | AsyncRawStream
    ) -> tuple[float | None, str]:
        """As `wait_after_fault`, and why there is no next try, where that needs to be said."""
        decision = after_response(
            self._policy,
            answer.status,
            answer.headers,
            attempt=self.made,
            repeatable=self._repeatable,
            now=time.time(),
        )
        return self._in_time(decision)

    def _is_over(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end - _TICK

    def _in_time(self, decision: Decision) -> tuple[float | None, str]:
        wait = decision.wait
        if wait is None or self.end is None:
            return wait, decision.reason
        left = self.end - time.monotonic()
        if wait < left:
            return wait, decision.reason
        return (
            None,
            f"the next try would come in {wait:.3g} s, and the call may take {left:.3g} s more",
        )
