"""Faults of a source are reported with their place before it is used."""

from __future__ import annotations

import pytest

from humanloop.server.evaluation.engine import Engine, Returns

GOOD = "def evaluate(log):\n    return True\n"


@pytest.mark.parametrize(
    ("source", "line", "column", "message", "caret"),
    [
        (
            "def f(log):\n    return log['output'] +\n",
            2, 27, "Expected an expression", "    return log['output'] +\n" + " " * 26 + "^",
        ),
        (
            "def f(log) -> bool:\n    return 'x'\n",
            2, 12, "Return type does not match returned value",
            "    return 'x'\n           ^^^",
        ),
        (
            "def f(log):\n\treturn '日本' + 1\n",
            2, 9, "Operator `+` is not supported",
            "\treturn '日本' + 1\n\t       ^^^^^^^^",
        ),
        (
            "import numpy\n" + GOOD,
            1, 8, "Cannot resolve imported module `numpy`", "import numpy\n       ^^^^^",
        ),
        (
            "def f(log):\n    yield True\n",
            2, 5, "NotImplementedError: The monty syntax parser does not yet support yield",
            "    yield True\n    ^^^^^^^^^^",
        ),
        (
            "rate = 1 / 0\n" + GOOD,
            1, 8, "ZeroDivisionError: division by zero", "rate = 1 / 0\n       ^^^^^",
        ),
        ("x = 1\n", 1, 1, "the source has no function at its top level", "x = 1\n^"),
        ("", 1, 1, "the source has no function at its top level", "\n^"),
        (
            "async def f(log):\n    return True\n",
            1, 11, "the evaluator f() must be a plain function, not an async one",
            "async def f(log):\n          ^",
        ),
        (
            "def rate(log, *, least):\n    return True\n",
            1, 5, "rate() is called by position, but needs these by name: least",
            "def rate(log, *, least):\n    ^^^^",
        ),
        (
            "a = '\ud800'\n" + GOOD,
            1, 6, "the source is not valid Unicode: it has a lone surrogate",
            "a = '\ufffd'\n     ^",
        ),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place(
    engine: Engine, source: str, line: int, column: int, message: str, caret: str
) -> None:
    problem = engine.check(source)[0]
    assert (problem.line, problem.column) == (line, column)
    assert problem.message.startswith(message)
    assert problem.caret == caret
    assert str(problem).startswith(f"line {line}, column {column}: {message}")


@pytest.mark.parametrize(
    ("parameters", "takes", "log_alone", "with_testcase"),
    [
        ("", "0 arguments", False, False),
        ("log", "1 argument", True, False),
        ("log, testcase", "2 arguments", False, True),
        ("log, testcase=None", "1 to 2 arguments", True, True),
        ("log=1, testcase=None, more=3", "", True, True),
        ("a, b, c", "3 arguments", False, False),
        ("a, b, c, *rest", "at least 3 arguments", False, False),
        ("*both", "", True, True),
        ("**names", "0 arguments", False, False),
        ("log, *, least=1", "1 argument", True, False),
        ("log, key=lambda a, b: (a, b)", "1 to 2 arguments", True, True),
    ],
)
def test_the_function_takes_what_it_is_called_with(
    engine: Engine, parameters: str, takes: str, log_alone: bool, with_testcase: bool
) -> None:
    source = f"def evaluate({parameters}):\n    return True\n"
    assert bool(engine.check(source, with_testcase=False)) is not log_alone
    assert bool(engine.check(source, with_testcase=True)) is not with_testcase
    assert bool(engine.check(source)) is not (log_alone or with_testcase)
    for problem in engine.check(source, with_testcase=not log_alone):
        assert problem.message.endswith(f"but takes {takes}")


def test_all_problems_are_told_at_once(engine: Engine) -> None:
    source = "def f(log):\n    a: int = 'x'\n    return missing\n"
    assert [problem.line for problem in engine.check(source)] == [2, 3]


def test_warnings_are_no_problems(engine: Engine) -> None:
    assert engine.check("x = 1  # type: ignore\n" + GOOD) == []
    [problem] = engine.check("import string\nx = 1 / 0  # type: ignore\n" + GOOD)
    assert (problem.line, problem.column) == (2, 5)
    assert problem.message == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    "source",
    [
        "def f(log):\n    return log['output'].lower() == 'x' or len(log['feedback']) > 2.5\n",
        "def f(log: dict, testcase: dict) -> bool:\n    return testcase['target'] == log\n",
        "from typing import Any\ndef f(log: dict[str, Any]) -> float:\n    return log['a'] / 2\n",
        "import json, math, re, datetime, collections, itertools, functools, random\n" + GOOD,
        "import statistics, difflib, string, operator\n" + GOOD,
        "def f(log):\n    return sum(map(len, filter(None, log['words']))) > 1\n",
        "def f(log):\n    return format(1.5, '.2f') == '1.50' and hasattr(log, 'get')\n",
        "import re\ntry:\n    import re\nexcept ImportError:\n    pass\n" + GOOD,
    ],
)
def test_common_evaluators_have_none(engine: Engine, source: str) -> None:
    assert engine.check(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "from __future__ import annotations\n" + GOOD,
        "'''Judge.'''\nfrom __future__ import (annotations,\n    division)  # both\n" + GOOD,
        "from __future__ import annotations; import math\n" + GOOD,
        "\ufefffrom __future__ import annotations\r\n" + GOOD,
        "\ufeff" + GOOD,
        "\f" + GOOD,
        "\f\nimport math\n\f" + GOOD,
    ],
)
def test_what_means_nothing_at_the_start_is_accepted(engine: Engine, source: str) -> None:
    assert engine.check(source) == []
    assert engine.run(source, {}) is True


def test_lines_count_from_the_source_as_it_came(engine: Engine) -> None:
    source = "\ufefffrom __future__ import (\n    annotations,\n)\nx = 1 / 0\n" + GOOD
    [problem] = engine.check(source)
    assert (problem.line, problem.column) == (4, 5)


def test_a_string_keeps_what_looks_like_an_import(engine: Engine) -> None:
    source = "TEXT = '''\nfrom __future__ import annotations'''\ndef f(log): return len(TEXT)\n"
    assert engine.run(source, {}) == 35


@pytest.mark.parametrize(
    ("annotation", "accepted"),
    [
        ("bool", [None, "boolean"]),
        ("'bool'", [None, "boolean"]),
        ("float", [None, "number"]),
        ("Decimal", [None, "number"]),
        ("int", [None, "boolean", "number"]),
        ("bool | float", [None, "boolean", "number"]),
        ("str", []),
        ("dict[str, int]", []),
        ("None", []),
    ],
)
def test_the_annotation_must_not_contradict_the_score(
    engine: Engine, annotation: str, accepted: list[Returns | None]
) -> None:
    head = "from decimal import Decimal\n"
    source = f"{head}def f(log) -> {annotation}:\n    return log['x']\n"
    every: tuple[Returns | None, ...] = (None, "boolean", "number")
    assert [each for each in every if not engine.check(source, returns=each)] == accepted
    for problem in engine.check(source, returns="boolean"):
        assert (problem.line, problem.column) == (2, 5)
        assert problem.message.startswith("f() must return a boolean, but is annotated with ")


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("return str.maketrans('a', 'b') == {}", 16, "the sandbox has no `maketrans`: use "),
        ("return 'a'.translate({97: 'b'}) == 'b'", 16, "the sandbox has no `translate`: use "),
        ("return '{a}'.format_map({}) == ''", 18, "the sandbox has no `format_map`: use "),
        ("return {1}.difference_update({2})", 16, "the sandbox has no `difference_update`: use"),
        ("return re.subn('a', 'b', 'c')[1]", 15, "the sandbox has no `subn`: use sub, and"),
        ("return re.VERBOSE > 1", 15, "the sandbox's module `re` has no `VERBOSE`"),
        ("return d.UTC is not None", 14, "the sandbox's module `datetime` has no `UTC`"),
        ("return re.sub('o', lambda m: 'x', 'foo') == ''", 15, "the sandbox's `sub` takes no f"),
        ("return re.sub('o', repl=lambda m: 'x', string='foo') == ''", 15, "the sandbox's `sub`"),
        ("return re.compile('o').sub(swap, 'foo') == ''", 28, "the sandbox's `sub` takes no func"),
    ],
)
def test_what_would_fail_at_every_run_is_refused(
    engine: Engine, line: str, column: int, message: str
) -> None:
    source = f"import re, datetime as d\ndef swap(m): return 'x'\ndef f(log):\n    {line}\n"
    problem = engine.check(source)[0]
    assert (problem.line, problem.column) == (4, column)
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    "body",
    [
        "return re.sub('o', 'x', 'foo') == operator.add('f', 'xx')",
        "return len(re.sub(log['a'], log['b'], log['c'], flags=re.IGNORECASE | re.M | re.S))",
        "return len(sorted(re.sub('a', 'b', 'c'), key=lambda each: each))",
        "return log['tools'].sub(1, 2) or log['re'].subtract",
        "return Text().translate() == Text.translate",
        "return re.subn('a', 'b', 'c') if hasattr(re, 'subn') else 0",
        "a: typing.Sized = log['a']\n    return math.pi + math.sqrt(statistics.mean([1]))",
        "return json.loads(log['a'])['b'] == datetime.datetime.now().isoformat()",
    ],
)
def test_what_only_looks_like_it_is_accepted(engine: Engine, body: str) -> None:
    head = "import datetime, json, math, operator, re, statistics, typing\n"
    own = "class Text:\n    def translate(self):\n        return 1\n"
    assert engine.check(f"{head}{own}def f(log):\n    {body}\n") == []


SCORES = "    scores = {'a': 'b'}\n"


@pytest.mark.parametrize(
    "body",
    [
        "    return float(re.search(r'\\d+', log['output']).group(0))",
        "    return len(re.search('a', log['output'])[0])",
        "    return float(re.search('a', 'a')[0] or 1)",
        "    return sum(map(int, re.match('(1)', '1').groups()))",
        SCORES + "    return len(scores.get('a'))",
        SCORES + "    return scores.get('a') > 'a'",
        SCORES + "    return int(scores.get('a'))",
        SCORES + "    return len(','.join(scores.get('a')))",
        SCORES + "    return [each for each in scores.get('a')] == []",
        SCORES + "    text: str = scores.get('a')\n    return text == ''",
        "    return {'a': len}.get('a')('b')",
        "    return -{'a': 1}.get('a')",
        "    best = None\n    for each in log['output']:\n        best = each\n    return best + 1",
        "    x = 1 if log['output'] else 'a'\n    return x.upper() == 'A'",
        "    def g(x: str = None) -> str:\n        return x\n    return len(g('a'))",
    ],
)
def test_what_fails_for_some_values_only_is_accepted(engine: Engine, body: str) -> None:
    assert engine.check(f"import re\ndef f(log):\n{body}\n") == []


@pytest.mark.parametrize(
    "body",
    [
        "    return len(None)",
        "    x = None\n    return x.foo",
        "    return None + 1",
        "    return int([1])",
        "    return (5).upper()",
        "    x: str = [1, 'a']\n    return len(x)",
        "    return len('a', 'b')",
        "    return re.serach('a', 'b') is None",
        "    return 5[0]",
        "    return 5()",
    ],
)
def test_what_fails_for_all_values_is_refused(engine: Engine, body: str) -> None:
    assert engine.check(f"import re\ndef f(log):\n{body}\n")


def test_the_top_level_runs_within_the_limits(engine: Engine) -> None:
    [problem] = engine.check("while True:\n    pass\n" + GOOD)
    assert problem.message == "TimeoutError: the evaluator takes longer than 1 s"


def test_a_long_line_is_shown_in_part(engine: Engine) -> None:
    [problem] = engine.check("x = " + "'a' + " * 40 + "1\n" + GOOD)
    shown, carets = problem.caret.split("\n")
    assert len(shown) <= 100
    assert set(carets) <= {" ", "^"}
    assert len(carets) <= 100


def test_what_would_break_the_picture_is_replaced(engine: Engine) -> None:
    [problem] = engine.check("x: int = '\x1b[2J\u202e'\n" + GOOD)
    assert problem.caret == "x: int = '\ufffd[2J\ufffd'\n         ^^^^^^^"
