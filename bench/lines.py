"""Where the time goes when ours construct logs: by sampling, and the generated functions by line.

Samples are taken by CPU time. The interpreter looks for signals at calls and at jumps back alone,
so a sample may stand a few lines late. A generated function is therefore timed once more: cut
short after its first line, its second, and so on; the difference is what a line costs, the
functions that it calls included, and no tracer slows it. Generated code is caught as it is made.
"""

from __future__ import annotations

import ast
import builtins
import copy
import json
import linecache
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from bench.contestants import Ours
from bench.payloads import draw

__all__ = ["main"]

INTERVAL = 0.001
SECONDS = 6.0
SHOWN = 25

_compile, _exec = builtins.compile, builtins.exec
_numbers = count(1)
_spaces: dict[str, dict[str, Any]] = {}
_samples: Counter[tuple[str, int]] = Counter()


def _named_compile(source: Any, filename: Any, *arguments: Any, **options: Any) -> Any:
    """`compile`, which gives each generated module a name of its own and keeps its source."""
    if isinstance(source, str) and str(filename).startswith("<"):
        filename = f"{str(filename)[:-1]} #{next(_numbers)}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    return _compile(source, filename, *arguments, **options)


def _kept_exec(code: Any, space: Any = None, *arguments: Any) -> None:
    if isinstance(code, CodeType) and space is not None:
        _spaces[code.co_filename] = space
    _exec(code, space, *arguments)


def _take(signum: int, frame: FrameType | None) -> None:
    if frame is not None:
        line = frame.f_lineno or frame.f_code.co_firstlineno
        _samples[frame.f_code.co_filename, line] += 1


def _run(construct: Callable[[Any], Any], texts: list[str], seconds: float) -> None:
    """Construct fresh objects for some seconds; what makes them is not sampled."""
    while seconds > 0:
        values = [json.loads(text) for text in texts]
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        for value in values:
            construct(value)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds -= time.process_time() - start


def _alike(filename: str, line: int) -> tuple[str, str]:
    """Where a line is and what it says; generated ones that differ in keys alone are one."""
    text = linecache.getline(filename, line).strip()
    if filename.startswith("<"):
        text = re.sub(r"""(['"]).*?\1""", "'…'", re.sub(r"\b([a-z])\d+\b", r"\1N", text))
        return "generated", text if len(text) < 80 else f"{text[:76]} ..."
    return f"{Path(filename).name}:{line}", text


def _summary() -> Iterator[str]:
    total = sum(_samples.values())
    alike: Counter[tuple[str, str]] = Counter()
    for place, number in _samples.items():
        alike[_alike(*place)] += number
    for (where, text), number in alike.most_common(SHOWN):
        yield f"{number / total:6.1%}  {where:<20} {text}"


def _places(block: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    """The statements that run one after the other."""
    for index, statement in enumerate(block):
        if isinstance(statement, ast.Try):
            yield from _places(statement.body)
        else:
            yield block, index


def _timed(function: Callable[[Any], Any], values: list[Any]) -> float:
    """Seconds a call, the fastest of several runs."""
    best = float("inf")
    for _ in range(9):
        start = time.process_time()
        for _ in range(2000 // len(values)):
            for value in values:
                function(value)
        best = min(best, time.process_time() - start)
    return best / (2000 // len(values) * len(values))


def _function(filename: str) -> ast.FunctionDef:
    tree = ast.parse("".join(linecache.getlines(filename)))
    return next(part for part in tree.body if isinstance(part, ast.FunctionDef))


def _line_costs(filename: str, values: list[Any]) -> Iterator[str]:
    """What each line of a generated function costs, in nanoseconds."""
    whole = _function(filename)
    before = 0.0
    for number in range(len(list(_places(whole.body))) + 1):
        cut = copy.deepcopy(whole)
        block, index = list(_places(cut.body))[max(number - 1, 0)]
        text = linecache.getline(filename, block[index].lineno).rstrip()
        block.insert(index + (number > 0), ast.Return(ast.Constant(None)))
        space = dict(_spaces[filename])
        tree = ast.fix_missing_locations(ast.Module([cut], []))
        _exec(_compile(tree, filename, "exec"), space)
        spent = _timed(space[cut.name], values)
        yield f"{(spent - before) * 1e9:8.0f} ns  {text[:100] if number else '(the call)'}"
        before = spent


def _arguments(construct: Callable[[Any], Any], texts: list[str]) -> dict[str, list[Any]]:
    """What the generated functions are called with."""
    found: dict[str, list[Any]] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename in _spaces and code.co_argcount:
            found.setdefault(code.co_filename, []).append(frame.f_locals[code.co_varnames[0]])

    values = [json.loads(text) for text in texts]
    sys.setprofile(note)
    for value in values:
        construct(value)
    sys.setprofile(None)
    return found


def _fitting(filename: str, values: list[Any]) -> list[Any]:
    """Those of the arguments that have no other keys than the function looks for."""
    keys = {node.value for node in ast.walk(_function(filename)) if isinstance(node, ast.Constant)}
    return [value for value in values if isinstance(value, dict) and value.keys() <= keys]


def main() -> None:
    """Print the lines with the most samples; with `line`, four generated functions by line."""
    builtins.compile = _named_compile
    builtins.exec = _kept_exec
    construct = Ours("").construct("LogResponse")
    texts = [json.dumps(log) for log in draw("log", 200)]
    for _ in range(3):
        for text in texts:
            construct(json.loads(text))
    signal.signal(signal.SIGPROF, _take)
    _run(construct, texts, SECONDS)
    print(f"Constructing LogResponses of 200 shapes: {sum(_samples.values())} samples\n")
    print("\n".join(_summary()))
    if "line" not in sys.argv[1:]:
        return
    arguments = _arguments(construct, texts)
    shown: set[str] = set()
    hot = Counter(place[0] for place in _samples.elements() if place[0].startswith("<schema"))
    for filename, _ in hot.most_common():
        schema = filename.partition(" #")[0]
        values = _fitting(filename, arguments.get(filename, []))
        if schema not in shown and values and len(shown) < 4:
            shown.add(schema)
            print(f"\n{filename[1:-1]}\n" + "\n".join(_line_costs(filename, values)))
