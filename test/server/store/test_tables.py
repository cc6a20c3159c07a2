"""The schema: an organisation's id leads all keys, and older databases keep their data."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    MetaData,
    Table,
    UniqueConstraint,
    create_engine,
    insert,
    text,
)

from humanloop.server import EmbeddedServer
from humanloop.server.store import migrate, urls
from humanloop.server.store.tables import Base

from ..api import API_KEY, Api
from ..operations.test_lists import experiment
from .test_counts import fill

OWNER = "organization_id"
TABLES = {name: table for name, table in Base.metadata.tables.items() if name != "organizations"}

LATER = {
    name
    for name in TABLES
    if name.startswith(("testset", "testcase", "evaluat")) and name != "evaluation_workers"
}
"""The tables of data that a later schema has added."""


@contextmanager
def connected(url: str) -> Generator[Connection]:
    """Open a connection apart from any server's."""
    engine = create_engine(urls.parse(url))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


class TestLeading:
    """Keys and indexes allow the rows of a database to be distributed among machines."""

    @pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
    def test_the_organisation_leads_every_key_reference_and_index(self, table: Table) -> None:
        uniques = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
        references = table.foreign_key_constraints
        for key in (table.primary_key, *uniques, *references, *table.indexes):
            assert next(iter(key.columns)).name == OWNER
        for reference in references:
            target = reference.elements[0].column
            assert target.name == (OWNER if target.table.name in TABLES else "id")

    @pytest.mark.parametrize("name", ["logs", "feedback", "trials"])
    def test_in_large_tables_an_index_leads_to_what_refers_to_a_row(self, name: str) -> None:
        table = TABLES[name]
        keys = [[column.name for column in index.columns] for index in table.indexes]
        for reference in table.foreign_key_constraints:
            assert any(key[:2] == reference.column_keys for key in keys)

    @pytest.mark.postgresql
    def test_it_does_in_postgresql(self, postgres_url: str) -> None:
        statement = (
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            " WHERE c.relnamespace = 'public'::regnamespace"
        )
        with connected(postgres_url) as connection:
            found = {(table, column) for table, column in connection.execute(text(statement))}
        others = {("organizations", "id"), ("alembic_version", "version_num")}
        assert found == others | {(table, OWNER) for table in TABLES}

    @pytest.mark.postgresql
    def test_each_table_can_be_partitioned_by_it_in_postgresql(self, postgres_url: str) -> None:
        with connected(postgres_url) as connection:
            for table in TABLES:  # a unique constraint must contain the partition key
                like = f"CREATE TABLE parts_of_{table} (LIKE {table} INCLUDING ALL)"
                connection.execute(text(f"{like} PARTITION BY HASH ({OWNER})"))


def test_the_migrations_make_what_the_tables_say(database_url: str) -> None:
    with connected(database_url) as connection:
        dialect = connection.dialect.name

        def is_wanted(item: Any, *_: Any) -> bool:
            return item.info.get("only", dialect) == dialect

        options = {"compare_type": True, "include_object": is_wanted}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


Contents = dict[str, list[dict[str, Any]]]


def contents(url: str) -> Contents:
    """All rows of a database, in their order where they have one, numbered from 1 in that order."""
    found: dict[str, list[dict[str, Any]]] = {}
    metadata = MetaData()
    with connected(url) as connection:
        metadata.reflect(connection)
        for name, table in metadata.tables.items():
            if name not in {"alembic_version", "evaluation_workers"}:  # of a process, not of data
                rows = [dict(row) for row in connection.execute(table.select()).mappings()]
                rows.sort(key=lambda row: (row.get("row", 0), str(row)))
                found[name] = rows
    numbers = {row["id"]: number for number, row in enumerate(found["feedback_types"], start=1)}
    for name, rows in found.items():
        key = "id" if name == "feedback_types" else "feedback_type_id"
        for number, row in enumerate(rows, start=1):
            row |= {"row": number} if "row" in row else {}
            row |= {key: numbers[row[key]]} if key in row else {}
        rows.sort(key=str)
    return found


def older(rows: Contents) -> Contents:
    """The same in the tables of the first schema."""
    types = {each["id"]: each["type"] for each in rows["feedback_types"]}
    numbered = {"feedback_labels", "positive_labels", "experiment_configs"}
    return {
        name: [
            {
                **row,
                "type": row["type"] if "type" in row else types.get(row.get("feedback_type_id")),
            }
            | ({"id": row["row"]} if name in numbered else {})
            for row in rows[name]
        ]
        for name in rows
    }


def test_the_names_of_files_tell_the_revisions_in_their_order() -> None:
    directory = ScriptDirectory(str(migrate.SCRIPTS))
    assert migrate.revisions() == [each.revision for each in directory.walk_revisions()][::-1]


def test_an_older_database_keeps_everything(empty_url: str, tmp_path: Path) -> None:
    newest, scripts = f"sqlite:///{tmp_path / 'newest.db'}", tmp_path / "scripts"
    with EmbeddedServer(newest, api_key=API_KEY) as server:
        api = Api(server.url)
        fill(api)
        for each in api.ok("GET", "/projects")["records"]:
            experiment(api, each["id"], "e")
            label = {"type": "action", "values": [{"value": "rare", "sentiment": "negative"}]}
            api.ok("PATCH", f"/projects/{each['id']}/feedback-types", [label])
        api.log("p0", parent_id=api.log("p0", reference_id="r", duration=0.5)["id"])
    wanted = contents(newest)
    wanted["label_counts"] = [each for each in wanted["label_counts"] if each["datapoints"]]
    new = {"batch_id": None, "request_digest": None}
    wanted["logs"] = [{**each, **new} for each in wanted["logs"]]
    shutil.copytree(
        migrate.SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__", "000[2-9]*")
    )
    engine = create_engine(urls.parse(empty_url))
    migrate.upgrade(engine, scripts)
    with engine.begin() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        rows = older(wanted)
        for table in metadata.sorted_tables:
            if table.name in rows:
                kept = [
                    {c: row[c] for c in rows[table.name][0] if c in table.columns}
                    for row in rows[table.name]
                ]
                parents = sorted(kept, key=lambda row: row.get("parent_id") is not None)
                connection.execute(insert(table), parents)
    engine.dispose()
    with EmbeddedServer(empty_url, api_key=API_KEY) as server:
        api = Api(server.url)
        assert contents(empty_url) == wanted
        assert {name for name, rows in wanted.items() if not rows} == {"batches", *LATER}
        assert api.log("p0", feedback={"type": "rating", "value": "new"})
