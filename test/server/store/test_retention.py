"""What is deleted by age: all of it, nothing else, and beside traffic."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from prepared import prepare

from humanloop import cli
from humanloop.server import EmbeddedServer, Settings
from humanloop.server.store import deletion, retention
from humanloop.server.store.database import Database
from humanloop.server.store.retention import parse_age

from ..api import API_KEY, Api
from ..databases import wait_for
from .test_counts import check

DAY = timedelta(days=1)


def ago(days: float) -> str:
    return (datetime.now(timezone.utc) - days * DAY).isoformat()


def prune(capsys: pytest.CaptureFixture[str], database: str, *options: str) -> Any:
    """What the command says as JSON."""
    arguments = ["prune", "--keep", "90d", "--database", database, "--json", *options]
    assert cli.main(arguments) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("1d", 24), ("90d", 90 * 24), ("2w", 14 * 24)]
)
def test_an_age_is_hours_days_or_weeks(text: str, hours: int) -> None:
    assert parse_age(text) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "text", ["", "90", "d", "0d", "-1d", "1.5d", "90 d", "1m", "1y", "90D", "٣d", "999999w", "1d\n"]
)
def test_any_other_text_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["prune", f"--keep={text}"], ["serve", f"--keep-logs={text}"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2
        assert "such as 12h, 90d or 2w" in capsys.readouterr().err


def test_old_logs_go_with_all_that_hangs_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    feedback = [{"type": "rating", "value": "good"}, {"type": "comment", "value": "why"}]
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        old: dict[str, Any] = {"created_at": ago(91), "feedback": feedback}
        parent = api.log("p", session_reference_id="both", **old)
        api.log("p", session_reference_id="old", **old)
        api.log("p", created_at=ago(89), feedback=feedback)
        child = api.log("p", parent_id=parent["id"])
        api.log("q", reference_id="again", **old)
        last_used = api.ok("GET", f"/projects/{parent['project_id']}/configs")[0]["last_used"]
        dry = prune(capsys, str(path), "--dry-run")
        assert (dry["logs"], dry["dry_run"]) == (3, True)
        assert len(api.export(parent["project_id"])["records"]) == 4
        assert prune(capsys, str(path), "--project", "q")["logs"] == 1
        assert prune(capsys, str(path))["logs"] == 2
        assert prune(capsys, str(path))["logs"] == 0
        records = api.export(parent["project_id"])["records"]
        assert len(records) == 2
        assert records[0]["id"] == child["id"]
        assert "parent_id" not in records[0]
        assert records[0]["session_reference_id"] == "both"
        assert api.call("GET", f"/sessions/{child['session_id']}").body["datapoints_count"] == 1
        [config] = api.ok("GET", f"/projects/{parent['project_id']}/configs")
        assert config["num_datapoints"] == 2
        assert [each["feedback_count"] for each in config["feedback_stats"]] == [1]
        assert config["last_used"] == last_used
        api.log("q", reference_id="again")
    check(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (2,)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_old_trials_go_but_the_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        logged = api.log("p")
        configs = api.ok("GET", f"/projects/{logged['project_id']}/configs")
        experiment = api.ok(
            "POST",
            f"/projects/{logged['project_id']}/experiments",
            {
                "name": "e",
                "positive_labels": [{"type": "rating", "value": "good"}],
                "config_ids": [configs[0]["config"]["id"]],
            },
        )
        sample = f"/experiments/{experiment['id']}/model-config"
        trials = [api.ok("GET", sample)["trial_id"] for _ in range(4)]
        liked = [{"type": "rating", "value": "good"}]
        api.log("p", trial_id=trials[0], feedback=liked, created_at=ago(100))
        api.log("p", trial_id=trials[1], feedback=liked)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for moment in ("experiments", "trials"):
            connection.execute(
                f"UPDATE {moment} SET created_at = replace(created_at, '20', '19')"
                " WHERE created_at LIKE '20%'"
            )
    assert prune(capsys, str(path))["trials"] == 2
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        [found] = Api(server.url).ok("GET", f"/projects/{logged['project_id']}/experiments")
        assert found["status"] == "In progress"
        assert found["configs"][0]["trials_count"] == 1


def test_pages_are_right_after_rows_are_used_again(tmp_path: Path) -> None:
    """SQLite gives the number of the newest row, once that is deleted, to the next one."""
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        ids = [api.log("p", created_at=ago(9 - n))["id"] for n in range(9)]
        project_id = api.ok("GET", "/projects")["records"][0]["id"]
        pages = [api.export(project_id, f"?size=3&page={page}") for page in range(3)]
        assert [each["id"] for page in pages for each in page["records"]] == ids[::-1]
        assert cli.main(["delete", "log", ids[-1], "--database", str(path)]) == 0
        oldest = api.log("p", created_at=ago(20))["id"]
        pages = [api.export(project_id, f"?size=3&page={page}") for page in (2, 1, 0, 1, 2)]
        found = [[each["id"] for each in page["records"]] for page in pages]
        left = [*ids[:-1][::-1], oldest]
        assert found == [left[6:], left[3:6], left[:3], left[3:6], left[6:]]


def test_counts_are_right_when_eight_clients_log_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        log = {
            "project": "p",
            "config": {"model": "m"},
            "created_at": ago(100),
            "session_reference_id": "shared",
            "feedback": {"type": "rating", "value": "good"},
        }
        api.ok("POST", "/logs", [log] * 1000)
        stop, ids = threading.Event(), list[str]()

        def write(number: int) -> None:
            own = Api(server.url)
            while not stop.is_set():
                body: dict[str, Any] = {**log, "created_at": ago(1)}
                if number % 2:
                    body["session_reference_id"] = f"own {len(ids) % 20}"
                ids.append(own.ok("POST", "/logs", body)["id"])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(ids) > 50)
        assert prune(capsys, str(path))["logs"] == 1000
        stop.set()
        for thread in threads:
            thread.join()
        [project] = api.ok("GET", "/projects")["records"]
        assert project["data_count"] == len(ids)
    check(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert {row[0] for row in connection.execute("SELECT id FROM logs")} == set(ids)
        assert connection.execute("PRAGMA freelist_count").fetchone()[0] < 50
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_server_prunes_by_itself(database_url: str) -> None:
    log = {"project": "p", "config": {"model": "m"}, "created_at": ago(3)}
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        Api(server.url).ok("POST", "/logs", [log] * 400)
        kept = Api(server.url).log("p")
    with EmbeddedServer(
        database_url, api_key=API_KEY, settings=Settings(keep_logs=2 * DAY)
    ) as server:
        api = Api(server.url)
        wait_for(lambda: api.export(kept["project_id"])["total"] == 1)
        assert api.export(kept["project_id"])["records"][0]["id"] == kept["id"]
    assert not [each for each in threading.enumerate() if each.name == "humanloop-pruner"]


def test_a_server_that_stops_does_not_wait_for_all_to_be_deleted(database_url: str) -> None:
    log = {"project": "p", "config": {"model": "m"}, "created_at": ago(3)}
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        Api(server.url).ok("POST", "/logs", [log] * 5000)
    with EmbeddedServer(database_url, api_key=API_KEY, settings=Settings(keep_logs=DAY)):
        pass
    with EmbeddedServer(database_url, api_key=API_KEY) as server:
        [project] = Api(server.url).ok("GET", "/projects")["records"]
        assert 0 < project["data_count"] <= 5000


def test_an_array_that_is_being_written_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        api = Api(server.url)
        log = {"project": "p", "config": {"model": "m"}, "created_at": ago(100)}
        api.ok("POST", "/logs", log)
        answers: list[Any] = []
        thread = threading.Thread(
            target=lambda: answers.append(api.call("POST", "/logs", [log] * 5000).status)
        )
        thread.start()

        def begun() -> bool:
            with closing(sqlite3.connect(path)) as connection:
                query = "SELECT count(*) FROM logs WHERE batch_id IS NOT NULL"
                return bool(connection.execute(query).fetchone()[0])

        wait_for(begun)
        assert prune(capsys, str(path))["logs"] >= 1
        thread.join()
        assert answers == [200]
        prune(capsys, str(path))
    check(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM logs").fetchone() == (0,)


def test_a_file_of_an_older_version_is_written_anew_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.db"
    prepare(path)
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY) as server:
        log = {"project": "p", "config": {"model": "m"}, "output": "x" * 1000}
        Api(server.url).ok("POST", "/logs", [{**log, "created_at": ago(100)}] * 2000)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    size = path.stat().st_size
    assert prune(capsys, str(path))["shrinks"] is False
    assert path.stat().st_size > 0.9 * size
    with EmbeddedServer(f"sqlite:///{path}", api_key=API_KEY):
        assert cli.main(["prune", "--vacuum", "--database", str(path)]) == 1
        assert "in use by another server" in capsys.readouterr().err
    assert cli.main(["prune", "--vacuum", "--database", str(path)]) == 0
    assert "MB smaller" in capsys.readouterr().out
    assert path.stat().st_size < 0.5 * size
    assert prune(capsys, str(path))["shrinks"] is True


@pytest.mark.postgresql
def test_processes_on_one_postgresql_do_not_hinder_each_other(postgres_url: str) -> None:
    log = {
        "project": "p",
        "config": {"model": "m"},
        "created_at": ago(100),
        "session_reference_id": "s",
        "feedback": {"type": "rating", "value": "good"},
    }
    with EmbeddedServer(postgres_url, api_key=API_KEY) as server:
        api = Api(server.url)
        api.ok("POST", "/logs", [log] * 600)
        kept = api.log("p")
        deleted: list[int] = []

        def run() -> None:
            with closing(Database.join(postgres_url)) as database:
                deleted.append(retention.prune(database, datetime.now(timezone.utc) - DAY).logs)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(deleted) == 600
        [config] = api.ok("GET", f"/projects/{kept['project_id']}/configs")
        assert (config["num_datapoints"], config["feedback_stats"]) == (1, [])
        assert api.export(kept["project_id"])["total"] == 1


@pytest.mark.postgresql
def test_who_prunes_in_the_background_leaves_it_to_another_process(postgres_url: str) -> None:
    with EmbeddedServer(postgres_url, api_key=API_KEY) as server:
        Api(server.url).log("p", created_at=ago(100))
        with (
            closing(Database.join(postgres_url)) as first,
            closing(Database.join(postgres_url)) as second,
        ):
            before = datetime.now(timezone.utc) - DAY

            def both(session: Any) -> int:
                with pytest.raises(deletion.Elsewhere):
                    retention.prune(second, before, stop=threading.Event())
                return 0

            deletion.Batches(first).run_once(both)
            assert retention.prune(second, before).logs == 1
