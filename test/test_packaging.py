"""What a user installs: the wheels and the sdist hold the package, and work on their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import humanloop
from humanloop.cli import main
from humanloop.schemas import compiled

ROOT = Path(__file__).resolve().parents[1]


def build(
    directory: Path, target: str = "wheel", root: Path = ROOT, **environment: str
) -> tuple[Path, str]:
    """Return what hatchling builds, and what it says; HUMANLOOP_BUILD is as the test has it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(directory)]
    env = {**os.environ, **environment}
    done = subprocess.run(
        command, cwd=root, env=env, check=True, capture_output=True, text=True, timeout=120
    )
    [built] = directory.iterdir()
    return built, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"), HUMANLOOP_BUILD="no")[0]


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


BINARIES = {".so", ".pyd"}


def package() -> set[str]:
    """Return the files of the package, without what was made of them."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "humanloop").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in BINARIES
    }


def test_holds_the_whole_package_and_nothing_else(names: set[str]) -> None:
    wanted = package()
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
    assert {"all", "async", "dev", "evaluators", "fast", "server"} <= set(
        about.get_all("Provides-Extra", [])
    )


def test_entry_points(wheel: Path) -> None:
    info = f"humanloop-{humanloop.__version__}.dist-info/entry_points.txt"
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(info).decode().splitlines()
    assert lines == [
        "[console_scripts]",
        "humanloop = humanloop.cli:main",
        "",
        "[pyinstaller40]",
        "hook-dirs = humanloop._pyinstaller:hook_dirs",
        "",
        "[pytest11]",
        "humanloop.pytest_plugin = humanloop.pytest_plugin",
    ]


def works(wheel: Path, directory: Path) -> str:
    """Return the version that an unpacked wheel tells, after its server was tried.

    The migrations are in it, then, and nothing in it needs the tree.
    """
    site = directory / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    environment.pop("HUMANLOOP_PURE_PYTHON", None)

    def run(argument: str) -> str:
        code = f"import sys, humanloop.cli; sys.exit(humanloop.cli.main([{argument!r}]))"
        done = subprocess.run(
            [sys.executable, "-c", f"import humanloop; print(humanloop.__file__); {code}"],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(str(site))
        return done.stdout.splitlines()[-1]

    run("quickstart")
    return run("--version")


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert works(wheel, tmp_path) == f"humanloop {humanloop.__version__} (pure Python)"


def test_the_version_tells_which_form_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    form = "compiled" if compiled else "pure Python"
    assert capsys.readouterr().out == f"humanloop {humanloop.__version__} ({form})\n"


def test_a_wheel_with_the_converters_compiled(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    if shutil.which("cc") is None and sys.platform != "win32":
        pytest.skip("there is no C compiler")
    wheel, _ = build(tmp_path / "dist", HUMANLOOP_BUILD="require")
    assert "none-any" not in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("humanloop/")}
    [binary] = names - package()
    assert Path(binary).suffix in BINARIES
    assert works(wheel, tmp_path) == f"humanloop {humanloop.__version__} (compiled)"


def test_a_machine_without_a_compiler(tmp_path: Path) -> None:
    wheel, output = build(tmp_path / "dist", HUMANLOOP_BUILD="auto", CC="false")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "humanloop is installed as pure Python, which works the same: " in output
    with pytest.raises(subprocess.CalledProcessError):
        build(tmp_path / "none", HUMANLOOP_BUILD="require", CC="false")
    with pytest.raises(subprocess.CalledProcessError):
        build(tmp_path / "none", HUMANLOOP_BUILD="perhaps")


def test_the_sdist_holds_what_it_takes_to_build(wheel: Path, tmp_path: Path) -> None:
    sdist, _ = build(tmp_path / "dist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    root = tmp_path / f"humanloop-{humanloop.__version__}"
    assert not [path for path in root.rglob("*") if path.suffix in BINARIES]
    again, _ = build(tmp_path / "again", root=root, HUMANLOOP_BUILD="no")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert first.namelist() == second.namelist()
