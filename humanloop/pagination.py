"""All records of an operation that answers page by page: `PageIterator`, `AsyncPageIterator`.

`Pages` decides which page is next and when to stop; it does no I/O and knows no thread and no loop.
The two iterators do what it says, each in its own way of waiting. What stays true: pages are asked
for one after another, none twice and none left out; nothing is asked for before the first record
is; at most one page is fetched ahead; an error comes after all the records before it, and is the
end; and whatever ends an iteration (its end, an error, leaving it early) leaves nothing behind.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from importlib import import_module
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import finalize

from humanloop.exceptions import ApiTypeError

if TYPE_CHECKING:
    from asyncio import Task

    from typing_extensions import Self

    from humanloop.api_response import ApiResponse

    Fetch = Callable[[int, int | None], ApiResponse[Any]]
    AsyncFetch = Callable[[int, int | None], Awaitable[ApiResponse[Any]]]

__all__ = ["AsyncPageIterator", "PageIterator", "Pages"]

T = TypeVar("T")

_REFRESH = 0.1  # seconds between two drawings of a progress bar


class Pages:
    """Which page is next, and when there is none.

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

    def take(self, body: Any) -> Sequence[Any]:
        """Note the answer to the request for the page `next`, and give its records.

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
        return records

    def _read(self, body: Any) -> tuple[Sequence[Any], int, int]:
        try:
            records = body["records"]
            if isinstance(records, (list, tuple)):
                listed = cast("Sequence[Any]", records)
                return listed, int(body["total"]), int(body.get("size") or 0)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise self._unfit(error) from error
        raise self._unfit("its `records` are no list")

    def _unfit(self, reason: object) -> ApiTypeError:
        return ApiTypeError(f"the answer for page {self.next} is no page of records: {reason}")


class _Paged(Generic[T]):
    """What the two iterators have in common: all but how they wait."""

    def __init__(
        self,
        *,
        first: int,
        page: int | None = None,
        size: int | None = None,
        progress: bool = False,
        description: str = "",
    ) -> None:
        self._bar = _progress_bar(description) if progress else None
        # Also at the exit of the interpreter, lest the terminal stay as the bar has it.
        self._close_bar = finalize(self, self._bar.close) if self._bar else None
        self._pages = Pages(first, page, size)
        self._records: deque[T] = deque()

    @property
    def total(self) -> int | None:
        """How many records there are on all pages, as the latest page tells; None before."""
        return self._pages.total

    def _arrived(self, response: ApiResponse[Any]) -> bool:
        """Take the answer for the next page; False: nobody wants it any more."""
        if self._pages.next is None:
            return False
        self._records.extend(self._pages.take(response.body))
        if self._bar and self._pages.expected is not None:
            self._bar.expect(self._pages.expected)
        return True

    def _record(self) -> T:
        if self._bar:
            self._bar.advance(1)
        return self._records.popleft()

    def _skip_records(self) -> None:
        """Count the records that are handed out as a whole page."""
        if self._bar:
            self._bar.advance(len(self._records))
        self._records.clear()

    def _end(self) -> None:
        self._pages.next = None
        self._records.clear()
        self._bar = None
        if self._close_bar:
            self._close_bar()

    def __del__(self) -> None:
        if "_records" in self.__dict__:
            self._end()

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total} records"
        state = "ended" if self._pages.next is None else f"next page {self._pages.next}"
        return f"<{type(self).__name__}{of}, {state}>"


class PageIterator(_Paged[T]):
    """The records of all pages, one after another. To be read once, by one thread.

    While the records of one page are worked on, the next page is fetched by another thread. Use it
    in a `with` block, or call `close`, when the loop may be left early.

    fetch: called with the number of a page and how many records to ask for (None: that is left to
    the server), and returns the ApiResponse; first, page, size: see `Pages`; progress: show how
    far it is on stderr, by tqdm or rich; description: what to write before that.

    Making one raises ImportError when `progress` needs a package that is missing. Iterating raises
    what `fetch` raises, and ApiTypeError for an answer that is no page; then it is over.
    """

    _prefetch: _Prefetch | None = None

    def __init__(
        self,
        fetch: Fetch,
        *,
        first: int,
        page: int | None = None,
        size: int | None = None,
        progress: bool = False,
        description: str = "",
    ) -> None:
        super().__init__(
            first=first, page=page, size=size, progress=progress, description=description
        )
        self._fetch = fetch

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        while not self._records:
            if self._turn() is None:
                raise StopIteration
        return self._record()

    def pages(self) -> Iterator[ApiResponse[Any]]:
        """The pages that are still to come, each as the whole answer, in place of their records."""
        return iter(self._whole, None)

    def close(self) -> None:
        """Fetch nothing more. May be called again.

        A request that is under way is not waited for, and its answer thrown away.
        """
        self._end()

    def _whole(self) -> ApiResponse[Any] | None:
        response = self._turn()
        self._skip_records()
        return response

    def _turn(self) -> ApiResponse[Any] | None:
        """Wait for the next page, and start to fetch the one after it; None: that was all."""
        page, size = self._pages.next, self._pages.size
        if page is None:
            self._end()
            return None
        prefetch, self._prefetch = self._prefetch, None
        self._records.clear()
        try:
            response = prefetch.result() if prefetch else self._fetch(page, size)
            if not self._arrived(response):
                return None
            if self._pages.next is not None:
                self._prefetch = _Prefetch(self._fetch, self._pages.next, size)
        except BaseException:
            self._end()
            raise
        return response

    def _end(self) -> None:
        if self._prefetch:
            self._prefetch.wanted = False
            self._prefetch = None
        super()._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Prefetch:
    """A page that a thread of its own fetches. It knows the iterator not, and so keeps it not.

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
        """Wait for the page; raises what fetching it raised."""
        if self._thread.ident is None:
            return self._fetch()
        self._thread.join()
        error, self._error = self._error, None
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


class AsyncPageIterator(_Paged[T]):
    """As `PageIterator`, for `async for` and `async with`; `aclose` closes it.

    To be read once, by one task at a time, in one event loop. `fetch` returns an awaitable; the
    next page is fetched by another task. Iterating raises RuntimeError in a task that asks for a
    record while another one waits for it.
    """

    _prefetch: Task[ApiResponse[Any]] | None = None

    def __init__(
        self,
        fetch: AsyncFetch,
        *,
        first: int,
        page: int | None = None,
        size: int | None = None,
        progress: bool = False,
        description: str = "",
    ) -> None:
        super().__init__(
            first=first, page=page, size=size, progress=progress, description=description
        )
        self._fetch = fetch
        self._turning = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._records:
            if await self._turn() is None:
                raise StopAsyncIteration
        return self._record()

    def pages(self) -> AsyncIterator[ApiResponse[Any]]:
        """The pages that are still to come, each as the whole answer, in place of their records."""
        return _AsyncPages(self._whole)

    async def aclose(self) -> None:
        """Fetch nothing more, and give up a page that is being fetched. May be called again."""
        prefetch, self._prefetch = self._prefetch, None
        self._end()
        if prefetch and not prefetch.done():
            from asyncio import wait

            prefetch.cancel()
            await wait([prefetch])

    async def _whole(self) -> ApiResponse[Any] | None:
        response = await self._turn()
        self._skip_records()
        return response

    async def _turn(self) -> ApiResponse[Any] | None:
        """Wait for the next page, and start to fetch the one after it; None: that was all."""
        if self._turning:  # with two of them, both would get the same page
            raise RuntimeError("another task waits for the next page of this iterator")
        page, size = self._pages.next, self._pages.size
        if page is None:
            self._end()
            return None
        prefetch, self._prefetch = self._prefetch, None
        self._records.clear()
        self._turning = True
        try:
            response = await (prefetch or self._fetch(page, size))
            if not self._arrived(response):
                return None
            if self._pages.next is not None:
                self._prefetch = _task(self._fetch, self._pages.next, size)
        except BaseException:
            self._end()
            raise
        finally:
            self._turning = False
        return response

    def _end(self) -> None:
        prefetch, self._prefetch = self._prefetch, None
        if prefetch and not prefetch.done():
            # The garbage collector may call this in any thread, and after the loop has ended.
            with contextlib.suppress(RuntimeError):
                prefetch.get_loop().call_soon_threadsafe(prefetch.cancel)
        super()._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class _AsyncPages:
    """Whole pages until there is none. A generator would leave it to the loop to clean it up."""

    def __init__(self, whole: Callable[[], Awaitable[ApiResponse[Any] | None]]) -> None:
        self._whole = whole

    def __aiter__(self) -> AsyncIterator[ApiResponse[Any]]:
        return self

    async def __anext__(self) -> ApiResponse[Any]:
        if (response := await self._whole()) is None:
            raise StopAsyncIteration
        return response


def _task(fetch: AsyncFetch, page: int, size: int | None) -> Task[ApiResponse[Any]]:
    """A task that fetches a page; as it must, it knows the iterator not."""
    from asyncio import create_task  # its import takes longer than all else here

    async def run() -> ApiResponse[Any]:
        return await fetch(page, size)

    task = create_task(run(), name=f"humanloop-page-{page}")
    task.add_done_callback(_look_at)
    return task


def _look_at(task: Task[Any]) -> None:
    """A task whose error nobody has looked at complains, and nobody may come for this page."""
    if not task.cancelled():
        task.exception()


class _Bar(Protocol):
    """A progress bar. Nothing is shown before `expect` was called."""

    def expect(self, total: int) -> None:
        """Say how many records there will be in all."""

    def advance(self, count: int) -> None:
        """Say that so many more records were handed out."""

    def close(self) -> None:
        """Draw it for the last time."""


def _progress_bar(description: str) -> _Bar:
    # Neither is a dependency, nor known to the type checkers.
    with contextlib.suppress(ImportError):
        return _TqdmBar(import_module("tqdm.auto"), description)
    with contextlib.suppress(ImportError):
        return _RichBar(import_module("rich.progress"), description)
    raise ImportError("progress needs tqdm or rich: pip install tqdm")


class _TqdmBar:
    def __init__(self, tqdm: Any, description: str) -> None:
        self._new = partial(tqdm.tqdm, desc=description or None, unit=" records")
        self._bar: Any = None

    def expect(self, total: int) -> None:
        if self._bar is None:
            self._bar = self._new(total=total)
        elif self._bar.total != total:
            self._bar.total = total
            self._bar.refresh()

    def advance(self, count: int) -> None:
        self._bar.update(count)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _RichBar:
    """Draws in the caller's thread, so that there is no other to wait for, and only on stderr."""

    def __init__(self, rich: Any, description: str) -> None:
        self._progress = rich.Progress(
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            console=import_module("rich.console").Console(stderr=True),
            auto_refresh=False,
            # What the caller prints to stdout, perhaps into a file, must stay there.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(description, total=None)
        self._drawn: float | None = None

    def expect(self, total: int) -> None:
        self._progress.update(self._task, total=total)
        self._progress.start()
        self._draw()

    def advance(self, count: int) -> None:
        self._progress.advance(self._task, count)
        if self._drawn is None or monotonic() - self._drawn >= _REFRESH:
            self._draw()

    def close(self) -> None:
        if self._drawn is not None:
            self._progress.stop()

    def _draw(self) -> None:
        self._drawn = monotonic()
        self._progress.refresh()
