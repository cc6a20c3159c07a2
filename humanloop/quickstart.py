"""`humanloop quickstart`: the product's main job, done for real and shown step by step.

An embedded server runs on a free loopback port with a temporary database, and the client walks
through it. Each section is a generator: what stands between two of its `yield`s is the code that
ran, and what is yielded is shown as its result. `_show` prints that very source text, so what a
reader sees can't differ from what was done. Everything made is gone at the end.
"""

from __future__ import annotations

import ast
import inspect
import os
import random
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator, Sequence
from decimal import Decimal
from functools import reduce
from importlib.util import find_spec
from operator import getitem
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, cast

from humanloop import Humanloop, OpenApiException, SchemaValidationError, __version__
from humanloop.model import LogResponse
from humanloop.text_table import text_table

if TYPE_CHECKING:
    from humanloop.model import ExperimentResponse, ProjectConfigResponse, ProjectResponse
    from humanloop.schemas import Schema

P = ParamSpec("P")
T = TypeVar("T")
Rows: TypeAlias = Sequence[Sequence[object]]
Section: TypeAlias = Generator[Rows, None, T]

_INDENT = 4  # of the code in a section
_BOLD, _CYAN = "1", "36"  # SGR parameters of ECMA-48


def main() -> int:
    """Run the quickstart; returns the exit code, 0 when everything worked."""
    # Imported here, so that a missing extra is said when the command runs.
    from humanloop.server import EmbeddedServer, Settings, StartError

    # Seeded, as the ratings are, so that the experiment comes out the same in every run.
    settings = Settings(randomness=random.Random(3))
    try:
        with EmbeddedServer(settings=settings) as server:
            print(f"humanloop {__version__}: an embedded server answers at {server.url}")
            with Humanloop(api_key=server.api_key, host=server.url) as client:
                _tour(client)
    except (OpenApiException, StartError) as error:
        print(f"humanloop: the quickstart failed: {error}", file=sys.stderr)
        return 1
    print("\nThe server has stopped and its database is deleted. Keep one with: humanloop serve")
    return 0


def _tour(client: Humanloop) -> None:
    """All sections, each with what the ones before it made."""
    project, brief, chatty = _show("A project, with two model configs", _set_up, client)
    _show("Log what a model said, and what people thought of it", _log, client)
    experiment = _show(
        "An experiment: which config do people like?", _compare, client, project, brief, chatty
    )
    _show("Sixteen trials: sample a config, log the answer, rate it", _try, client, experiment)
    if find_spec("pydantic_monty"):
        _show("An evaluation: answer each testcase, judge each answer", _evaluate, client, project)
    else:
        print("\nThe evaluation is left out: it needs the extra, pip install '.[evaluators]'")
    _show("Read the logs back, page by page", _read_back, client, project)
    _show("A bad payload gets all its errors at once, each with its place", _refuse)


def _set_up(
    client: Humanloop,
) -> Section[tuple[ProjectResponse, ProjectConfigResponse, ProjectConfigResponse]]:
    project = client.projects.create(name="support").body
    yield _fields(project, "id", "name", "data_count", "created_at")
    register = client.model_configs.register
    brief = register(project="support", name="brief", model="gpt-4", temperature=0.2).body
    chatty = register(project="support", name="chatty", model="gpt-4", temperature=0.9).body
    configs = [brief["config"], chatty["config"]]
    yield [(config["id"], config["name"], config["temperature"]) for config in configs]
    return project, brief, chatty


def _log(client: Humanloop) -> Section[None]:
    common = {"project": "support", "config": {"model": "gpt-4", "temperature": 0.2}}
    log = client.log({**common, "output": "It arrives on Friday.", "duration": 0.42}).body
    yield _fields(log, "id", "project_id")
    batch = client.log([{**common, "output": text} for text in ("Yes.", "No.", "Perhaps.")]).body
    yield [(f"batch[{index}]", each["id"]) for index, each in enumerate(batch)]
    session = client.sessions.create().body
    turn = client.log({**common, "output": "Anything else?", "session_id": session["id"]}).body
    yield [("session", session["id"]), ("log", turn["id"])]
    rating = client.feedback(type="rating", value="good", data_id=log["id"], user="ada").body
    yield _fields(rating, "id", "type", "value")


def _compare(
    client: Humanloop,
    project: ProjectResponse,
    brief: ProjectConfigResponse,
    chatty: ProjectConfigResponse,
) -> Section[ExperimentResponse]:
    experiment = client.experiments.create(
        project_id=project["id"],
        name="brief or chatty",
        config_ids=[brief["config"]["id"], chatty["config"]["id"]],
        positive_labels=[{"type": "rating", "value": "good"}],
    ).body
    yield _fields(experiment, "id", "status", "metric.name")
    return experiment


def _try(client: Humanloop, experiment: ExperimentResponse) -> Section[None]:
    people = random.Random(8)
    for question in range(16):
        trial = client.experiments.sample(experiment_id=experiment["id"]).body
        answer = f"Answer {question} of {trial['config']['name']}"
        log = client.log(project="support", trial_id=trial["trial_id"], output=answer).body
        liked = people.random() < (0.8 if trial["config"]["name"] == "brief" else 0.4)
        client.feedback(type="rating", value="good" if liked else "bad", data_id=log["id"])
    [experiment] = client.experiments.list(project_id=experiment["project_id"]).body
    names = ("display_name", "trials_count", "mean", "spread")
    yield [names, *([config[name] for name in names] for config in experiment["configs"])]
    ranked = client.experiments.summarize(experiment).configs
    yield [(config.name, f"the best with {config.probability_best:.0%}") for config in ranked]


def _evaluate(client: Humanloop, project: ProjectResponse) -> Section[None]:
    testset = client.testsets.create(project_id=project["id"], name="faq", description="").body
    asked = [{"messages": [{"role": "user", "content": text}]} for text in ("Hi!", "Where is it?")]
    client.testsets.create_testcase(testset_id=testset["id"], body=asked)
    short = client.evaluators.create(
        name="short",
        description="At most four words.",
        code="def short(log):\n    return len(log['output'].split()) <= 4\n",
        arguments_type="target_free",
        return_type="boolean",
    ).body
    yield [("testset", testset["id"]), ("evaluator", short["id"])]
    register = client.model_configs.register
    mock = register(project="support", model="m", provider="mock", endpoint="chat").body["config"]
    started = client.evaluations.create(mock["id"], [short["id"]], testset["id"], project["id"])
    ended = client.evaluations.wait(started.body["id"], timeout=60)
    report = client.evaluations.summarize(ended["id"])
    answers = [(row.output, row.scores["short"]) for row in report.rows]
    yield [*answers, ("share of true", report.scores["short"].mean)]


def _read_back(client: Humanloop, project: ProjectResponse) -> Section[None]:
    page = client.projects.export(id=project["id"], page=0, size=10).body
    logs = list(page["records"])
    while len(logs) < page["total"]:
        page = client.projects.export(id=project["id"], page=int(page["page"]) + 1, size=10).body
        logs += page["records"]
    yield [("pages", page["page"] + 1), ("logs", len(logs)), ("newest", logs[0]["id"])]
    oldest = logs[-1]
    yield _fields(oldest, "id", "output", "config.temperature", "duration", "created_at")


def _refuse() -> Section[None]:
    nan = float("nan")
    config = {"type": "model", "id": "config_1", "model": "gpt-4", "temperature": "hot"}
    feedback = [{"type": "rating", "value": "good"}, {"type": "rating"}]
    log = {"id": 7, "duration": nan, "created_at": "2024-02-30", "config": config}
    try:
        LogResponse(log, feedback=feedback)
    except SchemaValidationError as error:
        problems = [(problem.pointer, problem.message) for problem in error.errors]
        yield problems


def _fields(instance: Schema, *names: str) -> Rows:
    """Return a row for each key: name, value and type; a dot leads into a nested object."""
    values = [reduce(getitem, name.split("."), cast("Any", instance)) for name in names]
    return [(name, value, type(value).__name__) for name, value in zip(names, values, strict=True)]


def _show(
    title: str, section: Callable[P, Section[T]], *arguments: P.args, **options: P.kwargs
) -> T:
    """Run a section: print each piece of its code and what came of it; returns its result."""
    print(f"\n{styled(_BOLD, title)}")
    steps = section(*arguments, **options)
    for code in _pieces(inspect.getsource(section)):
        print(styled(_CYAN, code))
        print(_table(next(steps)))
    try:
        next(steps)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError(f"{section.__name__} yields more than once at one place")


def _pieces(source: str) -> Iterator[str]:
    """Split the code of a generator function at its yields, as it would be typed at a prompt."""
    lines = textwrap.dedent(source).splitlines()
    [function] = ast.parse("\n".join(lines)).body
    assert isinstance(function, ast.FunctionDef)
    first_lines = {statement.lineno for statement in function.body}
    start = function.body[0].lineno
    yields = [node for node in ast.walk(function) if isinstance(node, ast.Yield)]
    for found in sorted(yields, key=lambda node: node.lineno):
        numbers = range(start, found.lineno)
        yield "\n".join(
            f"{'>>>' if number in first_lines else '...'} {lines[number - 1][_INDENT:]}"
            for number in numbers
        )
        start = (found.end_lineno or found.lineno) + 1


def _table(rows: Rows) -> str:
    """Rows of cells as indented, aligned columns."""
    return textwrap.indent(text_table([_text(cell) for cell in row] for row in rows), "    ")


def _text(cell: object) -> str:
    return f"{round(cell, 3).normalize():f}" if isinstance(cell, Decimal) else str(cell)


def styled(style: str, text: str) -> str:
    """Text for a terminal in a style, and as it is for everything else (see no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"
