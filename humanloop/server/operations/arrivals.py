"""The arrival of logs: each wanted log becomes a Draft, and an Arrival writes drafts together.

Every log, sent by a client, imported or generated here, is a Draft first: everything that depends
on the request alone is computed in it, before any transaction. An Arrival then finds the rows that
the drafts of a request refer to, each row once, and inserts the drafts together. Parents are found
before any log of the request exists, so no reference can name a log of the same request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, insert, not_, select

from humanloop.server.errors import Location, Unavailable, invalid
from humanloop.server.operations import configs, deployments, lookups
from humanloop.server.operations.calls import Call
from humanloop.server.operations.feedback import Notes, Target
from humanloop.server.store import turns, upserts
from humanloop.server.store.ids import new_id
from humanloop.server.store.json_text import to_json
from humanloop.server.store.tables import (
    Config,
    Conversation,
    Experiment,
    Log,
    Project,
    Trial,
    is_complete,
)
from humanloop.server.store.tallies import Tally, table
from humanloop.server.store.times import created_at, now

_LOGS = table(Log)
_INSERT_LOGS = insert(_LOGS)
_CONFIGS, _PROJECTS, _SESSIONS = table(Config), table(Project), table(Conversation)


_SAID = ("inputs", "messages", "metadata", "source", "output", "error", "duration")
"""The columns whose values come from the log's request."""

Key = tuple[str, str]
Session = tuple[str, datetime]
"""The id and the creation time of a session."""


class Parent(NamedTuple):
    """The parent of a new log, and the parent's session."""

    id: str
    session: Session | None


class Place(NamedTuple):
    """The place of a new log; an id is None while its project or config does not exist."""

    project_id: str | None
    config_id: str | None
    trial_id: str | None = None
    experiment_id: str | None = None

    def target(self, log_id: str) -> Target:
        """Return the feedback target for the log with that id at this place."""
        return Target(log_id, self.project_id, self.config_id, self.experiment_id)


class Draft:
    """A wanted log; `columns` holds everything that needs no database."""

    def __init__(self, request: Mapping[str, Any], location: Location, **others: Any) -> None:
        self.request = request
        self.location = location
        self.id: str = others.pop("id", None) or new_id("data_")
        self.is_use = True  # the log is a use of its config, just now
        self.reference_id: str | None = request.get("reference_id")
        self.parent_key = _exclusive(request, "parent_id", "parent_reference_id", location)
        self.session_key = _exclusive(request, "session_id", "session_reference_id", location)
        config = request.get("config")
        self.digest = None if config is None else configs.identity(config)
        self.parent: Parent | None = None
        self.place: Place | None = None
        self.session: Session | None = None
        self.added: Mapping[str, Any] | None = None
        get = request.get
        self.columns: dict[str, Any] = {
            "id": self.id,
            "reference_id": self.reference_id,
            "request_digest": None,
            "inputs": to_json(get("inputs", {})),
            "messages": _encoded(get("messages")),
            "metadata": _encoded(get("metadata")),
            "source": get("source"),
            "output": get("output"),
            "error": get("error"),
            "duration": _encoded(get("duration")),
            "created_at": created_at(request, location),
            **others,
        }
        if self.reference_id is not None:
            self.columns["request_digest"] = self._request_digest()

    def _request_digest(self) -> str:
        """Return the digest that recognises a repeated request, even after the log was changed."""
        said = [self.columns[name] for name in _SAID]
        text = repr([self.digest, self.request.get("created_at"), *said])
        return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    @property
    def feedback(self) -> list[tuple[Mapping[str, Any], Location]]:
        """Return the request's feedback, each with its location."""
        given, location = self.request.get("feedback", []), (*self.location, "feedback")
        if isinstance(given, dict):
            return [(given, location)]
        return [(each, (*location, index)) for index, each in enumerate(given)]

    @property
    def answer(self) -> Mapping[str, Any]:
        """Return a CreateLogResponse; needs the place, known once the draft is written."""
        if self.added is not None:
            return self.added
        assert self.place is not None
        session_id = None if self.session is None else self.session[0]
        return _answer(self.id, self.place.project_id, session_id)


def _answer(log_id: str, project_id: str | None, session_id: str | None) -> dict[str, Any]:
    body = {"id": log_id, "project_id": project_id}
    return body if session_id is None else {**body, "session_id": session_id}


def _encoded(value: Any) -> str | None:
    return None if value is None else to_json(value)


def _exclusive(request: Mapping[str, Any], one: str, other: str, location: Location) -> Key | None:
    """Return the one of two keys that the request has, with its value."""
    if one in request and other in request:
        raise invalid((*location, other), f"`{one}` and `{other}` exclude each other", "not")
    return next(((key, request[key]) for key in (one, other) if key in request), None)


_OWN_LOG = _LOGS.c.organization_id == bindparam("organization_id")
_PARENTS = (
    select(_LOGS.c.id, _LOGS.c.reference_id, _LOGS.c.session_id, _SESSIONS.c.created_at)
    .outerjoin(
        _SESSIONS,
        and_(
            _SESSIONS.c.organization_id == _LOGS.c.organization_id,
            _SESSIONS.c.id == _LOGS.c.session_id,
        ),
    )
    .where(_OWN_LOG, is_complete())
)
_REFERENCES = select(_LOGS.c.reference_id).where(_OWN_LOG)
_KNOWN_SESSIONS = select(_SESSIONS.c.id, _SESSIONS.c.reference_id, _SESSIONS.c.created_at).where(
    _SESSIONS.c.organization_id == bindparam("organization_id")
)
_PLACES = (
    select(
        _PROJECTS.c.id,
        _CONFIGS.c.id,
        _CONFIGS.c.name,
        _CONFIGS.c.description,
        _CONFIGS.c.last_used,
    )
    .join(_CONFIGS, _CONFIGS.c.project_id == _PROJECTS.c.id)
    .where(
        _PROJECTS.c.organization_id == bindparam("organization_id"),
        _CONFIGS.c.organization_id == bindparam("organization_id"),
        _PROJECTS.c.name == bindparam("name"),
        _CONFIGS.c.digest == bindparam("digest"),
    )
)
_TRIALS_TABLE, _EXPERIMENTS = table(Trial), table(Experiment)
_TRIAL_ID = _TRIALS_TABLE.c.id
_TRIALS = (
    select(
        _TRIAL_ID,
        _TRIALS_TABLE.c.experiment_id,
        _EXPERIMENTS.c.project_id,
        _TRIALS_TABLE.c.config_id,
        _CONFIGS.c.digest,
    )
    .join(_EXPERIMENTS, _EXPERIMENTS.c.id == _TRIALS_TABLE.c.experiment_id)
    .join(_CONFIGS, _CONFIGS.c.id == _TRIALS_TABLE.c.config_id)
    .where(
        *(
            each.c.organization_id == bindparam("organization_id")
            for each in (_TRIALS_TABLE, _EXPERIMENTS, _CONFIGS)
        )
    )
)


class Arrival:
    """The search for the rows that the drafts of one request refer to, and the write."""

    def __init__(self) -> None:
        self._places: dict[tuple[str | None, ...], Place] = {}
        self._projects: dict[tuple[str | None, str | None], Project | None] = {}
        self._trials: dict[str, Any] = {}

    def known_parents(self, call: Call, keys: Iterable[Key | None]) -> dict[Key, Parent]:
        """Return the existing logs that are named as parents."""
        found: dict[Key, Parent] = {}
        named = list(keys)
        columns = {"parent_id": _LOGS.c.id, "parent_reference_id": _LOGS.c.reference_id}
        for key, column in columns.items():
            wanted = _values(key, named)
            for row in lookups.rows(call, _PARENTS, column, wanted):
                log_id, reference_id, session_id, moment = row
                session = None if session_id is None else (session_id, moment)
                value = log_id if key == "parent_id" else reference_id
                found[key, value] = Parent(log_id, session)
        return found

    def find_parents(self, call: Call, drafts: Sequence[Draft]) -> None:
        """Find the parents that the drafts name; raises Invalid for missing ones."""
        found = self.known_parents(call, (each.parent_key for each in drafts))
        for each in drafts:
            if each.parent_key is not None:
                key, value = each.parent_key
                each.parent = found.get(each.parent_key)
                if each.parent is None:
                    raise lookups.missing(f"datapoint {value!r}", (*each.location, key))

    def find_places(self, call: Call, drafts: Sequence[Draft], *, create: bool = True) -> None:
        """Find the projects, configs and trials of drafts; create missing ones if allowed."""
        wanted = [each.request["trial_id"] for each in drafts if "trial_id" in each.request]
        self._trials = {row.id: row for row in lookups.rows(call, _TRIALS, _TRIAL_ID, wanted)}
        for each in drafts:
            named = each.request.get("config", {})
            key = (
                each.request.get("project"),
                each.request.get("project_id"),
                each.request.get("trial_id"),
                each.digest,
                named.get("name"),
                named.get("description"),
            )
            place = self._places.get(key)
            if place is None:
                place = _known_place(call, each) or self._place(call, each, create=create)
                self._places[key] = place
            each.place = place

    def _place(self, call: Call, draft: Draft, *, create: bool) -> Place:
        """Return a draft's place; create its project and its config if they are missing."""
        request = draft.request
        key = request.get("project"), request.get("project_id")
        if key not in self._projects:
            found = lookups.project_of_body(call, request, draft.location, create=create)
            self._projects[key] = found
        project = self._projects[key]
        if "trial_id" in request:
            return self._place_of_trial(project, draft)
        if project is None or not create:
            return Place(None if project is None else project.id, None)
        config = deployments.register_config(call, project, request["config"])
        call.session.flush()
        return Place(project.id, config.id)

    def _place_of_trial(self, project: Project | None, draft: Draft) -> Place:
        trial_id, location = draft.request["trial_id"], draft.location
        trial = self._trials.get(trial_id)
        if project is None or trial is None or trial.project_id != project.id:
            name = draft.request["project"] if project is None else project.name
            message = f"the project {name!r} has no trial {trial_id!r}"
            raise invalid((*location, "trial_id"), message)
        if draft.digest not in {None, trial.digest}:
            message = f"the trial {trial_id!r} drew another config; leave `config` out"
            raise invalid((*location, "config"), message, "not")
        return Place(project.id, trial.config_id, trial_id, trial.experiment_id)

    def find_added(self, call: Call, drafts: Sequence[Draft]) -> None:
        """Find the logs that a repeated request has added before, if its answer was lost.

        Raises Unavailable while the first request is still being written.
        """
        if not call.repeated:
            return
        wanted = [each.reference_id for each in drafts if each.reference_id is not None]
        unfinished = _REFERENCES.where(not_(is_complete()))
        if any(lookups.rows(call, unfinished, _LOGS.c.reference_id, wanted)):
            raise Unavailable("The same request is being written already.")
        statement = select(_LOGS).where(_OWN_LOG, is_complete())
        rows = lookups.rows(call, statement, _LOGS.c.reference_id, wanted)
        found = {row.reference_id: row for row in rows}
        for each in drafts:
            assert each.place is not None
            row, each.added = found.get(each.reference_id), None
            if row is not None and row.project_id == each.place.project_id and _is_of(row, each):
                each.added = _answer(row.id, row.project_id, row.session_id)

    def check_references(self, call: Call, drafts: Sequence[Draft]) -> None:
        """Raise Invalid for a reference id that is taken, in the database or in the request."""
        wanted = [each.reference_id for each in drafts if each.reference_id is not None]
        rows = lookups.rows(call, _REFERENCES, _LOGS.c.reference_id, wanted)
        taken = {row[0] for row in rows}
        for each in drafts:
            if each.reference_id is None or each.added is not None:
                continue
            if each.reference_id in taken:
                message = (
                    f"there is already a datapoint with the reference id {each.reference_id!r}"
                )
                raise invalid((*each.location, "reference_id"), message, "unique")
            taken.add(each.reference_id)

    def find_sessions(self, call: Call, drafts: Sequence[Draft], *, create: bool = True) -> None:
        """Find the sessions that the drafts name, or their parents' sessions.

        The first use of a reference creates its session, if that is allowed.
        """
        found: dict[Key, Session] = {}
        columns = {"session_id": _SESSIONS.c.id, "session_reference_id": _SESSIONS.c.reference_id}
        for key, column in columns.items():
            wanted = _values(key, (each.session_key for each in drafts))
            for session_id, reference_id, moment in lookups.rows(
                call, _KNOWN_SESSIONS, column, wanted
            ):
                value = session_id if key == "session_id" else reference_id
                found[key, value] = (session_id, moment)
        new: list[dict[str, Any]] = []
        for value in _values("session_reference_id", (each.session_key for each in drafts)):
            if ("session_reference_id", value) not in found:
                session_id, moment = found["session_reference_id", value] = new_id("sesh_"), now()
                new.append(
                    {
                        "id": session_id,
                        "organization_id": call.account.organization_id,
                        "reference_id": value,
                        "created_at": moment,
                    }
                )
        if new and create:
            self._start_sessions(call, new, found)
        for each in drafts:
            each.session = _session(each, found)

    def _start_sessions(
        self, call: Call, new: Sequence[Mapping[str, Any]], found: dict[Key, Session]
    ) -> None:
        """Insert sessions; find those that others have inserted meanwhile."""
        new = sorted(new, key=lambda row: row["reference_id"])
        upserts.insert_new(call.connection, _SESSIONS, new)
        if not turns.is_alone(call.session):
            wanted = [row["reference_id"] for row in new]
            rows = lookups.rows(call, _KNOWN_SESSIONS, _SESSIONS.c.reference_id, wanted)
            for session_id, reference_id, moment in rows:
                found["session_reference_id", reference_id] = (session_id, moment)

    def check_feedback(self, call: Call, drafts: Sequence[Draft]) -> None:
        """Raise Invalid for feedback that the projects don't accept."""
        notes = Notes(call)
        for each in drafts:
            assert each.place is not None
            target = each.place.target(each.id)
            for request, location in each.feedback:
                notes.add(target, request, location)

    def write(
        self, call: Call, drafts: Sequence[Draft], tally: Tally, batch_id: str | None = None
    ) -> None:
        """Insert drafts whose places and parents are found, with their sessions and feedback."""
        self.find_added(call, drafts)
        self.check_references(call, drafts)
        new = [each for each in drafts if each.added is None]
        self.find_sessions(call, new)
        organization_id = call.account.organization_id
        if new:
            rows = [_row(each, organization_id, batch_id) for each in new]
            call.connection.execute(_INSERT_LOGS, rows)
        notes = Notes(call)
        for each in new:
            assert each.place is not None
            project_id, config_id = each.place.project_id, each.place.config_id
            assert project_id is not None
            assert config_id is not None
            tally.count_log(organization_id, project_id, config_id, each.session, used=each.is_use)
            for request, location in each.feedback:
                notes.add(each.place.target(each.id), request, location)
        notes.write(tally)


def _is_of(row: Any, draft: Draft) -> bool:
    """Return whether a row was written by the draft's request."""
    columns = draft.columns
    if row.request_digest == columns["request_digest"]:
        return True
    # The row has no digest: an earlier version wrote it, or it was imported.
    return (row.output, row.error) == (columns["output"], columns["error"])


def _values(name: str, keys: Iterable[Key | None]) -> list[str]:
    """Return the values of all keys with that name, each once."""
    return list(dict.fromkeys(key[1] for key in keys if key is not None and key[0] == name))


def _row(draft: Draft, organization_id: str, batch_id: str | None) -> dict[str, Any]:
    assert draft.place is not None
    return {
        **draft.columns,
        "organization_id": organization_id,
        "batch_id": batch_id,
        "project_id": draft.place.project_id,
        "config_id": draft.place.config_id,
        "trial_id": draft.place.trial_id,
        "session_id": None if draft.session is None else draft.session[0],
        "parent_id": None if draft.parent is None else draft.parent.id,
    }


def _known_place(call: Call, draft: Draft) -> Place | None:
    """Return, by one statement, a draft's place if its config is known and stays unchanged."""
    request = draft.request
    if draft.digest is None or "project_id" in request or "trial_id" in request:
        return None
    parameters = {
        "organization_id": call.account.organization_id,
        "name": request.get("project"),
        "digest": draft.digest,
    }
    found = call.connection.execute(_PLACES, parameters).first()
    if found is None:
        return None
    project_id, config_id, name, description, last_used = found
    wanted = request["config"]
    same = wanted.get("name") in {None, name} and wanted.get("description") in {None, description}
    return Place(project_id, config_id) if same and last_used is not None else None


def _session(draft: Draft, found: Mapping[Key, Session]) -> Session | None:
    """Return the session that the draft names, or its parent's session."""
    theirs = None if draft.parent is None else draft.parent.session
    if draft.session_key is None:
        return theirs
    key, value = draft.session_key
    session = found.get(draft.session_key)
    if session is None:
        raise lookups.missing(f"session {value!r}", (*draft.location, key))
    if theirs is not None and theirs != session:
        message = f"the parent datapoint is in another session, {theirs[0]!r}"
        raise invalid((*draft.location, key), message, "not")
    return session
