"""The engine on Monty, a sandbox for Python (the package pydantic-monty, extra `evaluators`).

Monty interprets Python in worker processes, which can reach no file, no network and no environment
variable. Each check and each run is a session of its own in a worker. Invariants: workers start
with the first use and end with `close`; at most `Limits.workers` runs go on at a time, and the
others wait their turn; checks share one additional worker; a worker that died is replaced.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from pydantic_monty import (
    ExternalModule,
    FunctionSnapshot,
    Monty,
    MontyComplete,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySession,
    MontySyntaxError,
    MontyTypingError,
)

from humanloop import schemas
from humanloop.server.evaluation import lacks, modules
from humanloop.server.evaluation.bubblewrap import Wrapper
from humanloop.server.evaluation.certainty import is_sure
from humanloop.server.evaluation.engine import (
    EngineUnavailable,
    Failure,
    Limits,
    Returns,
    Sandbox,
    Score,
    SourceProblem,
)
from humanloop.server.evaluation.host import Clock, Host
from humanloop.server.evaluation.sources import caret, last_function, plain

_MOST_PROBLEMS = 100
_MOST_WORKERS = 8
_MOST_ASKED = 200  # names of modules, checked in one question to the sandbox
_EXACT = 2**53  # up to this, a float holds every integer exactly
_LARGEST = 2**1024  # from this on, no integer fits into a float
_SUSPENDS = re.compile(r"external function '_host_\w+' cannot suspend in this synchronous context")
_CALLED_BACK = (
    "statistics and difflib can't be used in a function that is given to sorted, min, max, map"
    " or filter: compute a list first"
)
_ONE_STRING = "exceptions can only be called with zero or one string argument"
_STRANGE_EXCEPTION = (
    "NotImplementedError: an exception was created with arguments other than one string, which the"
    " sandbox does not support: write `raise ValueError(str(value))`"
)

# Helpers of a session, defined before the evaluator's source runs. They keep the functions that
# they need as defaults, since the source may reassign these names. The score is validated here, so
# that nothing large leaves the sandbox.
_PRELUDE = f"""
from decimal import Decimal as _Decimal_ID
from json import loads as _loads_ID
from time import process_time as _seconds_ID
def _call_ID(*arguments):
    return _host_ID(*arguments)
def _run_ID(function, texts, loads=_loads_ID, kind_of=type, text=str, seconds=_seconds_ID,
            decimal=_Decimal_ID, to_float=float, boolean=bool, integer=int):
    value = function(*[loads(each) for each in texts])
    kind = kind_of(value)
    if kind is decimal:
        value = to_float(value)
    elif kind is integer:
        value = value if -{_LARGEST} < value < {_LARGEST} else None
    elif not (kind is boolean or kind is to_float):
        value = None
    return text(kind)[:200], value, seconds()
"""


class MontyEngine:
    """An `Engine` that runs evaluators in Monty."""

    def __init__(self, limits: Limits, sandbox: Sandbox = "none") -> None:
        """Start no process yet.

        sandbox: "bwrap" puts each worker into its own namespaces with bubblewrap.

        Raises EngineUnavailable if bubblewrap is wanted and can't be used.
        """
        self._limits = limits
        self._resources = ExitStack()
        wrapper: Wrapper | None = None
        if sandbox == "bwrap":
            wrapper = self._resources.enter_context(Wrapper(_worker_program()))
        silent = _silent_seconds(limits)
        count = limits.workers or min(os.cpu_count() or 1, _MOST_WORKERS)
        self._runs = _Workers(count, silent, wrapper)
        self._checks = _Workers(1, silent, wrapper)  # so that no check waits for evaluations

    def check(
        self, source: str, *, with_testcase: bool | None = None, returns: Returns | None = None
    ) -> Sequence[SourceProblem]:
        """Return the faults of a source; see `Engine`."""
        if problem := self._unreadable(source):
            return [problem]
        source = plain(source)
        with self._checks.turn() as pool:
            problems = _Session(pool, self._limits, source, checks=True).check()
        if problems:
            return problems[:_MOST_PROBLEMS]
        function = last_function(source)
        if function is None:
            return [_problem(source, 1, 1, 2, "the source has no function at its top level")]
        if text := function.problem(with_testcase) or function.wrong_score(returns):
            end = function.column + len(function.name)
            return [_problem(source, function.line, function.column, end, text)]
        return []

    def run(
        self,
        source: str,
        log: Mapping[str, Any],
        testcase: Mapping[str, Any] | None = None,
        *,
        returns: Returns | None = None,
    ) -> Score | Failure:
        """Return the score of a log, or its failure; see `Engine`."""
        if problem := self._unreadable(source):
            return self._failure(problem.message)
        source = plain(source)
        values = [log] if testcase is None else [log, testcase]
        texts = [_text(value) for value in values]
        with self._runs.turn() as pool:
            outcome = _Session(pool, self._limits, source).run(texts)
        if isinstance(outcome, str):
            return self._failure(outcome)
        kind, value = outcome
        return _judge(kind, value, returns)

    def close(self) -> None:
        """End the workers; see `Engine`."""
        if not _Workers.is_forked():
            self._checks.close()
            self._runs.close()
            self._resources.close()

    def _unreadable(self, source: str) -> SourceProblem | None:
        """Return why a source can't even be sent to a worker, or None."""
        if len(source.encode("utf-8", "surrogatepass")) > self._limits.source_bytes:
            text = f"the source is longer than {self._limits.source_bytes} bytes"
            return _problem(source, 1, 1, 2, text)
        if found := re.search("[\ud800-\udfff]", source):
            line = source.count("\n", 0, found.start()) + 1
            column = found.start() - source.rfind("\n", 0, found.start())
            text = "the source is not valid Unicode: it has a lone surrogate"
            return _problem(source, line, column, column + 1, text)
        return None

    def _failure(self, text: str) -> Failure:
        """Return a failure whose text is valid Unicode and within the limit."""
        encoded = text.encode("utf-8", "replace")
        most = self._limits.result_bytes
        if len(encoded) > most:
            text = encoded[: most - 3].decode("utf-8", "ignore") + "..."
        return Failure(text)


class _Workers:
    """A pool of worker processes, given to callers in turn."""

    # Monty's threads serve all pools of a process, but do not survive a fork.
    _process: int | None = None

    def __init__(self, count: int, silent_seconds: float, wrapper: Wrapper | None) -> None:
        """Start no process yet.

        silent_seconds: how long a worker may go without an answer before it is killed.
        """
        self._count = count
        self._silent_seconds = silent_seconds
        self._wrapper = wrapper
        self._pool: Monty | None = None
        self._resources = ExitStack()
        self._turns = threading.Condition()
        self._waiting: deque[object] = deque()  # in the order of arrival
        self._running = 0
        self._closed = False

    def close(self) -> None:
        """Refuse waiting calls, wait for running ones, and end the processes."""
        with self._turns:
            self._closed = True
            self._turns.notify_all()
            self._turns.wait_for(lambda: not self._running)
            self._resources.close()
            self._pool = None

    @contextmanager
    def turn(self) -> Generator[Monty]:
        """Wait until a worker is free, and yield the pool."""
        if self.is_forked():
            raise EngineUnavailable(
                "evaluators ran in the process that this one was forked from; start processes"
                " with `spawn`, or fork before the first evaluator runs"
            )
        ticket = object()
        with self._turns:
            self._waiting.append(ticket)
            try:
                self._turns.wait_for(
                    lambda: (
                        self._closed or (self._running < self._count and self._waiting[0] is ticket)
                    )
                )
                if self._closed:
                    raise EngineUnavailable("the server is stopping: no evaluator runs any more")
                pool = self._pool = self._pool or self._start()
                self._running += 1
            finally:
                self._waiting.remove(ticket)
                self._turns.notify_all()
        try:
            yield pool
        finally:
            with self._turns:
                self._running -= 1
                self._turns.notify_all()

    def _start(self) -> Monty:
        """Return a pool with its first worker."""
        _Workers._process = os.getpid()
        try:
            pool = Monty(
                binary_path=self._wrapper.program if self._wrapper else None,
                max_processes=self._count,
                request_timeout=self._silent_seconds,
            )
            return self._resources.enter_context(pool)
        except (OSError, RuntimeError, MontyError) as error:
            raise EngineUnavailable(f"the sandbox can't be started: {error}") from error

    @staticmethod
    def is_forked() -> bool:
        """Return whether the workers, and any held lock, belong to the parent of a fork."""
        return _Workers._process not in (None, os.getpid())


class _OutOfTime(Exception):
    """The run took longer than its limit, calls of the host included."""


class _Session:
    """One evaluator's source in one session of a worker."""

    _HELPERS = "<python-input-0>"  # the file name of a session's first feed in tracebacks

    def __init__(self, pool: Monty, limits: Limits, source: str, *, checks: bool = False) -> None:
        self._pool = pool
        self._limits = limits
        self._source = source
        self._checks = checks
        self._id = f"_{secrets.token_hex(8)}"  # replaces `_ID`
        self._clock = Clock(limits.seconds)
        self._modules: dict[str, Any] = {}
        self._calls = 0
        self._asked = time.monotonic()  # when the worker last got something to do

    def check(self) -> list[SourceProblem]:
        """Type-check the source and run its top level; return its faults."""
        try:
            with self._opened() as session:
                try:
                    self._feed(session, self._source)
                except MontyTypingError as error:
                    if problems := self._found_by_type_checker(error.display()):
                        return problems
                    # The type checker's problems were only warnings, or depend on values.
                    self._feed(session, self._source, skip_type_check=True)
                return self._lacking(session)
        except _OutOfTime:
            return [_problem(self._source, 1, 1, 2, _out_of_time(self._limits))]
        except MontyError as error:
            line, column, end = self._place(error)
            return [_problem(self._source, line, column, end, self._said(error))]

    def _lacking(self, session: MontySession) -> list[SourceProblem]:
        """Return the places where a source that passed the type checker uses missing names."""
        found = list(lacks.uses(self._source))
        asked = list(
            dict.fromkeys(
                (use.module, use.name)
                for use in found
                if use.module and use.module not in self._modules
            )
        )[:_MOST_ASKED]
        numbers: list[int] = []
        if asked:
            numbers = self._feed(session, lacks.probe(asked, self._id), skip_type_check=True)
        missing = {asked[number] for number in numbers}
        problems: list[SourceProblem] = []
        for use in found:
            text = use.problem
            if (use.module, use.name) in missing:
                text = f"the sandbox's module `{use.module}` has no `{use.name}`"
            if text:
                end = use.column + len(use.name)
                problems.append(_problem(self._source, use.line, use.column, end, text))
        return problems

    def run(self, texts: Sequence[str]) -> tuple[str, Any] | str:
        """Call the function with values as JSON text; return its score's kind and value.

        Returns the error's text if there is no score.
        """
        try:
            with self._opened() as session:
                self._feed(session, self._source)
                # Parse here only a source that the sandbox could parse.
                function = last_function(self._source)
                if function is None:
                    return "the source has no function at its top level"
                given = texts if function.takes(len(texts)) else texts[:1]
                if text := function.problem(len(given) > 1):
                    return text
                try:
                    kind, value, seconds = self._feed(
                        session,
                        f"_run{self._id}({function.name}, _texts{self._id})",
                        {f"_texts{self._id}": list(given)},
                    )
                    is_late = float(seconds) > self._limits.seconds
                except (TypeError, ValueError):  # the source replaced the helper
                    return "the evaluator replaced a helper of the sandbox"
        except _OutOfTime:
            return _out_of_time(self._limits)
        except MontyError as error:
            line, _, _ = self._place(error, default=0)
            return f"line {line}: {self._said(error)}" if line else self._said(error)
        # The sandbox limits each of the two feeds separately.
        if is_late or (self._calls and self._clock.is_over):
            return _out_of_time(self._limits)
        return kind, value

    @contextmanager
    def _opened(self) -> Generator[MontySession]:
        """Open a session with its helpers; try once more if the worker died before that."""
        used = [name for name in modules.SOURCES if name in self._source]
        for is_last in (False, True):
            with ExitStack() as stack:
                try:
                    session = stack.enter_context(self._check_out(used))
                    self._prepare(session, used)
                except (MontyCrashedError, OSError, RuntimeError) as error:
                    if is_last:
                        raise EngineUnavailable(f"no sandbox could be started: {error}") from error
                    continue
                limits = self._limits
                self._clock = Clock(limits.request_seconds if self._checks else limits.seconds)
                yield session
                return

    def _prepare(self, session: MontySession, used: Sequence[str]) -> None:
        """Define the helpers and the used modules."""
        made = [f"{modules.SOURCES[name]}_{name}_ID = {name}()\n" for name in used]
        text = "".join([_PRELUDE, *made, "[", *(f"_{name}_ID, " for name in used), "]"])
        instances = self._feed(session, text.replace("_ID", self._id), skip_type_check=True)
        self._modules = dict(zip(used, instances, strict=True))
        if self._checks and used:
            # The type checker asks for stubs only at imports outside of functions.
            imports = ", ".join(f"{name} as _{name}{self._id}" for name in used)
            self._feed(session, f"import {imports}")

    def _check_out(self, used: Sequence[str]) -> MontySession:
        limits = self._limits
        return self._pool.checkout(
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory_bytes,
                "max_recursion_depth": limits.recursion,
                "max_suspensions": limits.calls,
                "max_total_sleep_secs": limits.sleep_seconds,
            },
            os_policy={"process_time": "elapsed"},
            type_check=self._checks,
            type_check_format="gitlab",
            type_check_stubs=modules.BUILTINS,
            external_modules={name: ExternalModule({}, stubs=modules.stub(name)) for name in used},
        )

    def _feed(
        self,
        session: MontySession,
        text: str,
        inputs: dict[str, Any] | None = None,
        *,
        skip_type_check: bool = False,
    ) -> Any:
        """Execute source, answer its imports and calls, and return its last value."""
        self._asked = time.monotonic()
        snapshot = session.feed_start(
            text,
            inputs=inputs,
            external_lookup={f"_host{self._id}": Host(self._clock)},
            print_callback=_ignore,
            skip_type_check=skip_type_check,
        )
        while not isinstance(snapshot, MontyComplete):
            # Monty's own clock stops while it waits for an answer, and the evaluator may have
            # caught the exception that the host raised when the time ended.
            self._calls += 1
            self._asked = time.monotonic()
            if self._clock.is_over:
                raise _OutOfTime
            if isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == "import":
                module = self._modules.get(snapshot.args[0])
                if module is not None:
                    snapshot = snapshot.resume({"return_value": module})
                    continue
            snapshot = snapshot.resume_auto()
        return snapshot.output

    def _found_by_type_checker(self, text: str) -> list[SourceProblem]:
        """Return the type checker's certain errors, without its warnings.

        text: a report in GitLab's code quality format, the only JSON format here that tells errors
            (`major` and worse) from warnings (`minor`).
        """
        found: list[dict[str, Any]] = json.loads(text)
        problems: list[SourceProblem] = []
        for each in found:
            begin, end = (each["location"]["positions"][side] for side in ("begin", "end"))
            last = end["column"] if end["line"] == begin["line"] else begin["column"] + 1
            message = each["description"].removeprefix(f"{each['check_name']}: ")
            if each["severity"] != "minor" and is_sure(each["check_name"], message):
                problems.append(
                    _problem(self._source, begin["line"], begin["column"], last, message)
                )
        return problems

    def _place(self, error: MontyError, default: int = 1) -> tuple[int, int, int]:
        """Return an error's place in the source: line, column and end column."""
        if isinstance(error, (MontySyntaxError, MontyRuntimeError)):
            for frame in reversed(error.traceback()):
                # The frame is neither a helper nor the line that calls it.
                if frame.filename != self._HELPERS and self._id not in (frame.source_line or ""):
                    same = frame.end_line == frame.line
                    return frame.line, frame.column, frame.end_column if same else frame.column + 1
        return default, 1, 2

    def _said(self, error: MontyError) -> str:
        """Return an error's kind and message."""
        if isinstance(error, MontyCrashedError):
            if error.timed_out:
                # Monty also kills a worker that ignores the feed's time limit, soon after that
                # limit.
                silent = _silent_seconds(self._limits)
                if time.monotonic() - self._asked < silent:
                    return _out_of_time(self._limits)
                return f"TimeoutError: no answer within {silent:g} s"
            return "the process of the sandbox died"
        if not isinstance(error, (MontySyntaxError, MontyRuntimeError)):
            return str(error)
        text = error.display("type-msg")
        if text.startswith("TimeoutError: feed time limit exceeded"):
            return _out_of_time(self._limits)
        if text.endswith(_ONE_STRING):
            return _STRANGE_EXCEPTION
        return _SUSPENDS.sub(_CALLED_BACK, text)


def _silent_seconds(limits: Limits) -> float:
    """Return how long a worker may go without an answer: longer than any run."""
    return max(limits.request_seconds, limits.seconds + 1)


def _out_of_time(limits: Limits) -> str:
    return f"TimeoutError: the evaluator takes longer than {limits.seconds:g} s"


def _judge(kind: object, value: object, returns: Returns | None) -> Score | Failure:
    """Return the value as a score, or why it is none."""
    name = str(kind).removeprefix("<class '").removesuffix("'>")
    if name == "int" and value is None:
        return Failure("OverflowError: the evaluator returned a number that is too large")
    if isinstance(value, bool):
        if returns != "number":
            return value
    elif isinstance(value, (int, float)) and returns != "boolean":
        if not abs(value) < _LARGEST:  # true for NaN too, since NaN compares false
            return Failure(f"ValueError: the evaluator must return a finite number, not {value}")
        return value if abs(value) <= _EXACT else float(value)
    wanted = {None: "a boolean or a number", "boolean": "a boolean", "number": "a number"}
    return Failure(f"TypeError: the evaluator must return {wanted[returns]}, not {name}")


def _text(value: Mapping[str, Any]) -> str:
    """Return JSON text, with U+FFFD in place of lone surrogates.

    JSON can spell lone surrogates, but the sandbox's strings are Unicode.
    """
    text = schemas.to_json(value)
    if "\\ud" in text:
        text = json.dumps(json.loads(text), ensure_ascii=False)
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _problem(source: str, line: int, column: int, end: int, message: str) -> SourceProblem:
    return SourceProblem(line, column, message[:2000], caret(source, line, column, end))


def _ignore(_stream: str, _text: str) -> None:
    """Discard the output that evaluators print."""


def _worker_program() -> str:
    """Return the path of Monty's program, found as the package itself finds it."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    found = os.environ.get("MONTY_BIN") or shutil.which("monty", path=places)
    if found is None:
        raise EngineUnavailable("the program `monty`, which pydantic-monty installs, is missing")
    return found
