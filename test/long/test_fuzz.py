"""The fuzzer finds nothing in the time that it is given: `HUMANLOOP_TEST_FUZZ_SECONDS`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = int(os.environ.get("HUMANLOOP_TEST_FUZZ_SECONDS", "40"))
PROGRAM = Path(__file__).with_name("fuzz_models.py")


def test_every_input_gives_an_instance_or_a_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this Python or machine")
    command = [sys.executable, str(PROGRAM), str(tmp_path / "corpus"), "-print_final_stats=1"]
    done = subprocess.run(
        [*command, f"-max_total_time={SECONDS}"], capture_output=True, text=True, errors="replace"
    )
    inputs = [f"{found.name}: {found.read_bytes()!r:.2000}" for found in tmp_path.glob("crash-*")]
    assert done.returncode == 0, "\n".join([*inputs, done.stderr[-5000:]])
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    assert runs is not None
    print(f"{runs[1]} inputs in {SECONDS} seconds")
    assert int(runs[1]) > 50 * SECONDS, "the fuzzer hardly ran"
