"""Log the requests of OpenAI's and Anthropic's clients and the answers, sync and async.

These clients have the same structure: each call sends one request by the public method `send` of
an HTTP client inside. `wrap` replaces that method on the one instance, and reads the JSON of the
request, and the JSON or the events of the answer. So retries, raw responses, helpers for streams,
and copies by `with_options` are logged as well, and this module makes no object that callers get.

Invariants: bytes, types and errors pass unchanged; only the caller reads a stream, at the caller's
pace, and it is logged when it has ended or was closed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from humanloop.decoded import as_object
from humanloop.exceptions import ApiTypeError
from humanloop.http import is_event_stream
from humanloop.model.log_request import LogRequest
from humanloop.secrets import mask_keys, one_line, shorten
from humanloop.server_sent_events import EventParser
from humanloop.tracing import anthropic_calls, openai_calls
from humanloop.tracing.calls import Answer, Reader
from humanloop.tracing.spans import Span, running
from humanloop.tracing.tracer import Tracer, error_text
from humanloop.tracing.values import MODEL_CALLS, as_json

if TYPE_CHECKING:
    from humanloop.client import Humanloop

__all__ = ["wrap"]

LARGEST = 16 << 20
"""The limit for a logged stream, in bytes; only the beginning of a larger one is logged."""
_MARK = "_humanloop_wrapped"
_SHOWN = 500  # characters of an error

_AZURE = "openai_azure"
"""The API's name for OpenAI's models at Azure; their calls have OpenAI's form."""

_READERS: Mapping[str, Reader] = {
    "/chat/completions": openai_calls.CHAT,
    "/completions": openai_calls.COMPLETION,
    "/responses": openai_calls.RESPONSES,
    "/v1/messages": anthropic_calls.MESSAGES,  # and not OpenAI's /threads/.../messages
}
"""The readers by the end of the request's path; the first that matches is used."""

Instance = TypeVar("Instance")


def wrap(
    instance: Instance, *, client: Humanloop | None = None, project: str | None = None
) -> Instance:
    """Log the calls of an OpenAI, AsyncOpenAI, Anthropic or AsyncAnthropic; return that instance.

    client: writes the logs; by default `Humanloop()`. project: where the calls are logged; by
    default the project of the traced function around them, else one named after the provider.
    Raises ApiTypeError for other objects.
    """
    http: Any = getattr(instance, "_client", None)
    library = None if isinstance(instance, type) else _library_of(http)
    if library is None:
        what = instance.__name__ if isinstance(instance, type) else type(instance).__name__
        kind = "the class" if isinstance(instance, type) else "an instance of"
        raise ApiTypeError(
            "wrap() takes an instance of OpenAI, AsyncOpenAI, Anthropic or AsyncAnthropic, not"
            f" {kind} {what}"
        )
    if not hasattr(http.send, _MARK):
        if client is None:
            from humanloop.client import Humanloop

            client = Humanloop()
        is_asynchronous = isinstance(http, library.AsyncClient)
        along = (_asynchronous_along if is_asynchronous else _along)(library)
        watch = _Watch(client.tracer, project, library, along)
        http.send = (_asynchronous if is_asynchronous else _synchronous)(watch, http)
        setattr(http.send, _MARK, True)
    return instance


def _library_of(http: object) -> ModuleType | None:
    """Return the module of an HTTP client if it is httpx, even when bundled under another name."""
    for kind in type(http).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if module is not None and hasattr(module, "AsyncByteStream"):
            return module
    return None


def _is_azure(url: Any) -> bool:
    return "/openai/deployments/" in url.path or url.host.endswith(".azure.com")


def _original(http: Any) -> Callable[..., Any]:
    """Return a function that calls the replaced method, and does not keep the instance alive.

    Each call looks the method up, since other tools may replace it in the class at any time.
    """
    own = http.__dict__.get("send")
    if own is not None:
        return cast("Callable[..., Any]", own)
    reference: weakref.ref[Any] = weakref.ref(http)
    kind = cast("Any", type(http))
    return lambda *args, **kwargs: kind.send(reference(), *args, **kwargs)


def _synchronous(watch: _Watch, http: Any) -> Callable[..., Any]:
    original = _original(http)

    def send(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = watch.begin(request)
        if call is None:
            return original(request, *args, **kwargs)
        try:
            response = original(request, *args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        call.answered(response)
        return response

    return send


def _asynchronous(watch: _Watch, http: Any) -> Callable[..., Any]:
    original = _original(http)

    async def send(request: Any, *args: Any, **kwargs: Any) -> Any:
        call = watch.begin(request)
        if call is None:
            return await original(request, *args, **kwargs)
        try:
            response = await original(request, *args, **kwargs)
        except BaseException as error:
            call.raised(error)
            raise
        call.answered(response)
        return response

    return send


class _Watch:
    """Watches the requests of one HTTP client.

    library: the client's module; along: the class of stream that reads along.
    """

    def __init__(
        self,
        tracer: Tracer,
        project: str | None,
        library: ModuleType,
        along: Callable[[Any, _Call], Any],
    ) -> None:
        self.tracer = tracer
        self.library = library
        self.along = along
        self._project = project

    def begin(self, request: Any) -> _Call | None:
        """Return the call of a request; None if it is no call of a model."""
        try:
            path = request.url.path
            reader = next((each for end, each in _READERS.items() if path.endswith(end)), None)
            if reader is not None and request.method == "POST":
                provider = _AZURE if _is_azure(request.url) else reader.provider
                keys = {**self._read(reader, provider, request.content), **self._place(reader)}
                span = self.tracer.begin(keys)
                return None if span is None else _Call(self, reader, span)
        except Exception as error:
            self.tracer.failed(error)
        return None

    def _read(self, reader: Reader, provider: str, content: bytes) -> Mapping[str, Any]:
        """Return the keys of a log for a request's body; a body that can't be read is an input."""
        body: Any = _text(content)
        try:
            body = json.loads(body)
            return self._checked(reader.request(body), provider)
        except Exception as error:
            self.tracer.failed(error)
            model = str(as_object(body).get("model", "unknown"))
            config = {"type": "model", "model": model}
            return self._checked({"config": config, "inputs": {"body": body}}, provider)

    def _checked(self, keys: Mapping[str, Any], provider: str) -> Mapping[str, Any]:
        """Return the keys to be logged; raises SchemaValidationError if they are no log."""
        config = {**keys["config"], "provider": provider}
        tools = config.pop("tools", None)  # schemas, whose properties may be named like secrets
        copied: dict[str, Any] = as_json(
            {**keys, "config": config}, self.tracer.failed, MODEL_CALLS
        )
        if tools:
            copied["config"]["tools"] = tools
        LogRequest(copied)
        return copied

    def _place(self, reader: Reader) -> dict[str, Any]:
        """Return the key of the project in which a call is logged."""
        if self._project is not None:
            return {"project": self._project}
        around = running(self.tracer.writer)
        outer: Mapping[str, Any] = {} if around is None else around.keys
        names = [key for key in ("project", "project_id") if key in outer]
        return {key: outer[key] for key in names} if names else {"project": reader.provider}


class _Call:
    """One running request, and its answer."""

    def __init__(self, watch: _Watch, reader: Reader, span: Span) -> None:
        self._watch = watch
        self._reader = reader
        self._span: Span | None = span  # until it has ended
        self._head: tuple[int, Any] | None = None  # status and headers, while a stream is read
        self._pieces: list[bytes] = []
        self._size = 0

    def answered(self, response: Any) -> None:
        """Log an answer that is complete; read along with one that is still to be read."""
        try:
            if response.is_stream_consumed:
                self._log(response.status_code, response.headers, response.content)
            else:
                self._head = response.status_code, response.headers
                response.stream = self._watch.along(response.stream, self)
        except Exception as error:
            self._watch.tracer.failed(error)

    def raised(self, error: BaseException) -> None:
        """Log the error of a request without an answer."""
        try:
            self.end(Answer(error=error_text(error)))
        except Exception as failure:
            self._watch.tracer.failed(failure)

    def passed(self, piece: bytes) -> None:
        """Keep a piece of the answer, to be logged."""
        if self._size < LARGEST:
            self._pieces.append(piece)
        self._size += len(piece)

    def ended(self, error: BaseException | None = None, *, is_whole: bool = False) -> None:
        """Log a stream that will be read no further; error: the one that cut it off."""
        head, self._head = self._head, None
        if head is None:
            return
        content, self._pieces = b"".join(self._pieces), []
        is_whole = is_whole and self._size == len(content)
        try:
            decoded = self._decoded(*head, content)
            said = "" if error is None else error_text(error)
            self._log(*head, decoded, said, is_whole=is_whole)
        except Exception as failure:
            self._watch.tracer.failed(failure)

    def _decoded(self, status: int, headers: Any, content: bytes) -> bytes:
        """Return the content decompressed, by a response of the library."""
        library = self._watch.library
        response = library.Response(status, headers=headers, stream=library.ByteStream(content))
        decoded: list[bytes] = []
        with contextlib.suppress(library.DecodingError):  # the content was cut off
            for piece in response.iter_bytes():
                decoded.append(piece)
        return b"".join(decoded)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.ended()  # a stream that was never closed

    def _log(
        self, status: int, headers: Any, content: bytes, error: str = "", *, is_whole: bool = True
    ) -> None:
        """Log an answer, or the part that came; error: the one that cut it off."""
        if status >= 400:
            said = shorten(one_line(mask_keys(_text(content))), _SHOWN)
            return self.end(Answer(error=f"HTTP {status}: {said}"))
        try:
            answers = self._answers(is_event_stream(status, headers), content)
        except Exception as failure:
            if is_whole:
                self._watch.tracer.failed(failure)
                error = f"the answer can't be read: {error_text(failure)}"
            return self.end(Answer(mask_keys(_text(content)) or None, error or None))
        return self.end(*(each.with_error(error) for each in answers))

    def _answers(self, is_stream: bool, content: bytes) -> Sequence[Answer]:
        if not is_stream:
            return self._reader.answer(json.loads(content))
        events = EventParser(max_event_bytes=None).feed(content)
        data = [event.data for event in events if event.data != "[DONE]"]
        return self._reader.events([json.loads(each) for each in data])

    def end(self, first: Answer, *others: Answer) -> None:
        """Log the answers; each sample is a log of its own."""
        span, self._span = self._span, None
        if span is None:
            return
        failed = self._watch.tracer.failed
        spans = [span, *(span.another() for _ in others)]
        for each, answer in zip(spans, (first, *others), strict=True):
            try:
                said = as_json(vars(answer), failed, MODEL_CALLS)
                each.end(**{key: value for key, value in said.items() if value})
            except Exception as error:
                failed(error)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


@cache  # a class for each library
def _along(library: ModuleType) -> Callable[[Any, _Call], Any]:
    """Return the class of stream that reads along; the library requires its own base class."""

    class Along(library.SyncByteStream):  # type: ignore[name-defined, misc]
        def __init__(self, stream: Any, call: _Call) -> None:
            self._stream, self._call = stream, call

        def __iter__(self) -> Iterator[bytes]:
            try:
                for piece in self._stream:
                    self._call.passed(piece)
                    yield piece
            except GeneratorExit:  # the caller has stopped reading
                raise
            except BaseException as error:
                self._call.ended(error)
                raise
            else:
                self._call.ended(is_whole=True)
            finally:
                self._call.ended()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._call.ended()

    return Along


@cache
def _asynchronous_along(library: ModuleType) -> Callable[[Any, _Call], Any]:
    class Along(library.AsyncByteStream):  # type: ignore[name-defined, misc]
        def __init__(self, stream: Any, call: _Call) -> None:
            self._stream, self._call = stream, call

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for piece in self._stream:
                    self._call.passed(piece)
                    yield piece
            except GeneratorExit:  # the caller has stopped reading
                raise
            except BaseException as error:
                self._call.ended(error)
                raise
            else:
                self._call.ended(is_whole=True)
            finally:
                self._call.ended()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._call.ended()

    return Along
