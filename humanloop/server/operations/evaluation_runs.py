"""The work on one testcase of an evaluation: generate a log, then let each evaluator judge it.

Invariants: the log and the testcase's new stage are written in one transaction, and so are all
results; a process writes only while it owns the testcase, so nothing is written twice, even if
another process believed the owner dead; providers and evaluators run outside of any transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import exists, insert, select
from sqlalchemy.orm import Session, joinedload, subqueryload

from humanloop.server.errors import Location, RequestError, invalid
from humanloop.server.evaluation.engine import EngineUnavailable, Failure, Score
from humanloop.server.generation.generations import Sample
from humanloop.server.generation.providers import Cancellation, storable
from humanloop.server.operations import (
    arrivals,
    configs,
    evaluators,
    logs,
    prompts,
    scores,
    testcases,
)
from humanloop.server.operations.calls import Call, Settings
from humanloop.server.operations.chats import CHAT
from humanloop.server.operations.completions import COMPLETION
from humanloop.server.operations.evaluating import Evaluating
from humanloop.server.operations.prompts import Task
from humanloop.server.store.accounts import Account
from humanloop.server.store.database import Database
from humanloop.server.store.ids import new_id
from humanloop.server.store.tables import (
    Config,
    Evaluation,
    EvaluationResult,
    EvaluationTestcase,
    Log,
    TestcaseVersion,
    Testset,
    is_complete,
)
from humanloop.server.store.tallies import table
from humanloop.server.store.times import now

logger = logging.getLogger("humanloop.server")

GENERATE = "generate"
EVALUATE = "evaluate"
ACTIVE = ("pending", "running")
SOURCE = "evaluation"
"""The `source` of the logs."""

_LOST_KEYS = (
    "Not generated: the provider keys of this evaluation were held in the memory of a server that"
    " has stopped. Create the evaluation again."
)
_NOTHING_TO_SEND = "Not generated: the config has no template, and the testcase no messages."
_REMEMBERED = 100  # evaluations cached
_INTERNAL = "internal error: see the server's log"
_LOG_KEYS = ("id", "inputs", "output", "provider_latency", "metadata", "created_at", "feedback")
_TESTCASE_KEYS = ("id", *testcases.CONTENT)


def check_config(call: Call, config: Config, testset: Testset, location: Location) -> None:
    """Raise Invalid for a config that can't generate anything for a testset."""
    prompts.provider_of(call.settings, config, location)
    parameters = config.parameters
    if parameters["endpoint"] == "edit":
        raise invalid(location, "a config with the endpoint 'edit' can't generate")
    if "prompt_template" in parameters or parameters.get("chat_template"):
        return
    with_messages = select(TestcaseVersion.id).where(
        TestcaseVersion.organization_id == testset.organization_id,
        TestcaseVersion.testset_id == testset.id,
        TestcaseVersion.messages.is_not(None),
    )
    if call.session.scalar(with_messages.limit(1)) is None:
        message = (
            "the config has no template and no testcase has messages: nothing can be generated"
        )
        raise invalid(location, message)


def _task(parameters: Mapping[str, Any], messages: Any) -> Task:
    """Return whether the config chats or completes, which its endpoint decides.

    A chat config with only a prompt template completes if there are no messages.
    """
    completes = parameters["endpoint"] != "chat" or not (messages or "chat_template" in parameters)
    return COMPLETION if completes and "prompt_template" in parameters else CHAT


@dataclass(frozen=True)
class Key:
    """The ids of an evaluation and of a testcase in it."""

    evaluation_id: str
    testcase_id: str


class Runner:
    """The work on testcases that this process has claimed; one object serves several threads.

    stopping: set when the server stops; unfinished work is then left as it is.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        evaluating: Evaluating,
        organization_id: str,
        stopping: Cancellation,
    ) -> None:
        self._database = database
        self._settings = settings
        self._evaluating = evaluating
        self._organization_id = organization_id
        self._stopping = stopping
        self._evaluations: dict[str, Evaluation] = {}  # the cached data of active evaluations

    def run(self, key: Key) -> None:
        """Do the remaining work on a testcase; raises the database's errors."""
        with self._database.read() as session:
            evaluation = self._evaluation(session, key.evaluation_id)
            case = session.get(
                EvaluationTestcase,
                (self._organization_id, key.evaluation_id, key.testcase_id),
                options=[joinedload(EvaluationTestcase.version)],
            )
        if evaluation is None or case is None:
            return
        log_id = case.log_id
        if case.stage == GENERATE:
            log_id = self._generate(evaluation, case)
        if log_id is not None:
            self._judge(evaluation, case, log_id)

    def finish(self, evaluation_id: str) -> None:
        """Sum up an evaluation whose testcases are all done."""
        with self._database.read() as session:
            found = scores.summarize(session, self._organization_id, evaluation_id)
            any_output = session.scalar(
                select(
                    exists().where(
                        EvaluationTestcase.organization_id == self._organization_id,
                        EvaluationTestcase.evaluation_id == evaluation_id,
                        EvaluationTestcase.failed.is_(False),
                    )
                )
            )

        def write(session: Session) -> None:
            key = (self._organization_id, evaluation_id)
            evaluation = session.get(Evaluation, key, with_for_update=True)
            if evaluation is None or evaluation.status not in ACTIVE:
                return
            evaluation.status = "completed" if any_output else "failed"
            evaluation.keys_owner = None
            evaluation.updated_at = now()
            for part in evaluation.evaluators:
                summary = found.get(part.evaluator_id, scores.Summary())
                part.results_count, part.errors_count = summary.results, summary.errors
                part.aggregate_value = summary.mean

        self._database.write(write)
        self._evaluating.forget(evaluation_id)
        self._evaluations.pop(evaluation_id, None)

    def _evaluation(self, session: Session, evaluation_id: str) -> Evaluation | None:
        known = self._evaluations.get(evaluation_id)
        if known is not None:
            return known
        found = session.get(
            Evaluation,
            (self._organization_id, evaluation_id),
            options=[joinedload(Evaluation.config), subqueryload(Evaluation.evaluators)],
        )
        if found is not None:
            if len(self._evaluations) >= _REMEMBERED:
                self._evaluations.clear()
            self._evaluations[evaluation_id] = found
        return found

    def _generate(self, evaluation: Evaluation, case: EvaluationTestcase) -> str | None:
        """Ask the provider, and keep the log; return its id, or None if nothing is kept."""
        outcome = self._ask(evaluation, case)
        if outcome is None:
            return None
        version = case.version
        content: dict[str, Any] = {"inputs": version.inputs or {}, "messages": version.messages}
        request = {**content, "source": SOURCE}
        draft = arrivals.Draft(request, ("testcase",), **outcome)
        draft.place = arrivals.Place(evaluation.project_id, evaluation.config_id)

        def write(session: Session) -> str | None:
            mine = self._mine(session, case, GENERATE)
            if mine is None:
                return None
            call = Call.without_request(session, Account("", self._organization_id))
            arrivals.Arrival().write(call, [draft], call.tally)
            mine.stage, mine.log_id = EVALUATE, draft.id
            mine.failed = outcome.get("error") is not None
            return draft.id

        return self._database.write(write)

    def _ask(self, evaluation: Evaluation, case: EvaluationTestcase) -> dict[str, Any] | None:
        """Return the log's columns for the provider's answer; None if the server stops."""
        version, config = case.version, evaluation.config
        keys = self._evaluating.keys(evaluation.id)
        if evaluation.keys_owner is not None and keys is None:
            return {"error": _LOST_KEYS}
        body: dict[str, Any] = {
            "inputs": version.inputs or {},
            "messages": version.messages or [],
            "provider_api_keys": keys or {},
        }
        task = _task(config.parameters, version.messages)
        try:
            found, request = prompts.ask(self._settings, task, config, body, ("config",))
        except RequestError as error:
            return {"error": f"Not generated: {error.detail}."}
        if request.prompt is None and not request.messages:
            return {"error": _NOTHING_TO_SEND}
        request = replace(request, cancellation=self._stopping)
        sample = Sample(self._organization_id, "", config.id, found.name, found.provider, request)
        with suppress(RequestError):  # the sample keeps the error
            for _ in sample.run():
                if self._stopping.cancelled:
                    return None
        given_up = sample.ending is None and sample.error is None
        return None if given_up else sample.outcome()

    def _judge(self, evaluation: Evaluation, case: EvaluationTestcase, log_id: str) -> None:
        """Let each evaluator judge a log, and keep all results."""
        with self._database.read() as session:
            log = self._log(session, log_id)
        testcase = testcases.describe(case.version, evaluation.testset_id)
        results: list[dict[str, Any]] = []
        for part in evaluation.evaluators:
            outcome = self._score(part.evaluator, log, testcase)
            if outcome is None:
                return
            failure = outcome if isinstance(outcome, Failure) else None
            results.append(
                {
                    "organization_id": self._organization_id,
                    "evaluation_id": evaluation.id,
                    "testcase_id": case.testcase_id,
                    "evaluator_id": part.evaluator_id,
                    "id": new_id(EvaluationResult.id_prefix or ""),
                    "log_id": log_id,
                    "value": outcome if failure is None else None,
                    "error": None if failure is None else storable(failure.text),
                    "updated_at": now(),
                }
            )

        def write(session: Session) -> None:
            mine = self._mine(session, case, EVALUATE)
            if mine is not None:
                session.execute(insert(table(EvaluationResult)), results)
                mine.stage = mine.owner = None

        self._database.write(write)

    def _log(self, session: Session, log_id: str) -> dict[str, Any] | None:
        owned = (Log.organization_id == self._organization_id, Log.id == log_id, is_complete())
        log = session.scalar(select(Log).options(*logs.LOADED).where(*owned))
        if log is None:
            return None
        return {**logs.describe(log), "model_config": configs.describe(log.config)}

    def _score(
        self,
        evaluator: Mapping[str, Any],
        log: Mapping[str, Any] | None,
        testcase: Mapping[str, Any],
    ) -> Score | Failure | None:
        """Return an evaluator's score or failure; None if the server stops."""
        with_testcase = evaluators.needs_target(evaluator)
        if log is None:
            return Failure("Not evaluated: the datapoint was deleted.")
        if log.get("error") is not None:
            return Failure(f"Not evaluated, since there is no output: {log['error']}")
        if with_testcase and "target" not in testcase:
            return Failure("Not evaluated: the evaluator needs a target, which the testcase lacks.")
        if self._stopping.cancelled:
            return None
        given = {key: log.get(key) for key in _LOG_KEYS} | {"model_config": log["model_config"]}
        try:
            return self._evaluating.engine.run(
                evaluator["code"],
                given,
                {key: testcase.get(key) for key in _TESTCASE_KEYS} if with_testcase else None,
                returns=evaluator["return_type"],
            )
        except EngineUnavailable as error:
            return None if self._stopping.cancelled else Failure(f"Not evaluated: {error}")
        except Exception:
            logger.exception("the evaluator %r: internal error", evaluator["id"])
            return Failure(_INTERNAL)

    def _mine(
        self, session: Session, case: EvaluationTestcase, stage: str
    ) -> EvaluationTestcase | None:
        """Return a testcase's row, locked, if this process still owns it and it is at the stage."""
        key = (self._organization_id, case.evaluation_id, case.testcase_id)
        found = session.get(EvaluationTestcase, key, with_for_update=True)
        if found is None or (found.owner, found.stage) != (self._evaluating.worker_id, stage):
            return None
        return found
