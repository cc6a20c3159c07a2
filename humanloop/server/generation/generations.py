"""Generations: the model's part of a chat or a completion, after the request is settled.

A Generation has one sample for each wanted output, and each sample already has its log.

Invariants: a provider never runs inside a transaction; a sample's output is kept in its log even if
the provider fails or the reader leaves; it is kept before anybody learns that the sample is
complete.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from humanloop import schemas
from humanloop.secrets import redact
from humanloop.server.errors import ProviderFailed, RequestError, Unavailable
from humanloop.server.generation.providers import (
    MASK,
    Cancellation,
    Cancelled,
    Ending,
    Provider,
    ProviderError,
    ProviderRequest,
    redact_data,
    storable,
)
from humanloop.server.store.database import Database
from humanloop.server.store.json_text import to_json
from humanloop.server.store.tables import Log

logger = logging.getLogger("humanloop.server")
_STOPPED = "The answer was cancelled: the server is stopping, or the client has disconnected."
_NOT_BEGUN = "Not generated: the call ended before this sample."


@dataclass
class Sample:
    """One output: the request to a provider, and the result so far.

    pieces: the provider's text; ending: set once that is complete.
    error: why it failed; begun: the provider was asked; latency: the seconds spent in the provider;
        kept: it is in its log.
    """

    organization_id: str
    log_id: str
    config_id: str
    provider_name: str
    provider: Provider
    request: ProviderRequest
    pieces: list[str] = field(default_factory=list[str])
    ending: Ending | None = None
    error: str | None = None
    begun: bool = False
    latency: float = 0
    kept: bool = False

    @property
    def raw_output(self) -> str:
        """Return the output so far, unchanged except for redacted keys."""
        return redact("".join(self.pieces), self._secrets, MASK)

    @property
    def _secrets(self) -> Collection[str]:
        """Return the keys that the provider was given."""
        return [*self.request.api_keys.values(), *self.request.used_keys]

    def run(self) -> Generator[str, None, None]:
        """Ask the provider, and yield the pieces as they come.

        Raises ProviderFailed, and Unavailable if it was cancelled.
        """
        self.begun = True
        with closing(self.provider.generate(self.request)) as pieces:
            while (piece := self._next(pieces)) is not None:
                self.pieces.append(piece)
                yield piece

    def _next(self, pieces: Generator[str, None, Ending]) -> str | None:
        started = time.perf_counter()
        try:
            return self._step(pieces)
        except ProviderError as error:
            self.error = text = redact_data(str(error), self._secrets)
            # Without its cause, which may hold a key.
            raise ProviderFailed(self.provider_name, text) from None
        except Cancelled:
            raise Unavailable(_STOPPED) from None
        except Exception as error:
            self.error = "internal error"
            trace = redact("".join(traceback.format_exception(error)), self._secrets, MASK)
            logger.error("the provider %r failed:\n%s", self.provider_name, trace)
            raise RequestError("internal error: see the server's log") from None
        finally:
            self.latency += time.perf_counter() - started

    def _step(self, pieces: Generator[str, None, Ending]) -> str | None:
        """Return the next piece in a form that can be kept, or None at the end."""
        try:
            piece = next(pieces)
        except StopIteration as end:
            ending: Ending = end.value
            response = redact_data(ending.response, self._secrets)
            to_json(response)
            reason = storable(ending.finish_reason)
            calls = redact_data(ending.tool_calls, self._secrets)
            self.ending = replace(ending, response=response, finish_reason=reason, tool_calls=calls)
            return None
        return storable(redact(piece, self._secrets, MASK))

    def keep(self, session: Session) -> None:
        """Write the result into its log."""
        self.kept = True
        log = session.get(Log, (self.organization_id, self.log_id))
        if log is None:
            return
        for column, value in self.outcome().items():
            setattr(log, column, value)

    def outcome(self) -> dict[str, Any]:
        """Return the result by the names of the log's columns."""
        if not self.begun:
            return {"error": _NOT_BEGUN}
        found: dict[str, Any] = {"provider_latency": round(self.latency, 6)}
        if self.request.sent:
            found["provider_request"] = redact_data(self.request.sent[-1], self._secrets)
        if self.error is not None:
            found["error"] = self.error
        if self.pieces or self.ending is not None:
            found["raw_output"] = self.raw_output
            found["output"] = self.raw_output.strip()
        if self.ending is not None:
            found["finish_reason"] = self.ending.finish_reason
            found["provider_response"] = self.ending.response
        return found


@dataclass
class Generation:
    """The samples of a call, and the other contents of its answers.

    stream: the answer is a stream of events.
    call: the part of the call that each answer repeats, such as its `user`.
    sample: the part of the call that each sample's data repeats, such as its `inputs`; piece: the
        part of that without which a piece does not fit its schema.
    cancellation: the cancellation of all samples.
    """

    samples: Sequence[Sample]
    stream: bool
    call: Mapping[str, Any]
    sample: Mapping[str, Any]
    piece: Mapping[str, Any]
    cancellation: Cancellation

    def response(self) -> dict[str, Any]:
        """Return a ChatResponse or CompletionResponse with all outputs."""
        data = [
            self._result(sample, sample.raw_output.strip(), sample.raw_output)
            for sample in self.samples
        ]
        return self._whole(data, [sample.ending for sample in self.samples])

    def next_piece(self, sample: Sample, piece: str) -> dict[str, Any]:
        """Return the response of an event with the next piece of an output."""
        return {
            "data": [{**_data(sample, piece, piece), **self.piece}],
            "provider_responses": [],
        }

    def last_piece(self, sample: Sample) -> dict[str, Any]:
        """Return the response of the last event of an output: everything but text."""
        return self._whole([self._result(sample, "", "")], [sample.ending])

    def _result(self, sample: Sample, output: str, raw_output: str) -> dict[str, Any]:
        data = {**_data(sample, output, raw_output), **self.sample}
        if sample.ending is not None:
            data["finish_reason"] = sample.ending.finish_reason
            calls = sample.ending.tool_calls
            if calls:
                data["tool_call"] = calls[0]
            if len(calls) > 1:
                data["tool_calls"] = calls
        return data

    def _whole(
        self, data: Sequence[Mapping[str, Any]], endings: Iterable[Ending | None]
    ) -> dict[str, Any]:
        ended = [ending for ending in endings if ending is not None]
        body = {
            **self.call,
            "data": data,
            "provider_responses": [ending.response for ending in ended],
        }
        usage = _usage(ended)
        return body if usage is None else {**body, "usage": usage}


def _data(sample: Sample, output: str, raw_output: str) -> dict[str, Any]:
    return {
        "id": sample.log_id,
        "index": sample.request.index,
        "output": output,
        "raw_output": raw_output,
        "model_config_id": sample.config_id,
    }


def _usage(endings: Iterable[Ending]) -> dict[str, int] | None:
    """Return the sum of the samples' tokens, if every provider reported them."""
    prompt_tokens = generation_tokens = 0
    for ending in endings:
        if ending.prompt_tokens is None or ending.generation_tokens is None:
            return None
        prompt_tokens += ending.prompt_tokens
        generation_tokens += ending.generation_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "generation_tokens": generation_tokens,
        "total_tokens": prompt_tokens + generation_tokens,
    }


def run(database: Database, generation: Generation, schema: type[schemas.Schema]) -> str:
    """Generate all samples; return the JSON text of the answer, which fits the schema.

    Raises ProviderFailed, or Unavailable if it was cancelled, after the output so far is in the
    logs.
    """
    try:
        for sample in generation.samples:
            for _ in sample.run():
                if generation.cancellation.cancelled:
                    raise Unavailable(_STOPPED)
        return schema(generation.response()).to_json()
    finally:
        keep(database, generation.samples)


def events(
    database: Database, generation: Generation, schema: type[schemas.Schema]
) -> Generator[str, None, None]:
    """Generate one sample after another; yield each event's JSON text, which fits the schema.

    Closing it early stops the provider. Raises ProviderFailed after the failure is in the logs.
    """
    pending = list(generation.samples)
    try:
        while pending:
            sample = pending[0]
            with closing(sample.run()) as pieces:
                for piece in pieces:
                    yield schema(generation.next_piece(sample, piece)).to_json()
            last = schema(generation.last_piece(sample)).to_json()
            keep(database, [sample])
            del pending[0]
            yield last
    finally:
        if pending:
            keep(database, pending)


def keep(database: Database, samples: Iterable[Sample]) -> None:
    """Write the samples' results into their logs."""

    def write(session: Session) -> None:
        for sample in samples:
            sample.keep(session)

    database.write(write)
