"""Iterating over pages: the rules by themselves, and both iterators over real connections."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from conftest import PATIENCE, Loopback, Recorded, asettle, response, settle, wait_for_pages
from hypothesis import example, given
from hypothesis import strategies as st

from humanloop import ApiException, Humanloop, RetryPolicy
from humanloop.exceptions import ApiTypeError
from humanloop.pagination import AsyncPageIterator, PageIterator, Pages
from humanloop.testing import TestTransport


class Answer(NamedTuple):
    """A page as a server answers: how many records, and what it tells."""

    count: int
    size: Any
    total: Any

    def body(self, page: int) -> dict[str, Any]:
        records = [f"{page}.{number}" for number in range(self.count)]
        return {"records": records, "page": page, "size": self.size, "total": self.total}


def even(total: int, size: int, first: int = 0) -> Callable[[int], Answer]:
    """A server that does as it should: for each page, its answer."""
    return lambda page: Answer(max(0, min(size, total - (page - first) * size)), size, total)


def listed(*answers: Answer, first: int = 0) -> Callable[[int], Answer]:
    return lambda page: answers[page - first]


def pages_asked(pages: Pages, answers: Callable[[int], Answer]) -> list[int]:
    asked: list[int] = []
    while pages.next is not None:
        asked.append(pages.next)
        pages.take(answers(pages.next).body(pages.next))
    return asked


# The rules


def test_records_that_move_to_the_next_page_come_once() -> None:
    pages = Pages(0, size=3)
    stored = [{"id": f"{number}"} for number in range(9)]
    found: list[Any] = []
    while pages.next is not None:
        start = pages.next * 3
        found += pages.take({"records": stored[start : start + 3], "size": 3, "total": len(stored)})
        if len(stored) < 13:
            stored[:0] = [{"id": f"new {len(stored)}"}, {"id": f"newer {len(stored)}"}]
    assert found == [{"id": f"{number}"} for number in range(9)]
    assert Pages(0).take({"records": [{"id": 1}, {"id": 1}, {}, {}], "total": 4}) == [
        *({"id": 1}, {"id": 1}),
        *({}, {}),
    ]


@pytest.mark.parametrize(
    ("arguments", "answers", "asked"),
    [
        # Both origins; a last page that is full, short, or the only one.
        ((0, None, 10), even(25, 10), [0, 1, 2]),
        ((1, None, 10), even(25, 10, first=1), [1, 2, 3]),
        ((0, None, 10), even(20, 10), [0, 1]),
        ((1, None, 10), even(20, 10, first=1), [1, 2]),
        ((0, None, 10), even(1, 10), [0]),
        ((1, None, 10), even(10, 10, first=1), [1]),
        # Nothing there.
        ((0, None, 10), even(0, 10), [0]),
        ((1, None, 10), even(0, 10, first=1), [1]),
        ((0, None, 10), listed(Answer(0, 10, 30)), [0]),
        # A start in the middle, at the end, and beyond it.
        ((0, 1, 10), even(25, 10), [1, 2]),
        ((1, 3, 10), even(25, 10, first=1), [3]),
        ((0, 7, 10), even(25, 10), [7]),
        # The size is left to the server, is put down by it, or is not told.
        ((0,), even(25, 10), [0, 1, 2]),
        ((0, None, 1000), even(250, 100), [0, 1, 2]),
        ((0, None, 10), listed(Answer(10, None, 15), Answer(5, None, 15)), [0, 1]),
        ((0, None, 10), listed(Answer(10, 0, 15), Answer(5, -1, 15)), [0, 1]),
        ((0,), listed(Answer(10, None, 15), Answer(5, None, 15), Answer(0, 0, 15)), [0, 1, 2]),
        # The latest total counts.
        ((0, None, 10), listed(Answer(10, 10, 40), Answer(10, 10, 20)), [0, 1]),
        ((0, None, 10), listed(Answer(10, 10, 40), Answer(0, 10, 10)), [0, 1]),
        (
            (0, None, 10),
            listed(*[Answer(10, 10, 11 + 10 * n) for n in range(5)], Answer(1, 10, 51)),
            [0, 1, 2, 3, 4, 5],
        ),
        # A short page is not the last one where more are promised; an empty one is.
        ((0, None, 10), listed(Answer(3, 10, 25), Answer(9, 10, 25), Answer(1, 10, 25)), [0, 1, 2]),
        ((0, None, 10), listed(Answer(3, 10, 25), Answer(0, 10, 25)), [0, 1]),
        # A server that answers with the same page whatever it is asked for.
        ((0, None, 10), lambda page: Answer(10, 10, 30), [0, 1, 2]),
        ((1,), lambda page: Answer(2, 0, 6), [1, 2, 3]),
        ((0, None, 10), listed(Answer(10, 10, -1)), [0]),
    ],
)
def test_which_pages_are_asked_for(
    arguments: tuple[int, ...], answers: Callable[[int], Answer], asked: list[int]
) -> None:
    assert pages_asked(Pages(*arguments), answers) == asked


@given(
    first=st.integers(0, 1),
    ahead=st.none() | st.integers(0, 5),
    size=st.none() | st.integers(1, 20),
    answers=st.lists(
        st.builds(Answer, st.integers(0, 20), st.none() | st.integers(0, 20), st.integers(-1, 200)),
        min_size=1,
        max_size=30,
    ),
)
@example(first=1, ahead=None, size=None, answers=[Answer(1, None, 200)])
def test_any_answers_are_read_in_order_and_to_an_end(
    first: int, ahead: int | None, size: int | None, answers: list[Answer]
) -> None:
    """The last answer is repeated for ever, so that only the rules can bring the end."""
    start = first + (ahead or 0)
    pages = Pages(first, None if ahead is None else start, size)

    def answer(page: int) -> Answer:
        return answers[min(page - start, len(answers) - 1)]

    asked = pages_asked(pages, answer)
    assert asked == list(range(start, start + len(asked)))
    assert len(asked) <= len(answers) + 200  # every page counts for one record at least
    for page in asked:
        count, told, total = answer(page)
        per_page = told or size or count
        over = count == 0 or (page - first + 1) * per_page >= total
        assert over is (page == asked[-1])
    assert pages.total == answer(asked[-1]).total


@given(
    total=st.integers(0, 300),
    asked_size=st.none() | st.integers(1, 50),
    cap=st.integers(1, 50),
    first=st.integers(0, 1),
)
def test_a_server_that_keeps_the_rules_gives_each_record_once(
    total: int, asked_size: int | None, cap: int, first: int
) -> None:
    size = min(asked_size or 10, cap)
    reader = fetched(even(total, size, first), first=first, size=asked_size)
    pages = range(-(-total // size))
    expected = [f"{p + first}.{n}" for p in pages for n in range(min(size, total - p * size))]
    assert list(reader) == expected
    assert reader.total == total


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "records",
        {},
        {"records": []},
        {"records": None, "size": 10, "total": 10},
        {"records": "abc", "size": 10, "total": 3},
        {"records": {"a": 1}, "size": 10, "total": 1},
        {"records": [], "size": 10, "total": None},
        {"records": [], "size": 10, "total": "many"},
        {"records": [], "size": [10], "total": 1},
        {"records": [], "size": 10, "total": float("inf")},
    ],
)
def test_what_is_no_page_is_refused(body: Any) -> None:
    pages = Pages(1)
    with pytest.raises(ApiTypeError, match=r"the answer for page 1 is no page of records: ."):
        pages.take(body)
    reader = PageIterator[Any](lambda page, size: SimpleNamespace(body=body), first=1)
    with pytest.raises(ApiTypeError):
        next(reader)
    assert list(reader) == []


# Plain functions in place of a client


def fetched(answers: Callable[[int], Answer], **options: Any) -> PageIterator[str]:
    return PageIterator(
        lambda page, size: SimpleNamespace(body=answers(page).body(page)),  # type: ignore[arg-type,return-value]
        **{"first": 0, **options},
    )


def afetched(answers: Callable[[int], Answer], **options: Any) -> AsyncPageIterator[str]:
    async def fetch(page: int, size: int | None) -> Any:
        await asyncio.sleep(0)
        return SimpleNamespace(body=answers(page).body(page))

    return AsyncPageIterator(fetch, **{"first": 0, **options})


def iterator(caller: Any, answers: Callable[[int], Answer], **options: Any) -> Any:
    """An iterator of the kind that the caller reads."""
    return (afetched if caller.kind == "async" else fetched)(answers, **options)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    settle()


class Gate:
    """Pages as `even` has them, of which one waits until it may come."""

    def __init__(self, answers: Callable[[int], Answer], held: int) -> None:
        self.answers = answers
        self.held = held
        self.reached = threading.Event()
        self.may_pass = threading.Event()
        self.asked: list[int] = []

    def __call__(self, page: int) -> Answer:
        self.asked.append(page)
        if page == self.held:
            self.reached.set()
            assert self.may_pass.wait(60)
        return self.answers(page)


def test_the_caller_works_while_the_next_page_is_fetched() -> None:
    gate = Gate(even(6, 2), held=1)
    with fetched(gate) as reader:
        assert [next(reader), next(reader)] == ["0.0", "0.1"]
        assert gate.reached.wait(PATIENCE)
        assert gate.asked == [0, 1]
        gate.may_pass.set()
        assert next(reader) == "1.0"
        settle()
        assert gate.asked == [0, 1, 2]
        assert list(reader) == ["1.1", "2.0", "2.1"]


def test_closing_does_not_wait_for_a_page_that_is_under_way() -> None:
    gate = Gate(even(6, 2), held=1)
    reader = fetched(gate)
    assert next(reader) == "0.0"
    assert gate.reached.wait(PATIENCE)
    reader.close()
    reader.close()
    assert list(reader) == []
    assert list(reader.pages()) == []
    assert (reader.total, repr(reader)) == (6, "<PageIterator of 6 records, ended>")
    gate.may_pass.set()
    settle()
    assert gate.asked == [0, 1]


@pytest.mark.parametrize("leave", ["with", "break", "del"])
def test_leaving_early_fetches_nothing_more_and_leaves_no_thread(leave: str) -> None:
    before = set(threading.enumerate())
    gate = Gate(even(100, 2), held=1)
    if leave == "break":
        for _ in fetched(gate):
            break
    elif leave == "with":
        with fetched(gate) as reader:
            next(reader)
    else:
        reader = fetched(gate)
        dropped = weakref.ref(reader)
        next(reader)
        assert gate.reached.wait(PATIENCE)
        del reader
        assert dropped() is None  # at once: the thread that waits does not keep it
    gate.may_pass.set()
    settle()
    assert gate.asked in ([0], [0, 1])
    assert set(threading.enumerate()) <= before


def test_a_prefetch_that_was_closed_before_it_began_is_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = threading.Event()
    run = threading.Thread.run

    def held(thread: threading.Thread) -> None:
        assert begin.wait(PATIENCE)
        run(thread)

    monkeypatch.setattr(threading.Thread, "run", held)
    gate = Gate(even(6, 2), held=-1)
    with fetched(gate) as reader:
        next(reader)
    begin.set()
    settle()
    assert gate.asked == [0]


def test_closing_by_another_thread_ends_the_wait_for_a_page() -> None:
    gate = Gate(even(6, 2), held=0)
    reader = fetched(gate)
    records: list[str] = []
    thread = threading.Thread(target=lambda: records.extend(reader))
    thread.start()
    assert gate.reached.wait(PATIENCE)
    reader.close()
    gate.may_pass.set()
    thread.join(PATIENCE)
    assert (records, gate.asked) == ([], [0])


def test_without_threads_the_pages_are_fetched_as_they_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert list(fetched(even(5, 2))) == ["0.0", "0.1", "1.0", "1.1", "2.0"]


def failing(page: int) -> Answer:
    if page == 1:
        raise LookupError("page 1 is broken")
    return Answer(2, 2, 6)


@pytest.mark.parametrize("whole", [False, True])
def test_an_error_comes_after_all_records_before_it_and_is_the_end(
    whole: bool, caller: Any
) -> None:
    reader = iterator(caller, failing)
    source = reader.pages() if whole else reader
    assert caller.next(source)
    if not whole:
        assert caller.next(source) == "0.1"
    wait_for_pages(caller)
    with pytest.raises(LookupError, match="page 1 is broken") as caught:
        caller.next(source)
    assert any(entry.name == "failing" for entry in caught.traceback)  # where it happened
    assert caller.all(source) == caller.all(reader) == caller.all(reader.pages()) == []


def test_an_error_of_a_page_that_nobody_asked_for_is_not_told() -> None:
    reader = fetched(failing)
    assert next(reader) == "0.0"
    settle()
    reader.close()


def test_the_first_page_may_fail(caller: Any) -> None:
    reader = iterator(caller, failing, page=1)
    with pytest.raises(LookupError):
        caller.next(reader)
    assert (caller.all(reader), reader.total) == ([], None)


def test_an_interruption_is_not_the_end() -> None:
    interruptions = iter([KeyboardInterrupt()])

    def interrupted(page: int) -> Answer:
        for interruption in interruptions:
            raise interruption
        return even(4, 2)(page)

    reader = fetched(interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(reader)
    assert list(reader) == ["0.0", "0.1", "1.0", "1.1"]


def test_whole_pages_then_records(caller: Any) -> None:
    reader = iterator(caller, even(7, 2))
    assert caller.next(reader) == "0.0"
    pages = reader.pages()  # in place of the records that are left of the page
    assert caller.next(pages).body == even(7, 2)(1).body(1)
    assert caller.all(reader) == ["2.0", "2.1", "3.0"]
    assert caller.all(pages) == []


def test_an_empty_page_is_a_page_too(caller: Any) -> None:
    pages = caller.all(iterator(caller, even(0, 2)).pages())
    assert [len(page.body["records"]) for page in pages] == [0]


def test_the_context_of_the_caller_is_that_of_the_prefetch() -> None:
    trace = ContextVar("trace", default="none")
    seen: list[str] = []

    def answers(page: int) -> Answer:
        seen.append(trace.get())
        return even(6, 2)(page)

    token = trace.set("mine")
    try:
        assert len(list(fetched(answers))) == 6
    finally:
        trace.reset(token)
    assert seen == ["mine"] * 3


def test_what_it_shows_of_itself(caller: Any) -> None:
    reader = iterator(caller, even(3, 2, first=1), first=1)
    name = type(reader).__name__
    assert (repr(reader), reader.total) == (f"<{name}, next page 1>", None)
    caller.next(reader)
    assert (repr(reader), reader.total) == (f"<{name} of 3 records, next page 2>", 3)


# Asynchronous


def test_async_one_page_is_fetched_ahead() -> None:
    asked: list[int] = []

    async def main() -> None:
        reached = asyncio.Event()

        async def fetch(page: int, size: int | None) -> Any:
            asked.append(page)
            if page == 1:
                reached.set()
            return SimpleNamespace(body=even(6, 2)(page).body(page))

        async with AsyncPageIterator[str](fetch, first=0) as reader:
            assert asked == []
            assert await anext(reader) == "0.0"
            await asyncio.wait_for(reached.wait(), PATIENCE)
            await asettle()
            assert asked == [0, 1]
            assert [r async for r in reader][-1] == "2.1"
        assert asked == [0, 1, 2]

    asyncio.run(main())


class Held:
    """An asynchronous fetch of which page 1 waits for ever, and tells how it was left."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.left = ""

    async def __call__(self, page: int, size: int | None) -> Any:
        if page == 1:
            self.reached.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # what a transport may have to do
                await asyncio.sleep(0)
                self.left = "cancelled"
                raise
        return SimpleNamespace(body=even(6, 2)(page).body(page))


@pytest.mark.parametrize("leave", ["async with", "aclose", "break", "del"])
def test_async_leaving_early_cancels_the_prefetch(leave: str) -> None:
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        held = Held()
        if leave == "break":
            async for _ in AsyncPageIterator[str](held, first=0):
                await held.reached.wait()
                break
            await asettle()
        elif leave == "async with":
            async with AsyncPageIterator[str](held, first=0) as reader:
                await anext(reader)
                await held.reached.wait()
        else:
            reader = AsyncPageIterator[str](held, first=0)
            await anext(reader)
            await held.reached.wait()
            if leave == "aclose":
                await reader.aclose()
                assert held.left == "cancelled"
                await reader.aclose()
                assert [r async for r in reader] == []
            else:
                del reader
                await asettle()
        assert held.left == "cancelled"

    asyncio.run(main(), debug=True)
    gc.collect()
    assert complaints == []


def test_async_leaving_early_may_be_the_end_of_the_loop() -> None:
    """The iterator outlives its loop, with a page under way."""
    complaints: list[Any] = []
    kept: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        reader = AsyncPageIterator[str](Held(), first=0)
        kept.append(reader)
        async for _ in reader:
            break

    asyncio.run(main(), debug=True)
    kept.clear()
    gc.collect()
    assert complaints == []


def test_async_an_iterator_is_dropped_by_another_thread() -> None:
    async def main() -> None:
        held = Held()
        kept = [AsyncPageIterator[str](held, first=0)]
        await anext(kept[0])
        await held.reached.wait()
        await asyncio.to_thread(kept.clear)
        await asettle()
        assert held.left == "cancelled"

    asyncio.run(main(), debug=True)


def test_async_an_error_of_a_page_that_nobody_asked_for_is_not_told() -> None:
    complaints: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: complaints.append(c))
        async for _ in afetched(failing):
            await asettle()
            break
        gc.collect()

    asyncio.run(main(), debug=True)
    assert complaints == []


@pytest.mark.parametrize("by", ["records", "pages"])
@pytest.mark.parametrize("ahead", [True, False], ids=["fetched ahead", "fetched when asked for"])
def test_async_a_wait_that_was_cancelled_is_not_the_end(by: str, ahead: bool) -> None:
    async def main() -> None:
        asked: list[int] = []

        async def fetch(page: int, size: int | None) -> Any:
            asked.append(page)
            if asked == [0, 1] if ahead else asked == [0]:
                await asyncio.Event().wait()
            return SimpleNamespace(body=even(6, 2)(page).body(page))

        reader = AsyncPageIterator[str](fetch, first=0)
        steps: Any = reader if by == "records" else reader.pages()
        done = 0 if not ahead else 2 if by == "records" else 1
        for _ in range(done):
            await anext(steps)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(steps), 0.05)
        assert len([step async for step in steps]) == (6 if by == "records" else 3) - done
        assert asked == ([0, 1, 1, 2] if ahead else [0, 0, 1, 2])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main(), debug=True)


def test_async_two_tasks_do_not_get_the_same_page() -> None:
    async def main() -> None:
        held, may_pass = asyncio.Event(), asyncio.Event()

        async def fetch(page: int, size: int | None) -> Any:
            held.set()
            await may_pass.wait()
            return SimpleNamespace(body=even(3, 2)(page).body(page))

        reader = AsyncPageIterator[str](fetch, first=0)
        waiting = asyncio.ensure_future(anext(reader))
        await held.wait()
        with pytest.raises(RuntimeError, match="another task waits for the next page"):
            await anext(reader)
        may_pass.set()
        assert [await waiting, *[r async for r in reader]] == ["0.0", "0.1", "1.0"]

    asyncio.run(main())


def test_async_closing_by_another_task_ends_the_wait_for_a_page() -> None:
    async def main() -> None:
        held, may_pass = asyncio.Event(), asyncio.Event()

        async def fetch(page: int, size: int | None) -> Any:
            held.set()
            await may_pass.wait()
            return SimpleNamespace(body=even(3, 2)(page).body(page))

        reader = AsyncPageIterator[str](fetch, first=0)

        async def read() -> list[str]:
            return [record async for record in reader]

        waiting = asyncio.ensure_future(read())
        await held.wait()
        await reader.aclose()
        may_pass.set()
        assert await waiting == []

    asyncio.run(main())


# Over connections


class Paged:
    """Answers the server's requests with pages; the requests that came can be waited for."""

    def __init__(self, server: Loopback, answers: Callable[[int], Any], first: int = 0) -> None:
        self.queries: list[dict[str, str]] = []
        self._came = threading.Condition()
        self._answers = answers
        self._first = first
        server.reply = self._reply

    def wait_for(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self.queries) >= count, PATIENCE)

    def _reply(self, request: Recorded, connection: Any) -> None:
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        with self._came:
            self.queries.append(query)
            self._came.notify_all()
        page = int(query.get("page", self._first))
        answer = self._answers(page)
        if isinstance(answer, int):
            connection.sendall(response(b'{"detail": "no"}', answer))
        else:
            connection.sendall(response(json.dumps(answer.body(page)).encode()))


def projects(caller: Any, server: Loopback, **options: Any) -> Any:
    """An iterator over the pages that a client of the caller's kind gets from a server."""
    tag = caller.client(server.host, retries=0).projects
    kind, method = (
        (AsyncPageIterator, tag.alist) if caller.kind == "async" else (PageIterator, tag.list)
    )
    return kind(
        lambda page, size: method(page=page, size=size, skip_deserialization=True),
        **{"first": 0, **options},
    )


@pytest.mark.parametrize(
    ("first", "answers", "size", "pages"),
    [
        (0, even(25, 10), 10, [0, 1, 2]),
        (1, even(25, 10, first=1), None, [1, 2, 3]),
        (0, even(25, 10), 1000, [0, 1, 2]),
        (0, listed(Answer(10, 10, 30), Answer(10, 10, 20)), 10, [0, 1]),
        (0, listed(Answer(10, 10, 15), Answer(10, 10, 30), Answer(10, 10, 30)), 10, [0, 1, 2]),
    ],
)
def test_the_requests_that_are_sent(
    server: Loopback,
    caller: Any,
    first: int,
    answers: Callable[[int], Answer],
    size: int | None,
    pages: list[int],
) -> None:
    paged = Paged(server, answers)
    records = [record for page in pages for record in answers(page).body(page)["records"]]
    assert caller.all(projects(caller, server, first=first, size=size)) == records
    sizes = {} if size is None else {"size": str(size)}
    assert paged.queries == [{"page": str(page), **sizes} for page in pages]


def test_nothing_is_sent_before_the_first_record_is_asked_for(
    server: Loopback, caller: Any
) -> None:
    paged = Paged(server, even(30, 10))
    reader = projects(caller, server, size=10)
    assert paged.queries == []
    assert caller.next(reader) == "0.0"
    wait_for_pages(caller)
    paged.wait_for(2)
    caller.close(reader)
    assert [query["page"] for query in paged.queries] == ["0", "1"]


def test_a_refused_page_is_an_error_in_its_place(server: Loopback, caller: Any) -> None:
    Paged(server, lambda page: 418 if page == 1 else Answer(2, 2, 6))
    reader = projects(caller, server)
    assert [caller.next(reader), caller.next(reader)] == ["0.0", "0.1"]
    with pytest.raises(ApiException) as caught:
        caller.next(reader)
    assert caught.value.status == 418
    assert caller.all(reader) == []


def test_async_leaving_early_gives_the_connection_up(
    server: Loopback, asynchronous_caller: Any
) -> None:
    held, left = threading.Event(), threading.Event()

    def reply(request: Recorded, connection: Any) -> None:
        if "page=0" in request.query:
            connection.sendall(response(json.dumps(even(6, 2)(0).body(0)).encode()))
        else:
            held.set()
            assert connection.recv(1) == b""
            left.set()

    server.reply = reply
    caller = asynchronous_caller
    reader = projects(caller, server)
    caller.next(reader)
    assert caller.run(asyncio.to_thread(held.wait, PATIENCE))
    caller.close(reader)
    assert caller.run(asyncio.to_thread(left.wait, PATIENCE))


def test_async_leaving_early_within_the_block_of_a_client(server: Loopback) -> None:
    paged = Paged(server, even(25, 10, first=1), first=1)
    kept: list[Any] = []

    async def main() -> list[Any]:
        async with Humanloop(api_key="hl-key", host=server.host, timeout=10) as client:
            options: Any = {"project_id": "pr_1", "size": 10, "skip_deserialization": True}
            records = [r async for r in client.sessions.aiterate_list(**options)]
            kept.append(client.sessions.aiterate_list(**options))
            async for _ in kept[0]:
                break
            async for _ in client.sessions.aiterate_list(**options):
                break
        return records

    assert len(asyncio.run(main(), debug=True)) == 25
    assert [query["page"] for query in paged.queries][:3] == ["1", "2", "3"]


def test_the_methods_of_a_client(server: Loopback, caller: Any) -> None:
    paged = Paged(server, even(25, 10, first=1), first=1)
    tag = caller.client(server.host).sessions
    method = tag.aiterate_list if caller.kind == "async" else tag.iterate_list
    records = caller.all(method("pr_1", page=2, size=10, skip_deserialization=True))
    assert len(records) == 15
    known = {"project_id": "pr_1", "size": "10"}
    assert paged.queries == [{**known, "page": "2"}, {**known, "page": "3"}]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("projects.list", {}),
        ("projects.export", {"id": "pr_1"}),
        ("sessions.list", {"project_id": "pr_1"}),
        ("testsets.list_testcases", {"testset_id": "evts_1"}),
        ("evaluations.list_testcases", {"id": "ev_1"}),
    ],
)
def test_a_hundred_records_are_asked_for_unless_told_otherwise(
    name: str, arguments: dict[str, str], server: Loopback, caller: Any
) -> None:
    paged = Paged(server, lambda page: Answer(0, 100, 0))
    tag, _, operation = name.partition(".")
    prefix = "aiterate_" if caller.kind == "async" else "iterate_"
    method = getattr(getattr(caller.client(server.host), tag), prefix + operation)
    for size in (None, 7, 1000):
        assert caller.all(method(**arguments, size=size, skip_deserialization=True)) == []
    assert [query["size"] for query in paged.queries] == ["100", "7", "1000"]


def test_validated_pages(server: Loopback, client: Humanloop) -> None:
    """Their numbers are no ints, and their records are typed."""
    when = "2024-05-01T10:00:00Z"

    class Testcases(Answer):
        def body(self, page: int) -> dict[str, Any]:
            body = super().body(page)
            known = {"testset_id": "evts_1", "created_at": when, "updated_at": when}
            return {**body, "records": [{"id": name, **known} for name in body["records"]]}

    paged = Paged(server, lambda page: Testcases(*even(5, 2)(page)))
    reader = PageIterator[Any](
        lambda page, size: client.testsets.list_testcases("evts_1", page=page, size=size),
        first=0,
        size=2,
    )
    assert [str(record.id) for record in reader] == ["0.0", "0.1", "1.0", "1.1", "2.0"]
    assert (reader.total, type(reader.total)) == (5, int)
    assert [query["page"] for query in paged.queries] == ["0", "1", "2"]


# Progress


class FakeBar:
    def __init__(self, *, total: int, desc: str | None, unit: str) -> None:
        self.log: list[Any] = [("new", total, desc, unit)]
        bars.append(self)

    def update(self, count: int) -> None:
        self.log.append(count)

    def close(self) -> None:
        self.log.append("closed")


bars: list[FakeBar] = []


@pytest.fixture
def fake_tqdm(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeBar]]:
    package, auto = ModuleType("tqdm"), ModuleType("tqdm.auto")
    auto.tqdm = FakeBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", package)
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    yield bars
    bars.clear()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def test_tqdm_shows_progress(fake_tqdm: list[FakeBar], caller: Any) -> None:
    reader = iterator(caller, even(3, 2), progress=True, description="logs")
    assert fake_tqdm == []
    assert len(caller.all(reader)) == 3
    assert [bar.log for bar in fake_tqdm] == [[("new", 3, "logs", " records"), 1, 1, 1, "closed"]]


def test_progress_counts_what_is_still_to_come(fake_tqdm: list[FakeBar], caller: Any) -> None:
    reader = iterator(caller, even(25, 10, first=1), first=1, page=2, progress=True)
    assert [page.body["page"] for page in caller.all(reader.pages())] == [2, 3]
    assert fake_tqdm[0].log == [("new", 15, None, " records"), 10, 5, "closed"]
    assert reader.total == 25


@pytest.mark.parametrize("leave", ["close", "error", "del"])
def test_progress_is_closed_once(fake_tqdm: list[FakeBar], leave: str, caller: Any) -> None:
    reader = iterator(caller, failing, progress=True)
    caller.next(reader)
    if leave == "close":
        caller.close(reader)
        caller.close(reader)
    elif leave == "error":
        with pytest.raises(LookupError):
            caller.all(reader)
    del reader
    gc.collect()
    assert fake_tqdm[0].log.count("closed") == 1
    assert fake_tqdm[0].log[-1] == "closed"


def test_progress_of_what_was_never_read_shows_nothing(fake_tqdm: list[FakeBar]) -> None:
    fetched(even(5, 2), progress=True).close()
    assert fake_tqdm == []


def test_rich_shows_progress_on_stderr_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, "tqdm", "tqdm.auto")
    with (
        fetched(even(4, 2), progress=True, description="[logs]") as reader,
        fetched(even(8, 2), progress=True) as other,
    ):
        for record in reader:
            next(other)
            print(record)
    out, err = capsys.readouterr()
    assert out.split() == ["0.0", "0.1", "1.0", "1.1"]
    assert "[logs]" in err
    assert "100%" in err
    assert "50%" in err


def test_progress_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tqdm", "tqdm.auto", "rich", "rich.progress")
    for make in (fetched, afetched):
        with pytest.raises(ImportError, match="progress needs tqdm or rich: pip install tqdm"):
            make(even(5, 2), progress=True)
    assert len(list(fetched(even(5, 2)))) == 5


# Whole interpreters


def run(script: str, *arguments: str) -> None:
    """Run a script that must end soon, and have nothing to complain about."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "0.0\n")


def test_an_interpreter_exits_while_a_client_waits_for_a_page(server: Loopback) -> None:
    gate = Gate(even(6, 2), held=1)
    Paged(server, gate)
    script = """
import sys
from humanloop import Humanloop
from humanloop.pagination import PageIterator

client = Humanloop(api_key="k", host=sys.argv[1], timeout=None)
def fetch(page, size):
    return client.projects.list(page=page, size=size, skip_deserialization=True)
for record in PageIterator(fetch, first=0):
    print(record)
    break
kept = PageIterator(fetch, first=0)
next(kept)
client.close()
"""
    try:
        run(script, server.host)
    finally:
        gate.may_pass.set()


ASYNC_SCRIPT = """
import asyncio
from types import SimpleNamespace
from humanloop.pagination import AsyncPageIterator

async def fetch(page, size):
    if page == 1:
        if {fails}:
            raise LookupError
        await asyncio.Event().wait()
    body = dict(records=["0.0", "0.1"], page=page, size=2, total=10)
    return SimpleNamespace(body=body)

kept = []
async def main():
    kept.append(AsyncPageIterator(fetch, first=0))
    async for record in kept[0]:
        break
    async for record in AsyncPageIterator(fetch, first=0):
        print(record)
        {wait}
        break
{run}
"""


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("wait", ["pass", "await asyncio.sleep(0)"])
def test_an_interpreter_exits_after_a_loop_that_was_left_early(fails: bool, wait: str) -> None:
    run(ASYNC_SCRIPT.format(fails=fails, wait=wait, run="asyncio.run(main())"))


def test_a_progress_bar_is_closed_when_the_interpreter_exits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    script = """
import sys
from types import SimpleNamespace
from humanloop.pagination import PageIterator

sys.modules["tqdm.auto"] = None
body = dict(records=["0.0", "0.1"], page=0, size=2, total=2)
kept = PageIterator(lambda page, size: SimpleNamespace(body=body), first=0, progress=True)
next(kept)
"""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0
    hide, show = "\x1b[?25l", "\x1b[?25h"  # the cursor
    assert hide in done.stderr
    assert done.stderr.endswith(show)


def test_asyncio_and_the_progress_bars_are_imported_when_needed() -> None:
    script = """
import sys
from humanloop.pagination import PageIterator
PageIterator(print, first=0)
loaded = {"asyncio", "rich", "tqdm"} & set(sys.modules)
assert not loaded, loaded
print("0.0")
"""
    run(script)


def test_a_page_whose_answer_is_lost_is_read_again() -> None:
    """Also of an operation that is a POST, of which a single call is not."""
    transport = TestTransport()
    transport.reply("projects.export", status=502, times=1)
    retries = RetryPolicy(backoff=0)
    with Humanloop(api_key="hl-key", transport=transport, retries=retries) as client:
        assert len(list(client.projects.iterate_export(id="pr_1"))) == 1
        assert len(transport.calls("projects.export")) == 2
        transport.reply("projects.export", status=502, times=1)
        with pytest.raises(ApiException):
            client.projects.export(id="pr_1")
    assert len(transport.calls("projects.export")) == 3
