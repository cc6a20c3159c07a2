"""The race: each round asks every contestant in turn for a timed batch, in rotating order.

A ratio is taken per round, so that a temporary slowdown of the machine affects both sides. The
result is the median of the ratios, and their quartiles show its reliability.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median, quantiles
from typing import IO, Any, cast

from bench.contestants import CONTESTANTS, ROOT
from bench.environments import command

__all__ = ["MEASURES", "Measure", "Packages", "Result", "facts", "run"]

MODELS = ("pydantic", "typeddict", "msgspec")
BOTH = ("ours", "fast")
FORMS = ("ours", "interpreted")
Packages = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Measure:
    """A measure, its contestants, and the question to the workers.

    keep: the results stay until the batch is done, as a program keeps them for a while.
    """

    name: str
    title: str
    unit: str
    rivals: tuple[str, ...]
    kind: str
    schema: str = ""
    payloads: str = ""
    count: int = 1
    subjects: tuple[str, ...] = ("ours",)
    do: str = "time"
    wall: bool = False
    keep: bool = True


@dataclass
class Result:
    """The medians of one measure on one Python, and the ratios ours/rival as quartiles."""

    python: str
    measure: str
    title: str
    unit: str
    values: dict[str, float]
    ratios: dict[str, dict[str, list[float]]] = field(default_factory=dict)


_LOG, _PAGE, _EXPERIMENT = "LogResponse", "PaginatedDataLogResponse", "ExperimentResponse"
_OLD, _NEW = "LogResponse, as the original takes it", "LogResponse, no shape twice"
_JSON, _RECORDS = "LogResponse from JSON, 200 shapes", "page of 1,000 logs from JSON"
_WALL, _CPU = "client.projects.get, wall time", "client.projects.get, client's CPU"
_AWALL, _ACPU = "client.projects.aget, wall time", "client.projects.aget, client's CPU"
_KEPT, _HELD = "memory of a LogResponse", "memory of a page of 1,000 logs"
_ALL, _HTTP = (*MODELS, "original"), ("plain", "httpx", "original")
_JSONS = ("pydantic", "msgspec", "plain")
_DROP = ", each dropped at once"

MEASURES = [
    Measure(
        *("experiment", _EXPERIMENT, "µs", _ALL, "construct", _EXPERIMENT),
        *("plain experiment", 200, FORMS),
    ),
    Measure("log", "LogResponse, 200 shapes", "µs", MODELS, "construct", _LOG, "log", 200, FORMS),
    Measure(
        *("experiment_dropped", _EXPERIMENT + _DROP, "µs", _ALL, "construct", _EXPERIMENT),
        *("plain experiment", 200, FORMS),
        keep=False,
    ),
    Measure(
        *("log_dropped", "LogResponse, 200 shapes" + _DROP, "µs", MODELS, "construct", _LOG),
        *("log", 200, FORMS),
        keep=False,
    ),
    Measure("log_plain", _OLD, "µs", ("original",), "construct", _LOG, "plain log", 60),
    Measure("log_new", _NEW, "µs", MODELS, "construct", _LOG, "new_log", 100, FORMS),
    Measure("log_json", _JSON, "µs", MODELS, "parse", _LOG, "log", 200, (*BOTH, "interpreted")),
    Measure("page_json", _RECORDS, "ms", MODELS, "parse", _PAGE, "page", 1, (*BOTH, "interpreted")),
    Measure(
        "encode", "LogResponse to JSON", "µs", (*MODELS, "plain"), "encode", _LOG, "log", 200, BOTH
    ),
    Measure("decode", "JSON alone, decoded", "µs", _JSONS, "decode", _LOG, "log", 200, BOTH),
    Measure("import", "import and client", "ms", ("original",), "", do="import"),
    Measure("memory_log", _KEPT, "KB", (*MODELS, "plain"), "parse", _LOG, "log", 200, do="memory"),
    Measure(
        "memory_page", _HELD, "KB", ("plain", "original"), "parse", _PAGE, "plain page", do="memory"
    ),
    Measure("call", _WALL, "µs", _HTTP, "call", count=50, wall=True),
    Measure("call_cpu", _CPU, "µs", _HTTP, "call", count=50),
    Measure("acall", _AWALL, "µs", ("plain",), "acall", count=50, wall=True),
    Measure("acall_cpu", _ACPU, "µs", ("plain",), "acall", count=50),
    Measure("send", "1,000 logs sent, client's CPU", "ms", ("plain",), "send", subjects=BOTH),
]
SCALES = {"µs": 1e6, "ms": 1e3, "KB": 1e-3}


class _Process:
    """A worker at the other end of two pipes."""

    def __init__(self, line: list[str], interpreted: bool = False) -> None:
        pipe = subprocess.PIPE
        env = {**os.environ, "HUMANLOOP_PURE_PYTHON": "1" if interpreted else ""}
        self.process = subprocess.Popen(line, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=env)

    def ask(self, question: dict[str, Any]) -> Any:
        stdin = cast("IO[str]", self.process.stdin)
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        return json.loads(self.readline())

    def readline(self) -> str:
        line = cast("IO[str]", self.process.stdout).readline()
        if not line:
            raise SystemExit(f"a worker ended: {self.process.args!r}")
        return line

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()


class _Race:
    """The contestants of one version of Python."""

    def __init__(self, stack: ExitStack, interpreters: dict[str, str]) -> None:
        self.stack = stack
        self.interpreters = interpreters
        server = stack.enter_context(closing(_Process(command(interpreters["ours"], "loopback"))))
        self.address = f"http://127.0.0.1:{int(server.readline())}"
        self.workers: dict[str, _Process] = {}

    def worker(self, name: str) -> _Process:
        if name not in self.workers:
            python = self.interpreters[CONTESTANTS[name][0]]
            process = _Process(command(python, "worker", name, self.address), name == "interpreted")
            self.workers[name] = self.stack.enter_context(closing(process))
            if process.ask({"do": "hello"})["compiled"] != (name in BOTH):
                raise SystemExit(f"the converters of {name} are compiled, or not, by mistake")
        return self.workers[name]

    def check(self) -> None:
        """Check that all accept every payload, and that ours and pydantic refuse the same."""
        for schema, payloads, wrong in ((_LOG, "log", 12), (_EXPERIMENT, "experiment", 6)):
            question = {"do": "check", "schema": schema, "payloads": payloads, "count": 200}
            verdicts = {
                name: self.worker(name).ask({**question, "bad": wrong})
                for name in ("ours", *MODELS)
            }
            if not all(all(verdict[:200]) for verdict in verdicts.values()):
                raise SystemExit(f"not all contestants accept each {schema}")
            ours = verdicts["ours"]
            for name in MODELS:
                differ = [n for n, ok in enumerate(verdicts[name]) if ok != ours[n]]
                if differ:
                    raise SystemExit(f"ours and {name} differ on {schema} {differ[:9]}")

    def once(self, measure: Measure, name: str, number: int) -> float:
        if measure.do == "import":
            return _import_time(self.interpreters[CONTESTANTS[name][0]])
        shapes = number if measure.name == "log_new" else 0
        question = {**asdict(measure), "shapes": shapes, "values": number}
        return float(self.worker(name).ask(question))

    def measure(self, measure: Measure, rounds: int) -> Result:
        names = [
            name
            for name in (*measure.subjects, *measure.rivals)
            if CONTESTANTS[name][0] in self.interpreters
        ]
        if measure.do == "memory":
            rounds = 1
        else:
            for number in range(2):  # to warm up: shapes are compiled, and caches filled
                for name in names:
                    self.once(measure, name, -1 - number)
        values: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                values[name].append(self.once(measure, name, number))
        scale = SCALES[measure.unit]
        medians = {name: median(found) * scale for name, found in values.items()}
        ours = self.workers.get("ours") or self.worker("ours")
        python = ours.ask({"do": "hello"})["python"]
        result = Result(python, measure.name, measure.title, measure.unit, medians)
        for subject in measure.subjects:
            result.ratios[subject] = {
                rival: _quartiles(
                    [a / b for a, b in zip(values[subject], values[rival], strict=True)]
                )
                for rival in names
                if rival not in measure.subjects
            }
        return result


def _quartiles(found: Sequence[float]) -> list[float]:
    if len(found) == 1:
        return [found[0]] * 3
    return quantiles(found, n=4, method="inclusive")


IMPORTS = 'from humanloop import Humanloop; Humanloop(api_key="x")'


def _import_time(python: str) -> float:
    """Return the seconds of CPU time that the import adds to the bare interpreter's start."""

    def spent(code: str) -> float:
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run([python, "-I", "-c", code], check=True)
        after = getrusage(RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return spent(IMPORTS) - spent("pass")


def run(
    interpreters: dict[str, str], names: Sequence[str], rounds: int
) -> tuple[list[Result], Packages]:
    """Return the named measures' results on one version of Python, and the packages' versions."""
    packages: Packages = {}
    with ExitStack() as stack:
        race = _Race(stack, interpreters)
        race.check()
        results = []
        for measure in MEASURES:
            if measure.name in names:
                start = time.monotonic()
                results.append(race.measure(measure, rounds))
                print(f"{measure.name}: {time.monotonic() - start:.1f} s", file=sys.stderr)
        for name, worker in race.workers.items():
            packages[CONTESTANTS[name][0]] = worker.ask({"do": "hello"})["packages"]
    return results, packages


def facts() -> dict[str, Any]:
    """Return the facts about the machine: no names, no paths."""
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()}
