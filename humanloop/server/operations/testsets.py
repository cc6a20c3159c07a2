"""Testsets: the testcases of a project, added one by one, in arrays, or from logged datapoints.

A large array is written in slices, each in its own transaction, so that others get their turn;
until the last slice, the written testcases belong to no testset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import bindparam, insert, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update

from humanloop.server.errors import Location, invalid
from humanloop.server.generation import templates
from humanloop.server.operations import lookups, testcases
from humanloop.server.operations.calls import (
    SLICE,
    Call,
    Page,
    Stage,
    Stages,
    chunks,
    paginate,
    plain,
)
from humanloop.server.store import turns
from humanloop.server.store.ids import new_id, next_row
from humanloop.server.store.tables import Log, Project, TestcaseVersion, Testset, is_complete
from humanloop.server.store.tallies import table
from humanloop.server.store.times import now, to_text

_PORTION = 10  # testcases described at once, since they may be large
_VERSIONS, _LOGS = table(TestcaseVersion), table(Log)
_DATAPOINTS = select(_LOGS.c.id, _LOGS.c.inputs, _LOGS.c.messages, _LOGS.c.output).where(
    _LOGS.c.organization_id == bindparam("organization_id"), is_complete()
)


def describe(testset: Testset) -> dict[str, Any]:
    """Return a TestsetResponse."""
    columns = ("id", "project_id", "name", "description", "testcase_count")
    return plain(testset, *columns, "created_at", "updated_at")


def create(call: Call) -> dict[str, Any]:
    """Create an empty testset."""
    turns.be_alone(call.session)
    project = lookups.project(call, call.path["project_id"])
    _check_name(call, project.id, call.body["name"])
    testset = Testset(
        organization_id=project.organization_id,
        project_id=project.id,
        name=call.body["name"],
        description=call.body["description"],
        testcase_count=0,
    )
    call.session.add(testset)
    call.session.flush()
    return describe(testset)


def _check_name(call: Call, project_id: str, name: str) -> None:
    if not name.strip():
        raise invalid(("body", "name"), "a testset's name can't be empty", "minLength")
    statement = select(Testset.id).where(
        Testset.organization_id == call.account.organization_id,
        Testset.project_id == project_id,
        Testset.name == name,
    )
    if call.session.scalar(statement) is not None:
        message = f"the project already has a testset named {name!r}"
        raise invalid(("body", "name"), message, "unique")


def _of_path(call: Call, key: str = "id") -> Testset:
    return lookups.find(call, Testset, call.path[key], "testset")


def get(call: Call) -> dict[str, Any]:
    """Return a testset."""
    return describe(_of_path(call))


def list_(call: Call) -> list[dict[str, Any]]:
    """Return a project's testsets, newest first."""
    project: Project = lookups.project(call, call.path["project_id"])
    statement = select(Testset).where(
        Testset.organization_id == project.organization_id, Testset.project_id == project.id
    )
    rows = call.session.scalars(statement.order_by(Testset.created_at.desc(), Testset.id))
    return [describe(testset) for testset in rows]


def update(call: Call) -> dict[str, Any]:
    """Change a testset's name or description; a null clears its description."""
    testset = _of_path(call)
    name = call.body.get("name", testset.name)
    if name != testset.name:
        turns.be_alone(call.session)
        _check_name(call, testset.project_id, name)
        testset.name = name
    testset.description = call.body.get("description", testset.description)
    testset.updated_at = now()
    call.session.flush()
    return describe(testset)


def delete(call: Call) -> dict[str, Any]:
    """Delete a testset with its testcases, and return it as it was."""
    turns.be_alone(call.session)
    testset = _of_path(call)
    body = describe(testset)
    testcases.remove(call, _VERSIONS.c.testset_id == testset.id)
    call.session.delete(testset)
    return body


def list_testcases(call: Call) -> Page:
    """Return a page of a testset's testcases, oldest first."""
    testset = _of_path(call, "testset_id")
    keys = (
        select(TestcaseVersion.id)
        .where(
            TestcaseVersion.organization_id == testset.organization_id,
            TestcaseVersion.testset_id == testset.id,
        )
        .order_by(TestcaseVersion.row, TestcaseVersion.testcase_id)
    )

    describe_some = partial(testcases.load, call, testset.id)
    total = testset.testcase_count
    return paginate(call, keys, describe_some, first=0, portion=_PORTION, total=total)


@dataclass
class Draft:
    """A wanted testcase.

    content: its inputs, messages and target; those of a datapoint are found later.
    """

    location: Location
    content: Mapping[str, Any]
    datapoint_id: str | None = None
    id: str = field(default_factory=lambda: new_id("evtc_"))
    version_id: str = field(default_factory=lambda: new_id("evtv_"))
    row: int = field(default_factory=next_row)
    created_at: datetime = field(default_factory=now)

    def columns(self, organization_id: str, testset_id: str | None) -> dict[str, Any]:
        """Return the row of its first version."""
        return {
            **{key: self.content.get(key) for key in testcases.CONTENT},
            "organization_id": organization_id,
            "id": self.version_id,
            "testcase_id": self.id,
            "testset_id": testset_id,
            "row": self.row,
            "source_project_data_id": self.datapoint_id,
            "created_at": self.created_at,
            "updated_at": self.created_at,
        }

    def describe(self, testset_id: str) -> dict[str, Any]:
        """Return a TestcaseResponse."""
        moment = to_text(self.created_at)
        others = {"source_project_data_id": self.datapoint_id} if self.datapoint_id else {}
        return {
            "id": self.id,
            "testset_id": testset_id,
            "created_at": moment,
            "updated_at": moment,
            **self.content,
            **others,
        }


def draft(body: Any) -> list[Draft]:
    """Return the drafts for a body: one testcase, an array of them, or the ids of datapoints."""
    if isinstance(body, list):
        requests = cast("list[dict[str, Any]]", body)
        if not requests:
            raise invalid(("body",), "expected an array of at least one testcase", "minItems")
        return [_given(request, ("body", index)) for index, request in enumerate(requests)]
    if "datapoint_ids" not in body:
        return [_given(body, ("body",))]
    location = ("body", "datapoint_ids")
    ids = body["datapoint_ids"]
    for key in testcases.CONTENT:
        if key in body:
            message = f"`{key}` and `datapoint_ids` exclude each other"
            raise invalid(("body", key), message, "not")
    # A CreateTestcaseRequest may have further keys, so also this one, with any value.
    values = cast("list[object]", ids) if isinstance(ids, list) else [None]
    texts = [each for each in values if isinstance(each, str)]
    if len(texts) < len(values):
        raise invalid(location, "expected an array of strings", "type")
    if not texts:
        raise invalid(location, "expected at least one datapoint", "minItems")
    return [Draft((*location, index), {}, each) for index, each in enumerate(texts)]


def _given(request: Mapping[str, Any], location: Location) -> Draft:
    if "datapoint_ids" in request:
        message = "send `datapoint_ids` in an object of its own, not in an array"
        raise invalid((*location, "datapoint_ids"), message, "not")
    return Draft(location, {key: request[key] for key in testcases.CONTENT if key in request})


def create_testcases(call: Call) -> Any:
    """Add testcases, all or nothing."""
    drafts: list[Draft] = call.prepared
    if len(drafts) > SLICE:
        return _in_stages(call.path["testset_id"], drafts)
    testset = _of_path(call, "testset_id")
    _find_datapoints(call, drafts)
    _insert(call, drafts, testset.id)
    testcases.count(call, testset.id, len(drafts))
    return [each.describe(testset.id) for each in drafts]


def _in_stages(testset_id: str, drafts: Sequence[Draft]) -> Stages:
    slices = [drafts[start : start + SLICE] for start in range(0, len(drafts), SLICE)]

    def check(call: Call) -> None:
        _of_path(call, "testset_id")
        _find_datapoints(call, drafts)

    def write(some: Sequence[Draft], call: Call) -> None:
        _insert(call, some, None)

    def answer() -> list[dict[str, Any]]:
        return [each.describe(testset_id) for each in drafts]

    def finish(call: Call) -> None:
        _of_path(call, "testset_id")
        for condition in _versions(call, drafts):
            call.connection.execute(
                sql_update(_VERSIONS).where(*condition).values(testset_id=testset_id)
            )
        testcases.count(call, testset_id, len(drafts))

    def take_back(some: Sequence[Draft], call: Call) -> None:
        for condition in _versions(call, some):
            call.connection.execute(sql_delete(_VERSIONS).where(*condition))

    steps: list[Stage] = [partial(write, some) for some in slices]
    undo: list[Stage] = [partial(take_back, some) for some in slices]
    return Stages(check, steps, answer, finish, undo)


def _versions(call: Call, drafts: Sequence[Draft]) -> Any:
    """Yield conditions that together find all rows of the drafts."""
    for some in chunks([each.version_id for each in drafts]):
        owned = _VERSIONS.c.organization_id == call.account.organization_id
        yield owned, _VERSIONS.c.id.in_(some)


def _insert(call: Call, drafts: Sequence[Draft], testset_id: str | None) -> None:
    owner = call.account.organization_id
    rows = [each.columns(owner, testset_id) for each in drafts]
    call.connection.execute(insert(_VERSIONS), rows)


def _find_datapoints(call: Call, drafts: Sequence[Draft]) -> None:
    """Fill the drafts that name datapoints; raise Invalid if a datapoint is missing."""
    named = [each for each in drafts if each.datapoint_id is not None]
    wanted = [each.datapoint_id for each in named]
    found = {row.id: row for row in lookups.rows(call, _DATAPOINTS, _LOGS.c.id, wanted)}
    for each in named:
        if each.datapoint_id not in found:
            raise lookups.missing(f"datapoint {each.datapoint_id!r}", each.location)
        each.content = _content(found[each.datapoint_id])


def _content(log: Any) -> dict[str, Any]:
    """Return a datapoint's content for a testcase.

    A testcase's inputs are texts, so another value becomes the text that fills a template.
    """
    content: dict[str, Any] = {
        "inputs": {key: templates.to_text(value) for key, value in log.inputs.items()},
        "messages": log.messages,
        "target": None if log.output is None else {"output": log.output},
    }
    return {key: value for key, value in content.items() if value is not None}
