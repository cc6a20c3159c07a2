"""The calls of evaluators, and their allowed scores."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from humanloop.server.evaluation.engine import Engine, Failure, Limits, Returns
from humanloop.server.evaluation.engines import open_engine

LOG: dict[str, Any] = {
    "id": "data_1",
    "model_config": {"model": "gpt-4", "temperature": 0.5},
    "inputs": {"topic": "bees"},
    "output": "Bees hum.",
    "provider_latency": Decimal("0.25"),
    "metadata": None,
    "created_at": "2024-01-02T03:04:05Z",
    "feedback": [{"type": "rating", "value": "good"}],
}
TESTCASE = {"id": "evtc_1", "inputs": {"topic": "bees"}, "target": {"output": "Bees hum."}}


def returning(expression: str) -> str:
    return f"def evaluate(log):\n    return {expression}\n"


def text_of(outcome: object) -> str:
    assert isinstance(outcome, Failure)
    return outcome.text


@pytest.mark.parametrize(
    ("expression", "score"),
    [
        ("log['output'].startswith('Bees')", True),
        ("log['inputs']['topic'] == 'ants'", False),
        ("len(log['output'])", 9),
        ("log['provider_latency'] * 2", 0.5),
        ("log['model_config']['temperature'] + 1", 1.5),
        ("len(log['feedback'])", 1),
        ("log['metadata'] is None", True),
        ("sorted(log) == ['created_at', 'feedback', 'id', 'inputs', 'metadata', 'model_config',"
         " 'output', 'provider_latency']", True),
        ("log.get('nothing', 7)", 7),
        ("-(2**53)", -(2**53)),
        ("2**60", float(2**60)),
        ("10**300", 1e300),
    ],
)  # fmt: skip
def test_an_evaluator_gets_the_log_and_returns_a_score(
    engine: Engine, expression: str, score: object
) -> None:
    result = engine.run(returning(expression), LOG)
    assert (type(result), result) == (type(score), score)


def test_a_decimal_is_a_number(engine: Engine) -> None:
    source = "from decimal import Decimal\n" + returning("Decimal('1.5')")
    assert engine.run(source, LOG, returns="number") == 1.5


@pytest.mark.parametrize(
    ("parameters", "expression", "alone", "with_testcase"),
    [
        ("log", "len([log])", 1, 1),
        ("log, testcase=None", "2 if testcase is None else 3", 2, 3),
        ("log, limit: 'dict[str, int]' = {'a': 1, 'b': 2}, *, k=1", "k", 1, 1),
        ("*both", "len(both)", 1, 2),
        ("log, /, *rest, **names", "1 + len(rest)", 1, 2),
    ],
)
def test_the_testcase_comes_second_where_there_is_one_and_it_is_taken(
    engine: Engine, parameters: str, expression: str, alone: int, with_testcase: int
) -> None:
    source = f"def evaluate({parameters}):\n    return {expression}\n"
    assert engine.check(source) == []
    assert engine.run(source, LOG) == alone
    assert engine.run(source, LOG, TESTCASE) == with_testcase


def test_both_come_by_position(engine: Engine) -> None:
    source = "def f(a, b, more=lambda x, y: x):\n    return a['output'] == b['target']['output']"
    assert engine.run(source, LOG, TESTCASE, returns="boolean") is True


def test_the_last_function_at_the_top_level_is_called(engine: Engine) -> None:
    source = '''
import re
def helper(text):
    def inner(log):
        return 0
    return len(re.findall(r"\\w+", text))
"""
def quoted(log):
    return 1
"""
def evaluate(
    log,
):
    return helper(log["output"])
class After:
    def method(self, log):
        return 3
threshold = 2
'''
    assert engine.check(source) == []
    assert engine.run(source, LOG) == 2


@pytest.mark.parametrize(
    "source",
    [
        'def f(log): return f"{log["output"]}" == log[\'output\']',
        "def f(log):\r\n    return True\r\n",
        "x = '''\ndef g(): '''\ndef f(log): return True\n# def h(log):",
        "def f(log): return True\nlambda_ = [\n1]\n",
    ],
)
def test_functions_are_found_in_syntax_newer_than_the_server_s(engine: Engine, source: str) -> None:
    assert engine.run(source, LOG) is True


@pytest.mark.parametrize(
    ("expression", "returns", "text"),
    [
        ("None", None, "TypeError: the evaluator must return a boolean or a number, not NoneType"),
        ("'True'", None, "TypeError: the evaluator must return a boolean or a number, not str"),
        ("[1]", None, "TypeError: the evaluator must return a boolean or a number, not list"),
        ("1j", "number", "TypeError: the evaluator must return a number, not complex"),
        ("True", "number", "TypeError: the evaluator must return a number, not bool"),
        ("1", "boolean", "TypeError: the evaluator must return a boolean, not int"),
        ("log", "boolean", "TypeError: the evaluator must return a boolean, not dict"),
        ("float('nan')", None, "ValueError: the evaluator must return a finite number, not nan"),
        ("-1e999", None, "ValueError: the evaluator must return a finite number, not -inf"),
        ("10**400", None, "OverflowError: the evaluator returned a number that is too large"),
        ("-(10**5000)", None, "OverflowError: the evaluator returned a number that is too large"),
    ],
)
def test_anything_else_is_a_failure(
    engine: Engine, expression: str, returns: Returns | None, text: str
) -> None:
    assert text_of(engine.run(returning(expression), LOG, returns=returns)) == text


def test_a_decimal_that_is_no_finite_number_is_a_failure(engine: Engine) -> None:
    for text in ("NaN", "Infinity", "1e400", "sNaN"):
        source = "from decimal import Decimal\n" + returning(f"Decimal('{text}')")
        assert text_of(engine.run(source, LOG)).startswith("ValueError: ")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = 1\n", "the source has no function at its top level"),
        ("", "the source has no function at its top level"),
        (returning("log['nothing']"), "line 2: KeyError: nothing"),
        ("def f(log):\n    def g():\n        return 1 / 0\n    return g()",
         "line 3: ZeroDivisionError: division by zero"),
        ("import numpy\n" + returning("True"),
         "line 1: ModuleNotFoundError: No module named 'numpy'"),
        ("def f(log, testcase):\n    return True",
         "f() is called with (log), but takes 2 arguments"),
        ("def f():\n    return True", "f() is called with (log), but takes 0 arguments"),
        ("def f(log):\n    return (", "line 2: SyntaxError: unexpected EOF while parsing"),
        ("f = 1\ndef g(log): return True\ng = 5", "TypeError: 'int' object is not callable"),
    ],
)  # fmt: skip
def test_an_error_of_the_source_is_told_with_its_line(
    engine: Engine, source: str, text: str
) -> None:
    assert text_of(engine.run(source, LOG)) == text


def test_nothing_stays_from_one_run_to_the_next(engine: Engine) -> None:
    source = (
        "seen = []\ndef f(log):\n    seen.append(1)\n    log['output'] = 'x'\n    return len(seen)"
    )
    log = {"output": "unchanged"}
    assert [engine.run(source, log) for _ in range(5)] == [1] * 5
    assert log == {"output": "unchanged"}


@pytest.mark.parametrize("name", ["isinstance", "type", "bool", "float", "str", "loads", "json"])
def test_the_names_of_builtins_may_be_used_otherwise(engine: Engine, name: str) -> None:
    assert engine.run(f"def {name}(*given):\n    return 1\n" + returning("2.5"), LOG) == 2.5


def test_texts_are_unicode_and_a_lone_surrogate_is_replaced(engine: Engine) -> None:
    log = {"output": "\ud800 \U0001f600 \\ud800 \x00"}
    assert engine.run(returning("log['output'] == '\\ufffd \\U0001f600 \\\\ud800 \\x00'"), log)


def test_values_are_as_deep_as_the_api_takes_them(engine: Engine) -> None:
    deep: Any = "bottom"
    for _ in range(190):
        deep = {"a": deep}
    source = "def f(log):\n    while isinstance(log, dict):\n        log = log['a']\n"
    assert engine.run(source + "    return log == 'bottom'", deep) is True


def test_limits_are_configured() -> None:
    engine = open_engine(Limits(seconds=0.2, recursion=20, result_bytes=20, source_bytes=100))
    try:
        assert text_of(engine.run(returning("sum(range(10**12))"), LOG)) == "TimeoutError: the..."
        assert (
            text_of(engine.run(returning("1 +" + "0 +" * 100 + "1"), LOG)) == "the source is lon..."
        )
        [problem] = engine.check(returning("1" * 100))
        assert problem.message == "the source is longer than 100 bytes"
    finally:
        engine.close()
