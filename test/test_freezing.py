"""Programs that carry the package with them: frozen by PyInstaller, or in one file of zipapp.

Each is made in an environment of its own that holds what the program needs and no more, so that
PyInstaller does not follow what this environment has beside.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipapp
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import sys
from humanloop import Humanloop
from humanloop.model import LogRequest
from humanloop.schemas import compiled
from humanloop.server import EmbeddedServer
from humanloop.testing import TestTransport

log = LogRequest(output="Hi.", duration=0.25, config={"model": "m", "type": "model"})
print(log.to_json(), type(log["config"]).__name__)
with Humanloop(api_key="test", transport=TestTransport()) as client:
    print(client.projects.get(id="pr_17").body["id"])
with EmbeddedServer() as server, Humanloop(api_key=server.api_key, host=server.url) as client:
    client.log(project="Hi.", output="Hi.", config={"model": "m"})
    name = client.projects.list().body["records"][0]["name"]
    print(name, compiled, "msgspec" in sys.modules)
"""

SAID = (
    '{"output":"Hi.","duration":0.25,"config":{"model":"m","type":"model"}} ModelConfigRequest\n'
    "pr_17\n"
    "Hi. "
)


def closure(names: list[str]) -> dict[str, Distribution]:
    """Return what is installed of some distributions and of all that they need, by name."""
    found: dict[str, Distribution] = {}
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # what another platform or an extra needs
            continue
        needs = found[name].requires or []
        names += [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need]
    return found


def install(names: list[str], site: Path) -> None:
    """Copy the modules of some distributions, and of what they need, into a folder."""
    for each in closure(names).values():
        for path in each.files or []:
            if ".." not in path.parts and "__pycache__" not in path.parts:
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path.locate(), site / path)


def install_package(site: Path, compiled: bool) -> None:
    ignored = shutil.ignore_patterns("__pycache__", *([] if compiled else ["*.so", "*.pyd"]))
    shutil.copytree(ROOT / "humanloop", site / "humanloop", ignore=ignored)
    info = site / "humanloop-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: humanloop\nVersion: 0\n")
    entry = distribution("humanloop").read_text("entry_points.txt") or ""
    (info / "entry_points.txt").write_text(entry)


CLIENT = ["certifi", "frozendict", "python-dateutil", "typing-extensions", "urllib3"]
SERVER = ["alembic", "sqlalchemy", "starlette", "uvicorn"]


def run(command: list[str], directory: Path, seconds: float) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_a_program_is_frozen_without_options(directory: Path) -> None:
    pytest.importorskip("PyInstaller")
    if sys.platform != "win32" and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("PyInstaller needs a Python with a shared library (--enable-shared)")
    environment = directory / "environment"
    venv.create(environment, with_pip=False)
    scheme = "nt" if sys.platform == "win32" else "posix_prefix"
    base = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", scheme, base))
    install([*CLIENT, *SERVER, "msgspec", "pyinstaller"], site)
    install_package(site, compiled=True)
    python = Path(sysconfig.get_path("scripts", scheme, base)) / Path(sys.executable).name
    run([str(python), "-m", "PyInstaller", "program.py"], directory, 240)
    said = run([str(directory / "dist" / "program" / "program")], directory, 60)
    binaries = [
        *(ROOT / "humanloop").rglob("_converters*" + sysconfig.get_config_var("EXT_SUFFIX"))
    ]
    assert said.startswith(SAID)
    assert said.split()[-2:] == [str(bool(binaries)), "True"]


def test_a_program_runs_from_one_zip_file(directory: Path) -> None:
    source = directory / "source"
    install([*CLIENT, *SERVER], source)
    install_package(source, compiled=False)
    (directory / "program.py").rename(source / "__main__.py")
    zipapp.create_archive(source, directory / "program.pyz")
    said = run([sys.executable, "-I", "-S", "program.pyz"], directory, 60)
    assert said == f"{SAID}False False\n"
