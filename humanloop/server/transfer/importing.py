"""The import of logs, through the code that logs a client's requests.

A line is a LogResponse, as in an export, or the body of a request to POST /logs. The former brings
its ids, times and feedback; the latter gets an id that is the same for the same line of the same
file. Invariants: an existing log stays unchanged, so an import can be repeated, even after it was
killed; the content of a line is written as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import IO, Any, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.exc import DataError, StatementError
from sqlalchemy.orm import Session

from humanloop.server.errors import Invalid, Location, Problem
from humanloop.server.operations import configs, feedback_types, lookups
from humanloop.server.operations.arrivals import Arrival, Draft, Parent, Place
from humanloop.server.operations.calls import Call, chunks
from humanloop.server.store import accounts
from humanloop.server.store.database import Database
from humanloop.server.store.json_text import TooDeep
from humanloop.server.store.key_text import KeyTooLong
from humanloop.server.store.tables import (
    Conversation,
    Experiment,
    FeedbackKind,
    Log,
    Metric,
    Project,
    Trial,
)
from humanloop.server.store.tallies import table
from humanloop.server.store.times import created_at
from humanloop.server.transfer.formats import Line
from humanloop.server.transfer.lines import BadLine, Item, blame, blame_for, read

Row = TypeVar("Row", Project, Trial)

_BATCH = 250  # lines in one transaction; others write between two
_BYTES = 4 * 1024 * 1024  # bytes of these lines, approximately
_TEXT_LENGTH = 100  # a longer feedback value is not a label
_PLACEHOLDER = "imported"
_TrialKey = tuple[str | None, str | None]
"""The ids of a trial and of its experiment; None if the trial is another project's."""


@dataclass
class Imported:
    """The results of the lines so far.

    orphans: logs whose parent is neither in the file nor in the database.
    """

    logs: int = 0
    known: int = 0
    orphans: int = 0
    bad: int = 0


class Import:
    """An import of one file.

    source: the name of the file, from which requests' ids are derived; None without a name:
        requests then get new ids.
    project: the name of the project that gets all logs, in place of their own.
    skip_bad: continue after a line that can't be imported; otherwise the import ends before it.
    """

    def __init__(
        self,
        database: Database,
        source: str | None,
        project: str | None = None,
        *,
        skip_bad: bool = False,
    ) -> None:
        self.done = Imported()
        self._database = database
        self._source = source
        self._project = project
        self._skip_bad = skip_bad
        self._account = database.write(accounts.stand_in)
        # Children whose parents did not exist yet, as lines of JSON.
        self._waiting: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115

    def run(self, lines: Iterator[Line]) -> Iterator[list[BadLine]]:
        """Import batch after batch; after each, yield its skipped lines."""
        for batch in _batches(lines):
            for good, unreadable in self._split(batch):
                bad = self._write(good)
                if self._goes_on(bad):
                    bad += unreadable
                self.done.bad += len(bad)
                yield bad
                if not self._goes_on(bad):
                    return

    def _goes_on(self, bad: Sequence[BadLine]) -> bool:
        return self._skip_bad or not bad

    def _split(self, lines: Sequence[Line]) -> Iterator[tuple[list[Item], list[BadLine]]]:
        """Yield the readable lines before each unreadable one, with that one."""
        good: list[Item] = []
        for line in lines:
            try:
                good.append(read(line, self._id_of(line), self._project))
            except Invalid as error:
                yield good, [blame(line, error.problems[0])]
                good = []
            except TooDeep as error:
                yield good, [BadLine(line.number, "", f"a value is {error}", line.text)]
                good = []
        yield good, []

    def _id_of(self, line: Line) -> str | None:
        if self._source is None:
            return None
        digest = hashlib.sha256(f"{self._source}\n{line.number}\n".encode() + line.text)
        return f"data_{digest.hexdigest()[:32]}"

    def _write(self, items: list[Item]) -> list[BadLine]:
        """Write the lines before the first that can't be written; note its fault, and go on."""
        if not items:
            return []
        for index, each in enumerate(items):
            each.draft.location = ("body", index)
        try:
            outcome = self._database.write(lambda session: _Batch(self._call(session)).write(items))
        except Invalid as error:
            return self._write_around(items, error.problems[0])
        except StatementError as error:
            fault = error if isinstance(error, DataError) else error.orig
            if not isinstance(fault, (DataError, KeyTooLong)):
                raise
            if len(items) > 1:
                half = len(items) // 2
                return self._write_both(items[:half], items[half:])
            return [blame_for(items[0], fault)]
        self.done.logs += outcome.added
        self.done.known += len(items) - outcome.added
        for child in outcome.waiting:
            self._waiting.write(json.dumps(child) + "\n")
        return []

    def _write_around(self, items: list[Item], problem: Problem) -> list[BadLine]:
        number = problem.location[1]
        assert isinstance(number, int), "every problem is in some line"
        bad = self._write(items[:number])
        if not self._goes_on(bad):
            return bad
        bad.append(blame(items[number].line, problem))
        return [*bad, *self._write(items[number + 1 :])] if self._skip_bad else bad

    def _write_both(self, some: list[Item], others: list[Item]) -> list[BadLine]:
        bad = self._write(some)
        return [*bad, *self._write(others)] if self._goes_on(bad) else bad

    def _call(self, session: Session) -> Call:
        # Treated as repeated: a request with a known reference and the same output is recognised.
        return Call.without_request(session, self._account, repeated=True)

    def finish(self) -> None:
        """Set the parents of children that came before them."""
        self._waiting.seek(0)
        while some := [json.loads(each) for each in islice(self._waiting, _BATCH)]:
            self.done.orphans += self._database.write(
                lambda session, some=some: _adopt(self._call(session), some)  # type: ignore[misc]
            )
        self._waiting.close()


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line.text)
        if len(batch) == _BATCH or size > _BYTES:
            yield batch
            batch, size = [], 0
    yield batch


@dataclass(frozen=True)
class _Outcome:
    """The number of added logs, and those that wait for parents: (id, key, value)."""

    added: int
    waiting: list[tuple[str, str, str]]


class _Batch:
    """Lines that are written in one transaction."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._session = call.session
        self._owner = call.account.organization_id
        self._arrival = Arrival()
        self._projects: dict[tuple[str | None, str | None], Project] = {}
        self._places: dict[tuple[str, str], tuple[Place, datetime]] = {}
        self._trials: dict[str, _TrialKey] = {}

    def write(self, items: Sequence[Item]) -> _Outcome:
        """Write the logs that do not exist yet."""
        known = self._known([each.draft.id for each in items])
        drafts: dict[str, Draft] = {}
        records: list[tuple[Draft, Mapping[str, Any]]] = []
        for item in items:
            draft = item.draft
            if draft.id not in known and draft.id not in drafts:
                drafts[draft.id] = draft
                if item.record is not None:
                    records.append((draft, item.record))
        self._restore(records)
        of_record = {draft.id for draft, _ in records}
        requests = [each for each in drafts.values() if each.id not in of_record]
        self._arrival.find_places(self._call, requests)
        waiting = self._find_parents(list(drafts.values()), of_record)
        waiting += [
            (each.draft.id, *each.draft.parent_key)
            for each in items
            if each.draft.parent_key is not None and known.get(each.draft.id, "") is None
        ]
        self._arrival.write(self._call, list(drafts.values()), self._call.tally)
        added = sum(each.added is None for each in drafts.values())
        return _Outcome(added, waiting)

    def _known(self, ids: Sequence[str]) -> dict[str, str | None]:
        """Return the ids of existing logs, with their parents."""
        logs = select(Log.id, Log.parent_id).where(Log.organization_id == self._owner)
        return {
            row[0]: row[1]
            for some in chunks(ids)
            for row in self._session.execute(logs.where(Log.id.in_(some)))
        }

    def _find_parents(
        self, drafts: Sequence[Draft], of_record: set[str]
    ) -> list[tuple[str, str, str]]:
        """Find parents that exist or come earlier in the batch; return the logs without one."""
        keys = (each.parent_key for each in drafts)
        found = self._arrival.known_parents(self._call, keys)
        waiting: list[tuple[str, str, str]] = []
        for each in drafts:
            each.parent = None  # it may be that of a transaction that was rolled back
            if each.parent_key is not None:
                parent = found.get(each.parent_key)
                if parent is None:
                    waiting.append((each.id, *each.parent_key))
                elif each.id in of_record:
                    each.parent = Parent(parent.id, None)  # its session comes from the record
                else:
                    each.parent = parent
            found["parent_id", each.id] = Parent(each.id, None)
            if each.reference_id is not None:
                found["parent_reference_id", each.reference_id] = Parent(each.id, None)
        return waiting

    def _restore(self, records: Sequence[tuple[Draft, Mapping[str, Any]]]) -> None:
        """Restore everything that the records refer to."""
        if not records:
            return
        sessions = self._restore_sessions(records)
        kinds: dict[str, list[Any]] = {}
        for draft, record in records:
            project = self._project_of(draft, record)
            trial_id = record.get("trial_id")
            draft.place = self._place_of(draft, record, project)
            if trial_id is not None:
                trial, experiment = self._restore_trial(trial_id, project, draft)
                draft.place = draft.place._replace(trial_id=trial, experiment_id=experiment)
            if "session_id" in record:
                draft.session_key = ("session_id", sessions[record["session_id"]])
            kinds.setdefault(project.id, []).extend(
                (each, record["id"]) for each, _ in draft.feedback
            )
        for project_id, given in kinds.items():
            self._restore_kinds(project_id, given)

    def _project_of(self, draft: Draft, record: Mapping[str, Any]) -> Project:
        """Return the project with that id, else with that name, else a new one with both."""
        key = (draft.request.get("project"), draft.request.get("project_id"))
        if key not in self._projects:
            name, project_id = key
            found = None if project_id is None else self._get(Project, project_id)
            if found is None:
                location = (*draft.location, "project")
                found = lookups.project_by_name(self._call, name or "") or lookups.create_project(
                    self._call, name or "", location, project_id
                )
            self._projects[key] = found
        return self._projects[key]

    def _get(self, kind: type[Row], row_id: str) -> Row | None:
        return self._session.get(kind, (self._owner, row_id))

    def _place_of(self, draft: Draft, record: Mapping[str, Any], project: Project) -> Place:
        digest = draft.digest
        assert digest is not None, "a record has a config"
        moment: datetime = draft.columns["created_at"]
        times = _times(record, draft.location, moment)
        place, used = self._places.get((project.id, digest), (None, None))
        if place is None or used is None or used < times["last_used"]:
            config = configs.restore(self._session, project, record["config"], times)
            self._session.flush()
            place = Place(project.id, config.id)
            self._places[project.id, digest] = place, times["last_used"]
        return place

    def _restore_trial(self, trial_id: str, project: Project, draft: Draft) -> _TrialKey:
        """Return the trial and its experiment, if it is the project's; add a missing trial."""
        if trial_id not in self._trials:
            found = self._get(Trial, trial_id)
            if found is None:
                assert draft.place is not None
                found = Trial(
                    organization_id=self._owner,
                    id=trial_id,
                    experiment=self._placeholder(project),
                    config_id=draft.place.config_id,
                    created_at=draft.columns["created_at"],
                )
                self._session.add(found)
                self._session.flush()
            is_theirs = found.experiment.project_id == project.id
            self._trials[trial_id] = (trial_id, found.experiment_id) if is_theirs else (None, None)
        return self._trials[trial_id]

    def _placeholder(self, project: Project) -> Experiment:
        """Return the experiment for trials whose own experiment does not exist here."""
        found = self._session.scalar(
            select(Experiment).where(
                Experiment.organization_id == self._owner,
                Experiment.project_id == project.id,
                Experiment.name == _PLACEHOLDER,
            )
        )
        if found is None:
            metrics = select(Metric).where(Metric.organization_id == self._owner)
            found = Experiment(
                organization_id=self._owner,
                project=project,
                metric=self._session.scalars(metrics.order_by(Metric.created_at)).first(),
                name=_PLACEHOLDER,
            )
            self._session.add(found)
            self._session.flush()
        return found

    def _restore_sessions(
        self, records: Sequence[tuple[Draft, Mapping[str, Any]]]
    ) -> dict[str, str]:
        """Return the session's id in this database for each session's id; add missing sessions."""
        wanted: dict[str, tuple[str | None, datetime]] = {}
        for draft, record in records:
            if "session_id" in record:
                moment = draft.columns["created_at"]
                reference, earliest = wanted.get(
                    record["session_id"], (record.get("session_reference_id"), moment)
                )
                wanted[record["session_id"]] = (reference, min(earliest, moment))
        known = self._known_sessions(Conversation.id, list(wanted))
        rest = {key: value for key, value in wanted.items() if key not in known}
        named = self._known_sessions(
            Conversation.reference_id, [ref for ref, _ in rest.values() if ref is not None]
        )
        here = {key: key for key in known}
        new: list[dict[str, Any]] = []
        for key, (reference, moment) in rest.items():
            here[key] = key if reference is None else named.setdefault(reference, key)
            if here[key] == key:
                new.append(
                    {
                        "id": key,
                        "organization_id": self._owner,
                        "reference_id": reference,
                        "created_at": moment,
                    }
                )
        if new:
            self._call.connection.execute(insert(table(Conversation)), new)
        return here

    def _known_sessions(self, column: Any, values: Sequence[str]) -> dict[str, str]:
        """Return the ids of sessions by their value in a column, for the given values."""
        ours = Conversation.organization_id == self._owner
        return {
            row[0]: row[1]
            for some in chunks(list(dict.fromkeys(values)))
            for row in self._session.execute(
                select(column, Conversation.id).where(column.in_(some), ours)
            )
        }

    def _restore_kinds(
        self, project_id: str, given: Sequence[tuple[Mapping[str, Any], str]]
    ) -> None:
        """Add the feedback types that the project lacks.

        A LogResponse does not contain their class: numbers are of `number`; long texts, and texts
        that a log has twice, of `text`; everything else can be of `multi_select`.
        """
        kinds = feedback_types.kinds(self._call.connection, self._owner, project_id)
        known = {each.type for each in kinds}
        values: dict[str, list[tuple[str, Any]]] = {}
        for each, log_id in given:
            if each["type"] not in known:
                values.setdefault(each["type"], []).append((log_id, each["value"]))
        for name, of_type in values.items():
            kind = _class_of(of_type)
            self._session.add(
                FeedbackKind(
                    organization_id=self._owner,
                    project_id=project_id,
                    type=name,
                    feedback_class=kind,
                )
            )
        self._session.flush()


def _class_of(values: Sequence[tuple[str, Any]]) -> str:
    if all(not isinstance(value, str) for _, value in values):
        return "number"
    is_text = len(set(values)) < len(values) or any(
        len(str(value)) > _TEXT_LENGTH for _, value in values
    )
    return "text" if is_text else "multi_select"


def _times(record: Mapping[str, Any], location: Location, moment: datetime) -> dict[str, datetime]:
    """Return the times of a record's config: its own, else the log's."""
    described = record.get("model_config", {})
    times = {"created_at": moment, "updated_at": moment, "last_used": moment}
    for key in times:
        if key in described:
            place = (*location, "model_config", key)
            times[key] = created_at({"created_at": described[key]}, place[:-1])
    return times


def _adopt(call: Call, waiting: Iterable[tuple[str, str, str]]) -> int:
    """Set the parents of children; return the number without one."""
    logs = table(Log)
    children = [(child, (key, value)) for child, key, value in waiting]
    found = Arrival().known_parents(call, (key for _, key in children))
    missing = 0
    for child, key in children:
        parent = found.get(key)
        if parent is None:
            missing += 1
        elif parent.id != child:
            statement = update(logs).where(
                logs.c.organization_id == call.account.organization_id,
                logs.c.id == child,
                logs.c.parent_id.is_(None),
            )
            call.connection.execute(statement.values(parent_id=parent.id))
    return missing
