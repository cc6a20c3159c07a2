"""The generator on a small document of its own, against golden text.

With UPDATE_GOLDEN=1 in the environment the golden text is written anew; look at its diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codegen import hints, ir, names, reading, spec
from codegen.render import HEADER, NOTICE, readme, render

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.txt"


@pytest.fixture(scope="module")
def pets() -> spec.Spec:
    return reading.load(HERE / "pets.yaml")


@pytest.fixture(scope="module")
def files(pets: spec.Spec) -> dict[str, str]:
    api = ir.build(pets)
    sections = {f"README.md, {heading}": text for heading, text in readme(api).items()}
    return {**render(api), **sections}


def test_files_are_as_the_golden_text_has_them(files: dict[str, str]) -> None:
    text = "".join(f"==> {path}\n{files[path]}\n" for path in sorted(files))
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_same_document_gives_the_same_files(files: dict[str, str], pets: spec.Spec) -> None:
    again = render(ir.build(pets))
    assert again == {path: files[path] for path in again}


def test_every_file_says_that_it_is_generated(files: dict[str, str]) -> None:
    for path, text in files.items():
        if path.endswith((".py", ".pyi")):
            assert text.startswith(f"{HEADER}\n")
        else:
            assert text.splitlines().count(NOTICE) == 1


def test_every_python_file_compiles(files: dict[str, str]) -> None:
    for path, text in files.items():
        if path.endswith((".py", ".pyi")):
            compile(text, path, "exec")


def test_prose_goes_but_properties_of_such_names_stay(pets: spec.Spec) -> None:
    declaration = spec.without_prose(pets.schemas["Home"])
    assert "description" not in declaration
    assert declaration["properties"]["description"] == {"type": "string", "nullable": True}
    assert declaration["properties"]["id"] == {"type": "string"}


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("HTTPValidationError", "http_validation_error"),
        ("LogResponse", "log_response"),
        ("EvaluatorReturnTypeEnum", "evaluator_return_type_enum"),
        ("Model Configs", "model_configs"),
    ],
)
def test_module_names(name: str, module: str) -> None:
    assert names.module_name(name) == module


@pytest.mark.parametrize("key", ["items", "values", "copy", "pop", "get_item_oapg", "to_json"])
def test_keys_that_would_hide_a_method_are_no_attributes(key: str) -> None:
    assert names.attribute_name(key) is None


@pytest.mark.parametrize("key", ["class", "_private", "not-a-name", "1st"])
def test_keys_that_python_could_not_read_are_no_attributes(key: str) -> None:
    assert names.attribute_name(key) is None


@pytest.mark.parametrize(
    ("parts", "hint"),
    [
        (["str", "str"], "str"),
        (["None", "Mapping[str, Any]", "Cat"], "Cat | Mapping[str, Any] | None"),
        (["Any", "str"], "Any"),
        (["Decimal", "int", "float"], "float | Decimal"),
        (['Literal["a, b"]', "None", 'Literal["c | d"]'], 'Literal["a, b", "c | d"] | None'),
        (["tuple[str | int, ...]", "str | None"], "str | tuple[str | int, ...] | None"),
    ],
)
def test_unions(parts: list[str], hint: str) -> None:
    assert hints.union(parts) == hint


@pytest.mark.parametrize(
    ("schema", "accessed", "given"),
    [
        ({"type": "string"}, "str", "str"),
        ({"type": "string", "format": "date-time"}, "DateTimeSchema", "str | datetime"),
        ({"type": "string", "format": "date"}, "DateSchema", "str | date"),
        ({"type": "string", "format": "uuid"}, "UUIDSchema", "str | UUID"),
        ({"type": "string", "enum": ["a", "b"]}, 'Literal["a", "b"]', 'Literal["a", "b"]'),
        ({"type": "number"}, "NumberSchema", "float | Decimal"),
        ({"type": "integer"}, "NumberSchema", "int | Decimal"),
        ({"type": "boolean"}, "BoolClass", "bool | BoolClass"),
        ({"type": "string", "nullable": True}, "str | NoneClass", "str | NoneClass | None"),
        ({"type": "array", "items": {"type": "string"}}, "tuple[str, ...]", "Sequence[str]"),
        ({"type": "object"}, "frozendict[str, Any]", "Mapping[str, Any]"),
        ({}, "Any", "Any"),
        ({"$ref": "#/components/schemas/Cat"}, "Cat", "Cat | Mapping[str, Any]"),
        (
            {"allOf": [{"$ref": "#/components/schemas/Order"}]},
            "Order",
            'Order | Literal["asc", "desc"]',
        ),
        ({"$ref": "#/components/schemas/Notes"}, "Notes", "Mapping[str, str]"),
        ({"$ref": "#/components/schemas/Tags"}, "Tags", "str | Sequence[Any]"),
        ({"$ref": "#/components/schemas/Animal"}, "Animal", "Cat | Dog | Mapping[str, Any]"),
    ],
)
def test_hints(pets: spec.Spec, schema: spec.SchemaNode, accessed: str, given: str) -> None:
    assert hints.accessed(pets, schema) == accessed
    assert hints.given(pets, schema) == given


def test_a_dangling_reference_is_told() -> None:
    with pytest.raises(spec.SpecError, match="Nothing does not exist"):
        spec.Spec({"components": {"schemas": {}}}).resolve({"$ref": "#/components/schemas/Nothing"})
