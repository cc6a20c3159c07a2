"""All records of an operation that answers page by page: `PageIterator`, `AsyncPageIterator`.

`Pages` decides which page is next and when to stop; it does no I/O and knows no thread and no loop.
The two iterators fetch what it says; they differ in how they wait, and in what fetches ahead.

Invariants: pages are asked for one after another, none twice and none left out; no record comes
twice, though new ones that come first move the others on to the next page; nothing is asked for
before the first record is; at most one page is fetched ahead; an error comes after all the records
before it, and is the end; a wait that was cancelled is not, and the next one asks for its page
again; whatever ends an iteration (its end, an error, leaving it early) leaves nothing behind.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextvars import copy_context
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast
from weakref import finalize

from humanloop.async_steps import AsyncSteps
from humanloop.exceptions import ApiTypeError
from humanloop.frames import empty_frames
from humanloop.progress import bar_opener

if TYPE_CHECKING:
    from asyncio import Task

    from typing_extensions import Self

    from humanloop.api_response import ApiResponse

__all__ = ["AsyncPageIterator", "PageIterator", "Pages"]

T = TypeVar("T")
FetchType = TypeVar("FetchType", bound=Callable[..., Any])

Fetch: TypeAlias = "Callable[[int, int | None], ApiResponse[Any]]"
AsyncFetch: TypeAlias = "Callable[[int, int | None], Awaitable[ApiResponse[Any]]]"


class Pages:
    """The choice of the next page, and the end of the pages.

    first: the number that the server gives to its first page; page: the number to start with, by
    default `first`; size: how many records to ask for per page, None to leave it to the server.

    next: the number of the page to ask for; None: that was the last one. total: how many records
    there are on all pages, as the latest answer tells; expected: how many of them are on the pages
    from the start on. Both are None before the first answer.
    """

    def __init__(self, first: int, page: int | None = None, size: int | None = None) -> None:
        self.size = size
        self.next: int | None = first if page is None else page
        self.total: int | None = None
        self.expected: int | None = None
        self._first = first
        self._start = self.next
        self._seen: set[str] = set()

    def take(self, body: Any) -> Sequence[Any]:
        """Note the answer to the request for the page `next`, and return its new records.

        A record is known by its `id`; one that has none is always new.

        body: `{"records": [...], "size": ..., "total": ...}`, validated or plain JSON.

        Raises ApiTypeError when it is not that, which a body that was validated always is.
        """
        assert self.next is not None, "there was no page to ask for"
        records, total, told = self._read(body)
        # A server may put fewer on a page than it was asked for. One that tells no size at all
        # still counts on with every page, so that the end comes whatever it answers.
        size = next((n for n in (told, self.size) if n and n > 0), len(records))
        read = (self.next - self._first + 1) * size
        self.total = total
        self.expected = max(0, total - max(0, self._start - self._first) * size)
        self.next = self.next + 1 if records and read < total else None
        return [record for record in records if self._is_new(record)]

    def _is_new(self, record: Any) -> bool:
        is_object = isinstance(record, Mapping)
        record_id = cast("Mapping[str, Any]", record).get("id") if is_object else None
        if not isinstance(record_id, str):
            return True
        known = record_id in self._seen
        self._seen.add(record_id)
        return not known

    def _read(self, body: Any) -> tuple[Sequence[Any], int, int]:
        try:
            records = body["records"]
            if isinstance(records, (list, tuple)):
                listed = cast("Sequence[Any]", records)
                return listed, int(body["total"]), int(body.get("size") or 0)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise self._no_page(error) from error
        raise self._no_page("its `records` are no list")

    def _no_page(self, reason: object) -> ApiTypeError:
        return ApiTypeError(f"the answer for page {self.next} is no page of records: {reason}")


class _PageIteratorBase(ABC, Generic[T, FetchType]):
    """All of an iterator but how it waits, and what fetches a page ahead."""

    def __init__(
        self,
        fetch: FetchType,
        *,
        first: int,
        page: int | None = None,
        size: int | None = None,
        progress: bool = False,
        description: str = "",
    ) -> None:
        self._fetch = fetch
        self._pages = Pages(first, page, size)
        self._records: deque[T] = deque()
        self._prefetch: Any = None
        self._open_bar = bar_opener() if progress else None
        self._description = description
        self._advance: Callable[[int], object] = lambda count: None
        self._close_bar: Callable[[], object] = lambda: None

    @property
    def total(self) -> int | None:
        """The number of records on all pages, as the latest page tells; None before."""
        return self._pages.total

    @abstractmethod
    def _start(self, page: int, size: int | None) -> Any:
        """Begin to fetch a page. What is returned holds no reference to this iterator."""

    @contextlib.contextmanager
    def _turn(self) -> Generator[Any, None, None]:
        """Turn to the next page in the block; it gets what was fetched ahead. An error ends all.

        A cancellation does not: then it would look as if there were no more records.
        """
        prefetch, self._prefetch = self._prefetch, None
        self._records.clear()
        try:
            yield prefetch
        except BaseException as error:
            empty_frames(error)
            if isinstance(error, Exception):
                self._end()
            elif prefetch is not None:  # the wait was cancelled: the next one asks again
                self._cancel(prefetch)
            raise
        finally:
            del prefetch  # it may hold the error, whose traceback holds this frame

    def _arrived(self, response: ApiResponse[Any]) -> ApiResponse[Any] | None:
        """Take the answer for the next page; return None when nobody wants it any more."""
        if self._pages.next is None:
            return None
        pages = self._pages
        self._records.extend(pages.take(response.body))
        if self._open_bar is not None and pages.expected is not None:
            self._advance, close = self._open_bar(pages.expected, self._description, "records")
            # Also when the interpreter exits, lest the terminal stay without its cursor.
            self._close_bar = finalize(self, close)
            self._open_bar = None
        if pages.next is not None:
            self._prefetch = self._start(pages.next, pages.size)
        return response

    def _record(self) -> T:
        self._advance(1)
        return self._records.popleft()

    def _skip_records(self) -> None:
        """Count the records that are handed out as a whole page."""
        if self._records:
            self._advance(len(self._records))
        self._records.clear()

    @abstractmethod
    def _cancel(self, prefetch: Any) -> None:
        """Give up what `_start` has returned."""

    def _end(self) -> None:
        prefetch, self._prefetch = self._prefetch, None
        if prefetch is not None:
            self._cancel(prefetch)
        self._pages.next = None
        self._records.clear()
        self._close_bar()

    def __del__(self) -> None:
        if "_close_bar" in self.__dict__:
            self._end()

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total} records"
        state = "ended" if self._pages.next is None else f"next page {self._pages.next}"
        return f"<{type(self).__name__}{of}, {state}>"


class PageIterator(_PageIteratorBase[T, Fetch]):
    """The records of all pages, one after another. To be read once, by one thread.

    While the records of one page are worked on, the next page is fetched by another thread. Use it
    in a `with` block, or call `close`, when the loop may be left early.

    fetch: called with the number of a page and how many records to ask for (None: that is left to
    the server), and returns the ApiResponse; first, page, size: see `Pages`; progress: show how
    far it is on stderr, by tqdm or rich; description: what to write before that.

    Making one raises ImportError when `progress` needs a package that is missing. Iterating raises
    what `fetch` raises, and ApiTypeError for an answer that is no page; then it is over.
    """

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while not self._records:
            if self._next_page() is None:
                raise StopIteration
        return self._record()

    def to_records(self) -> list[dict[str, Any]]:
        """Return all records that are still to come as flat dicts; see `schemas.to_records`."""
        from humanloop.schemas import to_records

        return to_records(self)

    def to_dataframe(self) -> Any:
        """Return all records that are still to come as a DataFrame of pandas; see there."""
        from humanloop.schemas import to_dataframe

        return to_dataframe(self)

    def pages(self) -> Iterator[ApiResponse[Any]]:
        """Yield the pages that are still to come, as whole answers, in place of their records."""
        while (response := self._next_page()) is not None:
            self._skip_records()
            yield response

    def close(self) -> None:
        """Fetch nothing more. May be called again.

        A request that is under way is not waited for, and its answer thrown away.
        """
        self._end()

    def _next_page(self) -> ApiResponse[Any] | None:
        """Wait for the next page, and start to fetch the one after it; None: that was all."""
        page, size = self._pages.next, self._pages.size
        if page is None:
            self._end()
            return None
        with self._turn() as prefetch:
            return self._arrived(prefetch.result() if prefetch else self._fetch(page, size))

    def _start(self, page: int, size: int | None) -> _Prefetch:
        return _Prefetch(self._fetch, page, size)

    def _cancel(self, prefetch: _Prefetch) -> None:
        prefetch.wanted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Prefetch:
    """A page that a thread of its own fetches.

    The thread is a daemon: an interpreter that exits does not wait for a page that nobody will see.
    wanted: False before the thread has begun means that there is nothing to do.
    """

    def __init__(self, fetch: Fetch, page: int, size: int | None) -> None:
        self.wanted = True
        self._fetch = partial(fetch, page, size)
        self._response: ApiResponse[Any] | None = None
        self._error: BaseException | None = None
        # The context is the caller's, so that what it holds (a trace, say) goes on into the page.
        run = partial(copy_context().run, self._run)
        self._thread = Thread(target=run, name=f"humanloop-page-{page}", daemon=True)
        # A system may be out of threads, or lack them, and an interpreter that exits starts none.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def result(self) -> ApiResponse[Any]:
        """Wait for the page; raise what fetching it raised."""
        if self._thread.ident is not None:
            self._thread.join()
        error, self._error = self._error, None
        if self.wanted and error is None and self._response is None:
            return self._fetch()  # no such thread could be started, or this is a forked child
        try:
            if error is not None:
                raise error
            return cast("ApiResponse[Any]", self._response)
        finally:
            del error  # its traceback holds this frame, which held it

    def _run(self) -> None:
        try:
            if self.wanted:
                self._response = self._fetch()
        except BaseException as error:
            self._error = error
        finally:
            del self  # it holds the error, whose traceback holds this frame


class AsyncPageIterator(_PageIteratorBase[T, AsyncFetch]):
    """A `PageIterator` for `async for` and `async with`; `aclose` closes it.

    To be read once, by one task at a time, in one event loop. `fetch` returns an awaitable; the
    next page is fetched by another task. Iterating raises RuntimeError in a task that asks for a
    record while another one waits for it.
    """

    _turning = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._records:
            if await self._next_page() is None:
                raise StopAsyncIteration
        return self._record()

    async def to_records(self) -> list[dict[str, Any]]:
        """Return all records that are still to come as flat dicts; see `schemas.to_records`."""
        from humanloop.schemas import to_records

        return to_records([record async for record in self])

    async def to_dataframe(self) -> Any:
        """Return all records that are still to come as a DataFrame of pandas; see there."""
        from humanloop.schemas import to_dataframe

        return to_dataframe([record async for record in self])

    def pages(self) -> AsyncGenerator[ApiResponse[Any], None]:
        """Yield the pages that are still to come, as whole answers, in place of their records."""

        async def next_page() -> ApiResponse[Any]:
            response = await self._next_page()
            if response is None:
                raise StopAsyncIteration
            self._skip_records()
            return response

        return AsyncSteps(next_page, self.aclose)

    async def aclose(self) -> None:
        """Fetch nothing more, and give up a page that is being fetched. May be called again."""
        prefetch = self._prefetch
        self._end()
        if prefetch and not prefetch.done():
            from asyncio import wait

            await wait([prefetch])

    async def _next_page(self) -> ApiResponse[Any] | None:
        """Wait for the next page, and start to fetch the one after it; None: that was all."""
        if self._turning:  # with two of them, both would get the same page
            raise RuntimeError("another task waits for the next page of this iterator")
        page, size = self._pages.next, self._pages.size
        if page is None:
            self._end()
            return None
        self._turning = True
        try:
            with self._turn() as prefetch:
                if prefetch is not None and _is_of_other_loop(prefetch):
                    prefetch = None
                return self._arrived(await (prefetch or self._fetch(page, size)))
        finally:
            self._turning = False
            prefetch = None  # it may hold the error, whose traceback holds this frame

    def _start(self, page: int, size: int | None) -> Task[ApiResponse[Any]]:
        from asyncio import create_task  # its import takes longer than all else here

        task = create_task(_awaited(self._fetch, page, size), name=f"humanloop-page-{page}")
        task.add_done_callback(_retrieve_error)
        return task

    def _cancel(self, prefetch: Task[ApiResponse[Any]]) -> None:
        # The garbage collector may call this in any thread, and after the loop has ended.
        if not prefetch.done():
            with contextlib.suppress(RuntimeError):
                prefetch.get_loop().call_soon_threadsafe(prefetch.cancel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


async def _awaited(fetch: AsyncFetch, page: int, size: int | None) -> ApiResponse[Any]:
    return await fetch(page, size)


def _is_of_other_loop(task: Task[Any]) -> bool:
    """Return whether a task will not end here: its loop was left, or is that of a forked parent."""
    from asyncio import get_running_loop

    return not task.done() and task.get_loop() is not get_running_loop()


def _retrieve_error(task: Task[Any]) -> None:
    # Else asyncio logs the error of a page that nobody asks for as never retrieved.
    if not task.cancelled():
        task.exception()
