"""The types, as two checkers see them from outside: both strict, on programs in their own folder.

From there only the installed package can be seen, so that `py.typed` is put to the test as well.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Places = dict[tuple[str, int], list[str]]


def mypy(directory: Path) -> Places:
    """What mypy --strict reports, by file and line."""
    config = directory / "mypy.ini"
    config.write_text("[mypy]\nstrict = true\n")
    output = run(directory, "mypy", "--config-file", str(config), "--show-absolute-path", ".")
    found: Places = {}
    for name, line, message in re.findall(r"^(.+?):(\d+): error: (.*)$", output, re.M):
        found.setdefault((Path(name).name, int(line)), []).append(message)
    return found


def pyright(directory: Path) -> Places:
    """What pyright in its strict mode reports, by file and line."""
    (directory / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    output = run(directory, "pyright", "--outputjson", "--pythonpath", sys.executable)
    found: Places = {}
    for report in json.loads(output)["generalDiagnostics"]:
        place = (Path(report["file"]).name, report["range"]["start"]["line"] + 1)
        found.setdefault(place, []).append(report["message"])
    return found


def run(directory: Path, module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # 0: nothing found, 1: something found; all else is a checker that could not do its work.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_right_is_accepted_and_wrong_is_found(
    checker: Callable[[Path], Places], tmp_path: Path
) -> None:
    for name in ("program.py", "mistakes.py"):
        shutil.copy(HERE / name, tmp_path)
    mistakes = (HERE / "mistakes.py").read_text(encoding="utf-8").splitlines()
    wrong = {
        ("mistakes.py", number)
        for number, line in enumerate(mistakes, 1)
        if line.endswith("# wrong")
    }
    found = checker(tmp_path)
    assert {place: found[place] for place in sorted(found.keys() - wrong)} == {}
    assert sorted(wrong - found.keys()) == []
