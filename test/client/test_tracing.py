"""Tracing: the calls of traced functions are logged, and behave as without tracing."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import os
import sys
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock

import pydantic
import pytest

from humanloop import ApiTypeError
from humanloop.exceptions import SchemaValidationError, TracingWarning
from humanloop.model.log_request import LogRequest
from humanloop.tracing import Session, Tracer
from humanloop.tracing.spans import Span, here


class Log:
    """A writer that keeps logs and their updates, in the order of writing."""

    destination = "here"

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
        """All logs, with their updates."""
        return [{**each, **self.updates.get(each["reference_id"], {})} for each in self.written]

    def one(self) -> dict[str, Any]:
        """Return the only log, with its update."""
        [span] = self.spans
        return span

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the logs of a function."""
        return [each for each in self.spans if each["config"]["name"] == name]


@pytest.fixture
def log() -> Log:
    """Return the log to which the tracer writes."""
    return Log()


@pytest.fixture
def tracer(log: Log) -> Tracer:
    """Return a tracer that writes to the log."""
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


class _Text(str):
    pass


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ("text", "text"),
        (None, None),
        ({"a": [1, 2.5, True, None]}, '{"a": [1, 2.5, true, null]}'),
        (Decimal("0.5"), "0.5"),
        (float("nan"), "nan"),
        ({"api_key": "sk-12345678", "x": 1}, '{"api_key": "***", "x": 1}'),
        (b"1234", "<4 bytes>"),
        ({"b"}, '["b"]'),
        (_Text("t"), "t"),
        pytest.param(10**5000, "<int of 16,610 bits>", id="more digits than Python writes"),
        ("a\0\ud83d\ude00\ud83d", "a\ufffd\U0001f600\ufffd"),  # characters that no server can store
        pytest.param("x" * 1_000_000, "x" * 100_000 + "... (1,000,000 characters)", id="large"),
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
    tracer.traced(project="p")(len)(range(10**9))  # only the needed part is copied
    assert tracer.failures == 0


def test_what_can_t_be_read_costs_its_own_place(tracer: Tracer, log: Log) -> None:
    class Unreadable:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.warns(TracingWarning, match="ZeroDivisionError"):
        tracer.traced(project="p")(lambda *args: None)(1, Unreadable(), "b")
    assert log.one()["inputs"] == {"args": [1, "<Unreadable that can't be read>", "b"]}
    assert tracer.failures == 1


def test_mocks_are_not_called(tracer: Tracer, log: Log) -> None:
    mock = MagicMock()
    tracer.traced(project="p", output=False)(lambda x: x)(mock)
    assert mock.mock_calls == []
    assert log.one()["inputs"]["x"].startswith("<MagicMock")


def test_models_are_copied_without_complaint(tracer: Tracer, log: Log) -> None:
    class Model(pydantic.BaseModel):
        number: int
        password: str

    model = Model.model_construct(number="seven", password="pass")  # pydantic warns of it
    assert tracer.traced(project="p")(lambda x: x)(model) is model
    assert log.one()["output"] == '{"number": "seven", "password": "***"}'
    assert tracer.failures == 0


def test_a_log_of_large_values_is_bounded(tracer: Tracer, log: Log) -> None:
    tracer.traced(project="p")(lambda *args: None)(*["x" * 99_000] * 1000)
    assert len(str(log.one())) < 2_000_000


def test_arguments_that_don_t_fit(tracer: Tracer, log: Log) -> None:
    traced = tracer.traced(project="p")
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        traced(lambda x: x)()
    assert traced(max)(1, 2) == 2  # it has no signature
    first, second = log.spans
    assert first["error"].startswith("TypeError: ")
    assert second["inputs"] == {"args": [1, 2], "kwargs": {}}
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
        threading.Timer(0.05, go_on.set).start()  # about when this has ended
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


def test_a_session_in_several_tasks_at_once(tracer: Tracer, log: Log) -> None:
    work = tracer.traced(project="p")(lambda: None)
    session = Session("mine")

    async def run(entered: asyncio.Event, go_on: asyncio.Event, own: str) -> None:
        with Session(own):
            with session:
                entered.set()
                await go_on.wait()
            work()

    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        async with asyncio.timeout(20) if sys.version_info >= (3, 11) else contextlib.nullcontext():
            await asyncio.gather(run(first, second, "a"), run(second, first, "b"))

    asyncio.run(main())
    assert {each["session_reference_id"] for each in log.spans} == {"a", "b"}


def test_what_is_no_session(tracer: Tracer) -> None:
    with pytest.raises(ApiTypeError, match="a session must be a str, not int"):
        Session(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_parents_are_of_the_same_server(tracer: Tracer, log: Log) -> None:
    elsewhere = Log()
    elsewhere.destination = "elsewhere"
    there = Tracer(elsewhere).traced(project="p")
    also_here = Tracer(log).traced(project="p", name="also")
    inner = there(also_here(lambda: None))

    @tracer.traced(project="p")
    def outer() -> None:
        inner()

    outer()
    assert "parent_reference_id" not in elsewhere.one()
    [top], [low] = log.of("outer"), log.of("also")
    assert low["parent_reference_id"] == top["reference_id"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_finds_its_parent_written(tracer: Tracer, log: Log) -> None:
    traced = tracer.traced(project="p")

    @traced
    def inner() -> None:
        names = [each["config"]["name"] for each in log.written]
        assert len(names) == 1  # the parent process has written it

    @traced
    def outer() -> int:
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                inner()
                os._exit(0)
            os._exit(1)
        return os.waitpid(child, 0)[1]

    assert outer() == 0
    assert log.one()["output"] == "0"
    assert len(log.updates) == 1


class TestGenerators:
    """Generators are traced from the first item to the last."""

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
        inner()  # not nested, since the generator's caller runs
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

    def test_what_they_do_with_the_end(self, tracer: Tracer, log: Log) -> None:
        def stubborn() -> Generator[int, None, str]:
            try:
                yield 1
            except GeneratorExit:
                yield 2
            return "end"

        def outcomes(steps: Generator[int, None, str]) -> list[object]:
            found: list[object] = [next(steps), steps.throw(GeneratorExit())]
            with pytest.raises(StopIteration) as end:
                next(steps)
            return [*found, end.value.value]

        assert outcomes(tracer.traced(project="p")(stubborn)()) == outcomes(stubborn())
        assert log.one()["output"] == "[1, 2]"

        def polite() -> Generator[int, None, str]:
            try:
                yield 1
            except GeneratorExit:
                return "end"
            return ""

        def closed(steps: Generator[int, None, str]) -> object:
            next(steps)
            return steps.close()  # since Python 3.13, `close` returns the generator's result

        assert closed(tracer.traced(project="p")(polite)()) == closed(polite())

    def test_what_was_thrown_is_the_context_of_nothing_else(self, tracer: Tracer) -> None:
        @tracer.traced(project="p")
        def steps() -> Generator[int]:
            with contextlib.suppress(KeyError):
                yield 1
            raise ValueError("v")

        @tracer.traced(project="p")
        async def later() -> AsyncGenerator[int]:
            with contextlib.suppress(KeyError):
                yield 1
            raise ValueError("v")

        async def run() -> None:
            running = later()
            await running.__anext__()
            await running.athrow(KeyError("k"))

        running = steps()
        next(running)
        for go_on in (lambda: running.throw(KeyError("k")), lambda: asyncio.run(run())):
            with pytest.raises(ValueError, match="v") as raised:
                go_on()
            assert raised.value.__context__ is None

    def test_items_are_logged_as_they_were(self, tracer: Tracer, log: Log) -> None:
        @tracer.traced(project="p")
        def states() -> Generator[dict[str, int]]:
            state: dict[str, int] = {}
            for number in range(3):
                state["n"] = number
                yield state

        assert len(list(states())) == 3
        assert log.one()["output"] == '[{"n": 0}, {"n": 1}, {"n": 2}]'

    def test_items_are_not_kept(self, tracer: Tracer) -> None:
        class Item:
            pass

        @tracer.traced(project="p")
        def items() -> Generator[Item]:
            while True:
                yield Item()

        steps = items()
        first = weakref.ref(next(steps))
        next(steps)
        assert first() is None

    def test_a_session_within_stays_within(self, tracer: Tracer, log: Log) -> None:
        work = tracer.traced(project="p", name="work")(lambda: None)

        @tracer.traced(project="p")
        def steps() -> Generator[int]:
            with Session("inner"):
                yield 1
                work()
            yield 2

        for _ in steps():
            work()
        found = [each.get("session_reference_id") for each in log.of("work")]
        assert found == [None, "inner", None]

    def test_one_that_its_loop_closes(self, tracer: Tracer, log: Log) -> None:
        said: list[Any] = []
        left: list[AsyncGenerator[int]] = []

        @tracer.traced(project="p")
        async def numbers() -> AsyncGenerator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(0)

        async def run() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, told: said.append(told))
            for _ in range(5):
                left.append(numbers())
                await left[-1].__anext__()

        asyncio.run(run())
        assert said == []
        assert [each["output"] for each in log.spans] == ["[1]"] * 5

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


def test_objects_that_are_called(tracer: Tracer, log: Log) -> None:
    class Agent:
        async def __call__(self, text: str) -> str:
            await asyncio.sleep(0)
            return text

    async def ask(text: str, more: str) -> str:
        return text + more

    ours = [
        tracer.traced(project="p")(each) for each in (Agent(), functools.partial(ask, more="!"))
    ]
    assert all(map(inspect.iscoroutinefunction, ours))
    assert [asyncio.run(each("x")) for each in ours] == ["x", "x!"]
    assert [each["output"] for each in log.spans] == ["x", "x!"]
    assert [each["config"]["name"] for each in log.spans] == ["Agent", "partial"]


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

        @tracer.traced(project="p")
        @staticmethod
        def above(text: str) -> str:
            return text

        @tracer.traced(project="p")  # type: ignore[type-var]  # pyright: ignore
        @classmethod
        def above_class(cls, text: str) -> str:
            return text

    agent = Agent()
    asked = (agent.ask, agent.make, Agent.help, agent.above, agent.above_class)
    assert [each("x") for each in asked] == ["x"] * 5
    assert [each["inputs"] for each in log.spans] == [{"text": "x"}] * 5


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


def test_inputs_that_are_no_mapping(tracer: Tracer, log: Log) -> None:
    wrong: Any = lambda text: text  # noqa: E731
    with pytest.warns(TracingWarning, match="inputs= must return a mapping, not str"):
        tracer.traced(project="p", inputs=wrong)(lambda text: text)("x")
    assert log.one()["output"] == "x"
    assert "inputs" not in log.one()


def test_an_output_is_made_of_no_result_too(tracer: Tracer, log: Log) -> None:
    tracer.traced(project="p", output=lambda result: f"got {result}")(lambda: None)()
    assert log.one()["output"] == "got None"


def test_context_managers(tracer: Tracer, log: Log) -> None:
    error = StopIteration("mine")

    @contextlib.contextmanager
    @tracer.traced(project="p")
    def block() -> Generator[str]:
        yield "in"

    with block() as value:
        assert value == "in"
    with pytest.raises(StopIteration) as raised, block():
        raise error
    assert raised.value is error
    assert log.spans[0]["output"] == "in"


def test_what_can_t_be_traced(tracer: Tracer) -> None:
    with pytest.raises(ApiTypeError, match="needs project="):
        tracer.traced()
    with pytest.raises(ApiTypeError, match="'proyect'; did you mean 'project'"):
        tracer.traced(proyect="p")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    for options in ({"config": {"type": "nothing"}}, {"metadata": {"a": object()}}):
        with pytest.raises(SchemaValidationError):
            tracer.traced(project="p", **options)(len)
    for wrong, said in ((int, "a class"), (3, "int"), (property(len), "property")):
        with pytest.raises(ApiTypeError, match=f"not {said}"):
            tracer.traced(project="p")(wrong)  # type: ignore[type-var]  # pyright: ignore


class Broken(Log):
    """A writer whose methods fail."""

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


@pytest.mark.parametrize(
    "place",
    [
        "spans.Span.__init__",
        "spans.Span.__enter__",
        "spans.Span.__exit__",
        "spans.Span.precede",
        "spans.Span.end",
        "spans.here",
        "tracer.as_json",
        "tracer.as_text",
        "tracer.error_text",
        "values.Copy.of",
        "tracer._Calls._named",
    ],
)
def test_a_bug_anywhere_reaches_nobody(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    tracer = Tracer(Log())
    traced = tracer.traced(project="p")
    error = KeyError("k")

    @traced
    def inner(x: int) -> int:
        return x

    @traced
    def fail() -> None:
        raise error

    @traced
    def generator() -> Generator[int, int, str]:
        got = yield inner(1)
        yield got
        return "end"

    @traced
    async def coroutine() -> int:
        return inner(4)

    @traced
    async def items() -> AsyncGenerator[int]:
        yield inner(5)

    def bug(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a bug")

    async def all_items() -> list[int]:
        return [each async for each in items()]

    def run() -> None:
        assert traced(lambda: inner(3))() == 3
        with pytest.raises(KeyError) as raised:
            fail()
        assert raised.value is error
        steps = generator()
        assert (next(steps), steps.send(2)) == (1, 2)
        with pytest.raises(StopIteration, match="end"):
            next(steps)
        assert asyncio.run(coroutine()) == 4
        assert asyncio.run(all_items()) == [5]

    monkeypatch.setattr(f"humanloop.tracing.{place}", bug)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TracingWarning)
        contextvars.copy_context().run(run)
    assert tracer.failures > 0


def test_what_shows_warnings_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(*_: Any, **__: Any) -> None:
        raise OSError("the terminal has gone")

    tracer = Tracer(Broken())
    monkeypatch.setattr(warnings, "showwarning", show)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert tracer.traced(project="p")(lambda: 1)() == 1
    assert tracer.failures == 1


def test_what_makes_an_output_is_not_asked_about_errors(tracer: Tracer, log: Log) -> None:
    with pytest.raises(ZeroDivisionError):
        tracer.traced(project="p", output=lambda result: result[0])(lambda: 1 / 0)()
    assert log.one()["error"] == "ZeroDivisionError: division by zero"
    assert tracer.failures == 0


def test_a_parent_that_can_t_be_written_does_not_take_its_children_along(log: Log) -> None:
    class Picky(Log):
        def keep(self, keys: Mapping[str, Any]) -> object:
            if keys["config"]["name"] == "outer":
                raise OSError("no room")
            return super().keep(keys)

    picky = Picky()
    tracer = Tracer(picky)
    inner = tracer.traced(project="p", name="inner")(lambda: here(picky))
    outer = tracer.traced(project="p", name="outer")(inner)
    with pytest.warns(TracingWarning, match="no room"), Session("mine"):
        assert outer().keys() == {"parent_reference_id"}
    assert picky.one()["session_reference_id"] == "mine"
    assert tracer.failures == 2


def test_a_task_that_lives_on_keeps_no_arguments(tracer: Tracer, log: Log) -> None:
    @tracer.traced(project="p")
    def start(text: str) -> contextvars.Context:
        return contextvars.copy_context()

    gc.collect()
    gc.disable()
    try:
        context = start("x" * 50_000)
        log.written.clear()
        holders = [each for each in gc.get_objects() if type(each) is Span]
        assert all(each.keys.keys() <= {"project"} for each in holders)
        assert len(holders) == 1
        del context, holders
        assert not [each for each in gc.get_objects() if type(each) is Span]
    finally:
        gc.enable()


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


def test_a_decorator_leaves_no_cycle(log: Log) -> None:
    tracer = Tracer(log)
    dropped = weakref.ref(tracer)
    gc.collect()
    gc.disable()
    try:
        assert tracer.traced(project="p")(len)("ab") == 2
        del tracer
        assert dropped() is None
    finally:
        gc.enable()
