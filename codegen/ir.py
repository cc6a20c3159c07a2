"""The intermediate representation: all that the templates need, decided, as frozen dataclasses.

`build` makes it from a `Spec`. Invariants: a template chooses no name, no type and no order;
it only lays out what stands here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal

from codegen import hints, names
from codegen.constructors import Constructor, constructor
from codegen.examples import Example, examples
from codegen.pages import Section, page
from codegen.spec import Node, SchemaNode, Spec, SpecError, ref_name, without_prose
from codegen.typed_dicts import PlainForm, plain_forms
from humanloop import exceptions
from humanloop.operation import schema_choices
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
    exceptions.ApiResponseTooLargeError,
)

# The methods that the client carries beside its tags, by operationId.
SHORTCUTS = {
    "chat": "chats_create",
    "chat_deployed": "chats_create_deployed",
    "chat_experiment": "chats_create_experiment",
    "chat_model_configuration": "chats_create_model_config",
    "complete": "completions_create",
    "complete_deployed": "completions_create_deployed",
    "complete_experiment": "completions_create_experiment",
    "complete_model_configuration": "completions_create_model_config",
    "feedback": "feedback_feedback",
    "log": "logs_log",
}

# The methods of the client that stream the outputs of a shortcut.
STREAMS = {
    "chat": "chat_stream",
    "chat_deployed": "chat_deployed_stream",
    "chat_experiment": "chat_experiment_stream",
    "chat_model_configuration": "chat_model_config_stream",
    "complete": "complete_stream",
    "complete_deployed": "complete_deployed_stream",
    "complete_experiment": "complete_experiment_stream",
    "complete_model_configuration": "complete_model_config_stream",
}


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
    iterates: bool  # __iter__ and __len__ are to be declared: neither base has them
    narrows: bool  # a union of objects, which isinstance has to narrow to each of them
    aliases: list[str]  # names in the hints that its attributes hide, and that are renamed in them
    union: str | None  # the union of objects that has it as a branch, and as a subclass in stubs
    page: list[Section]  # its documentation


@dataclass(frozen=True)
class Argument:
    """An argument of a method."""

    name: str
    hint: str
    required: bool
    location: Literal["path", "query", "key", "body"]  # key: one of the keys of the body
    doc: str = ""
    default: str | None = None  # what the server takes if it is left out, as a literal

    @property
    def in_body(self) -> bool:
        """True for a key of the body."""
        return self.location == "key"

    @property
    def optional_hint(self) -> str:
        """Return the hint for an argument that may be left out."""
        return hints.union([self.hint, "None"])


@dataclass(frozen=True)
class Answer:
    """An answer that an operation may give, by its status."""

    status: int
    hint: str | None  # the type of the body; None: there is none
    doc: str
    error: str | None  # the exception that is raised; None: it is a success


@dataclass(frozen=True)
class Method:
    """An operation: its constant and its method."""

    constant: str
    operation: Mapping[str, Any]  # the fields of humanloop.operation.Operation
    name: str
    summary: str
    description: str
    arguments: list[Argument]  # in 0.5's positional order
    body: Argument | None  # the keyword-only `body`
    result: str
    record: str | None  # what its pages hold; None: it has no pages
    answers: list[Answer]
    examples: list[Example]
    security: list[tuple[str, str]]  # (scheme, header)

    @property
    def streams(self) -> bool:
        """True if the argument `stream` turns the answer into a stream of results."""
        return any(a.in_body and a.name == "stream" for a in self.arguments)

    @property
    def returned(self) -> str:
        """Return the hint for what it returns."""
        answer = f"ApiResponse[{self.result}]"
        return f"{answer} | Stream[{self.result}]" if self.streams else answer

    @property
    def overloaded(self) -> bool:
        """True if either all required keys or `body` must be given: that takes two signatures."""
        return self.body is not None and any(a.in_body and a.required for a in self.arguments)

    @property
    def everything(self) -> list[Argument]:
        """Return all arguments, `body` last where it is keyword-only."""
        return [*self.arguments, *([self.body] if self.body else [])]


@dataclass(frozen=True)
class Tag:
    """A tag: one module, one class, one attribute of the client."""

    attribute: str
    module: str
    class_name: str
    doc: str
    methods: list[Method]


@dataclass(frozen=True)
class Shortcut:
    """A method of a tag that the client carries under a name of its own."""

    name: str
    attribute: str  # of the tag
    tag: str  # its class
    method: Method
    stream: str | None  # the name of the method that streams its outputs


@dataclass(frozen=True)
class GeneratedApi:
    """Everything that is generated."""

    models: list[Model]
    tags: list[Tag]
    shortcuts: list[Shortcut]
    plain_forms: list[PlainForm]
    host: str  # the base URL
    errors: list[tuple[str, str]]  # (exception, when it is raised)


def build(spec: Spec) -> GeneratedApi:
    """Make the intermediate representation of `spec`."""
    models = sorted((_model(spec, name) for name in spec.schemas), key=lambda model: model.module)
    tags = sorted((_tag(spec, tag) for tag in spec.tags), key=lambda tag: tag.module)
    by_constant = {
        m.constant: (tag.attribute, tag.class_name, m) for tag in tags for m in tag.methods
    }
    shortcuts = [
        Shortcut(name, *by_constant[operation_id.upper()], STREAMS.get(name))
        for name, operation_id in SHORTCUTS.items()
        if operation_id.upper() in by_constant
    ]
    errors = [(e.__name__, (inspect.getdoc(e) or "").partition("\n")[0]) for e in ERRORS]
    return GeneratedApi(models, tags, shortcuts, plain_forms(spec), spec.host, errors)


def _model(spec: Spec, name: str) -> Model:
    schema = spec.schemas[name]
    base = base_of(schema).__name__
    stub_bases, iterates, narrows = base, False, False
    attributes: dict[str, str] = {}
    items: list[tuple[str, str]] = []
    members: list[str] = []
    objects, arrays = _shapes(spec, schema)
    union = _union(spec, name)
    if base == "ListSchema":
        stub_bases = f"ListSchema[{hints.accessed(spec, schema['items'])}]"
    elif objects or arrays:
        if base == "AnyTypeSchema" and not arrays:
            stub_bases, narrows = "AnyTypeSchema, DictSchema", True
        iterates = bool(arrays)
        attributes = _attributes(spec, objects) if objects else {}
        # A union of objects gives Any by key, and is typed by its attributes: overloads of it
        # would have to fit those of its branches.
        items = [] if narrows else _items(spec, objects, arrays)
    elif base == "StrSchema" and "enum" in schema:
        members = list(enum_members(schema["enum"]))
    new = constructor(spec, schema, objects)
    # In the body of a class, `date` is its attribute `date`, and no longer the type of that name.
    used = [*attributes.values(), *chain(*items), *new.hints]
    aliases = sorted(attributes.keys() & set[str]().union(*map(hints.words, used)))
    rename = partial(hints.renamed, names=aliases) if aliases else str
    return Model(
        name=name,
        module=names.module_name(name),
        doc=_sentence(schema.get("description", f"The schema {name}.")),
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
        page=page(f"humanloop.model.{names.module_name(name)}.{name}", schema),
    )


def _union(spec: Spec, name: str) -> str | None:
    """Return the first union of objects that names the schema as a branch.

    An instance that is read from such a place belongs to both classes. Checkers know it where one
    is a subclass of the other: pyright's `match` takes two unrelated classes for disjoint.
    """
    for union, schema in spec.schemas.items():
        branches = schema.get("oneOf") or schema.get("anyOf") or ()
        if name in map(ref_name, branches) and union != name:
            objects, arrays = _shapes(spec, schema)
            if objects and not arrays and base_of(schema).__name__ == "AnyTypeSchema":
                return union
    return None


def _shapes(spec: Spec, schema: SchemaNode) -> tuple[list[SchemaNode], list[SchemaNode]]:
    """Return the object and the array schemas among the alternatives that `schema` offers."""
    choices = list(schema_choices(schema, lambda ref: spec.resolve({"$ref": ref})))
    objects, arrays = (
        [choice for choice in choices if choice.get("type") == kind] for kind in ("object", "array")
    )
    return objects, arrays


def _attributes(spec: Spec, objects: Sequence[SchemaNode]) -> dict[str, str]:
    """Return the attributes that all of `objects` have."""
    first, *others = (schema.get("properties", {}) for schema in objects)
    return {
        attribute: hints.union(hints.accessed(spec, one[key]) for one in (first, *others))
        for key in first
        if (attribute := names.attribute_name(key)) and all(key in other for other in others)
    }


def _items(
    spec: Spec, objects: Sequence[SchemaNode], arrays: Sequence[SchemaNode]
) -> list[tuple[str, str]]:
    """Return the hints for `instance[key]`: one entry a distinct type, then one for other keys."""
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
        item = hints.union(hints.accessed(spec, schema["items"]) for schema in arrays)
        entries = [("SupportsIndex", item), ("slice", f"tuple[{item}, ...]"), *entries]
    if not entries and rest == "Any":
        return []
    return [*entries, ("str", rest)]


def _only_additional(schema: SchemaNode) -> bool:
    return isinstance(schema.get("additionalProperties"), dict) and not schema.get("properties")


def _tag(spec: Spec, tag: Node) -> Tag:
    attribute = names.module_name(tag["name"])
    module = f"{attribute}_api"
    if attribute in SHORTCUTS:  # `client.feedback` is a method, so the tag is `client.feedback_api`
        attribute = module
    methods = [
        _method(spec, attribute, method, path, operation)
        for method, path, operation in spec.operations()
        if tag["name"] in operation["tags"]
    ]
    return Tag(
        attribute=attribute,
        module=module,
        class_name=names.class_name(tag["name"]),
        doc=_sentence(tag.get("description", f"The operations of the tag {tag['name']}.")),
        methods=sorted(methods, key=lambda m: m.name),
    )


def _method(spec: Spec, attribute: str, method: str, path: str, operation: Node) -> Method:
    operation_id: str = operation["operationId"]
    name = operation_id.removeprefix(names.module_name(operation["tags"][0]) + "_")
    status, response = _success(spec, operation)
    body = _body_schema(spec, operation)
    in_body = _body_arguments(spec, body)
    parameters = [spec.resolve(parameter) for parameter in operation["parameters"]]
    arguments = [*in_body, *(_parameter_argument(spec, parameter) for parameter in parameters)]
    keyword_body = body is not None and all(argument.name != "body" for argument in arguments)
    summary = operation.get("summary", f"{method.upper()} {path}")
    return Method(
        constant=operation_id.upper(),
        operation={
            "name": f"{attribute}.{name}",
            "method": method.upper(),
            "path": path,
            "parameters": [_parameter_fields(parameter) for parameter in parameters],
            "body": ref_name(body) if body is not None else None,
            "response": _response_field(response),
            "status": status,
        },
        name=name,
        summary=_sentence(summary),
        description=operation.get("description", "").strip(),
        arguments=sorted(arguments, key=lambda argument: not argument.required),
        body=_body_argument(spec, body, bool(in_body))
        if keyword_body and body is not None
        else None,
        result="Unset" if response is None else hints.accessed(spec, response),
        record=_record(spec, parameters, response),
        answers=list(_answers(spec, operation)),
        examples=examples(spec, parameters, _media_type(spec, operation)),
        security=list(spec.security(operation)),
    )


def _answers(spec: Spec, operation: Node) -> Iterator[Answer]:
    for status, node in operation["responses"].items():
        answer = spec.resolve(node)
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        hint = None if schema is None else hints.accessed(spec, schema)
        success = str(status).startswith("2")
        error = None if success else exceptions.exception_for_status(int(status)).__name__
        yield Answer(int(status), hint, _sentence(answer["description"]), error)


def _success(spec: Spec, operation: Node) -> tuple[int, SchemaNode | None]:
    """Return the success status and the schema of its body."""
    for status, node in operation["responses"].items():
        if str(status).startswith("2"):
            content = spec.resolve(node).get("content", {})
            return int(status), content.get("application/json", {}).get("schema")
    raise SpecError(f"{operation['operationId']} has no success response")


def _media_type(spec: Spec, operation: Node) -> Node | None:
    """Return the JSON body that an operation takes."""
    if "requestBody" not in operation:
        return None
    found: Node = spec.resolve(operation["requestBody"])["content"]["application/json"]
    return found


def _body_schema(spec: Spec, operation: Node) -> SchemaNode | None:
    media_type = _media_type(spec, operation)
    if media_type is None:
        return None
    schema: SchemaNode = media_type["schema"]
    if ref_name(schema) is None:
        raise SpecError(f"the request body of {operation['operationId']} needs a named schema")
    return schema


def _body_arguments(spec: Spec, body: SchemaNode | None) -> list[Argument]:
    """Return the positional arguments that a body gives a method.

    An object gives its keys. An array gives `body`. A choice of both gives `body`, then the keys of
    all its objects, none of them required.
    """
    if body is None:
        return []
    objects, arrays = _shapes(spec, body)
    single = len(objects) == 1 and not arrays
    properties: dict[str, SchemaNode] = {}
    for schema in objects:
        properties |= schema.get("properties", {})
    required = objects[0].get("required", ()) if single else ()
    arguments = [
        _argument(spec, key, schema, key in required, "key", _description(spec, schema))
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


def _parameter_argument(spec: Spec, parameter: Node) -> Argument:
    schema, required = parameter["schema"], parameter.get("required", False)
    doc = parameter.get("description", "")
    return _argument(spec, parameter["name"], schema, required, parameter["in"], doc)


def _argument(
    spec: Spec,
    name: str,
    schema: SchemaNode,
    required: bool,
    location: Literal["path", "query", "key"],
    doc: str,
) -> Argument:
    default = str(schema["default"]) if "default" in schema else None
    hint = hints.given(spec, schema)
    return Argument(names.argument_name(name), hint, required, location, _sentence(doc), default)


def _description(spec: Spec, schema: SchemaNode) -> str:
    """Return the description of a key, or of the schema that it refers to."""
    return str(schema.get("description") or spec.resolve(schema).get("description", ""))


def _parameter_fields(parameter: Node) -> dict[str, Any]:
    if parameter["in"] not in ("path", "query"):
        raise SpecError(
            f"parameter {parameter['name']}: no form for parameters in {parameter['in']}"
        )
    return {
        "name": parameter["name"],
        "location": parameter["in"],
        "schema": without_prose(parameter["schema"]),
        "required": parameter.get("required", False),
    }


def _response_field(response: SchemaNode | None) -> object:
    return None if response is None else ref_name(response) or without_prose(response)


def _record(spec: Spec, parameters: Sequence[Node], response: SchemaNode | None) -> str | None:
    """Return the hint for the records of an answer that is one page of several."""
    if not {"page", "size"} <= {parameter["name"] for parameter in parameters}:
        return None
    properties = spec.schema(response or {}).get("properties", {})
    if not {"records", "total"} <= properties.keys():
        return None
    return hints.accessed(spec, properties["records"]["items"])


def _sentence(text: str) -> str:
    """Strip `text` and end it with a full stop."""
    text = text.strip()
    return f"{text}." if text and text[-1] not in ".!?:`" else text
