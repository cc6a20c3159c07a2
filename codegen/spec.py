"""The OpenAPI document as plain data: reading it, checking it, following its references.

`load` reads a file and raises one SpecError that lists all that the generator has no form for.
Invariants: nothing here knows of templates, and the document is never changed.

Source of the rules: OpenAPI 3.0.3. YAML is read by the rules of JSON (section 4.3): keys are
strings, and there are no dates.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote

import yaml

from humanloop.operation import FORM, schema_choices
from humanloop.schemas import schema_from_openapi
from humanloop.schemas.nodes import COMPONENTS
from humanloop.secrets import printable

__all__ = [
    "COMPONENTS",
    "Node",
    "SchemaNode",
    "Spec",
    "SpecError",
    "body_content",
    "bytes_content",
    "json_content",
    "load",
    "ref_name",
    "replaced_refs",
    "steps_of",
    "without_prose",
]

Node = Mapping[str, Any]
SchemaNode = Node

MULTIPART = "multipart/form-data"
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
NOT_IN_MODULES = {"description", "example", "examples", "externalDocs", "definitions", "$comment"}
SECRET = "x-secret"
"""The extension that marks a schema whose values are never shown; the runtime heeds it."""

STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
"""The style of the parameters in each place: the default one, and the only one that has a form."""
IGNORED_HEADERS = ("accept", "content-type", "authorization")
"""Header parameters without a meaning (Parameter Object, `name`)."""


class SpecError(Exception):
    """The document holds something that the generator has no form for."""


@dataclass(frozen=True)
class Spec:
    """An OpenAPI 3.0 document.

    source: the name of its file; left_out: operations by (method, path), and why they are not here.
    """

    document: Node
    source: str = "openapi.yaml"
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    @property
    def schemas(self) -> Mapping[str, SchemaNode]:
        """Return the named schemas."""
        found: Mapping[str, SchemaNode] = self.document.get("components", {}).get("schemas", {})
        return found

    @cached_property
    def text(self) -> str:
        """Return the document as one text, to look for examples in."""
        return str(self.document)

    @cached_property
    def tags(self) -> list[Node]:
        """Return the tags with their descriptions in the document's order, then undeclared ones."""
        found: list[Node] = list(self.document.get("tags", ()))
        used = dict.fromkeys(operation["tags"][0] for _, _, operation in self.operations())
        declared = {tag["name"] for tag in found}
        return [*found, *({"name": name} for name in used if name not in declared)]

    @property
    def host(self) -> str:
        """Return the base URL; variables have their default values."""
        servers: list[Node] = self.document.get("servers") or [{"url": "/"}]
        url = str(servers[0]["url"])
        variables: Mapping[str, Node] = servers[0].get("variables", {})
        for name, variable in variables.items():
            url = url.replace(f"{{{name}}}", str(variable["default"]))
        return url

    @cached_property
    def key_headers(self) -> dict[str, tuple[str, str]]:
        """Return (header, prefix) of each security scheme that is sent in a header."""
        found: dict[str, tuple[str, str]] = {}
        for name, node in self.document.get("components", {}).get("securitySchemes", {}).items():
            scheme = self.resolve(node)
            kind, http = scheme.get("type"), str(scheme.get("scheme", "")).capitalize()
            if kind == "apiKey" and scheme.get("in") == "header" and "name" in scheme:
                found[name] = (str(scheme["name"]), "")
            elif kind == "http" and http in ("Basic", "Bearer"):
                found[name] = ("Authorization", http)
            elif kind in ("oauth2", "openIdConnect"):
                found[name] = ("Authorization", "Bearer")
        return found

    def security(self, operation: Node) -> Iterator[tuple[str, str]]:
        """Yield (scheme, header) for each way to authenticate an operation."""
        needed: list[Node] = operation.get("security", self.document.get("security", []))
        for name in dict.fromkeys(name for alternative in needed for name in alternative):
            if name in self.key_headers:
                yield name, self.key_headers[name][0]

    def operations(self) -> Iterator[tuple[str, str, Node]]:
        """Yield (method, path, operation) for every operation, in the document's order.

        Each has an `operationId`, at least one tag, and all its parameters, resolved.
        """
        for path, node in self.document.get("paths", {}).items():
            if path.startswith("x-"):
                continue
            item = self.resolve(node)
            for method in METHODS:
                if method in item and (method, path) not in self.left_out:
                    operation = item[method]
                    yield (
                        method,
                        path,
                        {
                            **operation,
                            "operationId": operation.get("operationId") or f"{method} {path}",
                            "tags": operation.get("tags") or ["default"],
                            "parameters": self._parameters(item, operation),
                        },
                    )

    def _parameters(self, item: Node, operation: Node) -> list[Node]:
        """Return the parameters of a path and of its operation, which take the place of those."""
        found: dict[tuple[str, str], Node] = {}
        for node in (*item.get("parameters", ()), *operation.get("parameters", ())):
            parameter = self.resolve(node)
            place, name = str(parameter.get("in")), str(parameter.get("name"))
            if not (place == "header" and name.lower() in IGNORED_HEADERS):
                found[place, name] = parameter
        return list(found.values())

    def resolve(self, node: Node) -> Node:
        """Return `node`, or what it refers to."""
        seen: set[str] = set()
        while "$ref" in node:
            ref = str(node["$ref"])
            if ref in seen:
                raise SpecError(f"$ref {ref}: it refers to nothing but itself")
            seen.add(ref)
            node = self._find(ref)
        return node

    def _find(self, ref: str) -> Node:
        place: Any = self.document
        if not ref.startswith("#/"):
            raise SpecError(f"$ref {ref}: only references within the document can be followed")
        for step in steps_of(ref):
            try:
                place = place[int(step) if isinstance(place, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SpecError(f"$ref {ref} does not exist") from None
        if not isinstance(place, Mapping):
            raise SpecError(f"$ref {ref}: expected an object there")
        return cast(Node, place)

    def name(self, node: SchemaNode) -> str | None:
        """Name the schema that `node` stands for: by `$ref`, or by an allOf around one."""
        all_of = node.get("allOf", ())
        return self.name(all_of[0]) if len(all_of) == 1 else ref_name(node)

    def schema(self, node: SchemaNode) -> SchemaNode:
        """Return `node`, or the schema that it stands for: by `$ref`, or by an allOf.

        An allOf of several objects stands for one with the keys of all.
        """
        while "$ref" in node or "allOf" in node:
            if "$ref" in node:
                node = self.resolve(node)
            elif len(node["allOf"]) == 1:
                node = node["allOf"][0]
            else:
                whole = next(schema_choices(node, lambda ref: self.resolve({"$ref": ref})))
                return node if "allOf" in whole else whole
        return node


def json_content(node: Node) -> Node | None:
    """Return the media type of a request body or a response that is JSON; None if there is none."""
    for name, media_type in node.get("content", {}).items():
        essence = name.partition(";")[0].strip().lower()
        if essence in ("application/json", "*/*", "application/*") or essence.endswith("+json"):
            return cast(Node, media_type)
    return None


def body_content(node: Node) -> Node | None:
    """Return the media type of a request body that has keys: JSON, else an HTML form."""
    found: Node | None = json_content(node) or node.get("content", {}).get(FORM)
    return found


def bytes_content(node: Node) -> str | None:
    """Return the media type of a request body that is sent as it is; None if there is none."""
    names = [name for name in node.get("content", {}) if name.partition(";")[0] != MULTIPART]
    if not names or body_content(node) is not None:
        return None
    return "application/octet-stream" if "*" in names[0] else str(names[0])


def steps_of(ref: str) -> list[str]:
    """Return the steps of a reference (RFC 6901, section 6): the keys from the document's root."""
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in ref[2:].split("/")]


def ref_name(node: SchemaNode) -> str | None:
    """Return the name of the schema that `node` refers to; None if it is no reference."""
    ref = node.get("$ref")
    return None if ref is None else str(ref).removeprefix(COMPONENTS)


def without_prose(schema: SchemaNode) -> dict[str, Any]:
    """Copy a schema without descriptions, examples and extensions; keys of those names stay."""
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: without_prose(part) for name, part in value.items()}
        elif key in ("allOf", "anyOf", "oneOf"):
            kept[key] = [without_prose(part) for part in value]
        elif key in ("items", "not", "additionalProperties") and not isinstance(value, bool):
            kept[key] = without_prose(value)
        elif key == SECRET or not (key in NOT_IN_MODULES or key.startswith("x-")):
            kept[key] = value
    return kept


def replaced_refs(node: Any, replace: Callable[[str], str]) -> Any:
    """Copy a part of a document with other references."""
    if isinstance(node, Mapping):
        return {
            key: replace(value) if key == "$ref" and isinstance(value, str)
            else replaced_refs(value, replace)
            for key, value in cast(Node, node).items()
        }  # fmt: skip
    if isinstance(node, list):
        return [replaced_refs(item, replace) for item in cast("list[object]", node)]
    return node


# -- reading --------------------------------------------------------------------------------------


def _construct_mapping(loader: Any, node: Any, deep: bool = False) -> dict[str, Any]:
    """Return an object of YAML, whose keys are strings as they are written."""
    keys = Counter(key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge")
    if doubled := [key for key, count in keys.items() if count > 1]:
        line = node.start_mark.line + 1
        raise SpecError(f"the object in line {line} has the key {doubled[0]!r} twice")
    loader.flatten_mapping(node)
    return {str(key.value): loader.construct_object(value, deep=deep) for key, value in node.value}


# Reads YAML by the rules of JSON: `on` and `2020-01-01` are strings, and so is each key.
_Loader: Any = type(
    "_Loader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
    {"construct_mapping": _construct_mapping, "yaml_implicit_resolvers": {}},
)
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def load(path: Path, *, leave_out: bool = False) -> Spec:
    """Read and check the document at `path`, which is YAML or JSON.

    leave_out: go without the operations that the generator has no form for.

    Raises SpecError if it is no OpenAPI 3.0 document, or holds what the generator has no form for.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        is_json = path.suffix == ".json" or text.lstrip().startswith("{")
        document: Any = (
            json.loads(text, object_pairs_hook=_once)
            if is_json
            else yaml.load(text, Loader=_Loader)
        )
        # ValueError for what is no tree of JSON values, or no text of Unicode.
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except (OSError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SpecError(f"{path.name} can't be read: {error}") from None
    if not isinstance(document, Mapping):
        raise SpecError(f"{path.name} is no OpenAPI document: expected an object")
    version = cast(Node, document).get("openapi")
    if not re.match(r"3\.0\.\d", str(version)):
        came = f"'swagger: {document['swagger']}'" if "swagger" in document else f"{version!r}"
        raise SpecError(f"openapi: expected version 3.0, such as '3.0.3', got {came}")
    return checked(Spec(cast(Node, document), path.name), leave_out=leave_out)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raise SpecError for a key that stands there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise SpecError(f"an object has the key {doubled!r} twice")
    return found


# -- checking -------------------------------------------------------------------------------------

SHOWN_PROBLEMS = 20


def checked(spec: Spec, *, leave_out: bool = False) -> Spec:
    """Return `spec` with a name for each schema that a module is needed for.

    leave_out: see `load`. Raises SpecError, which lists all problems.
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
"""What the fields of objects that are read here have to be."""


def _form(value: Any, kind: str, place: str, required: tuple[str, ...] = ()) -> Node:
    """Return an object of the document; raise SpecError if a field is not as it has to be."""
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
    """Yield what is not as OpenAPI has it, as far as anything here reads it."""
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
            raise SpecError(f"{place}: only a parameter with a schema has a form")
    if "requestBody" in operation:
        _check_content(spec, operation["requestBody"], f"{where}: request body")
    for status, response in operation["responses"].items():
        if not status.startswith("x-"):
            if not re.fullmatch(r"[1-5](\d\d|XX)|default", status):
                raise SpecError(f"{where}: response {status}: it is no HTTP status")
            _check_content(spec, response, f"{where}: response {status}")


def _check_content(spec: Spec, value: Any, place: str) -> None:
    node = _form(spec.resolve(_form(value, "body", place)), "body", place)
    for name, media_type in node.get("content", {}).items():
        _form(media_type, "media type", f"{place}: {name}")


def _with_named_schemas(spec: Spec) -> Spec:
    """Return `spec` with a name for request bodies, and for parts that a `$ref` points at."""
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
    """Yield what `schema_from_openapi` refuses, of schemas with a name and of the others."""
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
    if _problem_of({"properties": schemas}, spec, "API"):  # one of them, which has no name here
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
    """Yield what the generator has no form for in an operation."""
    parameters: list[Node] = operation["parameters"]
    for parameter in parameters:
        for problem in _parameter_problems(spec, parameter):
            yield f"parameter {parameter['name']}: {problem}"
    declared = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    written = re.findall(r"\{([^{}]*)\}", path)
    if odd := declared.symmetric_difference(written):
        yield f"path parameter {min(odd)}: it has to stand in the path and among the parameters"
    if any("{" in part and not re.fullmatch(r"\{[^{}]+\}", part) for part in path.split("/")):
        yield "a path parameter has to be a whole segment of the path"
    if "requestBody" in operation:
        body = spec.resolve(operation["requestBody"])
        found: Node = body.get("content", {})
        if body_content(body) is None and bytes_content(body) is None:
            yield f"request body: it has no form here, got {', '.join(found) or 'no content'}"
    if not any(status[0] in "2d" for status in operation["responses"]):
        yield "it has no success response"
    yield from _security_problems(spec, operation)


def _parameter_problems(spec: Spec, parameter: Node) -> Iterator[str]:
    place = parameter["in"]
    if place not in STYLES:
        yield f"in: expected one of {', '.join(STYLES)}, got {place!r}"
        return
    if parameter.get("style", STYLES[place]) != STYLES[place]:
        yield f"style: only {STYLES[place]!r} has a form, got {parameter['style']!r}"
    if place == "path" and parameter.get("required") is not True:
        yield "required: a parameter in the path has to have true here"
    if spec.schema(parameter["schema"]).get("type") == "object":
        yield "schema: an object has no form here"


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
        yield f"security: only keys in a header, http basic and tokens have a form, got {names}"
