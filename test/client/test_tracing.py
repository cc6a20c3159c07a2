"""Tracing: what traced functions do is logged, and what they do is what they did."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from humanloop import ApiTypeError
from humanloop.exceptions import TracingWarning
from humanloop.model.log_request import LogRequest
from humanloop.tracing import Session, Tracer


class Log:
    """Logs and their updates, in the order in which they are written."""

    def __init__(self) -> None:
        self.written: list[Mapping[str, Any]] = []
        self.updates: dict[str, Mapping[str, Any]] = {}

    def keep(self, keys: Mapping[str, Any]) -> object:
        LogRequest(keys)
        parent = keys.get("parent_reference_id")
        assert parent is None or parent in {each["reference_id"] for each in self.written}
        self.written.append(dict(keys))
        return keys["reference_id"]

    def update(self, reference_id: str, keys: Mapping[str, Any]) -> object:
        assert reference_id not in self.updates
        self.updates[reference_id] = keys
        return reference_id

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All of them as they are in the end."""
        return [{**each, **self.updates.get(each["reference_id"], {})} for each in self.written]

    def one(self) -> dict[str, Any]:
        """The only one."""
        [span] = self.spans
        return span

    def of(self, name: str) -> list[dict[str, Any]]:
        """Those of a function."""
        return [each for each in self.spans if each["config"]["name"] == name]


@pytest.fixture
def log() -> Log:
    """Where it is logged."""
    return Log()


@pytest.fixture
def tracer(log: Log) -> Tracer:
    """Traces into that log."""
    return Tracer(log)


def test_a_call_is_a_log(tracer: Tracer, log: Log) -> None:
    @tracer.traced(project="p")
    def add(a: int, b: int = 2, *rest: int, option: str = "k", **more: int) -> int:
        """Add."""
        return a + b

    assert add(1) == 3
    assert (add.__name__, add.__doc__, str(inspect.signature(add))) == (
        "add",
        "Add.",
        "(a: 'int', b: 'int' = 2, *rest: 'int', option: 'str' = 'k', **more: 'int') -> 'int'",
    )
    span = log.one()
    assert span["project"] == "p"
    assert span["config"] == {"type": "tool", "name": "add"}
    assert span["inputs"] == {"a": 1, "b": 2, "rest": [], "option": "k", "more": {}}
    assert span["output"] == "3"
    assert 0 <= span["duration"] < 10
    assert not span.keys() & {"error", "session_reference_id", "parent_reference_id"}


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ("text", "text"),
        (None, None),
        ({"a": [1, 2.5, True, None]}, '{"a": [1, 2.5, true, null]}'),
        (Decimal("0.5"), "0.5"),
        (float("nan"), '"nan"'),
        ({"api_key": "sk-12345678", "x": 1}, '{"api_key": "***", "x": 1}'),
        (b"1234", '"<4 bytes>"'),
        ({"b"}, '["b"]'),
    ],
)
def test_results(tracer: Tracer, log: Log, result: Any, output: str | None) -> None:
    assert tracer.traced(project="p")(lambda: result)() is result
    assert log.one().get("output") == output


def test_what_has_no_json_is_shown(tracer: Tracer, log: Log) -> None:
    @dataclass
    class Thing:
        name: str
        password: str
        hidden: int = field(default=1, repr=False)

    class Other:
        def __repr__(self) -> str:
            return "Other(sk-abcdefgh)"

    endless: list[Any] = []
    endless.append(endless)
    tracer.traced(project="p")(lambda *args: None)(Thing("n", "pass"), Other(), endless)
    thing, other, _ = log.one()["inputs"]["args"]
    assert thing == {"name": "n", "password": "***"}
    assert other == "Other(***)"
    tracer.traced(project="p")(len)(range(10**9))  # no more of it than is needed
    assert tracer.failures == 0


def test_errors_pass_and_are_logged(tracer: Tracer, log: Log) -> None:
    error = ValueError("wrong key sk-abcdefgh12")

    @tracer.traced(project="p")
    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="wrong key") as raised:
        fail()
    assert raised.value is error
    assert log.one()["error"] == "ValueError: wrong key ***"
    assert "output" not in log.one()


def test_calls_nest(tracer: Tracer, log: Log) -> None:
    traced = tracer.traced(project="p")

    @traced
    def inner(x: int) -> int:
        return x

    @traced
    def middle(x: int) -> int:
        return inner(x) + inner(x + 1)

    @traced
    def outer() -> int:
        return middle(1) + inner(9)

    assert outer() == 12
    assert inner(5) == 5
    [root], [mid] = log.of("outer"), log.of("middle")
    first, second, third, alone = log.of("inner")
    assert root["session_reference_id"] == root["reference_id"]
    assert "parent_reference_id" not in root
    assert (root["output"], mid["output"]) == ("12", "3")
    assert mid["parent_reference_id"] == third["parent_reference_id"] == root["reference_id"]
    assert first["parent_reference_id"] == second["parent_reference_id"] == mid["reference_id"]
    assert not alone.keys() & {"session_reference_id", "parent_reference_id"}
    assert all(each["duration"] >= 0 for each in log.spans)


def test_tasks_and_threads_nest(tracer: Tracer, log: Log) -> None:
    traced = tracer.traced(project="p")

    @traced
    def work(x: int) -> int:
        return x

    @traced
    async def task(x: int) -> int:
        await asyncio.sleep(0)
        return work(x) + await asyncio.to_thread(work, x)

    @traced
    async def root() -> list[int]:
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(work, 7))
        thread.start()
        thread.join()
        return await asyncio.gather(*(task(x) for x in range(10)))

    assert asyncio.run(root()) == [2 * x for x in range(10)]
    [top] = log.of("root")
    tasks = {each["reference_id"]: each for each in log.of("task")}
    assert len(tasks) == 10
    assert {each["parent_reference_id"] for each in tasks.values()} == {top["reference_id"]}
    for each in log.of("work"):
        if each["inputs"]["x"] != 7 or each["parent_reference_id"] != top["reference_id"]:
            assert tasks[each["parent_reference_id"]]["inputs"] == each["inputs"]


def test_many_threads_under_one_parent(tracer: Tracer, log: Log) -> None:
    traced = tracer.traced(project="p")
    work = traced(lambda x: x)

    @traced
    def root() -> None:
        contexts = [contextvars.copy_context() for _ in range(16)]
        threads = [threading.Thread(target=each.run, args=(work, 1)) for each in contexts]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    root()
    [top] = log.of("root")
    assert [each["parent_reference_id"] for each in log.written[1:]] == [top["reference_id"]] * 16


def test_a_call_that_ends_while_its_first_child_begins() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Log):
        def keep(self, keys: Mapping[str, Any]) -> object:
            entered.set()
            assert go_on.wait(20)
            return super().keep(keys)

    slow = Slow()
    traced = Tracer(slow).traced(project="p")
    threads: list[threading.Thread] = []

    @traced
    def outer() -> str:
        context = contextvars.copy_context()
        threads.append(threading.Thread(target=context.run, args=(traced(lambda: "in"),)))
        threads[0].start()
        assert entered.wait(20)
        threading.Timer(0.05, go_on.set).start()  # when this has ended, or nearly so
        return "out"

    assert outer() == "out"
    threads[0].join()
    assert [each["output"] for each in slow.spans] == ["out", "in"]


def test_sessions(tracer: Tracer, log: Log) -> None:
    work = tracer.traced(project="p")(lambda: None)
    with Session("mine") as session, Session() as inner:
        work()
        assert inner.reference_id != session.reference_id == "mine"
    work()

    async def run() -> None:
        async with Session("mine"):
            work()

    asyncio.run(run())
    found = [each.get("session_reference_id") for each in log.spans]
    assert found == [inner.reference_id, None, "mine"]
    assert repr(Session("s")) == "Session('s')"


class TestGenerators:
    """They are traced from the first item to the last."""

    def test_items_are_the_output(self, tracer: Tracer, log: Log) -> None:
        traced = tracer.traced(project="p")
        inner = traced(lambda: None)

        @traced
        def texts() -> Generator[str, int, str]:
            got = yield "a"
            inner()
            yield f"b{got}"
            return "end"

        @traced
        def numbers() -> Generator[int, None, None]:
            yield from (1, 2)

        assert inspect.isgeneratorfunction(texts)
        steps = texts()
        assert log.written == []  # it has not begun
        assert next(steps) == "a"
        inner()  # not within it, since its caller runs
        assert steps.send(7) == "b7"
        with pytest.raises(StopIteration) as end:
            next(steps)
        assert end.value.value == "end"
        assert list(numbers()) == [1, 2]
        [span], [other] = log.of("texts"), log.of("numbers")
        assert (span["output"], other["output"]) == ("ab7", "[1, 2]")
        names = [each["config"]["name"] for each in log.written]
        parents = [each.get("parent_reference_id") for each in log.written]
        assert parents[names.index("texts") + 1] == span["reference_id"]
        assert parents[0] is None

    def test_what_ends_them_early(self, tracer: Tracer, log: Log) -> None:
        closed: list[str] = []

        @tracer.traced(project="p")
        def texts() -> Generator[str]:
            try:
                yield "a"
                yield "b"
            except KeyError:
                yield "caught"
            finally:
                closed.append("closed")

        steps = texts()
        next(steps)
        steps.close()
        steps = texts()
        next(steps)
        assert steps.throw(KeyError("k")) == "caught"
        with pytest.raises(ZeroDivisionError):
            steps.throw(ZeroDivisionError("z"))
        assert closed == ["closed"] * 2
        first, second = log.spans
        assert (first["output"], first.get("error")) == ("a", None)
        assert (second["output"], second["error"]) == ("acaught", "ZeroDivisionError: z")

    def test_asynchronous_ones(self, tracer: Tracer, log: Log) -> None:
        traced = tracer.traced(project="p")

        @traced
        async def texts(end: BaseException | None) -> AsyncGenerator[str, str]:
            got = yield "a"
            await asyncio.sleep(0)
            yield f"b{got}"
            if end is not None:
                raise end

        async def run() -> None:
            assert [each async for each in texts(None)] == ["a", "bNone"]
            steps = texts(None)
            assert await steps.__anext__() == "a"
            assert await steps.asend("x") == "bx"
            await steps.aclose()
            with pytest.raises(ValueError, match="v"):
                async for _ in texts(ValueError("v")):
                    pass
            steps = texts(None)
            await steps.__anext__()
            with pytest.raises(KeyError):
                await steps.athrow(KeyError("k"))

        assert inspect.isasyncgenfunction(texts)
        asyncio.run(run(), debug=True)
        outputs = [(each["output"], each.get("error")) for each in log.spans]
        assert outputs == [
            ("abNone", None),
            ("abx", None),
            ("abNone", "ValueError: v"),
            ("a", "KeyError: 'k'"),
        ]


def test_a_cancelled_coroutine(tracer: Tracer, log: Log) -> None:
    @tracer.traced(project="p")
    async def wait() -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert inspect.iscoroutinefunction(wait)
    asyncio.run(run())
    assert log.one()["error"] == "CancelledError"


def test_methods(tracer: Tracer, log: Log) -> None:
    class Agent:
        @tracer.traced(project="p")
        def ask(self, text: str) -> str:
            return text

        @classmethod
        @tracer.traced(project="p")
        def make(cls, text: str) -> str:
            return text

        @staticmethod
        @tracer.traced(project="p")
        def help(text: str) -> str:
            return text

    assert Agent().ask("x") == Agent.make("x") == Agent.help("x") == "x"
    assert [each["inputs"] for each in log.spans] == [{"text": "x"}] * 3


def test_options(tracer: Tracer, log: Log) -> None:
    config = {"type": "model", "model": "gpt-4"}
    tracer.traced(project_id="pr_1", name="n", source="s", metadata={"a": 1}, inputs=False)(
        lambda x: x
    )("secret")
    tracer.traced(
        project="p",
        config=config,
        inputs=lambda x: {"length": len(x)},
        output=lambda result: result[0],
    )(lambda x: x)("secret")
    tracer.traced(project="p", output=False)(lambda: "secret")()
    first, second, third = log.spans
    assert first["project_id"] == "pr_1"
    assert first["config"] == {"type": "tool", "name": "n"}
    assert (first["source"], first["metadata"], first["inputs"]) == ("s", {"a": 1}, {})
    assert (second["config"], second["inputs"], second["output"]) == (config, {"length": 6}, "s")
    assert "output" not in third


def test_what_can_t_be_traced(tracer: Tracer) -> None:
    with pytest.raises(ApiTypeError, match="needs project="):
        tracer.traced()
    with pytest.raises(ApiTypeError, match="'proyect'; did you mean 'project'"):
        tracer.traced(proyect="p")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    for wrong, said in ((int, "a class"), (3, "int"), (classmethod(len), "classmethod")):
        with pytest.raises(ApiTypeError, match=f"not {said}"):
            tracer.traced(project="p")(wrong)  # type: ignore[type-var]  # pyright: ignore


class Broken(Log):
    """Nothing can be written there."""

    def keep(self, keys: Mapping[str, Any]) -> object:
        raise OSError("no room")


@pytest.mark.parametrize("action", ["default", "error"])
def test_nothing_of_it_reaches_the_function(action: Any) -> None:
    tracer = Tracer(Broken())
    traced = tracer.traced(project="p")
    inner = traced(lambda: 1)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    class Unreadable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    @traced
    def outer() -> int:
        return inner()

    calls: list[Callable[[], Any]] = [
        outer,
        lambda: list(traced(lambda: iter([1]))()),
        lambda: tracer.traced(project="p", inputs=fail)(lambda text: int(text))("1"),
        lambda: tracer.traced(project="p", output=fail)(lambda text: int(text))("1"),
        lambda: traced(len)([Unreadable()]),
    ]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter(action)
        assert [call() for call in calls] == [1, [1], 1, 1, 1]
    assert tracer.failures >= len(calls)
    if action == "default":
        [warning] = warned
        assert warning.category is TracingWarning
        assert "OSError: no room" in str(warning.message)


def test_it_leaves_nothing_behind(tracer: Tracer) -> None:
    class Result:
        pass

    traced = tracer.traced(project="p", output=False, inputs=False)(lambda: Result())
    gc.collect()
    gc.disable()
    try:
        traced()
        assert not [each for each in gc.get_objects() if isinstance(each, Result)]
    finally:
        gc.enable()
