"""What a user installs: the wheel, built from this tree, holds the package and works on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import humanloop

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [built] = directory.iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def about(wheel: Path) -> Message:
    """The wheel's metadata."""
    info = f"humanloop-{humanloop.__version__}.dist-info/METADATA"
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(info).decode())


def test_holds_the_whole_package_and_nothing_else(names: set[str]) -> None:
    package = ROOT / "humanloop"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"humanloop-{humanloop.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == wanted
    assert {"humanloop/py.typed", "humanloop/model/log_response.pyi"} <= names
    assert f"{info}licenses/LICENSE" in names


def test_metadata(about: Message) -> None:
    assert about["Version"] == "0.6.0"
    assert about["License-Expression"] == "MIT"
    assert about["Requires-Python"] == ">=3.10"


def test_the_client_needs_five_packages(about: Message) -> None:
    always = [need for need in about.get_all("Requires-Dist", []) if "extra ==" not in need]
    names = {re.split(r"[^\w-]", need)[0] for need in always}
    assert names == {"certifi", "frozendict", "python-dateutil", "typing-extensions", "urllib3"}


def test_extras(about: Message) -> None:
    assert {"all", "async", "dev", "fast", "server"} <= set(about.get_all("Provides-Extra", []))


def test_command(wheel: Path) -> None:
    info = f"humanloop-{humanloop.__version__}.dist-info/entry_points.txt"
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(info).decode().splitlines()
    assert lines == ["[console_scripts]", "humanloop = humanloop.cli:main"]


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    """Its server starts, so the migrations are in it, and nothing in it needs the tree."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    code = (
        "import sys, humanloop, humanloop.cli\n"
        "print(humanloop.__file__)\n"
        "sys.exit(humanloop.cli.main(['quickstart']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(tmp_path / "site"))
