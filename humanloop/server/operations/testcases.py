"""Testcases: inputs on which a model is tried.

A testcase has versions. A version in an evaluation's snapshot is never changed or deleted: it only
ceases to be the current one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, exists, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.sql.elements import ColumnElement

from humanloop.server.errors import Invalid, Problem
from humanloop.server.operations import lookups
from humanloop.server.operations.calls import Call, chunks, plain
from humanloop.server.store import turns
from humanloop.server.store.tables import EvaluationTestcase, TestcaseVersion, Testset
from humanloop.server.store.tallies import table
from humanloop.server.store.times import now

CONTENT = ("inputs", "messages", "target")
"""The contents of a testcase, all optional."""

_VERSIONS, _TESTSETS = table(TestcaseVersion), table(Testset)
_CURRENT = (
    select(_VERSIONS.c.testcase_id, _VERSIONS.c.id, _VERSIONS.c.testset_id)
    .where(_VERSIONS.c.organization_id == bindparam("organization_id"))
    .where(_VERSIONS.c.testset_id.is_not(None))
)


def describe(version: TestcaseVersion, testset_id: str) -> dict[str, Any]:
    """Return a TestcaseResponse; testset_id: the testset that has, or had, this version."""
    columns = ("created_at", "updated_at", *CONTENT, "source_project_data_id")
    return plain(version, *columns, id=version.testcase_id, testset_id=testset_id)


def get(call: Call) -> dict[str, Any]:
    """Return a testcase."""
    version, testset_id = _of_path(call)
    return describe(version, testset_id)


def update(call: Call) -> dict[str, Any]:
    """Set the given inputs, messages and target; a null clears them."""
    turns.be_alone(call.session)
    version, testset_id = _of_path(call)
    if _is_in_a_snapshot(call, version):
        version = _succeed(call, version, testset_id)
    for key in CONTENT:
        if key in call.body:
            setattr(version, key, call.body[key])
    version.updated_at = now()
    call.session.flush()
    return describe(version, testset_id)


def _of_path(call: Call) -> tuple[TestcaseVersion, str]:
    """Return the current version of the testcase in the path, and the id of its testset."""
    testcase_id = call.path["id"]
    found = call.session.scalar(
        select(TestcaseVersion).where(
            TestcaseVersion.organization_id == call.account.organization_id,
            TestcaseVersion.testcase_id == testcase_id,
            TestcaseVersion.testset_id.is_not(None),
        )
    )
    if found is None or found.testset_id is None:
        raise lookups.missing(f"testcase {testcase_id!r}", None)
    return found, found.testset_id


def _is_in_a_snapshot(call: Call, version: TestcaseVersion) -> bool:
    found = select(EvaluationTestcase.testcase_id).where(
        EvaluationTestcase.organization_id == version.organization_id,
        EvaluationTestcase.version_id == version.id,
    )
    return call.session.scalar(found.limit(1)) is not None


def _succeed(call: Call, version: TestcaseVersion, testset_id: str) -> TestcaseVersion:
    """Replace the current version by a new one; the old one stays unchanged."""
    version.testset_id = None
    call.session.flush()  # a testcase has one current version at a time
    columns = ("organization_id", "testcase_id", "row", "created_at", "source_project_data_id")
    successor = TestcaseVersion(
        testset_id=testset_id, **{name: getattr(version, name) for name in (*columns, *CONTENT)}
    )
    call.session.add(successor)
    return successor


def delete(call: Call) -> None:
    """Delete the testcases whose ids are in the body, all or nothing."""
    turns.be_alone(call.session)
    wanted: list[str] = call.body
    found = {row[0]: row for row in lookups.rows(call, _CURRENT, _VERSIONS.c.testcase_id, wanted)}
    problems = [
        Problem(("body", index), f"there is no testcase {testcase_id!r}")
        for index, testcase_id in enumerate(wanted)
        if testcase_id not in found
    ]
    if problems:
        raise Invalid(problems)
    testsets: dict[str, list[str]] = {}
    for _, version_id, testset_id in found.values():
        testsets.setdefault(testset_id, []).append(version_id)
    for testset_id, ids in sorted(testsets.items()):
        for some in chunks(ids):
            remove(call, _VERSIONS.c.id.in_(some))
        count(call, testset_id, -len(ids))


def remove(call: Call, condition: ColumnElement[bool]) -> None:
    """Delete versions that are in no evaluation; the others cease to be current."""
    owned = (_VERSIONS.c.organization_id == call.account.organization_id, condition)
    snapshots = exists().where(
        EvaluationTestcase.organization_id == _VERSIONS.c.organization_id,
        EvaluationTestcase.version_id == _VERSIONS.c.id,
    )
    call.connection.execute(sql_delete(_VERSIONS).where(*owned, ~snapshots))
    call.connection.execute(sql_update(_VERSIONS).where(*owned).values(testset_id=None))


def count(call: Call, testset_id: str, more: int) -> None:
    """Add to a testset's count of testcases; negative for removed ones."""
    call.connection.execute(
        sql_update(_TESTSETS)
        .where(
            _TESTSETS.c.organization_id == call.account.organization_id,
            _TESTSETS.c.id == testset_id,
        )
        .values(testcase_count=_TESTSETS.c.testcase_count + more, updated_at=now())
    )


def load(call: Call, testset_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return TestcaseResponses of a testset's versions with the given ids, in their order."""
    statement = select(TestcaseVersion).where(
        TestcaseVersion.organization_id == call.account.organization_id,
        TestcaseVersion.id.in_(ids),
    )
    found = {each.id: each for each in call.session.scalars(statement)}
    return [describe(found[each], testset_id) for each in ids]
