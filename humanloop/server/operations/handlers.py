"""The handler of each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from humanloop.server.operations import (
    chats,
    completions,
    evaluations,
    evaluators,
    experiments,
    feedback,
    logs,
    model_configs,
    projects,
    prompts,
    sessions,
    testcases,
    testsets,
)
from humanloop.server.operations.calls import Call


@dataclass(frozen=True)
class Handler:
    """The handler of an operation; a handler that only reads does not wait for the writer.

    It may run again after its transaction was rolled back, so it has no effect outside of it. It
    returns the answer as plain data, or in Afterwards; or a Generation, whose answer is made after
    the transaction; or Stages, whose answer takes several transactions.

    prepare: computes from the body whatever needs no database, before the transaction.
    large_pages: the records of its lists may be large, so only a few are made at a time.
    nullable: the keys of the body that a null clears, whatever the schema says.
    """

    run: Callable[[Call], Any]
    only_reads: bool = False
    prepare: Callable[[Any], Any] | None = None
    large_pages: bool = False
    nullable: frozenset[str] = frozenset()


HANDLERS: Mapping[str, Handler] = {
    f"{tag}.{name}": Handler(partial(prompts.begin, task=task, choose=choose))
    for tag, task in (("chats", chats.CHAT), ("completions", completions.COMPLETION))
    for name, choose in {
        "create": prompts.given,
        "create_deployed": prompts.deployed,
        "create_experiment": prompts.sampled,
        "create_model_config": prompts.registered,
    }.items()
} | {
    "evaluations.create": Handler(evaluations.create),
    "evaluations.get": Handler(evaluations.get, only_reads=True),
    "evaluations.list_all_for_project": Handler(
        evaluations.list_, only_reads=True, large_pages=True
    ),
    "evaluations.list_testcases": Handler(
        evaluations.list_testcases, only_reads=True, large_pages=True
    ),
    "evaluators.create": Handler(evaluators.create),
    "evaluators.delete": Handler(evaluators.delete),
    "evaluators.list": Handler(evaluators.list_, only_reads=True),
    "evaluators.update": Handler(evaluators.update),
    "experiments.create": Handler(experiments.create),
    "experiments.delete": Handler(experiments.delete),
    "experiments.list": Handler(experiments.list_, only_reads=True, large_pages=True),
    "experiments.sample": Handler(experiments.sample),
    "experiments.update": Handler(experiments.update),
    "feedback_api.feedback": Handler(feedback.submit),
    "logs.log": Handler(logs.log, prepare=logs.draft),
    "logs.update": Handler(logs.update),
    "logs.update_by_ref": Handler(logs.update_by_ref),
    "model_configs.get": Handler(model_configs.get, only_reads=True),
    "model_configs.register": Handler(model_configs.register),
    "projects.create": Handler(projects.create),
    "projects.create_feedback_type": Handler(projects.create_feedback_type),
    "projects.deactivate_config": Handler(projects.deactivate_config),
    "projects.deactivate_experiment": Handler(projects.deactivate_experiment),
    "projects.delete_deployed_config": Handler(projects.delete_deployed_config),
    "projects.deploy_config": Handler(projects.deploy_config),
    "projects.export": Handler(projects.export, only_reads=True, large_pages=True),
    "projects.get": Handler(projects.get, only_reads=True),
    "projects.get_active_config": Handler(projects.get_active_config, only_reads=True),
    "projects.list": Handler(projects.list_, only_reads=True, large_pages=True),
    "projects.list_configs": Handler(projects.list_configs, only_reads=True, large_pages=True),
    "projects.list_deployed_configs": Handler(projects.list_deployed_configs, only_reads=True),
    "projects.update": Handler(projects.update),
    "projects.update_feedback_types": Handler(projects.update_feedback_types),
    "sessions.create": Handler(sessions.create),
    "sessions.get": Handler(sessions.get, only_reads=True),
    "sessions.list": Handler(sessions.list_, only_reads=True, large_pages=True),
    "testcases.delete": Handler(testcases.delete),
    "testcases.get": Handler(testcases.get, only_reads=True),
    "testcases.update": Handler(testcases.update, nullable=frozenset(testcases.CONTENT)),
    "testsets.create": Handler(testsets.create),
    "testsets.create_testcase": Handler(testsets.create_testcases, prepare=testsets.draft),
    "testsets.delete": Handler(testsets.delete),
    "testsets.get": Handler(testsets.get, only_reads=True),
    "testsets.list_all_for_project": Handler(testsets.list_, only_reads=True),
    "testsets.list_testcases": Handler(testsets.list_testcases, only_reads=True, large_pages=True),
    "testsets.update": Handler(testsets.update, nullable=frozenset({"description"})),
}
"""The handlers by the operation's name."""
