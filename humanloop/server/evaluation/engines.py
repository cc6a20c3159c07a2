"""The choice of the engine that runs evaluators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from humanloop.extras import how_to_install
from humanloop.server.evaluation.engine import (
    Engine,
    EngineNotInstalled,
    Failure,
    Limits,
    Returns,
    Sandbox,
    Score,
    SourceProblem,
)


def open_engine(limits: Limits | None = None, sandbox: Sandbox = "none") -> Engine:
    """Return an engine; it starts no process before its first use.

    Without the extra `evaluators`, any use of it raises EngineNotInstalled.

    limits: None means the default limits.
    sandbox: "bwrap" puts each worker into its own namespaces with bubblewrap.

    Raises EngineUnavailable if bubblewrap is wanted and can't be used.
    """
    try:
        from humanloop.server.evaluation.monty import MontyEngine
    except ModuleNotFoundError as error:
        if error.name != "pydantic_monty":
            raise
        return NoEngine()
    return MontyEngine(limits or Limits(), sandbox)


class NoEngine:
    """A stand-in for the engine, whose every use says how to install one."""

    def check(
        self, source: str, *, with_testcase: bool | None = None, returns: Returns | None = None
    ) -> Sequence[SourceProblem]:
        """Raise EngineNotInstalled."""
        raise _not_installed()

    def run(
        self,
        source: str,
        log: Mapping[str, Any],
        testcase: Mapping[str, Any] | None = None,
        *,
        returns: Returns | None = None,
    ) -> Score | Failure:
        """Raise EngineNotInstalled."""
        raise _not_installed()

    def close(self) -> None:
        """Do nothing."""


def _not_installed() -> EngineNotInstalled:
    return EngineNotInstalled(
        "evaluators need the package 'pydantic-monty', which is not installed;"
        f" {how_to_install('evaluators')}"
    )
