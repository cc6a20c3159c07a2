"""The sandbox's replacements for standard library modules give the results of the real ones."""

from __future__ import annotations

import difflib
import operator
import statistics
import string
from typing import Any

import pytest

from humanloop.server.evaluation.engine import Engine, Failure

REAL = {"difflib": difflib, "operator": operator, "statistics": statistics, "string": string}
TEXTS = ("the quick brown fox", "a quick brown ox jumps")
LINES = (["one\n", "two\n", "three\n"], ["ore\n", "tree\n", "emu\n"])

EXPRESSIONS = [
    "statistics.mean([1, 2, 4.5])",
    "statistics.mean([1, 2, 3])",
    "statistics.mean([True, False])",
    "statistics.mean({'a': 1, 'b': 4}.values())",
    "statistics.mean(range(10))",
    "statistics.mean(x / 3 for x in (1, 2, 5))",
    "statistics.fmean([1, 2, 4])",
    "statistics.geometric_mean([1, 2, 4])",
    "statistics.harmonic_mean([1, 2, 4])",
    "statistics.median([3, 1, 2, 10])",
    "statistics.median_low([3, 1, 2, 10]) + statistics.median_high((3, 1, 2, 10))",
    "len(statistics.mode(['red', 'blue', 'red']))",
    "len(statistics.multimode('aabb'))",
    "sum(statistics.quantiles([1, 2, 3, 4, 5], n=10, method='inclusive'))",
    "statistics.stdev([1, 2, 4]) + statistics.pstdev([1, 2, 4], 2)",
    "statistics.variance([1, 2, 4], 2.5) + statistics.pvariance([1, 2, 4])",
    "statistics.covariance([1, 2, 3], [1, 2, 4])",
    "statistics.correlation([1, 2, 3], [1, 2, 4])",
    "statistics.linear_regression([1, 2, 3], [1, 2, 4]).slope",
    "statistics.linear_regression([1, 2, 3], [1, 2, 4])[1]",
    "difflib.SequenceMatcher(None, *TEXTS).ratio()",
    "difflib.SequenceMatcher(None, *TEXTS).quick_ratio()",
    "difflib.SequenceMatcher(None, *TEXTS).real_quick_ratio()",
    "difflib.SequenceMatcher(a=TEXTS[0].split(), b=TEXTS[1].split()).ratio()",
    "difflib.SequenceMatcher(None, 'ab' * 300, 'ba' * 300).ratio()",
    "difflib.SequenceMatcher(None, 'ab' * 300, 'ba' * 300, autojunk=False).ratio()",
    "sum(each.size for each in difflib.SequenceMatcher(None, *TEXTS).get_matching_blocks())",
    "len([1 for tag, *_ in difflib.SequenceMatcher(None, *TEXTS).get_opcodes() if tag == 'equal'])",
    "difflib.SequenceMatcher(None, *TEXTS).find_longest_match(0, 19, 0, 22).a",
    "difflib.SequenceMatcher(None, *TEXTS).find_longest_match().b",
    "difflib.get_close_matches('appel', ['ape', 'apple', 'peach']) == ['apple', 'ape']",
    "len(''.join(difflib.unified_diff(*LINES, fromfile='a', tofile='b', n=1)))",
    "len(''.join(difflib.context_diff(*LINES, lineterm='')))",
    "len(''.join(difflib.ndiff(*LINES)))",
    "len(next(difflib.ndiff(*LINES)))",
    "string.ascii_letters + string.digits == string.ascii_lowercase + string.ascii_uppercase + "
    "string.digits",
    "len(string.punctuation + string.printable + string.whitespace)",
    "len(string.hexdigits + string.octdigits)",
    "string.capwords('  the quick  fox ') == 'The Quick Fox'",
    "string.capwords('a-b', '-') == 'A-B'",
    "sorted([[2, 'b'], [1, 'c']], key=operator.itemgetter(0))[0][0]",
    "operator.itemgetter(1, 0)('ab') == ('b', 'a')",
    "operator.attrgetter('slope', 'intercept')(statistics.linear_regression([1, 2], [3, 5]))[0]",
    "operator.countOf([1, 2, 1], 1) + operator.indexOf([1, 2], 2)",
    "operator.contains('abc', 'b') and operator.not_(0) and operator.truth([1])",
    "operator.add(1, 2) * operator.sub(5, 1) / operator.truediv(1, 4) - operator.mod(7, 4)",
    "operator.pow(2, 5) + operator.floordiv(7, 2) + operator.neg(3) + operator.abs(-2)",
    "operator.lt(1, 2) and operator.le(1, 1) and operator.eq(1, 1) and operator.ne(1, 2)",
    "operator.ge(2, 1) and operator.gt(2, 1) and operator.is_(None, None)",
    "operator.and_(6, 3) + operator.or_(6, 3) + operator.xor(6, 3) + operator.lshift(1, 3)",
    "operator.getitem([1, 2], 1) + operator.concat([1], [2])[1]",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_it_is_as_the_real_one(engine: Engine, expression: str) -> None:
    source = (
        "import difflib, operator, statistics, string\n"
        f"TEXTS = {TEXTS!r}\nLINES = {LINES!r}\ndef f(log):\n    return {expression}\n"
    )
    names: dict[str, Any] = {**REAL, "TEXTS": TEXTS, "LINES": LINES}
    expected = eval(expression, names)
    assert engine.check(source) == []
    result = engine.run(source, {})
    assert (type(result), result) == (type(expected), expected)


@pytest.mark.parametrize(
    "source",
    [
        "from statistics import mean\ndef f(log): return mean([1, 3])",
        "import statistics as s\ndef f(log): return s.mean([1, 3])",
        "def f(log):\n    import statistics\n    return statistics.mean([1, 3])",
        "from difflib import SequenceMatcher as S\ndef f(log): return S(b='a', a='a').ratio() * 2",
        "from operator import mul\nfrom functools import reduce\n"
        "def f(log): return reduce(mul, [1, 2])",
        "from string import digits\ndef f(log): return digits.index('2')",
    ],
)
def test_it_is_imported_in_every_way(engine: Engine, source: str) -> None:
    assert engine.check(source) == []
    assert engine.run(source, {}) == 2


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("statistics.mean([])", "ValueError: mean requires at least one data point"),
        ("statistics.variance([1])", "ValueError: variance requires at least two data points"),
        ("statistics.fmean(['a'])", "TypeError: expected a number, got str"),
        ("difflib.get_close_matches('a', ['b'], n=0)", "ValueError: n must be > 0: 0"),
        ("operator.indexOf([1], 2)", "ValueError: sequence.index(x): x not in sequence"),
    ],
)
def test_its_errors_are_told_at_the_line_that_calls_it(
    engine: Engine, expression: str, text: str
) -> None:
    source = f"import statistics, difflib, operator\ndef f(log):\n    return {expression}\n"
    outcome = engine.run(source, {})
    assert isinstance(outcome, Failure)
    assert outcome.text.startswith(f"line 3: {text}")


def test_what_calls_back_is_told_to_use_a_list(engine: Engine) -> None:
    source = (
        "import statistics\ndef f(log):\n"
        "    return max([[1], [2]], key=lambda each: statistics.mean(each))[0]\n"
    )
    outcome = engine.run(source, {})
    assert isinstance(outcome, Failure)
    assert outcome.text == (
        "line 3: NotImplementedError: statistics and difflib can't be used in a function that is"
        " given to sorted, min, max, map or filter: compute a list first"
    )


def test_its_errors_can_be_caught(engine: Engine) -> None:
    source = (
        "import statistics\ndef f(log):\n    try:\n        return statistics.mean([])\n"
        "    except statistics.StatisticsError:\n        return 0\n"
    )
    assert engine.check(source) == []
    assert engine.run(source, {}) == 0


def test_what_it_lacks_is_told_when_the_source_is_checked(engine: Engine) -> None:
    [problem] = engine.check(
        "import statistics\ndef f(log): return statistics.NormalDist(0, 1).mean"
    )
    assert problem.message == "Module `statistics` has no member `NormalDist`"
