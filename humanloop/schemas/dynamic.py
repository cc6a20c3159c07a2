"""Schema classes made at run time from OpenAPI schema objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from humanloop.schemas.casting import is_mapping, is_object, is_sequence
from humanloop.schemas.metaclass import SchemaMeta
from humanloop.schemas.nodes import Node, Scope
from humanloop.schemas.schema import (
    AnyTypeSchema,
    BoolSchema,
    DictSchema,
    ListSchema,
    NumberSchema,
    Schema,
    StrSchema,
)

__all__ = ["base_of", "schema_from_openapi"]

_BY_TYPE: dict[str, type[Schema]] = {
    "object": DictSchema,
    "array": ListSchema,
    "string": StrSchema,
    "number": NumberSchema,
    "integer": NumberSchema,
    "boolean": BoolSchema,
}


def base_of(schema: Mapping[str, Any]) -> type[Schema]:
    """Return the base of a named schema's class: the class of its type, if it has just one."""
    several = schema.get("nullable") is True or schema.get("format") == "binary" or "$ref" in schema
    return AnyTypeSchema if several else _BY_TYPE.get(str(schema.get("type")), AnyTypeSchema)


def schema_from_openapi(
    schema: Mapping[str, Any],
    *,
    components: Mapping[str, Any] | None = None,
    name: str = "Schema",
) -> type[Schema]:
    """Return a schema class for an OpenAPI 3.0 schema object; it behaves as the generated ones do.

    schema: the schema object; it may refer to `#/components/schemas/<name>`, to itself by `#`, and
        to its own parts by JSON pointer.
    components: what `#/components/schemas/` holds: schema objects by name. A whole Components
        Object (with the key `schemas`) is taken, too.
    name: the class's name.

    Raises:
        ValueError: `schema` is no schema object of OpenAPI 3.0, or refers to what is not there.
    """
    if not isinstance(schema, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"expected a schema object, got {schema!r:.40}")
    try:
        return _Library(_copied(schema), _copied(components or {}), name).root
    except RecursionError:
        raise ValueError(f"schema {name}: nested too deeply") from None


def _copied(value: Any) -> Any:
    """Copy into dicts and lists, which no later change of the original reaches."""
    if is_mapping(value):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if is_sequence(value) else value


class _Library:
    """The classes of one call: the root's, and its components' as they are needed."""

    def __init__(self, schema: dict[str, Any], components: dict[str, Any], name: str) -> None:
        schemas: Any = components.get("schemas")
        self._sources = (schema, components, name)
        self._components: dict[str, Any] = schemas if is_object(schemas) else components
        self._classes: dict[str, type[Schema]] = {}
        document = {**schema, "components": {"schemas": self._components}}
        self._scope = Scope(self.component, document, lambda: self.root)
        self.root = self._make(name, schema, _from_library, (*self._sources, None))
        _follow(self.root.node, set())

    def component(self, name: str) -> type[Schema]:
        """Return the class of a component."""
        cls = self._classes.get(name)
        if cls is None:
            cls = self._make(name, self._components[name], _from_library, (*self._sources, name))
            cls = self._classes.setdefault(name, cls)
        return cls

    def _make(self, name: str, schema: Any, *recipe: Any) -> type[Schema]:
        if not is_object(schema):
            raise ValueError(f"schema {name}: expected a schema object, got {schema!r:.40}")
        namespace = {
            "__slots__": (),
            "__doc__": schema.get("description"),
            "__openapi__": schema,
            "__scope__": self._scope,
            "__recipe__": recipe,
        }
        made: Any = SchemaMeta(name, (base_of(schema),), namespace)
        return made  # type: ignore[no-any-return]


def _from_library(
    schema: dict[str, Any], components: dict[str, Any], name: str, component: str | None
) -> type[Schema]:
    """Make a class again, for pickle."""
    library = _Library(schema, components, name)
    return library.root if component is None else library.component(component)


def _follow(node: Node, done: set[int], open_: tuple[Node, ...] = ()) -> None:
    """Resolve every reference below `node`, so that a bad one is found now and not at first use.

    open_: the nodes above that speak of the same value.
    """
    if node in open_:
        raise ValueError(
            f"schema at {node.place}: it contains itself, at the same place of a value"
        )
    if id(node) in done:
        return
    for part in node.in_place_applicators():
        _follow(part, done, (*open_, node))
    done.add(id(node))
    for part in node.child_applicators():
        _follow(part, done)
