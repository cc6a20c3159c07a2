"""Testsets, evaluators and evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Items = tuple[sa.schema.SchemaItem, ...]


def _ids(*names: str, nullable: bool = False) -> Items:
    return tuple(sa.Column(name, sa.String(40), nullable=nullable) for name in names)


def _texts(*names: str, nullable: bool = False) -> Items:
    return tuple(sa.Column(name, sa.Text(), nullable=nullable) for name in names)


def _words(*names: str, nullable: bool = False) -> Items:
    return tuple(sa.Column(name, sa.String(16), nullable=nullable) for name in names)


def _number(name: str) -> Items:
    return (sa.Column(name, sa.BigInteger(), nullable=False),)


def _moments(*names: str) -> Items:
    return tuple(sa.Column(name, sa.DateTime(), nullable=False) for name in names)


def _reference(name: str, table: str, *, nullable: bool = False) -> Items:
    key = sa.ForeignKeyConstraint(
        ["organization_id", name], [f"{table}.organization_id", f"{table}.id"]
    )
    return *_ids(name, nullable=nullable), key


def _owner() -> Items:
    return (sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"]),)


def _unique(*columns: str) -> Items:
    return (sa.UniqueConstraint("organization_id", *columns),)


def _create(
    name: str, key: Sequence[str], *items: Items, indexes: Sequence[Sequence[str]] = ()
) -> None:
    op.create_table(
        name,
        *_ids("organization_id"),
        *(item for group in items for item in group),
        sa.PrimaryKeyConstraint("organization_id", *key),
    )
    for columns in indexes:
        op.create_index(None, name, ["organization_id", *columns])


def _partial_index(name: str, columns: Sequence[str], where: str, *, unique: bool = False) -> None:
    some = sa.text(f"{where} IS NOT NULL")
    op.create_index(
        None,
        name,
        ["organization_id", *columns],
        unique=unique,
        sqlite_where=some,
        postgresql_where=some,
    )


def upgrade() -> None:
    """Apply the revision."""
    _create_testsets()
    _create(
        "evaluators",
        ["id"],
        _ids("id"),
        _texts("name", "description", "code"),
        _words("arguments_type", "return_type"),
        _moments("created_at", "updated_at"),
        _owner(),
        _unique("name"),
    )
    _create_evaluations()
    _create(
        "evaluation_workers",
        ["id"],
        _ids("id"),
        _number("beats"),
        _moments("created_at"),
        _owner(),
    )


def _create_testsets() -> None:
    _create(
        "testsets",
        ["id"],
        _ids("id"),
        _reference("project_id", "projects"),
        _texts("name"),
        _texts("description", nullable=True),
        (sa.Column("testcase_count", sa.Integer(), nullable=False, server_default="0"),),
        _moments("created_at", "updated_at"),
        _unique("project_id", "name"),
        indexes=[["project_id", "created_at", "id"]],
    )
    _create(
        "testcase_versions",
        ["id"],
        _ids("id", "testcase_id"),
        _reference("testset_id", "testsets", nullable=True),
        _number("row"),
        _texts("inputs", "messages", "target", nullable=True),
        _ids("source_project_data_id", nullable=True),
        _moments("created_at", "updated_at"),
    )
    _partial_index("testcase_versions", ["testcase_id"], "testset_id", unique=True)
    _partial_index("testcase_versions", ["testset_id", "row", "testcase_id"], "testset_id")


def _create_evaluations() -> None:
    _create(
        "evaluations",
        ["id"],
        _ids("id"),
        _reference("project_id", "projects"),
        _reference("config_id", "configs"),
        _ids("testset_id"),
        _texts("testset"),
        _words("status"),
        _ids("keys_owner", nullable=True),
        _moments("created_at", "updated_at"),
        indexes=[[each, "created_at", "id"] for each in ("project_id", "config_id", "status")],
    )
    _create(
        "evaluation_evaluators",
        ["evaluation_id", "evaluator_id"],
        _reference("evaluation_id", "evaluations"),
        _ids("evaluator_id"),
        _number("row"),
        _texts("evaluator"),
        tuple(sa.Column(name, sa.Integer()) for name in ("results_count", "errors_count")),
        _texts("aggregate_value", nullable=True),
    )
    _create(
        "evaluation_testcases",
        ["evaluation_id", "testcase_id"],
        _reference("evaluation_id", "evaluations"),
        _ids("testcase_id"),
        _number("row"),
        _reference("version_id", "testcase_versions"),
        _words("stage", nullable=True),
        _ids("owner", "log_id", nullable=True),
        (sa.Column("failed", sa.Boolean(), nullable=False),),
        indexes=[["evaluation_id", "row", "testcase_id"], ["version_id"]],
    )
    _partial_index("evaluation_testcases", ["evaluation_id", "row"], "stage")
    _create(
        "evaluation_results",
        ["evaluation_id", "testcase_id", "evaluator_id"],
        _reference("evaluation_id", "evaluations"),
        _ids("testcase_id", "evaluator_id", "id", "log_id"),
        _texts("value", "error", nullable=True),
        _moments("updated_at"),
    )
