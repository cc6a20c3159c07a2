"""The Dockerfile and the compose file, as far as they can be checked without Docker."""

from __future__ import annotations

import json
import re
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from humanloop.cli.commands import make_parser
from humanloop.cli.doctor import VARIABLES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


@pytest.fixture
def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def instruction(dockerfile: str, name: str) -> list[str]:
    """Return what the last instruction of a name has, in its exec form."""
    found: list[str] = json.loads(re.findall(rf"\b{name} (\[.*\])$", dockerfile, re.M)[-1])
    return found


def test_their_commands_have_options_of_the_command_line(dockerfile: str, compose: Any) -> None:
    entry, *rest = instruction(dockerfile, "ENTRYPOINT")
    assert (entry, rest) == ("humanloop", [])
    commands = [instruction(dockerfile, "CMD"), compose["services"]["server"]["command"]]
    for command in commands:
        options = make_parser().parse_args(command)
        assert (options.command, options.host, options.port) == ("serve", "0.0.0.0", 8000)


def test_they_set_variables_that_mean_something(dockerfile: str, compose: Any) -> None:
    text = dockerfile + json.dumps(compose) + (ROOT / ".env.example").read_text("utf-8")
    assert set(re.findall(r"HUMANLOOP_\w+", text)) <= set(VARIABLES)


def test_the_image_is_built_of_what_is_there(dockerfile: str) -> None:
    shown = (ROOT / ".dockerignore").read_text("utf-8")
    allowed = set(re.findall(r"^!(.+)$", shown, re.M))
    copied = {
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M)
        for name in (Path(each).name for each in names.split())
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_has_extras_of_the_package(dockerfile: str) -> None:
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", dockerfile)
    assert set(extras.split(",")) <= set(metadata("humanloop").get_all("Provides-Extra") or [])


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    assert re.findall(r"^USER (.+)$", dockerfile, re.M) == ["10001:10001"]


def test_the_server_waits_for_the_database(compose: Any) -> None:
    services = compose["services"]
    assert services["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert services["database"]["healthcheck"]["test"][0] == "CMD"
    [volume] = services["database"]["volumes"]
    assert volume.partition(":")[0] in compose["volumes"]


def test_secrets_come_from_the_environment(compose: Any) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", json.dumps(compose)))
    example = (ROOT / ".env.example").read_text("utf-8")
    assert asked == set(re.findall(r"^(\w+)=$", example, re.M))
    assert "$" not in re.sub(r"\$\{\w+:\?[^}]*\}", "", json.dumps(compose))
