"""Hostile input gets an answer or a clear error, in linear time and bounded memory: see `hostile`.

Each case runs in a process of its own, with a limit on memory and on time: a crash, a hang or an
exception of any other kind is the end of that process only, and fails the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("hostile.py")
SCALE = int(os.environ.get("HUMANLOOP_TEST_SCALE", "1"))
MEMORY = 3 * 2**30 * SCALE
SECONDS = 120 * SCALE

DEEP, LONG, MANY = 100_000, 10_000_000, 1_000_000
VALID, REFUSED = True, False

CASES: dict[str, tuple[int, bool]] = {
    "deep_lists": (DEEP, REFUSED),
    "deep_objects": (DEEP, REFUSED),
    "deep_tuples": (DEEP // 5, REFUSED),
    "deep_recursive_schema": (DEEP, REFUSED),
    "deep_union": (DEEP // 5, REFUSED),
    "deep_union_with_an_error": (DEEP, REFUSED),
    "deep_schema_said_twice": (DEEP // 5, REFUSED),
    "deep_in_a_model": (DEEP // 5, REFUSED),
    "deep_equal_items": (DEEP // 5, REFUSED),
    "deep_json_arrays": (DEEP, REFUSED),
    "deep_json_objects": (DEEP, REFUSED),
    "deep_json_that_never_closes": (DEEP, REFUSED),
    "long_string": (LONG, VALID),
    "long_string_and_every_check": (LONG, REFUSED),
    "long_json_string": (LONG, VALID),
    "many_digits": (MANY, VALID),
    "many_digits_after_the_point": (MANY, REFUSED),
    "great_exponents": (1_000, REFUSED),
    "many_keys": (MANY // 4, VALID),
    "many_keys_in_json": (MANY, VALID),
    "many_unknown_keys": (MANY // 4, REFUSED),
    "many_errors": (MANY, REFUSED),
    "many_errors_in_unions": (MANY // 10, REFUSED),
    "many_values_that_json_lacks": (MANY // 4, REFUSED),
    "many_equal_items": (MANY // 10, VALID),
    "the_same_key_again_and_again": (MANY, VALID),
    "shapes_that_never_come_again": (MANY // 10, VALID),
    "shapes_that_come_twice": (MANY // 10, VALID),
}
"""The sizes, and whether the value is valid."""


def run(name: str, size: int, *options: str) -> dict[str, Any]:
    program = [sys.executable, str(PROGRAM), name, str(size), str(MEMORY), *options]
    done = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{name} {size}: {done.returncode}: {done.stderr[-3000:]}"
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
def test_an_answer_in_linear_time(name: str) -> None:
    """Ten times as much takes no more than twenty times as long."""
    size, valid = CASES[name][0] * SCALE, CASES[name][1]
    small = run(name, size // 10, "use")
    large = run(name, size)
    for found in (small, large):
        assert (found["errors"] == 0) is valid, found
        assert found["errors"] == 1 or not name.startswith("deep"), found
        assert found["message"] < 10_000, "a message that no log has room for"
    for step in ("asked", "used"):
        assert large[step] <= 20 * small[step] + 0.5, f"{step}: {small} and {large}"


@pytest.mark.parametrize("name", ["list_that_holds_itself", "object_that_holds_itself"])
def test_what_holds_itself_is_refused_once(name: str) -> None:
    assert run(name, 1)["errors"] == 1
