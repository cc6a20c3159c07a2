"""The types, as two checkers see them from outside: both strict, on programs in their own folder.

From there only the installed package can be seen, so that `py.typed` is put to the test as well.
What needs no client is run, too: the types promise nothing that does not hold at run time.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
PROGRAMS = ("program.py", "models.py", "mistakes.py", "model_mistakes.py")
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
    wrong: set[tuple[str, int]] = set()
    for name in PROGRAMS:
        shutil.copy(HERE / name, tmp_path)
        wrong |= {(name, number) for number, _ in wrong_lines(name)}
    found = checker(tmp_path)
    assert {place: found[place] for place in sorted(found.keys() - wrong)} == {}
    assert sorted(wrong - found.keys()) == []


def wrong_lines(name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), 1):
        if line.endswith("# wrong"):
            yield number, line.strip()


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), HERE / name)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[made.__name__] = made  # where dataclasses look for it
    try:
        spec.loader.exec_module(made)
    finally:
        del sys.modules[made.__name__]
    return made


def test_what_is_right_runs() -> None:
    program = module("models.py")
    steps = [
        value
        for value in vars(program).values()
        if inspect.isfunction(value)
        and value.__module__ == program.__name__
        and not inspect.signature(value).parameters
    ]
    assert len(steps) > 10
    for step in steps:
        step()


@pytest.mark.parametrize("line", [line for _, line in wrong_lines("model_mistakes.py")])
def test_what_is_wrong_fails(line: str, mistakes: ModuleType) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError)):
        exec(line, vars(mistakes).copy())


@pytest.fixture(scope="module")
def mistakes() -> ModuleType:
    return module("model_mistakes.py")
