"""openapi.yaml against the facts of the API, and against what we ask of its text.

`api_facts.txt` beside this file says in a compact notation what every operation and schema is; its
head explains the notation. `describe` puts the document into the same notation, and refuses a
keyword that the notation has no place for, so that nothing in the document escapes the comparison.
The other tests look at what the notation leaves out: descriptions, examples, defaults, references.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from openapi_spec_validator import OpenAPIV30SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT4

Node: TypeAlias = dict[str, Any]
Pointer: TypeAlias = tuple[str, ...]

SPEC = Path(__file__).resolve().parents[2] / "openapi.yaml"
FACTS = Path(__file__).with_name("api_facts.txt")
SCHEMA_PREFIX = "#/components/schemas/"
METHODS = ("get", "post", "patch", "delete")
COMPOSITIONS = {"allOf": "all", "anyOf": "any", "oneOf": "one"}
# Keywords that no line of the notation shows: they are tested on their own.
PROSE = {"description", "example", "x-secret"}  # x-secret: how values are shown, not what they are
# Keywords that have lines of their own, and that only a named schema may have.
OWN_LINES = {"properties", "required", "discriminator"}


class UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML keeps the last of two equal keys and says nothing; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", node.start_mark
                )
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


@pytest.fixture(scope="module")
def spec() -> Node:
    document: Node = yaml.load(SPEC.read_text(encoding="utf-8"), UniqueKeyLoader)
    return document


# The document in the notation of api_facts.txt


def only(node: Mapping[str, Any], allowed: set[str], place: str) -> None:
    unknown = set(node) - allowed
    assert not unknown, f"{place}: the notation has no place for {', '.join(sorted(unknown))}"


def reference(node: Node, place: str) -> str:
    only(node, {"$ref"}, place)
    return str(node["$ref"]).removeprefix(SCHEMA_PREFIX)


def type_of(schema: Node, place: str) -> str:
    """The notation of a schema that has no name of its own."""
    if "$ref" in schema:
        return reference(schema, place)
    used = PROSE | {"title", "nullable", "default"}
    composition = next((key for key in COMPOSITIONS if key in schema), None)
    if composition:
        used.add(composition)
        branches = [
            type_of(branch, f"{place}/{composition}/{index}")
            for index, branch in enumerate(schema[composition])
        ]
        text = f"{COMPOSITIONS[composition]}({', '.join(branches)})"
    else:
        used.add("type")
        text, more = simple_type(schema, place)
        used |= more
    only(schema, used, place)
    if "title" in schema:
        text = f"{schema['title']}~{text}"
    if "nullable" in schema:
        assert schema["nullable"] is True, f"{place}: nullable is false by default"
        text += "?"
    if "default" in schema:
        text += f" = {json.dumps(schema['default'])}"
    return text


def simple_type(schema: Node, place: str) -> tuple[str, set[str]]:
    """The notation of a schema that has a `type`, or none, and the keywords that went into it."""
    kind = schema.get("type", "any")
    match kind:
        case "array":
            return f"[{type_of(schema['items'], f'{place}/items')}]", {"items"}
        case "object":
            return object_type(schema, place), {"additionalProperties"}
        case "string":
            if "enum" in schema:
                return " | ".join(f'"{value}"' for value in schema["enum"]), {"enum"}
            limit = f"<={schema['maxLength']}" if "maxLength" in schema else ""
            return schema.get("format", "string") + limit, {"format", "maxLength"}
        case _:
            return str(kind), set()


def object_type(schema: Node, place: str) -> str:
    if "additionalProperties" not in schema:
        return "object"
    further = schema["additionalProperties"]
    if further is False:
        return "closed object"
    assert isinstance(further, dict), f"{place}: further keys are allowed by default"
    return f"{{*: {type_of(further, f'{place}/additionalProperties')}}}"


def schema_lines(name: str, schema: Node) -> Iterator[str]:
    head = {key: value for key, value in schema.items() if key not in OWN_LINES}
    yield f"{name}: {type_of(head, name)}"
    properties: Node = schema.get("properties", {})
    required: list[str] = schema.get("required", [])
    in_order = [key for key in properties if key in required]
    assert required == in_order, f"{name}: required keys out of the order of the properties"
    for key, value in properties.items():
        mark = "!" if key in required else ""
        yield f"  {key}{mark}: {type_of(value, f'{name}.{key}')}"
    if "discriminator" in schema:
        discriminator: Node = schema["discriminator"]
        only(discriminator, {"propertyName", "mapping"}, name)
        for value, target in discriminator["mapping"].items():
            target_name = str(target).removeprefix(SCHEMA_PREFIX)
            yield f'  {discriminator["propertyName"]} "{value}" -> {target_name}'


def content_type(body: Node, place: str) -> str:
    only(body["content"], {"application/json"}, place)
    media: Node = body["content"]["application/json"]
    only(media, {"schema", "example", "examples"}, place)
    return type_of(media["schema"], place)


def operation_lines(spec: Node, path: str, method: str, operation: Node) -> Iterator[str]:
    name: str = operation["operationId"]
    known = {"tags", "summary", "description", "operationId", "parameters", "requestBody"}
    only(operation, known | {"responses"}, name)
    yield f"{name} ({', '.join(operation['tags'])})"
    yield f"  {method.upper()} {path}"
    for parameter in operation.get("parameters", ()):
        place = f"{name}.{parameter['name']}"
        only(parameter, {"name", "in", "required", "schema", "description"}, place)
        mark = "!" if parameter.get("required", False) else ""
        kind = type_of(parameter["schema"], place)
        yield f"  {parameter['in']} {parameter['name']}{mark}: {kind}"
    if "requestBody" in operation:
        body: Node = operation["requestBody"]
        only(body, {"description", "required", "content"}, name)
        mark = "!" if body.get("required", False) else ""
        yield f"  body{mark}: {content_type(body, f'{name} body')}"
    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = resolve(spec, response["$ref"])
        only(response, {"description", "content"}, f"{name} {status}")
        kind = content_type(response, f"{name} {status}") if "content" in response else "-"
        yield f"  {status}: {kind}"


def operations(spec: Node) -> Iterator[tuple[str, str, Node]]:
    for path, item in spec["paths"].items():
        only(item, set(METHODS), path)
        for method, operation in item.items():
            yield path, method, operation


def describe(spec: Node) -> Iterator[str]:
    components: Node = spec["components"]
    only(spec, {"openapi", "info", "servers", "security", "tags", "paths", "components"}, "/")
    only(components, {"securitySchemes", "responses", "schemas"}, "/components")
    yield f"openapi {spec['openapi']}"
    yield from (f"server {server['url']}" for server in spec["servers"])
    for name in (name for choice in spec["security"] for name in choice):
        scheme = components["securitySchemes"][name]
        yield f"security {name}: {scheme['type']} in {scheme['in']} {scheme['name']}"
    for path, method, operation in operations(spec):
        yield from operation_lines(spec, path, method, operation)
    for name, schema in components["schemas"].items():
        yield from schema_lines(name, schema)


def with_owner(lines: Iterable[str]) -> Iterator[str]:
    """Each indented line with the name of the operation or schema that it belongs to."""
    owner = ""
    for line in lines:
        if line.startswith(" "):
            yield f"{owner}: {line.strip()}"
        else:
            owner = re.split(r"[: ]", line, maxsplit=1)[0]
            yield line


def test_document_is_what_the_facts_say(spec: Node) -> None:
    text = FACTS.read_text(encoding="utf-8")
    written = (line for line in text.splitlines() if line and not line.startswith("#"))
    facts, found = list(with_owner(written)), list(with_owner(describe(spec)))
    if facts != found:
        difference = difflib.unified_diff(facts, found, FACTS.name, SPEC.name, lineterm="", n=1)
        pytest.fail("\n".join(difference), pytrace=False)


# Form


def test_document_is_valid_openapi(spec: Node) -> None:
    errors = [
        f"/{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in OpenAPIV30SpecValidator(spec).iter_errors()
    ]
    assert not errors, "\n".join(errors)


def test_tags_and_operation_ids_name_the_methods(spec: Node) -> None:
    used: dict[str, None] = {}
    for _, _, operation in operations(spec):
        (tag,) = operation["tags"]
        used[tag] = None
        prefix = tag.lower().replace(" ", "_")
        assert re.fullmatch(rf"{prefix}_[a-z]+(_[a-z]+)*", operation["operationId"])
    assert [tag["name"] for tag in spec["tags"]] == list(used)
    names = [operation["operationId"] for _, _, operation in operations(spec)]
    assert len(set(names)) == len(names)


def test_schemas_stand_by_name(spec: Node) -> None:
    names = list(spec["components"]["schemas"])
    assert names == sorted(names)


def test_discriminator_values_are_those_of_their_schemas(spec: Node) -> None:
    schemas: Node = spec["components"]["schemas"]
    for name, schema in schemas.items():
        if "discriminator" not in schema:
            continue
        key = schema["discriminator"]["propertyName"]
        mapping: dict[str, str] = schema["discriminator"]["mapping"]
        assert set(mapping.values()) == {branch["$ref"] for branch in schema["oneOf"]}, name
        for value, target in mapping.items():
            branch = resolve(spec, target)
            assert branch["properties"][key]["enum"] == [value], target
            assert key in branch["required"], target


# References


def resolve(spec: Node, target: str) -> Node:
    assert target.startswith("#/"), f"{target} leaves the document"
    node: Any = spec
    for part in target.removeprefix("#/").split("/"):
        assert part in node, f"{target} does not exist"
        node = node[part]
    found: Node = node
    return found


def walk(node: Any, pointer: Pointer = ()) -> Iterator[tuple[Pointer, Node]]:
    """Every object of the document with the way to it, except what examples and defaults hold."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from walk(item, (*pointer, str(index)))
    elif isinstance(node, dict):
        yield pointer, node
        for key, value in node.items():
            # Below `properties`, a key is a name and no keyword: one might be called "example".
            if pointer[-1:] == ("properties",) or key not in {"example", "examples", "default"}:
                yield from walk(value, (*pointer, key))


def references(node: Any) -> Iterator[str]:
    """Every `$ref` below a node, and every target of a discriminator."""
    for _, item in walk(node):
        if "$ref" in item:
            yield item["$ref"]
        if "discriminator" in item:
            yield from item["discriminator"]["mapping"].values()


def test_every_component_is_in_use(spec: Node) -> None:
    reached: set[str] = set()
    waiting = list(references(spec["paths"]))
    while waiting:
        target = waiting.pop()
        if target not in reached:
            reached.add(target)
            waiting += references(resolve(spec, target))
    components: Node = spec["components"]
    defined = {
        f"#/components/{room}/{name}"
        for room in ("responses", "schemas")
        for name in components[room]
    }
    assert defined - reached == set(), "never used"
    secured = {name for choice in spec["security"] for name in choice}
    assert secured == set(components["securitySchemes"])


def test_references_stand_alone(spec: Node) -> None:
    """OpenAPI 3.0.3, "Reference Object": keys beside a $ref are ignored."""
    assert [pointer for pointer, node in walk(spec) if "$ref" in node and len(node) > 1] == []


# Descriptions


def described(spec: Node) -> Iterator[tuple[str, Node]]:
    """Everything that needs a description, by name."""
    yield "info", spec["info"]
    yield from ((f"server {server['url']}", server) for server in spec["servers"])
    yield from ((f"tag {tag['name']}", tag) for tag in spec["tags"])
    yield from spec["components"]["securitySchemes"].items()
    yield from spec["components"]["responses"].items()
    for _, _, operation in operations(spec):
        name = operation["operationId"]
        yield name, operation
        yield from ((f"{name}({p['name']})", p) for p in operation.get("parameters", ()))
        yield from (
            (f"{name} {status}", response)
            for status, response in operation["responses"].items()
            if "$ref" not in response
        )
    for name, schema in spec["components"]["schemas"].items():
        yield name, schema
        yield from (
            (f"{name}.{key}", value)
            for key, value in schema.get("properties", {}).items()
            if "$ref" not in value
        )


def test_everything_has_a_description(spec: Node) -> None:
    missing = [name for name, node in described(spec) if not node.get("description", "").strip()]
    assert missing == []


def test_descriptions_are_sentences(spec: Node) -> None:
    exempt = {name for name, _ in described(spec) if name.startswith("server ")}
    broken = [
        name
        for name, node in described(spec)
        if name not in exempt and not re.fullmatch(r"[A-Z`-].*[.]", node["description"], re.DOTALL)
    ]
    assert broken == []


def test_operations_have_a_summary(spec: Node) -> None:
    for _, _, operation in operations(spec):
        summary = operation.get("summary", "")
        assert re.fullmatch(r"[A-Z].{4,70}[^.\s]", summary), operation["operationId"]


def test_summaries_differ(spec: Node) -> None:
    summaries = [operation["summary"] for _, _, operation in operations(spec)]
    assert len(set(summaries)) == len(summaries)


# Examples and defaults


def validate(spec: Node, schema: Pointer, value: Any) -> list[str]:
    """What a value breaks of the schema at a place of the document."""
    registry: Registry[Any] = Registry().with_resource("urn:api", DRAFT4.create_resource(spec))
    path = "/".join(part.replace("~", "~0").replace("/", "~1") for part in schema)
    validator = OAS30Validator(
        {"$ref": f"urn:api#/{path}"}, registry=registry, format_checker=oas30_format_checker
    )
    return [
        f"/{'/'.join(schema)}: example or default{error.json_path[1:]}: {error.message}"
        for error in validator.iter_errors(value)
    ]


def samples(spec: Node) -> Iterator[tuple[Pointer, Any]]:
    """Every example and every default, with the place of the schema that it has to fit."""
    for pointer, node in walk(spec):
        if pointer[-1:] == ("properties",):
            continue
        schema = (*pointer, "schema") if "schema" in node else pointer
        yield from ((schema, node[key]) for key in ("example", "default") if key in node)
        yield from ((schema, example["value"]) for example in node.get("examples", {}).values())


def test_examples_and_defaults_fit_their_schemas(spec: Node) -> None:
    errors = [error for schema, value in samples(spec) for error in validate(spec, schema, value)]
    assert errors == []


def test_request_bodies_have_examples(spec: Node) -> None:
    for _, _, operation in operations(spec):
        if "requestBody" in operation:
            media = operation["requestBody"]["content"]["application/json"]
            assert "example" in media or len(media["examples"]) > 1, operation["operationId"]


def test_example_keys_are_declared(spec: Node) -> None:
    """An example must not teach a key that its open schema merely lets pass."""
    for _, _, operation in operations(spec):
        if "requestBody" not in operation:
            continue
        media = operation["requestBody"]["content"]["application/json"]
        declared = body_keys(spec, media["schema"])
        values = (
            [media["example"]]
            if "example" in media
            else [example["value"] for example in media["examples"].values()]
        )
        objects = [item for v in values for item in (v if isinstance(v, list) else [v])]
        undeclared = {k for item in objects if isinstance(item, dict) for k in item} - declared
        assert undeclared == set(), operation["operationId"]


def body_keys(spec: Node, schema: Node) -> set[str]:
    """The keys that a body's object, or any object branch of it, declares."""
    if "$ref" in schema:
        return body_keys(spec, resolve(spec, schema["$ref"]))
    keys = set(schema.get("properties", {}))
    for branch in [*schema.get("anyOf", ()), *schema.get("oneOf", ())]:
        keys |= body_keys(spec, branch)
    return keys | (body_keys(spec, schema["items"]) if "items" in schema else set())
