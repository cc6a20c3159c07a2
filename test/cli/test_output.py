"""The output to readers that leave, full disks and closed streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from humanloop import cli

from .processes import COMMAND, SECONDS, environment, run, serving

COMMANDS = [
    "--help",
    "--version",
    "version --json",
    "help serve",
    "projects",
    "doctor --quick",
    "backup copy.db",
    "completion bash",
    "quickstart",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database."""
    path = tmp_path_factory.mktemp("output")
    with serving(path):
        pass
    return path


@pytest.fixture(autouse=True)
def no_copy(folder: Path) -> None:
    (folder / "copy.db").unlink(missing_ok=True)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell, in which `humanloop` is the command."""
    function = f'humanloop() {{ "{sys.executable}" -m humanloop "$@"; }}\n'
    return run(cwd=folder, command=["sh", "-c", function + line])


@pytest.mark.parametrize(
    ("command", "buffered"),
    [
        *((command, True) for command in (*COMMANDS, "serve --port 0")),
        *((command, False) for command in ("--help", "projects", "serve --port 0")),
    ],
)
def test_a_full_disk_is_one_line(command: str, buffered: bool, folder: Path) -> None:
    variable = f"PYTHONUNBUFFERED={'' if buffered else 1}"
    done = shell(f"export {variable}; humanloop {command} > /dev/full", folder)
    assert done.stderr == "humanloop: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("command", ["--help", "projects", "serve --port 0"])
def test_a_closed_output_is_one_line(command: str, folder: Path) -> None:
    done = shell(f"humanloop {command} >&-", folder)
    assert done.stderr.startswith("humanloop: the standard output is closed")
    assert done.stderr.count("\n") == 1
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("command", "buffered"),
    [*((command, True) for command in COMMANDS), ("--help", False), ("projects", False)],
)
def test_a_reader_that_has_enough_is_nobodys_fault(
    command: str, buffered: bool, folder: Path
) -> None:
    """The reader reads nothing at all, so that every write fails."""
    variable = f"PYTHONUNBUFFERED={'' if buffered else 1}"
    done = shell(f"export {variable}; {{ humanloop {command}; echo code $? >&2; }} | true", folder)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    assert done.stderr in {"code 0\n", "code 1\n"}


def test_tail_ends_when_its_reader_does(folder: Path) -> None:
    """No further log arrives, at which a write would fail."""
    process = subprocess.Popen(
        [*COMMAND, "tail"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(SECONDS) == 1
    process.stderr.close()


@pytest.mark.parametrize("command", ["projects --database none.db", "serve --port 0 --database /"])
def test_errors_with_a_closed_error_stream_are_silent(command: str, folder: Path) -> None:
    done = shell(f"humanloop {command} 2>&-", folder)
    assert (done.returncode, done.stdout) == (1, "")


def test_help_imports_nothing_large(folder: Path) -> None:
    program = (
        "import sys\n"
        "from humanloop.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    large = {'sqlalchemy', 'urllib3', 'uvicorn', 'frozendict', 'asyncio', 'aiohttp'}\n"
        "    print(large & set(sys.modules), file=sys.stderr)\n"
    )
    done = run(cwd=folder, command=[sys.executable, "-c", program])
    assert done.stderr == "set()\n"


def test_help_is_what_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    texts: list[str] = []
    for arguments in (["--help"], ["help"], ["tail", "--help"], ["help", "tail"]):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[2] == texts[3]
    assert texts[2].startswith("usage: humanloop tail")


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    from humanloop.cli.commands import COMMANDS as ALL

    for command in ALL:
        with pytest.raises(SystemExit) as end:
            cli.main(["help", command.NAME])
        assert end.value.code == 0
        assert f"usage: humanloop {command.NAME}" in capsys.readouterr().out


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "usage: humanloop" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["humanloop", "humanloop.cli"])
def test_it_runs_as_a_module(module: str, tmp_path: Path) -> None:
    done = run("version", cwd=tmp_path, command=[sys.executable, "-m", module])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("humanloop ")


class TestCompletion:
    @pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish", "tcsh"])
    def test_names_every_command(self, shell_name: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["completion", shell_name]) == 0
        script = capsys.readouterr().out
        assert all(name in script for name in ("serve", "projects", "check-migration", "tail"))

    def test_works_in_bash(self, folder: Path) -> None:
        script = (
            'eval "$(humanloop completion bash)"\n'
            'complete_() { _shtab_humanloop; echo "${COMPREPLY[*]}"; }\n'
            "COMP_WORDS=(humanloop pro); COMP_CWORD=1; complete_\n"
            "COMP_WORDS=(humanloop tail --js); COMP_CWORD=2; complete_\n"
        )
        function = f'humanloop() {{ "{sys.executable}" -m humanloop "$@"; }}\n'
        done = run(cwd=folder, command=["bash", "-c", function + script])
        assert (done.stdout, done.stderr) == ("projects\n--json\n", "")

    def test_says_how_to_get_it(self, tmp_path: Path) -> None:
        program = (
            "import sys\n"
            "sys.modules['shtab'] = None\n"
            "from humanloop import cli\n"
            "sys.exit(cli.main(['completion', 'bash']))\n"
        )
        done = run(cwd=tmp_path, command=[sys.executable, "-c", program])
        assert done.returncode == 1
        assert "install the extra `completion`" in done.stderr
        assert done.stderr.count("\n") == 1
