"""The converters in both of their forms: which one runs, and what C must not do.

What they convert to is looked at in `test_fast_path`. Here each program runs in a process of its
own, since a mistake in C ends the process, and a form is chosen once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from humanloop.schemas import FORMATS, SchemaValidationError, compiled, schema_from_openapi

PACKAGE = Path(__file__).resolve().parents[2] / "humanloop"
WHICH = "from humanloop.schemas import compiled; print(compiled)"


def run(program: str, *, root: Path = PACKAGE.parent, **environment: str) -> str:
    """Return what a program prints that finds the package in `root`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


# -- which form runs ------------------------------------------------------------------------------


@pytest.mark.skipif(not compiled, reason="there is no binary of today's source")
def test_a_newer_source_wins_over_the_binary(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "humanloop", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(WHICH, root=tmp_path) == "True"
    source = tmp_path / "humanloop" / "schemas" / "converters.py"
    source.write_text(source.read_text("utf-8").replace("INTEGERS = 4096", "INTEGERS = 5"))
    seen = f"{WHICH}; from humanloop.schemas import converters; print(converters.INTEGERS)"
    assert run(seen, root=tmp_path) == "False\n5"


@pytest.mark.skipif(not compiled, reason="there is no binary of today's source")
def test_the_binary_can_be_ruled_out() -> None:
    assert run(WHICH) == "True"
    assert run(WHICH, HUMANLOOP_PURE_PYTHON="1") == "False"


def test_a_binary_that_can_not_be_loaded_is_left_out(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "_converters.*")
    shutil.copytree(PACKAGE, tmp_path / "humanloop", ignore=ignored)
    assert run(WHICH, root=tmp_path) == "False"
    from importlib.machinery import EXTENSION_SUFFIXES

    broken = tmp_path / "humanloop" / "schemas" / f"_converters{EXTENSION_SUFFIXES[0]}"
    broken.write_bytes(b"no library")
    assert run(WHICH, root=tmp_path) == "False"


# -- date-times -----------------------------------------------------------------------------------


def test_every_day_and_every_character_of_a_date_time() -> None:
    """The short way takes nothing that the rule does not, and the long way the rest."""
    cls: Any = schema_from_openapi({"type": "string", "format": "date-time"})
    holds = FORMATS["date-time"].holds
    days = product((0, 1900, 2000, 2023, 2024), range(14), range(33))
    texts = [f"{year:04}-{month:02}-{day:02}T23:59:59Z" for year, month, day in days]
    for text in ("2024-02-27T12:34:56Z", "2024-02-27T12:34:56.789Z", "2016-12-31T23:59:60+00:00"):
        for place in range(len(text) + 1):
            for char in ("", "0", "3", "6", "9", ":", "/", "-", ".", "Z", "z", "\0", "é", "\u0661"):
                texts += [
                    text[:place] + char + text[place + 1 :],
                    text[:place] + char + text[place:],
                ]
    for text in texts:
        try:
            assert cls(text) == text
        except SchemaValidationError:
            assert not holds(text), text
        else:
            assert holds(text), text


# -- what C must not do ---------------------------------------------------------------------------

DEEP = """
import sys
import threading
from humanloop.schemas import AnyTypeSchema, SchemaValidationError, schema_from_openapi

ref = {"$ref": "#/components/schemas/Node"}
told = {"oneOf": [ref, {"$ref": "#/components/schemas/Leaf"}],
        "discriminator": {"propertyName": "kind"}}
whole = schema_from_openapi(
    {"anyOf": [ref, {"type": "array", "items": {}}]},
    components={
        "Node": {"type": "object", "properties": {
            "next": {"type": "object", "nullable": True, "additionalProperties": ref},
            "one": ref, "told": told, "of": {"anyOf": [ref, {"type": "string"}]},
            "list": {"type": "array", "items": ref, "maxItems": 2}, "free": {}}},
        "Leaf": {"type": "object"}})
grow = {
    "one": lambda value: {"one": value},
    "next": lambda value: {"next": {"a": value}},
    "told": lambda value: {"told": {**value, "kind": "Node"}},
    "of": lambda value: {"of": value},
    "list": lambda value: {"list": [value]},
    "free": lambda value: {"free": [value]},
}
value = {}
for _ in range(2):
    for make in grow.values():
        value = make(value)
whole(value)  # what is looked up late is so

def nested(make, depth):
    value = {}
    for _ in range(depth):
        value = make(value)
    return value

failed = []

def work():
    for name, make in grow.items():
        for depth in (10, 66, 99, 150, 201):
            for cls in (whole, AnyTypeSchema):
                value = nested(make, depth)
                try:
                    made = cls(value)
                    assert made is not None
                except SchemaValidationError as error:
                    assert "nested" in str(error)
                except BaseException as error:
                    failed.append((name, depth, repr(error)))

threading.stack_size(SIZE)
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert not failed, failed[:3]
print("done")
"""


# Before 3.11, each call of a Python function takes about half a kilobyte of C's stack, and no more
# than 1,000 are open at once.
SMALL_STACKS = [128, 256] if sys.version_info >= (3, 11) else [512]


@pytest.mark.parametrize("kilobytes", SMALL_STACKS)
def test_no_depth_overflows_a_small_stack(kilobytes: int) -> None:
    program = DEEP.replace("SIZE", str(kilobytes * 1024))
    assert run(program) == "done"


LEAKS = """
import gc
import sys
from decimal import Decimal
from humanloop.model import ConfigResponse, ExperimentResponse, LogResponse
from humanloop.schemas import BoolClass, NoneClass, SchemaValidationError, schema_from_openapi

at = "2024-02-27T12:34:56.5Z"
config = {"id": "c", "type": "model", "model": "m", "temperature": 0.5, "other": {"a": [1, None]}}
good = {"id": "d", "config": config, "created_at": at, "metadata": {"n": 12345678, "f": 1 / 3},
        "messages": [{"role": "user", "content": "hi"}], "feedback": {"type": "rating", "value": 1}}
bad = [{**good, "id": 5}, {**good, "created_at": at + "?"}, {**good, "messages": [1]},
       {**good, "config": {**config, "type": "other"}}, {**good, 5: 5}, {"config": config}, []]
text = LogResponse(good).to_json()
shared = [LogResponse, ConfigResponse, BoolClass.TRUE, NoneClass.NONE, None, True, Decimal,
          LogResponse(good).messages[0].role, type(LogResponse(good).created_at), *good, "rating"]


def use(times):
    for _ in range(times):
        made = LogResponse(good)
        LogResponse(made).to_json()
        LogResponse.from_json(text)
    for _ in range(times // 100):
        for wrong in bad:
            try:
                LogResponse(wrong)
            except SchemaValidationError:
                pass


use(200)
gc.collect()
counts, blocks = [sys.getrefcount(thing) for thing in shared], sys.getallocatedblocks()
use(ROUNDS)
gc.collect()
grown = sys.getallocatedblocks() - blocks
assert grown < 300, f"{grown} blocks more are held"
for thing, before in zip(shared, counts):
    assert abs(sys.getrefcount(thing) - before) < 50, thing
print("done")
"""


def test_no_reference_is_lost_or_kept() -> None:
    """A reference too many or too few for each object would show a thousand times."""
    rounds = os.environ.get("HUMANLOOP_TEST_ROUNDS", "1000")
    assert run(LEAKS.replace("ROUNDS", rounds)) == "done"


MEMORY = """
import json
import sys
sys.modules["msgspec"] = None  # its encoder crashes when memory runs out
from humanloop.model import LogResponse
from humanloop.schemas import SchemaValidationError, schema_from_openapi
from humanloop.schemas.native import converters
from _testcapi import remove_mem_hooks, set_nomemory

config = {"id": "c", "type": "model", "model": "m", "temperature": 0.5, "other": {"a": [1, None]}}
value = {"id": "d", "config": config, "created_at": "2024-02-27T12:34:56Z",
         "metadata": {"n": 12345678, "f": [0.125, {"deep": [1.5, "x"]}]},
         "messages": [{"role": "user", "content": "hi"}]}
cls = LogResponse
wanted = cls(value)
failures = 0
for start in range(1, 400):
    made = None
    set_nomemory(start, start + LENGTH)
    try:
        made = cls(value)
        converters.json_text(made)
    except MemoryError:
        failures += 1
    except BaseException as error:
        remove_mem_hooks()
        raise
    finally:
        remove_mem_hooks()
    assert made is None or made == wanted
assert cls(value) == wanted
assert failures or LENGTH == 1
print("done")
"""


@pytest.mark.skipif(not compiled, reason="Python's interpreter itself does not survive it")
@pytest.mark.parametrize("length", [1, 100_000])
def test_memory_may_run_out_at_any_place(length: int) -> None:
    pytest.importorskip("_testcapi")
    assert run(MEMORY.replace("LENGTH", str(length))) == "done"
