"""The intermediate representation: everything that the templates need, as frozen dataclasses.

`build` makes it from a `Spec`. Invariants: a template decides no name, no type and no order; it
only lays out the data here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple

from codegen import hints, names
from codegen.constructors import Constructor, constructor
from codegen.examples import Example, examples
from codegen.pages import Section, page
from codegen.spec import (
    Node,
    SchemaNode,
    Spec,
    body_content,
    bytes_content,
    json_content,
    ref_name,
    without_prose,
)
from codegen.typed_dicts import PlainForm, plain_forms
from humanloop import exceptions
from humanloop.operation import FORM, PACKAGE, schema_choices
from humanloop.schemas import base_of, enum_members

__all__ = ["Answer", "Argument", "GeneratedApi", "Method", "Model", "Shortcut", "Tag", "build"]

# The errors that any call may raise, as the documentation lists them.
ERRORS = (
    exceptions.SchemaValidationError,
    exceptions.ApiTypeError,
    exceptions.BadRequestError,
    exceptions.UnauthorizedError,
    exceptions.ForbiddenError,
    exceptions.NotFoundError,
    exceptions.ConflictError,
    exceptions.UnprocessableEntityError,
    exceptions.RateLimitError,
    exceptions.ServerError,
    exceptions.ApiResponseError,
    exceptions.ApiStreamingException,
    exceptions.ApiConnectionError,
    exceptions.ApiTimeoutError,
    exceptions.ApiTlsError,
    exceptions.ApiProxyError,
    exceptions.ApiResponseTooLargeError,
)


# The methods that our own client has beside its tags: the operationId, and the name of the method
# that streams its outputs.
SHORTCUTS: Mapping[str, tuple[str, str | None]] = {
    "chat": ("chats_create", "chat_stream"),
    "chat_deployed": ("chats_create_deployed", "chat_deployed_stream"),
    "chat_experiment": ("chats_create_experiment", "chat_experiment_stream"),
    "chat_model_configuration": ("chats_create_model_config", "chat_model_config_stream"),
    "complete": ("completions_create", "complete_stream"),
    "complete_deployed": ("completions_create_deployed", "complete_deployed_stream"),
    "complete_experiment": ("completions_create_experiment", "complete_experiment_stream"),
    "complete_model_configuration": (
        "completions_create_model_config",
        "complete_model_config_stream",
    ),
    "feedback": ("feedback_feedback", None),
    "log": ("logs_log", None),
}


class Later(NamedTuple):
    """The deferred variant of a shortcut: its return type, and its additional arguments."""

    returns: str
    arguments: tuple[str, ...] = ()


LATER: Mapping[str, Later] = {
    "feedback": Later("None", ("reference_id: str | None = None",)),
    "log": Later("str"),
}


class Helpers(NamedTuple):
    """A hand-written class that a tag inherits in place of `Api`, and its documentation."""

    module: str = "humanloop.api"
    name: str = "Api"
    doc: str = ""


HELPERS: Mapping[str, Helpers] = {
    "evaluations": Helpers(
        "humanloop.evaluations.helpers",
        "EvaluationHelpers",
        "Beside these it has `wait`, `run` and `summarize`: see"
        " [evaluations](../../evaluations.md).",
    ),
    "experiments": Helpers(
        "humanloop.experiments",
        "ExperimentHelpers",
        "Beside these it has `summarize`: see"
        " [how sure an experiment is](../../evaluations.md#how-sure-is-an-experiment).",
    ),
}
"""The tags of our own client that have hand-written methods beside their operations."""


@dataclass(frozen=True)
class Model:
    """A named schema: its bare module and its stub."""

    name: str
    module: str
    doc: str
    base: str
    declaration: Mapping[str, Any]
    stub_bases: str
    attributes: list[tuple[str, str]]  # (name, hint)
    items: list[tuple[str, str]]  # (hint of the key, hint of the value), the most specific first
    members: list[str]  # the class attributes of an enum
    constructor: Constructor
    iterates: bool  # needs __iter__ and __len__, which neither base has
    narrows: bool  # a union of objects, which isinstance must narrow to each of them
    aliases: list[str]  # shadowed by its attributes, so renamed in the hints
    union: str | None  # the union of objects with it as a branch; its base class in stubs
    page: list[Section]  # its documentation


Location = Literal["path", "query", "header", "cookie", "key", "body"]
"""The place of an argument; key: a key of the body."""


@dataclass(frozen=True)
class Argument:
    """An argument of a method."""

    name: str
    hint: str
    required: bool
    location: Location
    doc: str = ""
    default: str | None = None  # the server's default, as a literal
    key: str = ""  # the name in the document

    @property
    def in_body(self) -> bool:
        """Return True for a key of the body."""
        return self.location == "key"

    @property
    def optional_hint(self) -> str:
        """Return the hint for an optional argument."""
        return hints.union([self.hint, "None"])


@dataclass(frozen=True)
class Answer:
    """A possible answer of an operation, by its status."""

    status: str
    hint: str | None  # the type of the body; None without one
    doc: str
    error: str | None  # the raised exception; None for a success


@dataclass(frozen=True)
class Method:
    """An operation: its constant and its method."""

    constant: str
    operation_id: str
    operation: Mapping[str, Any]  # the fields of humanloop.operation.Operation
    name: str
    summary: str
    description: str
    arguments: list[Argument]  # in the positional order of version 0.5
    body: Argument | None  # the keyword-only `body`
    result: str
    record: str | None  # the records of its pages; None without pages
    answers: list[Answer]
    examples: list[Example]
    security: list[tuple[str, str]]  # (scheme, header)

    @property
    def streams(self) -> bool:
        """Return True if the argument `stream` turns the answer into a stream of results."""
        return any(a.in_body and a.name == "stream" for a in self.arguments)

    @property
    def returned(self) -> str:
        """Return the hint for its return value."""
        answer = f"ApiResponse[{self.result}]"
        return f"{answer} | Stream[{self.result}]" if self.streams else answer

    @property
    def overloaded(self) -> bool:
        """Return True if it needs two signatures: all required keys or `body` must be given."""
        return self.body is not None and any(a.in_body and a.required for a in self.arguments)

    @property
    def everything(self) -> list[Argument]:
        """Return all arguments, with a keyword-only `body` last."""
        return [*self.arguments, *([self.body] if self.body else [])]


@dataclass(frozen=True)
class Tag:
    """A tag: one module, one class, one attribute of the client."""

    attribute: str
    module: str
    class_name: str
    base: Helpers  # its base class
    doc: str
    methods: list[Method]


@dataclass(frozen=True)
class Shortcut:
    """A method of a tag under another name on the client."""

    name: str
    attribute: str  # of the tag
    tag: str  # its class
    method: Method
    stream: str | None  # the method that streams its outputs
    later: Later | None  # None without a deferred variant


@dataclass(frozen=True)
class GeneratedApi:
    """Everything to generate.

    package: its full name, such as `humanloop`; key_headers: (header, prefix) by security scheme.
    """

    package: str
    source: str  # the name of the document's file
    title: str
    models: list[Model]
    tags: list[Tag]
    shortcuts: list[Shortcut]
    plain_forms: list[PlainForm]
    host: str  # the base URL
    key_headers: dict[str, tuple[str, str]]
    errors: list[tuple[str, str]]  # (exception, when it is raised)


def build(spec: Spec, package: str = PACKAGE) -> GeneratedApi:
    """Return the intermediate representation of `spec`.

    Pages of models and examples of methods are made for our own package alone: they belong to this
    repository's documentation.
    """
    classes = names.classes()
    spec = names.with_class_names(spec, classes)
    modules = names.modules(spec.schemas).add_all(
        {name: names.module_name(name) for name in spec.schemas}
    )
    models = [_model(spec, package, *pair) for pair in modules.items()]
    own = package == PACKAGE
    shortcuts: Mapping[str, tuple[str, str | None]] = SHORTCUTS if own else {}
    tags = list(_tags(spec, package, classes, shortcuts, HELPERS if own else {}))
    by_id = {
        m.operation_id: (tag.attribute, tag.class_name, m) for tag in tags for m in tag.methods
    }
    return GeneratedApi(
        package,
        spec.source,
        str(spec.document.get("info", {}).get("title", package)),
        sorted(models, key=lambda model: model.module),
        tags,
        [
            Shortcut(name, *by_id[operation_id], stream, LATER.get(name))
            for name, (operation_id, stream) in shortcuts.items()
            if operation_id in by_id
        ],
        plain_forms(spec),
        spec.host,
        spec.key_headers,
        [(e.__name__, (inspect.getdoc(e) or "").partition("\n")[0]) for e in ERRORS],
    )


def _model(spec: Spec, package: str, name: str, module: str) -> Model:
    schema = spec.schemas[name]
    base = base_of(schema).__name__
    stub_bases, iterates, narrows = base, False, False
    attributes: dict[str, str] = {}
    items: list[tuple[str, str]] = []
    members: list[str] = []
    objects, arrays = _shapes(spec, schema)
    union = _union(spec, name)
    if base == "ListSchema":
        stub_bases = f"ListSchema[{hints.accessed(spec, schema.get('items', {}))}]"
    elif objects or arrays:
        if base == "AnyTypeSchema" and not arrays:
            stub_bases, narrows = "AnyTypeSchema, DictSchema", True
        iterates = bool(arrays)
        attributes = _attributes(spec, objects) if objects else {}
        # A union of objects returns Any for keys, and is typed by its attributes: overloads of it
        # would have to match those of its branches.
        items = [] if narrows else _items(spec, objects, arrays)
    elif base == "StrSchema" and "enum" in schema:
        members = list(enum_members(schema["enum"]))
    new = constructor(spec, schema, objects)
    # In a class body, `date` is the attribute `date`, and not the type of that name any more.
    used = [*attributes.values(), *chain(*items), *new.hints]
    aliases = sorted(attributes.keys() & set[str]().union(*map(hints.words, used)))
    rename = partial(hints.renamed, names=aliases) if aliases else str
    return Model(
        name=name,
        module=module,
        doc=_sentence(schema.get("description") or f"The schema {name}."),
        base=base,
        declaration=without_prose(schema),
        stub_bases=union or stub_bases,
        attributes=[(attribute, rename(hint)) for attribute, hint in attributes.items()],
        items=[(rename(key), rename(hint)) for key, hint in items],
        members=members,
        constructor=new.with_hints(rename),
        aliases=aliases,
        iterates=iterates,
        narrows=narrows,
        union=union,
        page=page(f"{package}.model.{module}.{name}", schema) if package == PACKAGE else [],
    )


def _union(spec: Spec, name: str) -> str | None:
    """Return the first union of objects with the schema as a branch.

    An instance read from such a place belongs to both classes. Checkers know this only if one is a
    subclass of the other: pyright's `match` treats two unrelated classes as disjoint.
    """
    for union, schema in spec.schemas.items():
        branches = schema.get("oneOf") or schema.get("anyOf") or ()
        if name in map(ref_name, branches) and union != name:
            objects, arrays = _shapes(spec, schema)
            if objects and not arrays and base_of(schema).__name__ == "AnyTypeSchema":
                return union
    return None


def _shapes(spec: Spec, schema: SchemaNode) -> tuple[list[SchemaNode], list[SchemaNode]]:
    """Return the object and the array schemas among the alternatives of `schema`."""
    choices = list(schema_choices(schema, lambda ref: spec.resolve({"$ref": ref})))
    objects, arrays = (
        [choice for choice in choices if _kind(choice) == kind] for kind in ("object", "array")
    )
    return objects, arrays


def _kind(schema: SchemaNode) -> str | None:
    """Return the type of a schema; one that only has keys is an object."""
    found: str | None = schema.get("type", "object" if "properties" in schema else None)
    return found


def _attributes(spec: Spec, objects: Sequence[SchemaNode]) -> dict[str, str]:
    """Return the attributes that all of `objects` have."""
    first, *others = (schema.get("properties", {}) for schema in objects)
    return {
        attribute: hints.union(hints.accessed(spec, one[key]) for one in (first, *others))
        for key in first
        if (attribute := names.attribute_name(key)) and all(key in other for other in others)
        if attribute != "property"  # the stub uses it to declare properties
    }


def _items(
    spec: Spec, objects: Sequence[SchemaNode], arrays: Sequence[SchemaNode]
) -> list[tuple[str, str]]:
    """Return the hints for `instance[key]`: one per distinct type, then one for other keys."""
    hints_of: dict[str, list[str]] = {}
    for schema in objects:
        for key, value in schema.get("properties", {}).items():
            hints_of.setdefault(key, []).append(hints.accessed(spec, value))
    keys_of: dict[str, list[str]] = {}
    for key, found in hints_of.items():
        keys_of.setdefault(hints.union(found), []).append(hints.quoted(key))
    others = [schema["additionalProperties"] for schema in objects if _only_additional(schema)]
    rest = "Any"
    if len(others) == len(objects) > 0:
        rest = hints.union(hints.accessed(spec, other) for other in others)
    keys_of.pop(rest, None)
    entries = [(f"Literal[{', '.join(keys)}]", hint) for hint, keys in keys_of.items()]
    if arrays:
        item = hints.union(hints.accessed(spec, schema.get("items", {})) for schema in arrays)
        entries = [("SupportsIndex", item), ("slice", f"tuple[{item}, ...]"), *entries]
    if not entries and rest == "Any":
        return []
    return [*entries, ("str", rest)]


def _only_additional(schema: SchemaNode) -> bool:
    return isinstance(schema.get("additionalProperties"), dict) and not schema.get("properties")


def _tags(
    spec: Spec,
    package: str,
    classes: names.Names,
    shortcuts: Iterable[str],
    helpers: Mapping[str, Helpers],
) -> Iterator[Tag]:
    """Yield the tags by their modules; an operation belongs to its first tag."""
    attributes, constants = names.attributes(shortcuts), names.constants(spec.schemas)
    modules = names.modules(())
    words = {tag["name"]: names.module_name(tag["name"], "tag") for tag in spec.tags}
    found = {tag["name"]: tag for tag in spec.tags}
    for tag in sorted(found.values(), key=lambda tag: (words[tag["name"]], tag["name"])):
        own = [parts for parts in spec.operations() if parts[2]["tags"][0] == tag["name"]]
        if not own:
            continue
        word = words[tag["name"]]
        attribute, methods = attributes.add(word), names.methods()
        made = [_method(spec, package, attribute, word, constants, methods, parts) for parts in own]
        yield Tag(
            attribute=attribute,
            module=modules.add(f"{word}_api"),
            class_name=classes.add(names.tag_class_name(tag["name"])),
            base=helpers.get(attribute, Helpers()),
            doc=_sentence(tag.get("description") or f"The operations of the tag {tag['name']}."),
            methods=sorted(made, key=lambda m: m.name),
        )


def _method(
    spec: Spec,
    package: str,
    attribute: str,
    tag: str,
    constants: names.Names,
    methods: names.Names,
    parts: tuple[str, str, Node],
) -> Method:
    """Return the method of an operation; tag: a possible prefix of its operationId."""
    method, path, operation = parts
    words = names.module_name(operation["operationId"], "call")
    name = methods.add(names.module_name(words.removeprefix(f"{tag}_"), "call"))
    status, response = _success(spec, operation)
    if method == "head":  # the answer has no body (RFC 9110, section 9.3.2)
        response = None
    body = _body_schema(spec, operation)
    media_type = bytes_content(spec.resolve(operation.get("requestBody", {})))
    parameters: list[Node] = operation["parameters"]
    record = _record(spec, parameters, response)
    others = {
        "body": body is not None or media_type is not None,
        "progress": record is not None,
        "stream": response is None or not _is_flag(spec, body, "stream"),
    }
    constant = constants.add(words.upper())
    taken = names.arguments([constant, *(name for name, is_taken in others.items() if is_taken)])
    in_parameters = _parameter_arguments(spec, parameters, taken)
    in_body = _body_arguments(spec, body, taken)
    keys = {argument.key: argument.name for argument in in_body if argument.in_body}
    arguments = [*in_body, *in_parameters]
    if media_type is not None:
        doc = f"The body, as {media_type}."
        arguments.insert(0, Argument("body", "bytes | str", True, "body", doc))
    keyword_body = body is not None and all(argument.name != "body" for argument in arguments)
    summary = operation.get("summary") or f"{method.upper()} {path}"
    return Method(
        constant=constant,
        operation_id=operation["operationId"],
        operation={
            "name": f"{attribute}.{name}",
            "method": method.upper(),
            "path": path,
            "parameters": [
                _parameter_fields(parameter, argument.name)
                for parameter, argument in zip(parameters, in_parameters, strict=True)
            ],
            "body": ref_name(body) if body is not None else None,
            "response": _response_field(response),
            "status": status,
            "without_body": tuple(_without_body(spec, operation, response)),
            "media_type": media_type or _form_type(spec, operation),
            "keys_given_as": {k: n for k, n in keys.items() if n != names.argument_name(k)},
        },
        name=name,
        summary=_sentence(summary),
        description=operation.get("description", "").strip(),
        arguments=sorted(arguments, key=lambda argument: not argument.required),
        body=_body_argument(spec, body, bool(in_body))
        if keyword_body and body is not None
        else None,
        result="Unset" if response is None else hints.accessed(spec, response),
        record=record,
        answers=list(_answers(spec, operation)),
        examples=examples(spec, parameters, _media_type(spec, operation))
        if package == PACKAGE
        else [],
        security=list(spec.security(operation)),
    )


def _answers(spec: Spec, operation: Node) -> Iterator[Answer]:
    for status, node in _responses(operation):
        answer = spec.resolve(node)
        schema = (json_content(answer) or {}).get("schema")
        hint = None if schema is None else hints.accessed(spec, schema)
        error = None if status.startswith("2") else _exception(status).__name__
        yield Answer(status, hint, _sentence(answer.get("description", "")), error)


def _responses(operation: Node) -> Iterator[tuple[str, Node]]:
    """Yield (status, response) for each response of an operation."""
    yield from ((s, node) for s, node in operation["responses"].items() if not s.startswith("x-"))


def _exception(status: str) -> type[Exception]:
    """Return the exception for a status such as `404`, `5XX` or `default`."""
    return exceptions.exception_for_status(int(f"0{re.sub('[^0-9]', '0', status)}"))


def _successes(spec: Spec, operation: Node) -> list[tuple[int, SchemaNode | None]]:
    """Return (status, schema of the body) for each success; `default` is one if nothing else is."""
    found = dict(_responses(operation))
    statuses = [status for status in found if status.startswith("2")] or ["default"]
    bodies = [json_content(spec.resolve(found[status])) for status in statuses]
    return [
        (
            200 if status == "default" else int(status.replace("X", "0")),
            None if body is None else body.get("schema", {}),
        )
        for status, body in zip(statuses, bodies, strict=True)
    ]


def _success(spec: Spec, operation: Node) -> tuple[int, SchemaNode | None]:
    """Return the success status and the schema of its body; a common one where they differ."""
    found = _successes(spec, operation)
    bodies = [schema for _, schema in found if schema is not None]
    different = [schema for at, schema in enumerate(bodies) if schema not in bodies[:at]]
    status = next((status for status, schema in found if schema is not None), found[0][0])
    if len(different) > 1:
        return status, {"anyOf": different}
    return status, different[0] if different else None


def _without_body(spec: Spec, operation: Node, response: SchemaNode | None) -> Iterator[int]:
    """Yield the statuses of successes without a body if others have one."""
    if response is not None:
        yield from (status for status, body in _successes(spec, operation) if body is None)


def _media_type(spec: Spec, operation: Node) -> Node | None:
    """Return the media type of an operation's body that has keys."""
    if "requestBody" not in operation:
        return None
    return body_content(spec.resolve(operation["requestBody"]))


def _form_type(spec: Spec, operation: Node) -> str | None:
    """Return the media type of a body that is an HTML form."""
    body = spec.resolve(operation.get("requestBody", {}))
    return FORM if body_content(body) is not None and json_content(body) is None else None


def _body_schema(spec: Spec, operation: Node) -> SchemaNode | None:
    """Return the schema of the body, a reference, since `spec` has named it."""
    media_type = _media_type(spec, operation)
    return None if media_type is None else media_type["schema"]


def _is_flag(spec: Spec, body: SchemaNode | None, key: str) -> bool:
    """Return whether a key of a body is a boolean in each object that the body may be."""
    objects = _shapes(spec, body or {})[0]
    found = [o["properties"][key] for o in objects if key in o.get("properties", {})]
    return bool(found) and all(spec.schema(one).get("type") == "boolean" for one in found)


def _body_arguments(spec: Spec, body: SchemaNode | None, taken: names.Names) -> list[Argument]:
    """Return the positional arguments of a method for its body.

    An object becomes its keys. An array becomes `body`. A choice of both becomes `body`, then the
    keys of all its objects, none of them required.
    """
    if body is None:
        return []
    objects, arrays = _shapes(spec, body)
    single = len(objects) == 1 and not arrays
    properties: dict[str, SchemaNode] = {}
    for schema in objects:
        properties |= schema.get("properties", {})
    required = objects[0].get("required", ()) if single else ()
    given = taken.add_all({key: names.keyword_argument(key) for key in properties}, "body_{}")
    arguments = [
        _argument(
            spec, (key, given[key]), schema, key in required, "key", _description(spec, schema)
        )
        for key, schema in properties.items()
    ]
    if not single:
        arguments.insert(0, _body_argument(spec, body, bool(properties), required=not objects))
    return arguments


def _body_argument(
    spec: Spec, body: SchemaNode, has_keys: bool, required: bool = False
) -> Argument:
    doc = f"The whole {ref_name(body)}{', in place of its keys as arguments' if has_keys else ''}."
    needed = [f"`{names.argument_name(key)}`" for key in spec.schema(body).get("required", ())]
    if needed:
        doc += f" Needed without it: {', '.join(needed)}."
    return Argument("body", hints.given(spec, body), required, "body", doc)


def _parameter_arguments(
    spec: Spec, parameters: Sequence[Node], taken: names.Names
) -> list[Argument]:
    """Return the arguments for parameters; one of two with one name gets a prefix."""
    wanted = [names.keyword_argument(parameter["name"]) for parameter in parameters]
    order = sorted(range(len(wanted)), key=lambda at: wanted[at] != parameters[at]["name"])
    given = {at: taken.add(wanted[at], f"{parameters[at]['in']}_{wanted[at]}") for at in order}
    return [
        _argument(
            spec,
            (parameter["name"], given[at]),
            parameter["schema"],
            parameter.get("required", False),
            parameter["in"],
            parameter.get("description", ""),
        )
        for at, parameter in enumerate(parameters)
    ]


def _argument(
    spec: Spec,
    pair: tuple[str, str],
    schema: SchemaNode,
    required: bool,
    location: Location,
    doc: str,
) -> Argument:
    """Return an argument; pair: its name in the document, and its Python name."""
    key, name = pair
    default = str(schema["default"]) if "default" in schema else None
    hint = hints.given(spec, schema)
    return Argument(name, hint, required, location, _sentence(doc), default, key)


def _description(spec: Spec, schema: SchemaNode) -> str:
    """Return the description of a key, or of the schema that it refers to."""
    return str(schema.get("description") or spec.resolve(schema).get("description", ""))


def _parameter_fields(parameter: Node, argument: str) -> dict[str, Any]:
    return {
        "name": parameter["name"],
        "location": parameter["in"],
        "schema": without_prose(parameter["schema"]),
        "required": parameter.get("required", False),
        "given_as": None if argument == names.argument_name(parameter["name"]) else argument,
        "explode": parameter.get("explode", True) or parameter["in"] != "query",
    }


def _response_field(response: SchemaNode | None) -> object:
    return None if response is None else ref_name(response) or without_prose(response)


def _record(spec: Spec, parameters: Sequence[Node], response: SchemaNode | None) -> str | None:
    """Return the hint for the records of an answer that is one of several pages."""
    queries = {p["name"]: spec.schema(p["schema"]) for p in parameters if p["in"] == "query"}
    numbers = [name for name, schema in queries.items() if schema.get("type") == "integer"]
    if not {"page", "size"} <= {*numbers} or "default" not in queries["page"]:
        return None
    properties = spec.schema(response or {}).get("properties", {})
    records = properties.get("records", {})
    if "total" not in properties or records.get("type") != "array":
        return None
    return hints.accessed(spec, records.get("items", {}))


def _sentence(text: str) -> str:
    """Strip `text` and end it with a full stop."""
    text = text.strip()
    return f"{text}." if text and text[-1] not in ".!?:`" else text
