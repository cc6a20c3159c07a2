"""Any source ends soon with a clear failure, and the next run gets its answer."""

from __future__ import annotations

import re
import time

import pytest

from humanloop.server.evaluation.engine import Engine, Failure

LONGEST = 60  # seconds: 1 for a run, 5 for a silent worker, and more for a busy machine
OUT_OF_TIME = "TimeoutError: the evaluator takes longer than 1 s"

NO_SCORE = "TypeError: the evaluator must return"

BOMBS = {
    "while True:\n        pass": OUT_OF_TIME,
    "return sum(range(10**12))": OUT_OF_TIME,
    "return len([0 for _ in iter(int, 1)])": "Error",
    "while True:\n        print('x' * 1000)": OUT_OF_TIME,
    "import time\n    while True:\n        time.sleep(0)": "(Runtime|Timeout)Error",
    "import time\n    time.sleep(10)\n    return 1": "TimeoutError: sleep limit",
    "import asyncio\n    return asyncio.run(asyncio.sleep(10))": "TimeoutError: sleep limit",
    "while True:\n        import string": "(Runtime|Timeout)Error",
    # memory
    "return len([0] * 10**9)": "MemoryError",
    "a = [0]\n    while True:\n        a = a + a": "(Memory|Timeout)Error",
    "a = []\n    while True:\n        a = [a, a, a]": "(Memory|Timeout)Error",
    "return len({i: 'x' * 100 for i in range(10**9)})": "(Memory|Timeout)Error",
    "return len('a' * 10**9)": "MemoryError",
    "return len(f'{1:>{10**9}}')": "MemoryError",
    "return len('%1000000000d' % 1)": "MemoryError",
    "return len('x'.join(['y' * 10**6] * 10**5))": "(Memory|Timeout)Error",
    "return len('ab'.replace('a', 'c' * 10**8))": "MemoryError",
    "return 10**10**8 > 0": "MemoryError",
    "return 1 << 10**10": "(Memory|Overflow)Error",
    "return len(str(7**(10**6)))": "Error",
    # the stack
    "return evaluate(log)": "RecursionError",
    "f = lambda x: sorted([1, 2], key=f)\n    return len(f(1))": "RecursionError",
    "import json\n    return len(json.loads('[' * 10**6))": "JSONDecodeError",
    # what leaves the sandbox
    "raise ValueError('x' * 10**7)": "line 2: ValueError: xxx",
    "raise ValueError('\\ud800')": "ValueError",
    "return 'x' * 10**7": NO_SCORE,
    "return [None] * 10**6": NO_SCORE,
    "a = []\n    a.append(a)\n    return a": NO_SCORE,
    # the system
    "return len(open('/etc/passwd').read())": "PermissionError",
    "import pathlib\n    return len(pathlib.Path('/etc/passwd').read_text())": "PermissionError",
    "import os\n    return len(os.listdir('/'))": "PermissionError",
    "open('/tmp/x', 'w').write('x')\n    return 1": "PermissionError",
    "import socket\n    return 1": "ModuleNotFoundError: No module named 'socket'",
    "import subprocess\n    return 1": "ModuleNotFoundError",
    "import ctypes\n    return 1": "ModuleNotFoundError",
    "import os\n    return len(os.environ)": "'os.environ' is not supported",
    "import os\n    return os.getenv('PATH') is None": "'os.getenv' is not supported",
    "import os\n    os.system('id')\n    return 1": "AttributeError",
    # Python's inside
    "return len(().__class__.__mro__)": "AttributeError",
    "return len(object.__subclasses__())": "AttributeError",
    "return len(evaluate.__globals__)": "AttributeError",
    "return len(globals())": "NameError",
    "return __import__('os') is None": "NameError",
    "return input() == ''": "NameError",
    "raise SystemExit(1)": "NotImplementedError: an exception was created with arguments",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "return _host('mean', [1])": "NameError",
}


@pytest.mark.parametrize("body", BOMBS)
def test_a_bomb_is_a_clear_failure_within_the_limits(engine: Engine, body: str) -> None:
    started = time.monotonic()
    outcome = engine.run(f"def evaluate(log):\n    {body}\n", {"output": "x"})
    assert time.monotonic() - started < LONGEST
    assert isinstance(outcome, Failure), outcome
    assert len(outcome.text.encode()) <= 64 * 1024
    assert re.search(BOMBS[body], outcome.text), outcome.text[:300]
    assert engine.run("def f(log): return 1", {}) == 1


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+$", "a" * 60 + "b"),
        (r"(a|a)*$", "a" * 60 + "b"),
        (r"(.*?,){25}P", "a," * 60),
        (r"(a*)*b", "a" * 5000),
        (r"(\w+\s?)*!\1", "word " * 2000),
        (r"(?=(a+))\1+c", "a" * 5000),
        (r"x{1000}{1000}", "x"),
    ],
)
def test_a_regular_expression_bomb_ends(engine: Engine, pattern: str, text: str) -> None:
    source = (
        "import re\ndef f(log):\n"
        "    return re.search(log['pattern'], log['text']) is None or True\n"
    )
    started = time.monotonic()
    outcome = engine.run(source, {"pattern": pattern, "text": text})
    assert time.monotonic() - started < LONGEST
    assert outcome is True or isinstance(outcome, Failure)


def test_what_is_killed_for_its_time_is_told_the_limit_that_it_met(engine: Engine) -> None:
    source = "import re\ndef f(log):\n    return len(re.findall(r'(?=(a+))\\1+c', log['text']))\n"
    outcome = engine.run(source, {"text": "a" * 300_000})  # is killed before 5 s
    assert outcome == Failure(OUT_OF_TIME)


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000 + ")" * 5000,
        "[" * 20_000,
        "-" * 20_000 + "1",
        "not " * 10_000 + "1",
        "1" + "+1" * 20_000,
        "a" + ".b" * 20_000,
        "f" + "()" * 20_000,
        "".join(f"{' ' * i}if 1:\n" for i in range(200)) + " " * 200 + "pass",
        "lambda: " * 5000 + "1",
        "x = " + "[0 for a in 0 " + "for b in 0 " * 4000 + "]",
        "f'" + "{f'" * 1000,
        "def f(log): return 1\n" * 3000,
        "@f\n" * 20_000 + "def f(log): return 1",
    ],
)  # fmt: skip
def test_a_source_that_is_hard_to_parse_ends(engine: Engine, source: str) -> None:
    started = time.monotonic()
    engine.check(source)
    engine.run(source, {})
    assert time.monotonic() - started < LONGEST
    assert engine.run("def f(log): return 1", {}) == 1


@pytest.mark.parametrize(
    "body",
    [
        "difflib.SequenceMatcher(None, 'abcd' * 20_000, 'dcba' * 20_000, False).ratio()",
        "len(difflib.SequenceMatcher(None, 'ab' * 50_000, 'ba' * 50_000, False).get_opcodes())",
        "len(list(difflib.ndiff([f'a{i}b' * 9 for i in range(900)],"
        " [f'b{i}a' * 9 for i in range(900)])))",
        "difflib.get_close_matches('ab' * 900, ['ba' * 900 + str(i) for i in range(50)], 3, 0)",
        "len(list(difflib.unified_diff(['a', 'c'] * 5_000, ['c', 'b', 'a'] * 3_000)))",
    ],
)
def test_time_outside_of_the_sandbox_counts(engine: Engine, body: str) -> None:
    """An evaluator that ignores the end of its time is ended, too."""
    source = (
        "import difflib\ndef f(log):\n    while True:\n        try:\n"
        f"            {body}\n        except TimeoutError:\n            pass\n"
    )
    started = time.monotonic()
    outcome = engine.run(source, {})
    assert time.monotonic() - started < LONGEST
    assert isinstance(outcome, Failure)


@pytest.mark.parametrize(
    "expression",
    [
        "statistics.mean([10**100_000_0])",
        "statistics.mean([Decimal('1e999999')])",
        "statistics.mean([0.5] * 20_000)",
        "statistics.quantiles([1, 2], n=10**9)",
        "statistics.mode(['x' * 300_000])",
        "statistics.mean('12')",
        "statistics.mean([[1]])",
        "statistics.mean([None])",
        "difflib.SequenceMatcher(None, 'a' * 300_000, '').ratio()",
        "difflib.SequenceMatcher(None, [[]], '').ratio()",
        "difflib.SequenceMatcher(None, 5, '').ratio()",
        "difflib.SequenceMatcher(len, 'a', '').ratio()",
        "difflib.SequenceMatcher(None, 'a', '').find_longest_match(0, 10**30, -1, 0).size",
        "len(list(difflib.unified_diff(['a'], ['b'], lineterm='x' * 100)))",
        "len(list(difflib.unified_diff(['a'], [1])))",
    ],
)
def test_what_a_library_takes_is_bounded(engine: Engine, expression: str) -> None:
    imports = "import difflib, statistics\nfrom decimal import Decimal\n"
    source = f"{imports}def f(log):\n    return {expression}"
    started = time.monotonic()
    outcome = engine.run(source, {})
    assert time.monotonic() - started < LONGEST
    assert isinstance(outcome, Failure)
    assert re.search("(Type|Value|Overflow|Memory)Error", outcome.text), outcome.text


@pytest.mark.parametrize("returned", ["5", "(1, 2, 3, 4)", "('int', 'x', 'y')", "10**5000"])
def test_who_replaces_the_helper_that_runs_it_gets_a_failure(engine: Engine, returned: str) -> None:
    source = (
        "import statistics\ntry:\n    sorted([1], key=lambda x: statistics.mean([x]))\n"
        "except NotImplementedError as error:\n"
        "    helper = str(error).split(\"'\")[1].replace('_host', '_run')\n"
        f'    exec(f"def {{helper}}(*given, **names): return {returned}")\n'
        "def f(log): return 1\n"
    )
    assert engine.run(source, {}) in (1, Failure("the evaluator replaced a helper of the sandbox"))


def test_a_large_log_is_judged_and_a_huge_one_is_a_failure(engine: Engine) -> None:
    source = "def f(log): return len(log['output'])"
    assert engine.run(source, {"output": "é" * 1_000_000}) == 1_000_000
    outcome = engine.run(source, {"output": "x" * 40_000_000})
    assert isinstance(outcome, Failure)
    assert "MemoryError" in outcome.text
