"""The JSON-Schema-Test-Suite for draft 4: each case that OpenAPI 3.0 can express has its verdict.

The suite comes with the source distribution of the `jsonschema` package that is installed; pip
fetches it from where it fetches everything, once, into pytest's cache.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from humanloop.schemas import SchemaValidationError, schema_from_openapi

from .draft4 import Inexpressible, in_openapi

FLOOR = 720
"""How many cases run at least: a rewriting that gives up too early is no success."""

SKIPPED = {
    "$ref: by the URI of a document, or of an id",
    "id: a Schema Object has no base URI of its own",
    "items: a list of schemas, one for each place",
    "patternProperties: keys by pattern",
}
"""What a case may be left out for."""


@dataclass(frozen=True)
class Case:
    """A value of the suite, as Python reads it and as text, and whether it is valid."""

    place: str
    schema: Any
    value: Any
    text: str
    valid: bool


@pytest.fixture(scope="module")
def suite(pytestconfig: pytest.Config) -> Iterator[tarfile.TarFile]:
    wanted = f"jsonschema-{version('jsonschema')}.tar.gz"
    found = Path(pytestconfig.cache.mkdir("sdists")) / wanted
    if not found.exists():
        requirement = f"jsonschema=={version('jsonschema')}"
        options = ["--no-deps", "--no-binary", "jsonschema", "--dest", str(found.parent)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
        subprocess.run(command, check=True)
    with tarfile.open(found) as archive:
        yield archive


def cases(suite: tarfile.TarFile) -> Iterator[Case]:
    for member in suite:
        _, found, name = member.name.partition("/json/tests/draft4/")
        if not found or not name.endswith(".json"):
            continue
        source = suite.extractfile(member)
        assert source is not None
        content = source.read().decode()
        texts = json.loads(content, parse_int=_marked, parse_float=_marked)
        for group, group_text in zip(json.loads(content), texts, strict=True):
            for test, test_text in zip(group["tests"], group_text["tests"], strict=True):
                place = f"{name}: {group['description']}: {test['description']}"
                text = _NUMBER.sub(r"\1", json.dumps(test_text["data"]))
                yield Case(place, group["schema"], test["data"], text, test["valid"])


_NUMBER = re.compile(r'"\\u0000([^"]*)"')


def _marked(number: str) -> str:
    """A number's text, to be found again."""
    return f"\0{number}"


def why_not(case: Case) -> str | None:
    try:
        in_openapi(case.schema)
    except Inexpressible as reason:
        return str(reason)
    return None


def verdicts(case: Case) -> list[object]:
    """What the value is by construction and by its JSON text, each asked more than once."""
    schema, components = in_openapi(case.schema)
    try:
        cls = schema_from_openapi(schema, components=components)
    except ValueError as error:
        return [error]
    found: list[object] = []
    for ask, value in ((cls, case.value), (cls.from_json, case.text)) * 3:
        try:
            ask(value)
            found.append(True)
        except SchemaValidationError:
            found.append(False)
    return found


def test_every_case_that_openapi_can_express(suite: tarfile.TarFile) -> None:
    ran, skipped, wrong = 0, Counter[str](), []
    for case in cases(suite):
        reason = why_not(case)
        if reason is not None:
            skipped[reason] += 1
            continue
        ran += 1
        found = verdicts(case)
        if set(found) != {case.valid}:
            wrong.append(f"{case.place}: {case.text:.60} is {case.valid}, got {found}")
    print(f"{ran} cases ran; left out: {dict(skipped)}")
    assert not wrong, "\n".join(wrong)
    assert set(skipped) <= SKIPPED
    assert ran >= FLOOR
