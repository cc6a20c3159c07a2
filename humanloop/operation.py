"""An operation of the API as data; from arguments to a request, and from a request to an operation.

`serialize` writes the path, query, headers and body of a request for the client; `match_path` and
`read_query` read them for the server and for `TestTransport`.

Invariants: everything here is pure; nothing leaves `serialize` that its schema has not accepted;
the caller's objects are never changed; a path parameter can neither add nor remove a segment of the
path.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import parse_qsl, quote, unquote, urlencode

from humanloop import schemas
from humanloop.exceptions import (
    ApiTypeError,
    ApiValueError,
    MissingRequiredParametersError,
    unexpected_argument,
)
from humanloop.forks import no_fork
from humanloop.lazy import cached_property

__all__ = [
    "PACKAGE",
    "REFERENCE_HEADER",
    "RETRY_HEADER",
    "Operation",
    "Parameter",
    "PathMatch",
    "SerializedCall",
    "argument_name",
    "is_idempotent",
    "match_path",
    "read_query",
    "serialize",
    "wants_stream",
]


_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")  # RFC 3986 section 2.3
_INTEGER = re.compile(r"-?[0-9]{1,18}")  # what every database can hold
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
PACKAGE = "humanloop"
"""The package of the API's own operations; those of other APIs stand in packages of their own."""
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
RETRY_HEADER = "X-Retry-Count"
"""The number of earlier tries of a request; not sent with the first. It lets a server find what an
earlier try has done, where its answer was lost."""
REFERENCE_HEADER = "X-Data-Reference"
"""With the value `reference_id`: each `data_id` in the body of feedback is the reference ID of its
log. Servers that do not know it take the reference ID for an ID, and find no log."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: `schema` is its OpenAPI 3.0 schema object.

    given_as: the keyword argument that it is given by, where that is not `argument_name(name)`;
    explode: an array in the query is a pair for each item, else one pair with commas.
    """

    name: str
    location: Literal["path", "query", "header", "cookie"]
    schema: Mapping[str, Any]
    required: bool
    given_as: str | None = None
    explode: bool = True

    @cached_property
    def argument(self) -> str:
        """The keyword argument that it is given by."""
        return self.given_as or argument_name(self.name)


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    name: tag attribute and Python method, `logs.update_by_ref`.
    method, path: `PATCH`, `/projects/{id}/export`.
    body: the schema name of the JSON request body; None: the request has no body.
    response: the schema name, or the schema object, of the success body; None: there is no body.
    status: the documented success status; without_body: others that come without a body.
    media_type: of the request body: JSON, an HTML form with the same keys, or anything else, which
        is given as bytes or str and sent so.
    keys_given_as: the keyword arguments of those keys of the body that have another name than
        `argument_name(key)`.
    package: the package whose `model` has the schemas.
    """

    name: str
    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: str | None = None
    response: str | Mapping[str, Any] | None = None
    status: int = 200
    without_body: tuple[int, ...] = ()
    media_type: str = JSON
    keys_given_as: Mapping[str, str] = field(default_factory=dict[str, str])
    package: str = PACKAGE

    @cached_property
    def segments(self) -> tuple[str | None, ...]:
        """The segments of the path; None in the place of a parameter."""
        parts = self.path.split("/")
        return tuple(None if part.startswith("{") else part for part in parts)

    @cached_property
    def parameters_schema(self) -> type[schemas.Schema]:
        """All parameters as one closed object by argument, so that all their errors come at once.

        By argument, since a path, a query and a header may each have a parameter of one name.
        """
        return schemas.schema_from_openapi(
            {
                "type": "object",
                "properties": {p.argument: p.schema for p in self.parameters},
                "required": [p.argument for p in self.parameters if p.required],
                "additionalProperties": False,
            },
            components=_components(self.package, [p.schema for p in self.parameters]),
            name=f"parameters of {self.name}",
        )

    @cached_property
    def body_schema(self) -> type[schemas.Schema] | None:
        """The class of the request body."""
        return self._schema(self.body)

    @cached_property
    def response_schema(self) -> type[schemas.Schema] | None:
        """The class of the success body."""
        return self._schema(self.response)

    @cached_property
    def _body_choices(self) -> tuple[Mapping[str, Any], ...]:
        """The schemas among which the body has a choice."""
        if self.body_schema is None:
            return ()
        resolve = partial(_resolve, self.package)
        return tuple(schema_choices(self.body_schema.__openapi__, resolve))

    @cached_property
    def body_keys(self) -> tuple[str, ...]:
        """The top-level keys of the body, of each object that it may be; all are arguments too."""
        keys = (key for choice in self._body_choices for key in choice.get("properties", ()))
        return tuple(dict.fromkeys(keys))

    @property
    def provider_keys(self) -> bool:
        """True if the body has a place for the keys of model providers."""
        return "provider_api_keys" in self.body_keys

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the keyword arguments that the operation's method takes."""
        parameters = (p.argument for p in self.parameters)
        has_body = self.body is not None or self.takes_bytes
        return (*self.body_arguments.values(), *parameters, *(("body",) if has_body else ()))

    @property
    def takes_bytes(self) -> bool:
        """True if the request body has no keys."""
        return self.media_type not in (JSON, FORM)

    @property
    def streams(self) -> bool:
        """True if the operation can answer with a stream of events."""
        return "stream" in self.body_keys and self.body_arguments["stream"] == "stream"

    @cached_property
    def body_arguments(self) -> Mapping[str, str]:
        """The keyword argument that each of the body's keys is given by."""
        return {key: self.keys_given_as.get(key, argument_name(key)) for key in self.body_keys}

    @cached_property
    def required_parameters(self) -> tuple[str, ...]:
        """The arguments for the parameters that must be given."""
        return tuple(p.argument for p in self.parameters if p.required)

    @cached_property
    def required_body_arguments(self) -> tuple[str, ...]:
        """The arguments without which there is no body: the required keys, or `body` itself."""
        if self.takes_bytes:
            return ("body",)
        if self.body_schema is None:
            return ()
        if not self.body_keys:
            return ("body",)
        first, *others = self._body_choices
        required = () if others else first.get("required", ())
        return tuple(self.body_arguments[key] for key in required if key in self.body_arguments)

    def _schema(self, schema: str | Mapping[str, Any] | None) -> type[schemas.Schema] | None:
        if schema is None:
            return None
        if isinstance(schema, str):
            return _model(self.package, schema)
        return schemas.schema_from_openapi(
            schema, components=_components(self.package, schema), name=f"response of {self.name}"
        )


def schema_choices(
    schema: Mapping[str, Any], resolve: Callable[[str], Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas among which `schema` lets a value choose, itself if there is no choice.

    It looks through `$ref`, `anyOf`, `oneOf` and `allOf`; an `allOf` of several objects is one
    object with the keys of all. resolve: returns the target of a `$ref`.
    """
    if "$ref" in schema:
        yield from schema_choices(resolve(schema["$ref"]), resolve)
    elif len(all_of := schema.get("allOf", ())) == 1 and "properties" not in schema:
        yield from schema_choices(all_of[0], resolve)
    elif all_of:
        parts = [[*schema_choices(branch, resolve)] for branch in all_of]
        own = {key: value for key, value in schema.items() if key != "allOf"}
        yield from _merged([own, *(part[0] for part in parts)], schema, max(map(len, parts)) == 1)
    elif branches := schema.get("anyOf") or schema.get("oneOf"):
        for branch in branches:
            yield from schema_choices(branch, resolve)
    else:
        yield schema


def _merged(
    parts: Sequence[Mapping[str, Any]], whole: Mapping[str, Any], single: bool
) -> Iterator[Mapping[str, Any]]:
    """Yield the object that has the keys of all `parts`; `whole` itself where they are no objects.

    single: no part is a choice of several schemas.
    """
    objects = [part for part in parts if part.get("type") == "object" or "properties" in part]
    if not (single and objects):
        yield whole
        return
    merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in objects:
        merged["properties"].update(part.get("properties", {}))
    for part in parts:
        merged["required"] += part.get("required", ())
    yield merged


def _model(package: str, name: str) -> type[schemas.Schema]:
    """Return the class of a schema; it loads the one model module that is asked for."""
    with no_fork.importing():
        found: type[schemas.Schema] = getattr(import_module(f"{package}.model"), name)
    return found


def _resolve(package: str, ref: str) -> Mapping[str, Any]:
    """Return the schema object of the model that a `$ref` names."""
    return _model(package, ref.rpartition("/")[2]).__openapi__


def _components(package: str, schema: Any) -> dict[str, Any]:
    """Return the schema objects of the models that `schema` refers to, directly or not."""
    found: dict[str, Any] = {}
    pending: list[Any] = [schema]
    while pending:
        part: Any = pending.pop()
        if isinstance(part, dict):
            parts = cast("dict[str, Any]", part)
            pending += parts.values()
            name = str(parts.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = _resolve(package, name)
                pending.append(found[name])
        elif isinstance(part, list):
            pending += part
    return found


# -- from arguments to a request ------------------------------------------------------------------


class SerializedCall(NamedTuple):
    """The parts of a request: an encoded path, an encoded query without `?`, JSON bytes, headers.

    Those headers are parameters; `Cookie` has the ones that are cookies.
    """

    path: str
    query: str
    body: bytes | None
    headers: Mapping[str, str] = MappingProxyType({})


def argument_name(name: str) -> str:
    """Return the argument for a parameter or a body key: a keyword gets a leading underscore."""
    return f"_{name}" if keyword.iskeyword(name) else name


def wants_stream(operation: Operation, arguments: Mapping[str, Any]) -> bool:
    """Return whether the arguments ask for the answer as a stream of events."""
    if not operation.streams:
        return False
    body = arguments.get("body")
    given = cast("Mapping[str, Any]", body) if isinstance(body, Mapping) else arguments
    return bool(given.get("stream"))


def is_idempotent(operation: Operation, arguments: Mapping[str, Any]) -> bool:
    """Return whether doing it twice has the effect of doing it once.

    This holds for all but POST (RFC 9110 section 9.2.2; no PATCH of this API depends on the state
    before), and for a POST of which each item has a `reference_id`, since that is unique. In other
    APIs it does not hold for PATCH, and for a POST with an `Idempotency-Key` alone.
    """
    if operation.package != PACKAGE:
        named = [p.argument for p in operation.parameters if p.name.lower() == "idempotency-key"]
        unsafe = operation.method in ("POST", "PATCH")
        return not unsafe or any(arguments.get(name) for name in named)
    if operation.method != "POST":
        return True
    if "reference_id" not in operation.body_keys:
        return False
    body = arguments.get("body")
    if body is None:
        return bool(arguments.get("reference_id"))
    items = cast("list[object]", body) if isinstance(body, (list, tuple)) else [body]
    return bool(items) and all(
        isinstance(item, Mapping) and cast("Mapping[str, object]", item).get("reference_id")
        for item in items
    )


def serialize(
    operation: Operation,
    arguments: Mapping[str, Any],
    provider_api_keys: Mapping[str, str] | None = None,
) -> SerializedCall:
    """Validate `arguments` and write them as the parts of a request.

    arguments: by argument name; None and `schemas.unset` mean that it was not given.
    provider_api_keys: what the configuration holds; goes only into a body that has a place for it,
        and never over a key that the caller gave.

    Raises ApiTypeError for missing, unknown or contradicting arguments, SchemaValidationError
    for values that do not fit their schema, ApiValueError for values that can't be sent.
    """
    given = {k: v for k, v in arguments.items() if v is not None and v is not schemas.unset}
    _check_names(operation, given)
    values = operation.parameters_schema.validate(
        {p.argument: given[p.argument] for p in operation.parameters if p.argument in given}
    )
    return SerializedCall(
        _path(operation, values),
        _query(operation, values),
        _body(operation, given, provider_api_keys or {}),
        _headers(operation, values),
    )


def _check_names(operation: Operation, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in operation.arguments:
            raise unexpected_argument(f"{operation.name}()", name, operation.arguments)
    required = operation.required_parameters
    if "body" not in given:
        required = (*operation.required_body_arguments, *required)
    elif beside := [name for name in given if name in operation.body_arguments.values()]:
        raise ApiTypeError(
            f"{operation.name}() takes either body= or the body's keys, not both;"
            f" got body= and {_listed(beside)}"
        )
    if missing := [name for name in required if name not in given]:
        raise MissingRequiredParametersError(
            f"{operation.name}() is missing {len(missing)} required"
            f" argument{'s' if len(missing) > 1 else ''}: {_listed(missing)}"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _path(operation: Operation, values: Any) -> str:
    path = operation.path
    for parameter in operation.parameters:
        if parameter.location == "path":
            text = _joined(values[parameter.argument])
            if text in ("", ".", ".."):  # RFC 3986 section 5.2.4: these would change the segments
                raise ApiValueError(
                    f"{operation.name}(): path parameter {parameter.name!r} can't be {text!r}"
                )
            encoded = _encode(operation, parameter.name, text, safe="")
            path = path.replace(f"{{{parameter.name}}}", encoded)
    return path


def _query(operation: Operation, values: Any) -> str:
    """Write the query in the style `form`; an array gives a pair for each item if it explodes."""
    pairs: list[str] = []
    for parameter in operation.parameters:
        name, value = parameter.name, values.get(parameter.argument, schemas.unset)
        if parameter.location != "query" or value is schemas.unset:
            continue
        encoded = [_encode(operation, name, _text(item), safe="/") for item in _items(value)]
        if encoded and not parameter.explode:
            encoded = [",".join(encoded)]
        pairs += (f"{quote(name)}={item}" for item in encoded)
    return "&".join(pairs)


def _headers(operation: Operation, values: Any) -> dict[str, str]:
    """Return the parameters that are headers, in the style `simple`, and cookies, in `form`."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for parameter in operation.parameters:
        if parameter.argument in values:
            text = _joined(values[parameter.argument])
            if parameter.location == "header":
                headers[parameter.name] = text
            elif parameter.location == "cookie":
                cookies.append(f"{parameter.name}={_encode(operation, parameter.name, text, '')}")
    return {**headers, "Cookie": "; ".join(cookies)} if cookies else headers


def _joined(value: Any) -> str:
    """Write a value in the style `simple`: the items of an array with commas between them."""
    return ",".join(map(_text, _items(value)))


def _items(value: Any) -> tuple[Any, ...]:
    """Return the items of an array; any other value is the only item."""
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str) else schemas.to_json(value)


def _encode(operation: Operation, name: str, text: str, safe: str) -> str:
    if _UNRESERVED.fullmatch(text):
        return text
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError as error:
        raise ApiValueError(
            f"{operation.name}(): {name!r} is not valid Unicode: {error.reason}"
        ) from error


def _body(
    operation: Operation, given: Mapping[str, Any], provider_api_keys: Mapping[str, str]
) -> bytes | None:
    body = given.get("body")
    if operation.takes_bytes:
        if not isinstance(body, (bytes, str)):
            came = type(body).__name__
            raise ApiTypeError(f"{operation.name}(): body must be bytes or str, not {came}")
        return body.encode() if isinstance(body, str) else body
    if operation.body_schema is None:
        return None
    if body is None:
        names = operation.body_arguments.items()
        body = {key: given[name] for key, name in names if name in given}
    if operation.provider_keys and provider_api_keys and isinstance(body, Mapping):
        body = _with_provider_keys(cast("Mapping[str, Any]", body), provider_api_keys)
    valid = operation.body_schema.validate(body, "request")
    if operation.media_type == FORM and isinstance(valid, Mapping):
        keys = cast("Mapping[str, Any]", valid).items()
        return urlencode([(k, _text(item)) for k, value in keys for item in _items(value)]).encode()
    return schemas.to_json(valid).encode()


def _with_provider_keys(
    body: Mapping[str, Any], provider_api_keys: Mapping[str, str]
) -> Mapping[str, Any]:
    own = body.get("provider_api_keys", {})
    if not isinstance(own, Mapping):
        return body  # for its schema to refuse
    return {**body, "provider_api_keys": {**provider_api_keys, **own}}


# -- from a request to an operation ---------------------------------------------------------------


class PathMatch(NamedTuple):
    """The operation to which a method and a path lead.

    operation: None where they lead nowhere; parameters: those in the path, decoded; allowed: the
    methods that the path takes, none where the API has no such path.
    """

    operation: Operation | None
    parameters: dict[str, str]
    allowed: tuple[str, ...]


def match_path(operations: Iterable[Operation], method: str, path: str) -> PathMatch:
    """Find the operation for a method and a path, which is without the prefix of the server.

    The path is matched while it is percent-encoded, so that an encoded slash ends no segment. One
    that is spelled out goes before one with a parameter in its place (OpenAPI 3.0.3, "Paths
    Object").
    """
    parts = path.split("/")
    fitting = [operation for operation in operations if _fits(operation.segments, parts)]
    fewest = min((operation.segments.count(None) for operation in fitting), default=0)
    found = {o.method: o for o in fitting if o.segments.count(None) == fewest}
    match = found.get(method)
    if match is None:
        return PathMatch(None, {}, tuple(found))
    names = zip(match.path.split("/"), match.segments, parts, strict=True)
    parameters = {name[1:-1]: unquote(part) for name, fixed, part in names if fixed is None}
    return PathMatch(match, parameters, tuple(found))


def _fits(segments: Sequence[str | None], parts: Sequence[str]) -> bool:
    return len(segments) == len(parts) and all(
        part if segment is None else part == segment
        for segment, part in zip(segments, parts, strict=True)
    )


def read_query(operation: Operation, query: str) -> dict[str, Any]:
    """Return the declared parameters of a query by name, with the types of their schemas.

    Text that is not of its type stays text, for the schema to refuse. Unknown names are left out;
    of a repeated one that is no array, the last counts.
    """
    declared = {p.name: p for p in operation.parameters if p.location == "query"}
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in declared:
            continue
        schema = declared[name].schema
        if schema.get("type") == "array":
            texts = [text] if declared[name].explode else text.split(",")
            items = [_converted(item, schema.get("items", {})) for item in texts]
            values.setdefault(name, []).extend(items)
        else:
            values[name] = _converted(text, schema)
    return values


def _converted(text: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text
