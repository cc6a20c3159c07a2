"""The checks of a whole OpenAPI document before anything is generated from it.

`checked` raises one SpecError that lists everything that the generator does not support, with its
place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import quote

from codegen.spec import (
    COMPONENTS,
    METHODS,
    Node,
    SchemaNode,
    Spec,
    SpecError,
    body_content,
    bytes_content,
    json_content,
    replaced_refs,
    steps_of,
)
from humanloop.schemas import schema_from_openapi
from humanloop.secrets import printable

__all__ = ["checked"]

STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
"""The default style of the parameters in each place, which is also the only supported one."""
SHOWN_PROBLEMS = 20


def checked(spec: Spec, *, leave_out: bool = False) -> Spec:
    """Return `spec` with a name for each schema that needs a module.

    leave_out: see `reading.load`. Raises SpecError, which lists all problems.
    """
    _raise(_form_problems(spec))
    spec = _with_named_schemas(spec)
    _raise(_schema_problems(spec))
    _raise(_doubled_ids(spec))
    problems = {
        (method, path): "\n".join(f"{method.upper()} {path}: {problem}" for problem in found)
        for method, path, operation in spec.operations()
        if (found := list(_operation_problems(spec, path, operation)))
    }
    if leave_out:
        return replace(spec, left_out=problems)
    _raise(problems.values())
    return spec


def _raise(problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(line for problem in problems for line in problem.split("\n")))
    if (more := len(found) - SHOWN_PROBLEMS) > 0:
        found[SHOWN_PROBLEMS:] = [f"... and {more} more"]
    if found:
        raise SpecError("\n".join(found))


_NAMES = (list, "a list")
_MAP = (Mapping, "an object")
_WORD = (str, "a string")
_FORMS: dict[str, dict[str, tuple[type, str]]] = {
    "document": {
        **{"paths": _MAP, "components": _MAP, "tags": _NAMES, "servers": _NAMES},
        **{"security": _NAMES, "info": _MAP},
    },
    "path": {"parameters": _NAMES, **dict.fromkeys(METHODS, _MAP)},
    "operation": {
        **{"operationId": _WORD, "tags": _NAMES, "parameters": _NAMES, "responses": _MAP},
        **{"requestBody": _MAP, "summary": _WORD, "description": _WORD, "security": _NAMES},
    },
    "parameter": {
        **{"name": _WORD, "in": _WORD, "schema": _MAP, "required": (bool, "true or false")},
        **{"description": _WORD, "style": _WORD, "explode": (bool, "true or false")},
    },
    "body": {"content": _MAP, "description": _WORD},
    "media type": {"schema": _MAP},
    "tag": {"name": _WORD, "description": _WORD},
    "server": {"url": _WORD, "variables": _MAP},
}
"""The required types of the fields that the generator reads."""


def _form(value: Any, kind: str, place: str, required: tuple[str, ...] = ()) -> Node:
    """Return an object of the document; raises SpecError if a field is not as it must be."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{place}: expected an object, got {value!r:.40}")
    node = cast(Node, value)
    for key, (wanted, phrase) in _FORMS[kind].items():
        if key in node and not isinstance(node[key], wanted):
            raise SpecError(f"{place}: {key}: expected {phrase}, got {node[key]!r:.40}")
        if key in required and key not in node:
            raise SpecError(f"{place}: {key} is missing")
    return node


def _form_problems(spec: Spec) -> Iterator[str]:
    """Yield the deviations from OpenAPI in all parts that the generator reads."""
    try:
        document = _form(spec.document, "document", "the document")
        components: Node = _form(document.get("components", {}), "document", "components")
        for section, found in components.items():
            if not isinstance(found, Mapping) and not section.startswith("x-"):
                raise SpecError(f"components/{section}: expected an object, got {found!r:.40}")
        for name, schema in components.get("schemas", {}).items():
            if not isinstance(schema, Mapping):
                raise SpecError(f"schema {name}: expected a schema object, got {schema!r:.40}")
        for at, tag in enumerate(document.get("tags", ())):
            _form(tag, "tag", f"tags/{at}", ("name",))
        for at, server in enumerate(document.get("servers", ())):
            server = _form(server, "server", f"servers/{at}", ("url",))
            for name, variable in server.get("variables", {}).items():
                if not isinstance(variable, Mapping) or "default" not in variable:
                    raise SpecError(f"servers/{at}/variables/{name}: default is missing")
        for scheme, node in components.get("securitySchemes", {}).items():
            if not isinstance(node, Mapping):
                raise SpecError(f"security scheme {scheme}: expected an object, got {node!r:.40}")
    except SpecError as error:
        yield str(error)
        return
    for path, item in document.get("paths", {}).items():
        if not path.startswith("x-"):
            yield from _path_problems(spec, path, item)


def _path_problems(spec: Spec, path: str, item: Any) -> Iterator[str]:
    try:
        item = spec.resolve(_form(item, "path", path))
        _form(item, "path", path)
        if not path.startswith("/"):
            raise SpecError(f"{path}: a path begins with '/'")
    except SpecError as error:
        yield str(error)
        return
    for method in METHODS:
        if method in item:
            try:
                _check_operation_form(spec, f"{method.upper()} {path}", item, item[method])
            except SpecError as error:
                yield str(error)


def _check_operation_form(spec: Spec, where: str, item: Node, value: Any) -> None:
    operation = _form(value, "operation", where, ("responses",))
    if not all(isinstance(tag, str) and tag for tag in operation.get("tags", ())):
        raise SpecError(f"{where}: tags: expected a list of names")
    for node in (*item.get("parameters", ()), *operation.get("parameters", ())):
        given: Node = cast(Node, node) if isinstance(node, Mapping) else {}
        place = f"{where}: parameter {given.get('$ref') or given.get('name')!r}"
        parameter = spec.resolve(_form(node, "parameter", place))
        _form(parameter, "parameter", place, ("name", "in"))
        if "schema" not in parameter:
            raise SpecError(f"{place}: only a parameter with a schema is supported")
    if "requestBody" in operation:
        _check_content(spec, operation["requestBody"], f"{where}: request body")
    for status, response in operation["responses"].items():
        if not status.startswith("x-"):
            if not re.fullmatch(r"[1-5](\d\d|XX)|default", status):
                raise SpecError(f"{where}: response {status}: it is not an HTTP status")
            _check_content(spec, response, f"{where}: response {status}")


def _check_content(spec: Spec, value: Any, place: str) -> None:
    node = _form(spec.resolve(_form(value, "body", place)), "body", place)
    for name, media_type in node.get("content", {}).items():
        _form(media_type, "media type", f"{place}: {name}")


def _with_named_schemas(spec: Spec) -> Spec:
    """Return `spec` with a name for request bodies, and for parts to which a `$ref` points."""
    schemas = dict(spec.schemas)

    def add(wanted: str, schema: SchemaNode) -> str:
        name, number = wanted, 2
        while name in schemas:
            name, number = f"{wanted}_{number}", number + 1
        schemas[name] = schema
        return name

    hoisted: dict[str, str] = {}

    def named(ref: str) -> str:
        steps = steps_of(ref) if ref.startswith("#/") else []
        if not ("schema" in steps or (steps[:2] == ["components", "schemas"] and len(steps) > 3)):
            return ref
        if ref not in hoisted:
            target = spec.resolve({"$ref": ref})
            words = [step for step in steps[-3:] if step not in ("schema", "properties", "schemas")]
            hoisted[ref] = add(" ".join(words), {})
            schemas[hoisted[ref]] = replaced_refs(target, named)
        return f"{COMPONENTS}{_escaped(hoisted[ref])}"

    document = replaced_refs(spec.document, named)
    schemas.update(document.get("components", {}).get("schemas", {}))
    bodies = Spec(document)
    for _, _, operation in bodies.operations():
        body = operation.get("requestBody")
        media_type = body_content(bodies.resolve(body)) if body else None
        if media_type is not None and "$ref" not in (schema := media_type.get("schema", {})):
            name = add(f"{operation['operationId']} request", schema)
            media_type["schema"] = {"$ref": f"{COMPONENTS}{_escaped(name)}"}  # type: ignore[index]
    document["components"] = {**document.get("components", {}), "schemas": schemas}
    return replace(spec, document=document)


def _escaped(name: str) -> str:
    """Return a name as a step of a reference."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe=" ~")


def _schema_problems(spec: Spec) -> Iterator[str]:
    """Yield the schemas that `schema_from_openapi` refuses, named and unnamed ones."""
    schemas: dict[str, SchemaNode] = {
        name: {"$ref": f"{COMPONENTS}{_escaped(name)}"} for name in spec.schemas
    }
    for method, path, operation in spec.operations():
        where = f"{method.upper()} {path}"
        for parameter in operation["parameters"]:
            schemas[f"{where}: parameter {parameter['name']}"] = parameter["schema"]
        for status, node in operation["responses"].items():
            media_type = None if status.startswith("x-") else json_content(spec.resolve(node))
            schemas[f"{where}: response {status}"] = (media_type or {}).get("schema", {})
    if _problem_of({"properties": schemas}, spec, "API"):  # but which one?
        yield from filter(None, (_problem_of(found, spec, name) for name, found in schemas.items()))


def _problem_of(schema: SchemaNode, spec: Spec, name: str) -> str | None:
    try:
        schema_from_openapi(schema, components={"schemas": spec.schemas}, name=printable(name))
    except ValueError as error:
        return str(error)
    return None


def _doubled_ids(spec: Spec) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for method, path, operation in spec.operations():
        places.setdefault(operation["operationId"], []).append(f"{method.upper()} {path}")
    for operation_id, found in places.items():
        if len(found) > 1:
            yield f"operationId {operation_id!r} is not unique: {', '.join(found)}"


def _operation_problems(spec: Spec, path: str, operation: Node) -> Iterator[str]:
    """Yield everything in an operation that the generator does not support."""
    parameters: list[Node] = operation["parameters"]
    for parameter in parameters:
        for problem in _parameter_problems(spec, parameter):
            yield f"parameter {parameter['name']}: {problem}"
    declared = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    written = re.findall(r"\{([^{}]*)\}", path)
    if odd := declared.symmetric_difference(written):
        yield f"path parameter {min(odd)}: it has to be both in the path and among the parameters"
    if any("{" in part and not re.fullmatch(r"\{[^{}]+\}", part) for part in path.split("/")):
        yield "a path parameter has to be a whole segment of the path"
    if "requestBody" in operation:
        body = spec.resolve(operation["requestBody"])
        found: Node = body.get("content", {})
        if body_content(body) is None and bytes_content(body) is None:
            yield f"request body: unsupported content, got {', '.join(found) or 'no content'}"
    if not any(status[0] in "2d" for status in operation["responses"]):
        yield "it has no success response"
    yield from _security_problems(spec, operation)


def _parameter_problems(spec: Spec, parameter: Node) -> Iterator[str]:
    place = parameter["in"]
    if place not in STYLES:
        yield f"in: expected one of {', '.join(STYLES)}, got {place!r}"
        return
    if parameter.get("style", STYLES[place]) != STYLES[place]:
        yield f"style: only {STYLES[place]!r} is supported, got {parameter['style']!r}"
    if place == "path" and parameter.get("required") is not True:
        yield "required: it has to be true for a parameter in the path"
    if spec.schema(parameter["schema"]).get("type") == "object":
        yield "schema: an object is not supported here"


def _security_problems(spec: Spec, operation: Node) -> Iterator[str]:
    needed = operation.get("security", spec.document.get("security", []))
    declared = spec.document.get("components", {}).get("securitySchemes", {})
    for alternative in needed:
        if not isinstance(alternative, Mapping):
            yield f"security: expected an object, got {alternative!r:.40}"
            return
        for name in cast(Node, alternative):
            if name not in declared:
                yield f"security: there is no scheme {name!r}"
                return
    if needed and all(any(n not in spec.key_headers for n in found) for found in needed):
        names = ", ".join(dict.fromkeys(name for found in needed for name in found))
        yield f"security: only keys in a header, http basic and tokens are supported, got {names}"
