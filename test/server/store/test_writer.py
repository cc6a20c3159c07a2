"""Writes queue for one thread; those that wait are committed together, each whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from humanloop.server.store.accounts import KeyRing
from humanloop.server.store.database import Database
from humanloop.server.store.tables import Conversation, Organization

from ..databases import transactions


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the database is."""
    return f"sqlite:///{tmp_path / 'own.db'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A database with an organisation."""
    opened = Database.open(url)
    KeyRing.enroll(opened, ["key"])
    yield opened
    opened.close()


def start_session(session: Session) -> str:
    """Add a row."""
    row = Conversation(organization_id=session.scalars(select(Organization.id)).one())
    session.add(row)
    session.flush()
    return row.id


def count(database: Database) -> int:
    """How many rows there are."""
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Conversation)) or 0


class Group:
    """Works that are submitted while the writer is busy, so that it finds them all waiting."""

    def __init__(self, database: Database) -> None:
        self._free = threading.Event()
        self._busy = database.submit(lambda _session: self._free.wait(60))

    def run(self) -> None:
        """Let the writer begin."""
        self._free.set()
        assert self._busy.result()


@pytest.mark.parametrize(("seconds", "count_begun"), [(60, 1), (0, 21)])
def test_works_that_wait_are_one_transaction_for_so_long(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch, seconds: int, count_begun: int
) -> None:
    monkeypatch.setattr(database._writer, "_group_seconds", seconds)
    with transactions(url, "begin") as begun:
        group = Group(database)
        futures = [database.submit(start_session) for _ in range(20)]
        group.run()
        assert len({future.result(20) for future in futures}) == 20
    assert begun == [True] * count_begun
    assert count(database) == 20


def test_each_has_its_own_error_and_leaves_nothing(database: Database) -> None:
    def fail(session: Session) -> str:
        start_session(session)
        raise ZeroDivisionError

    def break_a_rule(session: Session) -> str:
        session.add(Conversation(id=start_session(session), organization_id="org_x"))
        return ""

    def break_the_transaction(session: Session) -> str:
        start_session(session)
        session.execute(text("ROLLBACK"))
        session.execute(text("SELECT * FROM nowhere"))
        return ""

    group = Group(database)
    works = [start_session, fail, start_session, break_a_rule, break_the_transaction, start_session]
    futures: list[Future[str]] = [database.submit(work) for work in works]
    group.run()
    kinds = [type(future.exception(20)).__name__ for future in futures]
    assert kinds == [
        *("NoneType", "ZeroDivisionError", "NoneType"),
        *("IntegrityError", "OperationalError", "NoneType"),
    ]
    assert count(database) == 3
    assert database.write(start_session)


def test_what_nobody_waits_for_any_more_is_not_begun(database: Database) -> None:
    group = Group(database)
    left, kept = database.submit(start_session), database.submit(start_session)
    assert left.cancel()
    group.run()
    assert kept.result(20)
    assert count(database) == 1


def test_closing_finishes_what_was_submitted(database: Database) -> None:
    group = Group(database)
    future = database.submit(start_session)
    closing = threading.Thread(target=database.close)
    closing.start()
    group.run()
    closing.join()
    assert future.result(0)
    with pytest.raises(RuntimeError, match="closed"):
        database.submit(start_session)


def test_a_database_that_is_locked_is_an_error(url: str) -> None:
    database = Database.open(f"{url}?timeout=0.01")
    KeyRing.enroll(database, ["key"])
    other = database._engine.raw_connection()
    other.cursor().execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        database.write(start_session)
    other.close()
    database.close()
