"""Several servers on one PostgreSQL: concurrent operations have the results of consecutive ones."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event

from bench.postgres import Postgres
from humanloop.server import DatabaseSettings, EmbeddedServer, Settings, StartError
from humanloop.server.operations.calls import SLICE
from humanloop.server.store import batches, deletion, migrate, urls
from humanloop.server.store.accounts import KeyRing
from humanloop.server.store.database import Database, joined

from .api import API_KEY, Answer, Api
from .databases import connected, is_writing, listening, query, wait_for
from .store.test_counts import begin_experiment, check, draw

pytestmark = pytest.mark.postgresql
THREADS = 8
CONFIG = {"model": "m"}
WAITING = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
"""Sessions that wait for a lock; servers on other databases may wait as well."""


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Begin all at the same moment; return what they returned."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class Pair:
    """Two servers on one database."""

    def __init__(self, url: str, servers: Sequence[EmbeddedServer]) -> None:
        self.url = url
        self.apis = [Api(server.url) for server in servers]
        self.api = self.apis[0]

    def hammer(self, call: Callable[[Api, int], Answer], count: int = THREADS) -> list[Answer]:
        """Call both by turns, all at once."""
        return at_once(
            [lambda n=n: call(Api(self.apis[n % 2].url), n) for n in range(count)]  # type: ignore[misc]
        )

    def statuses(self, call: Callable[[Api, int], Answer], count: int = THREADS) -> Counter[int]:
        """Do so, and count what they answered."""
        return Counter(answer.status for answer in self.hammer(call, count))

    def count(self, what: str) -> int:
        """How many rows there are; what: a table, and a condition perhaps."""
        return int(query(self.url, f"SELECT count(*) FROM {what}")[0][0])


@pytest.fixture
def pair(postgres_url: str) -> Iterator[Pair]:
    """Two servers on an empty database, which do nothing but what they are asked to."""
    settings = Settings(evaluation_workers=0)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(EmbeddedServer(postgres_url, api_key=API_KEY, settings=settings))
            for _ in range(2)
        ]
        yield Pair(postgres_url, servers)


class TestStarting:
    """Many at once, on one database."""

    def start(self, url: str, count: int = 4) -> list[Database]:
        """Open a database that many times, and give each a key of its own and a shared one."""

        def run(number: int) -> tuple[Database, KeyRing]:
            database = Database.open(url)
            return database, KeyRing.enroll(database, ["shared", f"key {number}".replace(" ", "")])

        found = at_once([lambda n=n: run(n) for n in range(count)])  # type: ignore[misc]
        accounts = [keys.account("shared") for _, keys in found]
        assert len(set(accounts)) == 1
        for database, _ in found:
            database.close()
        return [database for database, _ in found]

    def check(self, url: str) -> None:
        """See that they made one organisation, and a user for each key."""
        assert query(url, "SELECT count(*) FROM organizations") == [(1,)]
        assert query(url, "SELECT count(*) FROM environments") == [(1,)]
        assert query(url, "SELECT count(*), count(DISTINCT email_address) FROM users") == [(5, 5)]

    def test_on_an_empty_database(self, empty_postgres_url: str) -> None:
        self.start(empty_postgres_url)
        self.check(empty_postgres_url)
        self.start(empty_postgres_url)
        self.check(empty_postgres_url)

    def test_on_an_old_one(self, empty_postgres_url: str, tmp_path: Path) -> None:
        scripts = tmp_path / "scripts"
        ignored = shutil.ignore_patterns("__pycache__", "000[2-9]*")
        shutil.copytree(migrate.SCRIPTS, scripts, ignore=ignored)
        engine = create_engine(urls.parse(empty_postgres_url))
        migrate.upgrade(engine, scripts)
        engine.dispose()
        assert query(empty_postgres_url, "SELECT version_num FROM alembic_version") == [("0001",)]
        self.start(empty_postgres_url)
        self.check(empty_postgres_url)


class TestCreating:
    """A row that several create at the same time exists once."""

    def test_a_project_its_first_config_and_its_counts(self, pair: Pair) -> None:
        def log(api: Api, number: int) -> Answer:
            log = {"project": "p", "config": {"model": f"m{number % 3}"}}
            return api.call("POST", "/logs", [log] * 3)

        assert pair.statuses(log) == {200: THREADS}
        assert pair.statuses(log) == {200: THREADS}
        [project] = pair.api.ok("GET", "/projects")["records"]
        assert project["data_count"] == THREADS * 6
        assert [each["type"] for each in project["feedback_types"]][:1] == ["rating"]
        assert pair.count("configs") == 3
        assert pair.count("deployments") == 1
        check(pair.url)

    def test_a_project_by_name(self, pair: Pair) -> None:
        answers = pair.hammer(lambda api, _: api.call("POST", "/projects", {"name": "p"}))
        assert Counter(each.status for each in answers) == {201: 1, 422: THREADS - 1}
        refused = [each for each in answers if each.status == 422]
        assert all(each.places == [["body", "name"]] for each in refused)

    def test_a_config(self, pair: Pair) -> None:
        body = {"project": "p", "model": "m", "tools": [{"name": "t", "parameters": {}}]}

        def register(api: Api, number: int) -> Answer:
            return api.call("POST", "/model-configs", {**body, "name": f"name {number % 3}"})

        answers = pair.hammer(register)
        assert {each.status for each in answers} == {200}
        assert len({each.body["config"]["id"] for each in answers}) == 1
        assert pair.count("configs WHERE type = 'tool'") == 1

    @pytest.mark.parametrize("size", [1, SLICE + 1])
    def test_a_reference_id(self, pair: Pair, size: int) -> None:
        pair.api.log("p")

        def log(api: Api, _: int) -> Answer:
            log = {"project": "p", "config": CONFIG}
            body = [{**log, "reference_id": f"r{n}"} for n in range(size)]
            return api.call("POST", "/logs", body if size > 1 else body[0])

        statuses = pair.statuses(log)
        assert set(statuses) <= {200, 422}
        # Large arrays come in parts: none may be first with all its logs.
        assert statuses[200] == 1 if size == 1 else statuses[200] <= 1
        assert pair.count("logs") == 1 + statuses[200] * size
        assert pair.count("batches") == 0
        check(pair.url)

    def test_a_request_that_is_repeated_to_another(self, pair: Pair) -> None:
        data = json.dumps({"project": "p", "config": CONFIG, "reference_id": "r"}).encode()
        headers = {"content_type": "application/json", "x_retry_count": "1"}
        answers = pair.hammer(lambda api, _: api.send("POST", "/logs", data, **headers))
        assert {each.status for each in answers} == {200}
        assert len({each.body["id"] for each in answers}) == 1
        assert pair.count("logs") == 1

    def test_a_session_by_its_reference(self, pair: Pair) -> None:
        pair.api.log("p")

        def log(api: Api, number: int) -> Answer:
            names = [f"s{n}" for n in range(4)]
            log = {"project": "p", "config": CONFIG}
            order = names if number % 3 else reversed(names)
            return api.call(
                "POST", "/logs", [{**log, "session_reference_id": name} for name in order]
            )

        answers = pair.hammer(log)
        assert {each.status for each in answers} == {200}
        assert len({log["session_id"] for each in answers for log in each.body}) == 4
        assert pair.count("sessions") == 4
        check(pair.url)

    def test_labels_and_types_of_feedback(self, pair: Pair) -> None:
        logged = pair.api.log("p")
        path = f"/projects/{logged['project_id']}/feedback-types"
        types = [{"type": "new", "class": "select", "values": [{"value": "x"}, {"value": "y"}]}]

        def change(api: Api, number: int) -> Answer:
            if number % 4 == 0:
                return api.call("PATCH", path, types)
            if number % 4 == 1:
                return api.call("POST", path, {"type": "another", "class": "text"})
            feedback = {"data_id": logged["id"], "type": "action", "value": f"l{number % 3}"}
            return api.call("POST", "/feedback", feedback)

        assert set(pair.statuses(change, 16)) <= {200, 201, 422}
        assert pair.count("feedback_types WHERE type = 'new'") == 1
        assert pair.count("feedback_types WHERE type = 'another'") == 1
        assert pair.count("feedback_labels WHERE value IN ('x', 'y')") == 2
        check(pair.url)


class TestChanging:
    """Changes that depend on existing rows."""

    def test_a_rating_holds_one_value_and_actions_are_a_set(self, pair: Pair) -> None:
        ids = [pair.api.log("p")["id"] for _ in range(3)]

        def submit(api: Api, number: int) -> Answer:
            kind = "rating" if number % 2 else "action"
            some = ids if number % 3 else ids[::-1]
            value = f"v{number % 4}"
            body = [{"data_id": each, "type": kind, "value": value} for each in some]
            return api.call("POST", "/feedback", body)

        for _ in range(5):
            assert pair.statuses(submit, 12) == {200: 12}
        of_kind = (
            "SELECT log_id, count(*), count(DISTINCT value) FROM feedback JOIN feedback_types t"
            " ON t.id = feedback_type_id WHERE t.type = '{}' GROUP BY 1"
        )
        assert [row[1:] for row in query(pair.url, of_kind.format("rating"))] == [(1, 1)] * 3
        assert [row[1:] for row in query(pair.url, of_kind.format("action"))] == [(2, 2)] * 3
        check(pair.url)

    def test_two_ratings_at_the_same_moment_are_one(self, pair: Pair) -> None:
        logged = pair.api.log("p")
        first = threading.Lock()

        def hold(connection: Connection) -> None:
            """Commit the first one when the second one waits for it."""
            if is_writing(connection) and first.acquire(blocking=False):
                wait_for(lambda: pair.count(WAITING))

        def rate(api: Api, number: int) -> Answer:
            feedback = {"data_id": logged["id"], "type": "rating", "value": f"v{number}"}
            return api.call("POST", "/feedback", feedback)

        with listening(pair.url, "commit", hold):
            assert pair.statuses(rate, 2) == {200: 2}
        assert pair.count("feedback") == 1
        check(pair.url)

    def test_a_patch_is_whole(self, pair: Pair) -> None:
        ids = [pair.api.log("p", reference_id=f"r{n}")["id"] for n in range(3)]

        def patch(api: Api, number: int) -> Answer:
            body = {"output": f"{number}", "error": f"{number}"}
            if number % 2:
                return api.call("PATCH", f"/logs?reference_id=r{number % 3}", body)
            return api.call("PATCH", f"/logs/{ids[number % 3]}", body)

        for _ in range(5):
            assert pair.statuses(patch, 12) == {200: 12}
        assert pair.count("logs WHERE output = error") == 3

    def test_deploying_and_deactivating(self, pair: Pair) -> None:
        project_id = pair.api.log("p")["project_id"]
        path = f"/projects/{project_id}"
        [config] = pair.api.ok("GET", f"{path}/configs")
        labels = [{"type": "rating", "value": "good"}]
        body = {"name": "e", "positive_labels": labels, "config_ids": [config["config"]["id"]]}
        experiment = pair.api.ok("POST", f"{path}/experiments", body)

        def change(api: Api, number: int) -> Answer:
            if number % 4 == 0:
                return api.call("DELETE", f"{path}/active-config")
            if number % 4 == 1:
                return api.call("DELETE", f"{path}/active-experiment")
            key, value = ("config_id", config["config"]["id"])
            if number % 4 == 2:
                key, value = "experiment_id", experiment["id"]
            return api.call("PATCH", path, {f"active_{key}": value})

        for _ in range(3):
            assert pair.statuses(change, 12) == {200: 12}
        assert pair.count("deployments") <= 1

    def test_an_experiment_is_deleted_while_it_is_drawn_from(self, pair: Pair) -> None:
        project_id = pair.api.log("p")["project_id"]
        path = f"/projects/{project_id}"
        [config] = pair.api.ok("GET", f"{path}/configs")
        labels = [{"type": "rating", "value": "good"}]
        body = {"name": "e", "positive_labels": labels, "config_ids": [config["config"]["id"]]}
        for _ in range(3):
            made = pair.api.ok("POST", f"{path}/experiments", {**body, "set_active": True})

            def use(api: Api, number: int, experiment_id: str = made["id"]) -> Answer:
                if number == 5:
                    return api.call("DELETE", f"/experiments/{experiment_id}")
                drawn = api.call("GET", f"{path}/active-config")
                if drawn.status != 200 or "trial_id" not in drawn.body:
                    return drawn
                log = {"project": "p", "trial_id": drawn.body["trial_id"]}
                return api.call("POST", "/logs", log)

            statuses = pair.statuses(use, 12)
            assert set(statuses) <= {200, 204, 404, 422}
            assert statuses[204] == 1
        assert pair.count("trials") == 0
        assert pair.count("experiments") == 0
        check(pair.url)

    def test_trials_are_counted_by_both(self, pair: Pair) -> None:
        pair.api.log("p0")
        experiment = begin_experiment(pair.api)
        body = [{"project": "p0", "trial_id": each} for each in draw(pair.api, experiment, 5)]
        logged = pair.api.ok("POST", "/logs", body)

        def change(api: Api, number: int) -> Answer:
            for index in range(10):
                labels = [{"type": "rating", "value": f"l{(number + index) % 3}"}]
                if index % 4 == 3:
                    answer = api.call("PATCH", experiment, {"positive_labels": labels})
                else:
                    ids = [logged[(number + index) % 5]["id"], logged[index % 5]["id"]]
                    body = [{"data_id": each, **labels[0]} for each in ids]
                    answer = api.call("POST", "/feedback", body)
                assert answer.status == 200, answer.body
            return answer

        assert pair.statuses(change) == {200: THREADS}
        assert check(pair.url)["trials"] == 1

    def test_an_experiment_by_name(self, pair: Pair) -> None:
        project_id = pair.api.log("p")["project_id"]
        body = {"name": "e", "positive_labels": [{"type": "rating", "value": "good"}]}
        path = f"/projects/{project_id}/experiments"
        statuses = pair.statuses(lambda api, _: api.call("POST", path, body))
        assert statuses == {200: 1, 422: THREADS - 1}

    def test_all_at_once(self, pair: Pair) -> None:
        """Nobody waits in a circle, and every count is right."""

        def act(api: Api, number: int) -> Answer:
            answer = api.call("POST", "/logs", {"project": "p0", "config": CONFIG})
            for turn in range(6):
                kind = (number + turn) % 6
                log: dict[str, Any] = {
                    "project": f"p{kind % 3}",
                    "config": {"model": f"m{turn % 4}"},
                    "session_reference_id": f"s{(number * turn) % 5}",
                    "feedback": {"type": "action", "value": f"l{turn % 3}"},
                }
                if kind == 0:
                    message = {"role": "user", "content": "x"}
                    config = {"model": "m", "provider": "mock"}
                    chat = {"project": "p1", "model_config": config, "messages": [message]}
                    answer = api.call("POST", "/chat", chat)
                elif kind == 1:
                    answer = api.call("POST", "/logs", [log] * (SLICE + 1))
                else:
                    answer = api.call("POST", "/logs", [log] * kind)
                if answer.status != 200:
                    break
            return answer

        answers = pair.hammer(act, 12)
        assert [each.text for each in answers if each.status != 200] == []
        check(pair.url)
        assert pair.count("batches") == 0


class TestLargeArrays:
    """A large array is written in parts, each in a transaction of its own."""

    def test_one_that_stood_still_is_deleted_and_given_up(self, pair: Pair) -> None:
        pair.api.log("p")
        log = {"project": "p", "config": CONFIG}
        engine = create_engine(urls.parse(pair.url))
        [(organization_id,)] = query(pair.url, "SELECT id FROM organizations")

        def delete(connection: Connection) -> None:
            if is_writing(connection) and pair.count("batches"):
                with engine.begin() as other:
                    batches.delete_unfinished(other, organization_id, every=True)

        with listening(pair.url, "begin", delete):
            answer = pair.api.call("POST", "/logs", [log] * (3 * SLICE))
        engine.dispose()
        assert answer.status == 503
        assert pair.count("logs") == 1

    def test_a_second_server_leaves_one_alone_that_is_being_written(self, pair: Pair) -> None:
        project_id = pair.api.log("p")["project_id"]
        log = {"project": "p", "config": CONFIG}
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(pair.api.call, "POST", "/logs", [log] * (20 * SLICE))
            wait_for(lambda: pair.count("logs WHERE batch_id IS NOT NULL"))
            Database.open(pair.url).close()
        assert answer.result().status == 200
        assert pair.apis[1].export(project_id)["total"] == 1 + 20 * SLICE


class TestConnections:
    """Connections that are cut, that wait for too long, or that can't be had."""

    def test_a_database_that_restarts(self, pair: Pair, postgres: Postgres) -> None:
        project_id = pair.api.log("p")["project_id"]
        for api in pair.apis:
            api.log("p")
            api.export(project_id)
        postgres.restart()
        for api in pair.apis:
            assert api.call("GET", f"/projects/{project_id}").status == 200
            assert api.call("POST", "/logs", {"project": "p", "config": CONFIG}).status == 200
        check(pair.url)

    def test_a_server_outlives_its_database_and_ends_without_it(
        self,
        own_postgres: Postgres,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr("humanloop.server.store.writer._PAUSE", 0.001)
        monkeypatch.setattr("humanloop.server.operations.evaluation_workers._FIRST_PAUSE", 0.005)
        failures: list[object] = []
        own_place = urls.parse(own_postgres.url("postgres"))

        def note(context: ExceptionContext) -> None:
            if context.engine is not None and context.engine.url.query == own_place.query:
                failures.append(context.original_exception)

        others = set(threading.enumerate())
        server = EmbeddedServer(own_postgres.url("postgres"), api_key=API_KEY)
        server.start()
        Api(server.url).log("p")

        def told(text: str) -> list[str]:
            return [each.getMessage() for each in caplog.records if text in each.getMessage()]

        with own_postgres.stopped():
            wait_for(lambda: told("evaluations are paused"))
            event.listen(Engine, "handle_error", note)
            wait_for(lambda: len(failures) > 4)  # it tries again
            event.remove(Engine, "handle_error", note)
            server.stop()
        assert len(told("can't be handed over to other servers at once")) == 1
        # Closed connections have another message than refused ones.
        assert len(told("evaluations are paused")) <= 2
        assert not [each for each in caplog.records if each.exc_info]
        assert not [each for each in caplog.records if "\n" in each.getMessage()]
        left = set(threading.enumerate()) - others
        assert not [each for each in left if each.name == "humanloop-writer"]

    @pytest.mark.parametrize("committed", [True, False])
    def test_a_connection_that_is_lost_while_committing(self, pair: Pair, committed: bool) -> None:
        pair.api.log("p")
        done = threading.Event()

        def cut(connection: Connection) -> None:
            if is_writing(connection) and not done.is_set():
                done.set()
                driver: Any = connection.connection.dbapi_connection
                if committed:
                    driver.commit()
                driver.close()

        with listening(pair.url, "commit", cut):
            logged = pair.api.log("p", output="x")
        assert done.is_set()
        assert query(pair.url, "SELECT id FROM logs WHERE output = 'x'") == [(logged["id"],)]
        check(pair.url)

    @pytest.mark.parametrize("size", [1, SLICE + 1])
    def test_a_commit_of_which_nobody_can_tell(
        self, pair: Pair, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr("humanloop.server.store.writer._FATE_SECONDS", 0.2)
        log = {"project": "p", "config": CONFIG}
        body = [{**log, "reference_id": f"r{n}"} for n in range(size)]
        pair.api.log("p")
        name = urls.parse(pair.url).database
        done = threading.Event()
        complete = "batch_id IS NULL OR batch_id NOT IN (SELECT id FROM batches)"

        def cut(connection: Connection) -> None:
            driver: Any = connection.connection.dbapi_connection
            if is_writing(connection) and not done.is_set():
                [shown] = driver.execute(f"SELECT count(*) FROM logs WHERE {complete}").fetchone()
                if shown < 1 + size:
                    return
                done.set()
                driver.commit()
                driver.close()
                postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")

        try:
            with listening(pair.url, "commit", cut):
                answer = pair.api.call("POST", "/logs", body)
        finally:
            postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert answer.status == 503
        assert "it is unknown whether" in answer.body["detail"]
        assert "retry-after" not in answer.headers
        headers = {"content_type": "application/json", "x_retry_count": "1"}
        again = pair.api.send("POST", "/logs", json.dumps(body).encode(), **headers)
        assert again.status == 200
        assert pair.count("logs") == 1 + size
        check(pair.url)

    def test_a_lock_that_is_held_for_too_long(self, postgres_url: str) -> None:
        settings = Settings(database=DatabaseSettings(lock_seconds=0.1))
        with EmbeddedServer(postgres_url, api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            logged = api.log("p")
            with connected(postgres_url) as connection:
                connection.exec_driver_sql("BEGIN; LOCK TABLE logs IN SHARE MODE")
                answer = api.call("POST", "/logs", {"project": "p", "config": CONFIG})
                assert api.export(logged["project_id"])["total"] == 1
                connection.exec_driver_sql("ROLLBACK")
            assert answer.status == 503
            assert "locked by another writer" in answer.body["detail"]
            assert answer.headers["retry-after"] == "1"
            api.log("p")

    def test_a_statement_that_takes_too_long(self, postgres_url: str) -> None:
        settings = Settings(database=DatabaseSettings(statement_seconds=1))
        with EmbeddedServer(postgres_url, api_key=API_KEY, settings=settings) as server:
            api = Api(server.url)
            logged = api.log("p")
            with connected(postgres_url) as connection:
                connection.exec_driver_sql("BEGIN; LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
                answer = api.call("POST", f"/projects/{logged['project_id']}/export")
                connection.exec_driver_sql("ROLLBACK")
            assert answer.status == 503
            assert "took too long" in answer.body["detail"]

    def test_the_limits_of_a_role_stay(self, postgres_url: str, postgres: Postgres) -> None:
        name = urls.parse(postgres_url).database
        postgres.execute(f"ALTER DATABASE {name} SET lock_timeout = '77ms'")
        database = Database.open(postgres_url)
        with database.read() as session:
            connection = session.connection()
            found = [
                connection.exec_driver_sql(f"SHOW {limit}").scalar_one()
                for limit in ("lock_timeout", "statement_timeout", "default_transaction_read_only")
            ]
        database.close()
        assert found == ["77ms", "30s", "off"]

    def test_too_few_connections_are_one_line(self, postgres_url: str, postgres: Postgres) -> None:
        Database.open(postgres_url).close()
        postgres.execute("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 0")
        postgres.execute("ALTER ROLE few NOSUPERUSER")
        url = postgres_url.replace("postgres:@", "few:secret-word@")
        with pytest.raises(StartError, match="too many connections for role") as caught:
            Database.open(url)
        postgres.execute("DROP ROLE few")
        assert "\n" not in str(caught.value)
        assert "secret-word" not in str(caught.value)

    def test_readers_wait_for_a_connection_and_writers_have_their_own(
        self, postgres_url: str
    ) -> None:
        limits = DatabaseSettings(connections=2, wait_seconds=0.2)
        with EmbeddedServer(
            postgres_url, api_key=API_KEY, settings=Settings(database=limits)
        ) as server:
            api = Api(server.url)
            project_id = api.log("p")["project_id"]
            with connected(postgres_url) as connection:
                connection.exec_driver_sql("BEGIN; LOCK TABLE deployments IN ACCESS EXCLUSIVE MODE")
                with ThreadPoolExecutor() as pool:
                    path = f"/projects/{project_id}"
                    reading = pool.submit(Api(server.url).call, "GET", path)
                    wait_for(lambda: query(postgres_url, f"SELECT pid FROM {WAITING}"))
                    answer = api.call("GET", path)
                    assert answer.status == 503
                    assert "no free connection" in answer.body["detail"]
                    api.log("p")
                    connection.exec_driver_sql("ROLLBACK")
                    assert reading.result().status == 200


class TestDeleting:
    """Deletion while others write to the same rows, or beside them."""

    def test_counts_stay_right(self, pair: Pair) -> None:
        log = {"project": "p", "config": CONFIG, "feedback": {"type": "rating", "value": "good"}}
        ids = [
            each["id"]
            for number in range(10)
            for each in pair.api.ok(
                "POST", "/logs", [{**log, "session_reference_id": str(number)}] * 8
            )
        ]

        def write(api: Api, number: int) -> None:
            for log_id in ids[number::4]:
                given = {"data_id": log_id, "type": "rating", "value": f"l{number}"}
                child = {**log, "parent_id": log_id}
                for path, body in (("/feedback", given), ("/logs", child)):
                    assert api.call("POST", path, body).status in {200, 422}

        def delete(some: Sequence[str]) -> None:
            with joined(pair.url) as database:
                deletion.delete_by_ids(database, some)

        at_once(
            [
                *(partial(write, Api(pair.apis[number % 2].url), number) for number in range(4)),
                *(partial(delete, ids[number::2]) for number in range(2)),
            ]
        )
        check(pair.url)
        assert pair.count("logs WHERE parent_id IS NOT NULL") == 0
        assert pair.count("sessions") == pair.count("session_projects")
