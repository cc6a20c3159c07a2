"""The types of packages that were generated from the documents of other APIs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_types import Places, mypy, pyright

from codegen.__main__ import main

APIS = Path(__file__).parents[1] / "codegen" / "apis"
PROGRAM = """
from payments import Client
from payments.model import Card, Charge
from petstore.model import Pet
from tracker.model import State, Größe

with Client(api_key="key") as client:
    charge: Charge = client.charges.post_charges(5, "usd", {"object": "card"}).body
    last4: str = Card(object="card", last4="4242").last4
    print(charge, last4, Pet(name="Rex", photoUrls=[]).photoUrls[0].lower())
    print(State.VALUE_1ST, Größe(1.5))
    client.charges.post_charges("5", "usd", {})  # wrong
    client.charges.post_charges(5, "gbp", {})  # wrong
    client.charges.post_charges(5)  # wrong
"""
# Each word is a key, and means something in a stub; the operations could be taken for types.
WORDS = """
    Any BoolClass ClassVar Decimal DictSchema Final Iterator Literal Mapping NumberSchema Self
    Sequence UUID Unset bool cls date datetime dict extra float frozendict int list mapping
    object overload property self str tuple type
"""
SHAPE = {"type": "object", "properties": {
    key: [{"type": "number"}, {"type": "boolean"}, {"$ref": "#/components/schemas/WORD"}][at % 3]
    for at, key in enumerate(WORDS.split())
}}  # fmt: skip
OPERATIONS = {
    f"/{name}": {
        "post": {
            "operationId": name,
            "parameters": [
                {"name": "at", "in": "query", "schema": {"type": "string", "format": "uuid"}}
            ],
            "requestBody": {
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/WORD"}}}
            },
            "responses": {"200": {"description": "Done"}},
        }
    }
    for name in ("word", "uuid")
}
ODD = {"openapi": "3.0.3", "paths": OPERATIONS, "components": {"schemas": {"WORD": SHAPE}}}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_both_checkers_find_no_fault(checker: Callable[[Path], Places], tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text(json.dumps(ODD))
    for file in (*sorted(APIS.iterdir()), tmp_path / "odd.json"):
        arguments = ["--spec", str(file), "--package", file.stem, "--output", str(tmp_path)]
        assert main(arguments) == 0
    (tmp_path / "program.py").write_text(PROGRAM)
    wrong = [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")]
    found = checker(tmp_path)
    assert {*found} == {("program.py", number) for number in wrong}, found
