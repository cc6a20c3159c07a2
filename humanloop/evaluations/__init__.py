"""Evaluations from the client: wait for one, run one with a function of your own, compare two.

`client.evaluations` has the methods; these are the types of what they return.
"""

from __future__ import annotations

from humanloop.evaluations.report import EvaluationReport, EvaluationRow, EvaluatorScore

__all__ = ["EvaluationReport", "EvaluationRow", "EvaluatorScore"]
