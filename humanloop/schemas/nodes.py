"""Schema objects compiled to nodes, and the scope that resolves their `$ref`s.

A `Node` is a schema object prepared for the matcher: constraints as checks, subschemas as nodes. It
holds the rules; `matcher` applies them. A `$ref` is resolved when it is first needed, so schemas
may refer to each other and to themselves.

Source of the rules: OpenAPI 3.0.3, Schema Object, Reference Object (siblings of `$ref` are ignored)
and Discriminator Object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NoReturn
from urllib.parse import unquote

from humanloop.lazy import cached_property
from humanloop.schemas.casting import JSON_TYPES, is_integer, is_mapping, is_object, is_sequence
from humanloop.schemas.keywords import BOUNDS, Check, checks_of
from humanloop.secrets import did_you_mean

__all__ = ["COMPONENTS", "FORMAT_CLASSES", "Direction", "Node", "Scope"]

COMPONENTS = "#/components/schemas/"

FORMAT_CLASSES: dict[str, type] = {}
"""The class of a string by its format, for formats with a class of their own."""

Direction = Literal["request", "response"]
"""The direction of a value: `readOnly` and `writeOnly` depend on it."""


class Node:
    """A compiled schema object.

    scope: resolves its `$ref`s; place: the schema's place in its document, for messages; cls: the
        named class of an instance, if there is one.

    Raises:
        ValueError: it is not a schema object of OpenAPI 3.0; the message contains the place.
    """

    def __init__(
        self, schema: Mapping[str, Any], scope: Scope, place: str, cls: type | None = None
    ) -> None:
        self.cls = cls
        self.scope = scope
        self.place = place
        self.schema = schema
        self.ref: str | None = schema.get("$ref")
        self.converters: dict[Any, Any] = {}
        if self.ref is None:
            self._check_form()
            self._compile_values()
            self._compile_parts()
            self._compile_composition()
        elif not isinstance(self.ref, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            self._refuse(f"expected a string, got {self.ref!r:.40}", "$ref")

    # -- compiling --------------------------------------------------------------------------------

    def _check_form(self) -> None:
        for keyword, value in self.schema.items():
            if keyword in _WELL_FORMED:
                holds, phrase = _WELL_FORMED[keyword]
                if not holds(value):
                    self._refuse(f"expected {phrase}, got {value!r:.40}", keyword)
            elif keyword not in BOUNDS and not str(keyword).startswith("x-"):
                self._refuse(_unknown(str(keyword)), keyword)

    def _compile_values(self) -> None:
        """Compile the keywords that apply to a value as a whole."""
        schema = self.schema
        self.type: str | None = schema.get("type")
        if self.type is not None and (
            self.type not in JSON_TYPES or ":" in self.type or self.type == "null"
        ):
            self._refuse(f"{self.type!r} is not a type of OpenAPI 3.0")
        try:
            checks = checks_of(schema)
        except (ValueError, TypeError) as error:
            self._refuse(str(error))
        self.any_checks: list[Check] = checks.pop("", [])
        self.checks = checks
        self.members = _strings(schema.get("enum"))
        self.is_secret = schema.get("format") == "password"
        self.binary = schema.get("format") == "binary" and self.type == "string"
        self.nullable = schema.get("nullable") is True and self.type is not None
        self.format_class = FORMAT_CLASSES.get(schema.get("format", ""))

    def _compile_parts(self) -> None:
        """Compile the keywords that apply to the members of an object or the items of an array."""
        schema = self.schema
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        properties: Mapping[str, Any] = schema.get("properties", {})
        self.properties = {
            key: self._child(sub, "properties", key) for key, sub in properties.items()
        }
        additional = schema.get("additionalProperties", True)
        self.closed = additional is False
        self.additional = (
            None
            if isinstance(additional, bool)
            else self._child(additional, "additionalProperties")
        )
        self.items = self._child_of("items")
        self.by_kind = bool(self.properties or self.required or self.closed or self.additional)

    def _compile_composition(self) -> None:
        """Compile the keywords that apply other schemas to the same value."""
        self.all_of = self._branches("allOf")
        self.any_of = self._branches("anyOf")
        self.one_of = self._branches("oneOf")
        self.negated = self._child_of("not")
        self.discriminator: Mapping[str, Any] | None = self.schema.get("discriminator")
        branches = self.all_of or self.any_of or self.one_of
        self.is_composed = bool(branches or self.negated or self.discriminator)
        bounded = self.any_checks or self.checks or self.by_kind or self.items
        self.is_bare = not (self.type or bounded or self.negated)
        self.is_free = self.is_bare and not branches

    def _refuse(self, problem: str, *steps: object) -> NoReturn:
        raise ValueError(f"schema at {self._place_of(*steps)}: {problem}")

    def _place_of(self, *steps: object) -> str:
        """Return the place of a part of this schema: a JSON pointer below its own place."""
        escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return "/".join((self.place, *escaped))

    def _child(self, schema: Any, *steps: str | int) -> Node:
        """Compile the subschema at `steps` below this one."""
        if not isinstance(schema, Mapping):
            self._refuse(f"expected a schema object, got {schema!r:.40}", *steps)
        place = self._place_of(*steps)
        return Node(schema, self.scope, place)  # pyright: ignore[reportUnknownArgumentType]

    def _child_of(self, keyword: str) -> Node | None:
        schema = self.schema.get(keyword)
        return None if schema is None else self._child(schema, keyword)

    def _branches(self, keyword: str) -> list[Node]:
        branches = enumerate(self.schema.get(keyword, ()))
        return [self._child(schema, keyword, index) for index, schema in branches]

    # -- what it refers to ------------------------------------------------------------------------

    @cached_property
    def target(self) -> Node:
        """The node to which `$ref` refers.

        Raises:
            ValueError: there is none, or the reference leads back here.
        """
        assert self.ref is not None
        node, seen = self, set[str]()
        while node.ref is not None:
            if node.ref in seen:
                self._refuse(f"{node.ref} refers to nothing but itself")
            seen.add(node.ref)
            try:
                node = node.scope.resolve(node.ref)
            except _Unresolvable as error:
                node._refuse(str(error))
        return self.scope.resolve(self.ref)

    @property
    def resolved(self) -> Node:
        """This node, or the first node without `$ref` to which its `$ref` leads."""
        return self if self.ref is None else self.target.resolved

    @property
    def choices(self) -> dict[str, Node]:
        """The branches by the discriminator's value: its mapping, and the schemas' own names."""
        assert self.discriminator is not None
        branches = self.one_of or self.any_of
        choices = {node.name: node for node in branches if node.ref is not None}
        for value, ref in self.discriminator.get("mapping", {}).items():
            known = choices.get(ref.rpartition("/")[2])
            pointer = ref if ref.startswith("#") else COMPONENTS + ref
            choices[value] = known or self._child({"$ref": pointer}, "discriminator", value)
        return choices

    @property
    def selects_subtype(self) -> bool:
        """True if its discriminator leads to schemas that extend this one by allOf."""
        return self.discriminator is not None and not (self.one_of or self.any_of)

    def subtype(self, tag: str) -> Node:
        """Return the schema that the discriminator's value names.

        Raises:
            ValueError: there is none.
        """
        assert self.discriminator is not None
        # A mapped value is a name or a pointer; any value that is not a pointer is a name.
        ref: str = self.discriminator.get("mapping", {}).get(tag, "")
        return self.scope.resolve(ref) if ref.startswith("#") else self.scope.named(ref or tag)

    def in_place_applicators(self) -> list[Node]:
        """Return the nodes that apply to the same value (JSON Schema's term): `$ref`, branches."""
        if self.ref is not None:
            return [self.target]
        negated = [self.negated] if self.negated is not None else []
        return [*self.all_of, *self.any_of, *self.one_of, *negated]

    def child_applicators(self) -> list[Node]:
        """Return the nodes that apply to parts of the value, and a discriminator's choices."""
        if self.ref is not None:
            return []
        maybe = (self.additional, self.items)
        has_choices = self.discriminator is not None and (self.one_of or self.any_of)
        return [
            *self.properties.values(),
            *(node for node in maybe if node is not None),
            *(self.choices.values() if has_choices else ()),
        ]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all nodes reachable from it, each once."""
        seen: set[int] = set()
        nodes = [self]
        while nodes:
            node = nodes.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                nodes += node.in_place_applicators() + node.child_applicators()

    # -- what it says -----------------------------------------------------------------------------

    def fits_type(self, kind: str, value: Any) -> bool:
        """Return whether `type` and `nullable` allow a cast value of this kind."""
        if self.type is None or kind == self.type:
            return not (self.binary and kind == "string")
        if kind == "null":
            return self.nullable
        if kind == "binary":
            return self.binary
        return self.type == "integer" and kind == "number" and is_integer(value)

    @cached_property
    def directions(self) -> dict[str, Direction]:
        """The direction of each property that is `readOnly` or `writeOnly`."""
        found: dict[str, Direction] = {}
        for key, node in self.properties.items():
            schema = node.resolved.schema
            if schema.get("readOnly") is True:
                found[key] = "response"
            elif schema.get("writeOnly") is True:
                found[key] = "request"
        return found

    def keys(self) -> dict[str, None]:
        """Return the keys that the schema, or an unnamed branch of it, declares."""
        if self.ref is not None:
            return {}
        keys = dict.fromkeys(self.properties)
        for node in (*self.all_of, *self.any_of, *self.one_of):
            keys.update(node.keys())
        return keys

    def count_declared(self, value: Any) -> int:
        """Return the number of a value's keys that are properties here."""
        return sum(key in self.properties for key in value) if is_object(value) else 0

    @property
    def name(self) -> str:
        """The schema's name, or its type, for messages."""
        if self.ref is not None:
            return self.ref.rpartition("/")[2]
        if self.cls is not None:
            return self.cls.__name__
        if self.type == "array" and self.items is not None:
            return f"an array of {self.items.name}"
        return JSON_TYPES[self.type].phrase if self.type else "an unnamed schema"

    @property
    def type_phrase(self) -> str:
        """The type, for messages."""
        phrase = JSON_TYPES["string:binary" if self.binary else self.type or "null"].phrase
        return f"{phrase} or null" if self.nullable else phrase

    @property
    def summary(self) -> str:
        """The schema's requirement, in a few words."""
        node = self.resolved
        if node.any_checks and node.any_checks[0].keyword == "enum":
            return node.any_checks[0].phrase
        phrase = JSON_TYPES[node.type].phrase if node.type else "a value"
        return f"{phrase} ({node.cls.__name__})" if node.cls is not None else phrase


# -- the form of a schema object ------------------------------------------------------------------


def _strings(values: Any) -> list[str] | tuple[str, ...] | None:
    """Return the values of an enum, if all are strings."""
    return values if is_sequence(values) and all(isinstance(v, str) for v in values) else None


_Test = tuple[Callable[[Any], bool], str]
_ANY: _Test = (lambda value: True, "any value")
_TEXT: _Test = (lambda value: isinstance(value, str), "a string")
_FLAG: _Test = (lambda value: isinstance(value, bool), "true or false")
_LIST: _Test = (is_sequence, "a list of values")
_OBJECT: _Test = (is_mapping, "an object")
_BRANCHES: _Test = (
    lambda value: is_sequence(value) and len(value) > 0,
    "a list of schema objects",
)
_WELL_FORMED: dict[str, _Test] = {
    "$ref": _TEXT,
    "type": _TEXT,
    "format": _TEXT,
    "pattern": _TEXT,
    "nullable": _FLAG,
    "readOnly": _FLAG,
    "writeOnly": _FLAG,
    "uniqueItems": _FLAG,
    "exclusiveMinimum": _FLAG,
    "exclusiveMaximum": _FLAG,
    "enum": _LIST,
    "required": (lambda value: _strings(value) is not None, "a list of keys"),
    "properties": (
        lambda value: is_mapping(value) and all(isinstance(key, str) for key in value),
        "an object of schema objects by key",
    ),
    "items": _OBJECT,
    "not": _OBJECT,
    "additionalProperties": (
        lambda value: isinstance(value, bool) or is_mapping(value),
        "true, false or a schema object",
    ),
    "allOf": _BRANCHES,
    "anyOf": _BRANCHES,
    "oneOf": _BRANCHES,
    "discriminator": (
        lambda value: (
            is_mapping(value)
            and isinstance(value.get("propertyName"), str)
            and is_mapping(mapping := value.get("mapping", {}))
            and all(isinstance(ref, str) for ref in mapping.values())
        ),
        "an object with a propertyName, and a mapping to names of schemas if there is any",
    ),
    # Keywords that document, without any effect on validity.
    "title": _TEXT,
    "description": _TEXT,
    "default": _ANY,
    "example": _ANY,
    "externalDocs": _OBJECT,
    "xml": _OBJECT,
    "deprecated": _FLAG,
    # Keywords of JSON Schema without any effect on validity, found in schemas written for it.
    "$schema": _TEXT,
    "$comment": _TEXT,
    "id": _TEXT,
    "examples": _ANY,
    "definitions": _OBJECT,
}
"""The tests for the values of keywords. A keyword is known if it is here or in `BOUNDS`, which
checks its own value.
"""

_OTHER_DRAFTS = """
    $anchor $defs $dynamicAnchor $dynamicRef $id $recursiveAnchor $recursiveRef $vocabulary
    additionalItems const contains contentEncoding contentMediaType contentSchema dependencies
    dependentRequired dependentSchemas disallow divisibleBy else extends if maxContains minContains
    patternProperties prefixItems propertyNames then unevaluatedItems unevaluatedProperties
"""


def _unknown(keyword: str) -> str:
    """Return the error for an unknown keyword."""
    if keyword in _OTHER_DRAFTS.split():
        return f"{keyword!r} is a keyword of JSON Schema that OpenAPI 3.0 does not have"
    hint = did_you_mean(keyword, (*_WELL_FORMED, *BOUNDS))
    return f"unknown keyword {keyword!r:.60}{hint}"


# -- references -----------------------------------------------------------------------------------


class _Unresolvable(ValueError):
    """A `$ref` has no target."""


class Scope:
    """Resolves the `$ref`s of one set of schemas.

    component: returns the class of a component by name; raises KeyError or AttributeError for none.
    document: the document of other pointers (`#/...`); root: returns the class to which `#` refers.
    """

    def __init__(
        self,
        component: Callable[[str], Any],
        document: Mapping[str, Any] | None = None,
        root: Callable[[], Any] | None = None,
    ) -> None:
        self._component = component
        self._document = document
        self._root = root
        self._nodes: dict[str, Node] = {}

    def resolve(self, ref: str) -> Node:
        """Return the node to which `ref` refers.

        Raises:
            ValueError: it has no target.
        """
        node = self._nodes.get(ref)
        if node is None:
            node = self._nodes.setdefault(ref, self._find(ref))
        return node

    def named(self, name: str) -> Node:
        """Return the node of a component.

        Raises:
            ValueError: there is none of that name.
        """
        try:
            node: Node = self._component(name).node
        except (KeyError, AttributeError):
            raise _Unresolvable(f"there is no schema {name!r}") from None
        return node

    def _find(self, ref: str) -> Node:
        name = ref.removeprefix(COMPONENTS)
        if name != ref and "/" not in name:
            return self.named(_unescaped(name))
        if ref == "#" and self._root is not None:
            root: Node = self._root().node
            return root
        place: Any = self._document
        if not ref.startswith("#/") or place is None:
            raise _Unresolvable(
                f"$ref {ref!r}: only references within the document can be followed"
            )
        for step in map(_unescaped, ref[2:].split("/")):
            try:
                place = place[int(step) if isinstance(place, list) else step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise _Unresolvable(f"$ref {ref!r}: there is nothing at {step!r}") from None
        if not isinstance(place, Mapping):
            raise _Unresolvable(f"$ref {ref!r}: expected a schema object there")
        return Node(place, self, ref)  # pyright: ignore[reportUnknownArgumentType]


def _unescaped(step: str) -> str:
    """Decode one step of a JSON pointer in a URI fragment (RFC 6901, sections 4 and 6)."""
    return unquote(step).replace("~1", "/").replace("~0", "~")
