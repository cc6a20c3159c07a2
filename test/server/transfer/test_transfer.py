"""Logs that are exported and imported again: nothing is lost, doubled, or changed."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared import prepare
from subprocesses import environment

from humanloop import cli
from humanloop.server import EmbeddedServer

from ..api import API_KEY, Api
from ..store.test_counts import check

FORMATS = ("jsonl", "csv", "parquet", "jsonl.gz", "csv.gz")


def run(*arguments: str | Path) -> int:
    """Run the command in this process."""
    return cli.main([str(each) for each in arguments])


def export(database: str | Path, file: Path, *options: str) -> bytes:
    """What an export has written."""
    assert run("export", *options, "-o", file, "--database", database, "--force") == 0
    return file.read_bytes()


def load(database: str | Path, file: Path, *options: str) -> int:
    """Import a file."""
    return run("import", file, "--database", database, *options)


def pages(url: str) -> str:
    """All that the API exports, as it is sent."""
    with EmbeddedServer(url, api_key=API_KEY) as server:
        api = Api(server.url)
        projects = api.ok("GET", "/projects?size=100&sort_by=name")["records"]
        return "\n".join(
            api.call("POST", f"/projects/{each['id']}/export?size=100&page={page}").text
            for each in projects
            for page in range(5)
        )


def fill(url: str) -> None:
    """Log all kinds of things."""
    with EmbeddedServer(url, api_key=API_KEY) as server:
        api = Api(server.url)
        tool = {"name": "t", "description": "looks", "parameters": {"b": 1.50, "a": [1]}}
        configs: list[dict[str, Any]] = [
            {"model": "m", "temperature": 0.50, "other": {"x": {"y": 1}}},
            {"model": "m", "tools": [tool], "name": "named", "description": "d"},
            {"type": "tool", "name": "t", "description": "looks", "parameters": {"c": 2}},
            {"type": "agent", "agent_class": "a", "model_config": {"model": "m"}, "tools": []},
            {"type": "generic", "name": "g", "other": {"k": 1}},
        ]
        moment = "2026-01-01T00:00:00Z"
        ids: list[str] = []
        for index in range(60):
            extra: dict[str, Any] = {"created_at": moment} if index % 3 else {}
            if index % 4 == 1:
                extra["session_reference_id"] = f"session {index % 3}"
            if index % 5 == 4:
                extra["parent_id"] = ids[-1]
            elif index % 7 == 0:
                extra["reference_id"] = f"ref {index}"
            liked = [{"type": "rating", "value": "good"}, {"type": "comment", "value": "why"}]
            liked += [{"type": "action", "value": each} for each in ("a", "b")]
            if "parent_id" in extra:
                extra.pop("session_reference_id", None)
            logged = api.log(
                f"p{index % 2}",
                config=configs[index % len(configs)],
                inputs={"q": index, "n": None, "deep": [[{"é": "=1"}]]},
                output=["", "=cmd", '"q"', "a\r\nb,c", "plain", "@x", "\ttab"][index % 7],
                duration=0.10,
                messages=[{"role": "user", "content": "hi"}],
                feedback=liked[: index % 5],
                **extra,
            )
            ids.append(logged["id"])
        keys = {"project": "p0", "model_config": {"provider": "mock", "model": "x"}}
        api.ok("POST", "/chat", {**keys, "messages": [{"role": "user", "content": "hi"}]})
        api.ok("POST", "/sessions")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all kinds of things."""
    path = tmp_path_factory.mktemp("source") / "own.db"
    fill(f"sqlite:///{path}")
    return path


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_imported_is_what_was_exported(source: Path, tmp_path: Path, format_: str) -> None:
    if format_ == "parquet":
        pytest.importorskip("duckdb")
    file, copy = tmp_path / f"logs.{format_}", tmp_path / "copy.db"
    first = export(source, tmp_path / "first.jsonl")
    export(source, file)
    assert load(copy, file) == 0
    assert export(copy, tmp_path / "second.jsonl") == first
    assert check(f"sqlite:///{copy}")["projects"] == check(f"sqlite:///{source}")["projects"]
    assert pages(f"sqlite:///{copy}") == pages(f"sqlite:///{source}")
    assert not list(tmp_path.glob("*.partial"))


def test_a_database_moves_to_postgresql(
    source: Path, tmp_path: Path, empty_postgres_url: str
) -> None:
    file = tmp_path / "logs.jsonl"
    first = export(source, file)
    assert load(empty_postgres_url, file) == 0
    assert load(empty_postgres_url, file) == 0
    assert export(empty_postgres_url, tmp_path / "second.jsonl") == first
    assert pages(empty_postgres_url) == pages(f"sqlite:///{source}")


def test_a_line_is_what_the_api_answers(source: Path, tmp_path: Path) -> None:
    lines = set(export(source, tmp_path / "logs.jsonl").decode().splitlines())
    records = pages(f"sqlite:///{source}")
    assert all(line in records for line in lines)


def test_configs_are_known_again(source: Path, tmp_path: Path) -> None:
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    export(source, file)
    load(copy, file)
    with EmbeddedServer(f"sqlite:///{copy}", api_key=API_KEY) as server:
        api = Api(server.url)
        before = {
            each["name"]: api.ok("GET", f"/projects/{each['id']}/configs")
            for each in api.ok("GET", "/projects")["records"]
        }
    with EmbeddedServer(f"sqlite:///{copy}", api_key=API_KEY) as server:
        api = Api(server.url)
        tool = {"parameters": {"a": [1.0], "b": 1.5}, "description": "looks", "name": "t"}
        logged = api.log("p1", config={"tools": [tool], "model": "m"})
        records = api.export(logged["project_id"])["records"]
        [new] = [each for each in records if each["id"] == logged["id"]]
        known = {each["config"]["id"] for each in before["p1"]}
        assert new["config"]["id"] in known


def test_an_import_can_be_repeated(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    first = export(source, file)
    load(copy, file)
    capsys.readouterr()
    assert load(copy, file, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["imported"], told["known"]) == (0, len(first.splitlines()))
    assert export(copy, tmp_path / "second.jsonl") == first
    check(f"sqlite:///{copy}")


def test_children_may_come_before_their_parents(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    lines = export(source, file).splitlines(keepends=True)
    file.write_bytes(b"".join(reversed(lines)))
    assert load(copy, file, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["without_parent"] == 0
    found = export(copy, tmp_path / "second.jsonl").splitlines(keepends=True)
    assert sorted(found) == sorted(lines)


def test_a_parent_may_be_imported_later(tmp_path: Path) -> None:
    copy, children, parents = (tmp_path / name for name in ("copy.db", "c.jsonl", "p.jsonl"))
    config = {"id": "config_1", "type": "model", "model": "m", "name": "m"}
    parent = {"id": "data_1", "project": "p", "config": config}
    child = {"id": "data_2", "project": "p", "config": config, "parent_id": "data_1"}
    children.write_text(json.dumps(child))
    parents.write_text(json.dumps(parent))
    for file in (children, parents, children):
        assert load(copy, file) == 0
    found = [json.loads(line) for line in export(copy, tmp_path / "x.jsonl").splitlines()]
    assert {each["id"]: each.get("parent_id") for each in found} == {
        "data_1": None,
        "data_2": "data_1",
    }


def test_requests_can_be_imported_too(tmp_path: Path) -> None:
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    log = {"project": "p", "config": {"model": "m"}, "output": "same"}
    file.write_text("".join(json.dumps(each) + "\n" for each in [log, log, {**log, "x": 1}]))
    for _ in range(2):
        assert load(copy, file) == 0
    assert len(export(copy, tmp_path / "x.jsonl").splitlines()) == 3


MODEL = {"project": "p", "config": {"model": "m"}}
STORED = {"id": "c", "type": "model", "model": "m"}
LONG = "x" * 2501
RECORD = {"id": "data_9", "project": "p", "config": STORED}
BAD: list[tuple[Any, str, str]] = [
    ('{"project": "p"', "", "JSON"),
    ([], "", "object"),
    ({**MODEL, "config": {"model": 1}}, " at /config/model", ""),
    (
        {**MODEL, "feedback": [{"type": "x", "value": "y"}]},
        " at /feedback/0/type",
        "not a feedback type",
    ),
    ({**MODEL, "reference_id": "taken", "output": "2"}, " at /reference_id", "already"),
    ({"id": "data x", "project": "p", "config": STORED}, " at /id", "an id"),
    ({"id": "data_9", "config": STORED}, " at /project", "needed"),
    ({**MODEL, "created_at": "yesterday"}, " at /created_at", ""),
    ({**MODEL, "inputs": {"a": ["\0"]}}, " at /inputs/a/0", "U+0000"),
    ({**MODEL, "project": LONG}, " at /project", "at most 2,500"),
    ({**MODEL, "reference_id": LONG}, " at /reference_id", "at most 2,500"),
    (
        {**RECORD, "session_id": "s", "session_reference_id": LONG},
        " at /session_reference_id",
        "at most",
    ),
    (
        {**RECORD, "feedback": [{"type": "action", "value": LONG}]},
        " at /feedback/0/value",
        "at most 2,500",
    ),
    (
        {**RECORD, "feedback": [{"type": LONG, "value": "y"}]},
        " at /feedback/0/type",
        "at most 2,500",
    ),
]


@pytest.mark.parametrize(("line", "place", "message"), BAD)
def test_a_bad_line_is_told_with_its_place(
    tmp_path: Path, line: Any, place: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = line if isinstance(line, str) else json.dumps(line)
    prepare(tmp_path / "copy.db")
    good = '{"project": "p", "config": {"model": "m"}, "reference_id": "%s"}\n'
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    file.write_text(good % "taken" + line + "\n" + good % "after")
    assert load(copy, file) == 1
    told = capsys.readouterr()
    assert f"{file}: line 2{place}: " in told.err
    assert message in told.err
    assert "Traceback" not in told.err
    assert len(export(copy, tmp_path / "x.jsonl").splitlines()) == 1
    assert load(copy, file, "--skip-bad") == 1
    assert (tmp_path / "logs.jsonl.bad").read_text() == line + "\n"
    assert len(export(copy, tmp_path / "x.jsonl").splitlines()) == 2


def test_a_bad_cell_is_told_by_its_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs.csv"
    file.write_text('project,config,inputs\np,"{""model"": ""m""}",{}\np,"{""model"": ""m""}",{x\n')
    assert load(tmp_path / "copy.db", file) == 1
    assert "line 3 at /inputs: " in capsys.readouterr().err
    file.write_text('project,config,output\np,"{""model"": ""\\u0000""}",x\n')
    assert load(tmp_path / "copy.db", file) == 1
    assert "line 2 at /config/model: text with the character U+0000" in capsys.readouterr().err
    file.write_text("project,what\n")
    assert load(tmp_path / "copy.db", file) == 1
    assert "'what'" in capsys.readouterr().err


def test_no_cell_is_a_formula(source: Path, tmp_path: Path) -> None:
    text = export(source, tmp_path / "logs.csv").decode()
    rows = list(csv.reader(text.splitlines(keepends=True)))
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r"))]


def test_an_export_can_be_of_some(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs.jsonl"
    everything = export(source, file).splitlines()
    some = [json.loads(line) for line in export(source, file, "p1").splitlines()]
    assert {each["project"] for each in some} == {"p1"}
    by_id = export(source, file, some[0]["project_id"]).splitlines()
    assert len(by_id) == len(some)
    late = export(source, file, "--since", "2026-01-02").splitlines()
    early = export(source, file, "--until", "2026-01-02T00:00:00+00:00").splitlines()
    assert sorted([*late, *early]) == sorted(everything)
    assert late
    assert early
    capsys.readouterr()
    assert run("export", "nobody", "--database", source) == 1
    assert capsys.readouterr().err == "humanloop: There is no project 'nobody'.\n"
    with pytest.raises(SystemExit):
        run("export", "--since", "yesterday", "--database", source)


def test_a_file_is_not_replaced_by_accident(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs.jsonl"
    file.write_text("mine")
    assert run("export", "-o", file, "--database", source) == 1
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert run("export", "-o", tmp_path / "logs.xls", "--database", source) == 1
    assert "--format" in capsys.readouterr().err
    packed = tmp_path / "logs.jsonl.gz"
    assert gzip.decompress(export(source, packed)) == export(source, file)


def test_a_server_may_run(tmp_path: Path) -> None:
    path, other = tmp_path / "own.db", tmp_path / "other.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        logged = api.log("p", reference_id="r")
        first = export(path, tmp_path / "logs.jsonl")
        with EmbeddedServer(f"sqlite:///{other}", api_key=API_KEY) as second:
            own = Api(second.url)
            own.log("p", reference_id="here")
            assert load(other, tmp_path / "logs.jsonl") == 0
            [project] = own.ok("GET", "/projects")["records"]
            assert project["data_count"] == 2
            ids = [each["id"] for each in own.export(project["id"])["records"]]
            assert logged["id"] in ids
            assert own.log("p", parent_id=logged["id"])
    assert json.loads(first)["id"] == logged["id"]


@pytest.mark.parametrize("command", ["export", "prune", "delete", "import"])
def test_a_command_does_not_change_the_schema(
    source: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(old)) as writing:
        reading.backup(writing)
        writing.execute("UPDATE alembic_version SET version_num = '0001'")
        writing.commit()
    (tmp_path / "logs.jsonl").write_text("")
    options = {
        "export": ["export"],
        "prune": ["prune", "--keep", "1d"],
        "delete": ["delete", "project", "p0", "--yes"],
        "import": ["import", tmp_path / "logs.jsonl"],
    }[command]
    assert run(*options, "--database", old) == 1
    assert "has schema 0001, which is older" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="locks of files themselves are Linux's")
def test_a_file_that_a_server_has_under_another_name_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "own.db", tmp_path / "other.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY):
        os.link(path, other)
        for options in (["export"], ["prune", "--keep", "1d"]):
            assert run(*options, "--database", other) == 1
            assert "under another name" in capsys.readouterr().err
        assert run("prune", "--keep", "1d", "--database", path) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_an_import_that_is_killed_can_be_repeated(source: Path, tmp_path: Path) -> None:
    file, copy = tmp_path / "logs.jsonl", tmp_path / "copy.db"
    lines = [json.loads(line) for line in export(source, file).splitlines()]
    many = [
        {**each, "id": f"{each['id'][:20]}_{n}", "reference_id": f"{each['id']} {n}"}
        for n in range(20)
        for each in lines
    ]
    random.Random(1).shuffle(many)
    file.write_text("".join(json.dumps(each) + "\n" for each in many))
    command = [sys.executable, "-m", "humanloop.cli", "import", str(file), "--database", str(copy)]
    for _ in range(2):
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
        before = _count(copy)
        while _count(copy) <= before and process.poll() is None:
            threading.Event().wait(0.002)  # not to take the time from it
        process.kill()
        process.wait()
    assert load(copy, file) == 0
    assert _count(copy) == len({each["id"] for each in many})
    check(f"sqlite:///{copy}")


def _count(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM logs").fetchone()[0])
        except sqlite3.Error:
            return 0


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(float),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS.filter(lambda key: key != "provider_api_keys"), VALUES, max_size=3)
CONFIGS = st.one_of(
    st.fixed_dictionaries(
        {"model": TEXTS},
        optional={
            "temperature": st.floats(0, 2),
            "other": OBJECTS,
            "name": TEXTS.filter(bool),
            "description": TEXTS,
            "stop": st.lists(TEXTS, max_size=2),
            "tools": st.lists(
                st.fixed_dictionaries(
                    {"name": TEXTS.filter(bool), "description": TEXTS},
                    optional={"parameters": OBJECTS},
                ),
                max_size=2,
            ),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("agent"), "agent_class": TEXTS.filter(bool)}
        | {"model_config": st.fixed_dictionaries({"model": TEXTS}), "tools": st.just([])}
    ),
)
FEEDBACK = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["rating", "action", "comment"]), "value": TEXTS.filter(bool)},
        optional={"user": TEXTS},
    ),
    max_size=4,
)
LOGS = st.fixed_dictionaries(
    {"project": st.sampled_from(["p", "q"]), "config": CONFIGS},
    optional={
        "inputs": OBJECTS,
        "metadata": OBJECTS,
        "output": TEXTS,
        "error": TEXTS,
        "source": TEXTS,
        "duration": NUMBERS,
        "feedback": FEEDBACK,
        "session_reference_id": st.sampled_from(["a", "b"]),
        "created_at": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    },
)


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Api]]:
    path = tmp_path_factory.mktemp("random") / "own.db"
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        yield path, Api(server.url)


@settings(max_examples=8, deadline=None)
@given(logs=st.lists(LOGS, max_size=6), format_=st.sampled_from(["jsonl", "csv"]))
def test_whatever_is_logged_comes_back(
    long_lived: tuple[Path, Api], logs: list[Any], format_: str
) -> None:
    path, api = long_lived
    if logs:
        api.ok("POST", "/logs", logs)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        prepare(directory / "copy.db")
        first = export(path, directory / "first.jsonl")
        export(path, directory / f"logs.{format_}")
        assert load(directory / "copy.db", directory / f"logs.{format_}") == 0
        assert export(directory / "copy.db", directory / "second.jsonl") == first
