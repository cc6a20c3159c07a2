"""Schema classes made at run time from OpenAPI schema objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

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
    """Return the base for a named schema's class: the class of its type, if it has just one."""
    several = schema.get("nullable") is True or schema.get("format") == "binary" or "$ref" in schema
    return AnyTypeSchema if several else _BY_TYPE.get(str(schema.get("type")), AnyTypeSchema)


def schema_from_openapi(
    schema: Mapping[str, Any],
    *,
    components: Mapping[str, Any] | None = None,
    name: str = "Schema",
) -> type[Schema]:
    """Return a schema class for an OpenAPI 3.0 schema object; it behaves like the generated ones.

    schema: the schema object; it may refer to `#/components/schemas/<name>`, to itself by `#`, and
        to its own parts by JSON pointer.
    components: the contents of `#/components/schemas/`: schema objects by name. A whole Components
        Object (with the key `schemas`) is accepted, too.
    name: the class's name.

    Raises:
        ValueError: `schema` is not a schema object of OpenAPI 3.0, or a reference has no target.
    """
    if not isinstance(schema, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"expected a schema object, got {schema!r:.40}")
    try:
        library = _library(os.urandom(16), _copied(schema), _copied(components or {}), name)
        root: Any = library.class_of(None)
        _follow(root.node)
        return root  # type: ignore[no-any-return]
    except RecursionError:
        raise ValueError(f"schema {name}: nested too deeply") from None


def _copied(value: Any) -> Any:
    """Return a copy in dicts and lists, independent of the original."""
    if is_mapping(value):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if is_sequence(value) else value


class _Library(Scope):
    """The classes of one call, made on demand: the root's, named None, and the components'.

    A pickle of one of its classes contains the library. Its token identifies it: if it still
    exists, an unpickled instance has the same class as the pickled one.
    """

    def __init__(
        self, token: bytes, schema: dict[str, Any], components: dict[str, Any], name: str
    ) -> None:
        schemas: Any = components.get("schemas")
        self._sources = (token, schema, components, name)
        self._components: dict[str, Any] = schemas if is_object(schemas) else components
        self._classes: dict[str | None, type[Schema]] = {}
        document = {**schema, "components": {"schemas": self._components}}
        super().__init__(self.class_of, document, partial(self.class_of, None))

    def class_of(self, component: str | None, made: type[Schema] | None = None) -> type[Schema]:
        """Return the class of a component, or of the root; made: the class to keep if none exists.

        Raises:
            KeyError: there is no such component.
        """
        cls = self._classes.get(component)
        return cls or self._classes.setdefault(component, made or self._make(component))

    def _make(self, component: str | None) -> type[Schema]:
        _, schema, _, name = self._sources
        if component is not None:
            name, schema = component, self._components[component]
        if not is_object(schema):
            raise ValueError(f"schema {name}: expected a schema object, got {schema!r:.40}")
        namespace = {
            "__slots__": (),
            "__module__": __name__,
            "__doc__": schema.get("description"),
            "__openapi__": schema,
            "__scope__": self,
            "__recipe__": (self.class_of, component),
        }
        made: Any = SchemaMeta(name, (base_of(schema),), namespace)
        return made  # type: ignore[no-any-return]

    def __reduce__(self) -> Any:
        return _library, self._sources


_libraries: WeakValueDictionary[bytes, _Library] = WeakValueDictionary()


def _library(
    token: bytes, schema: dict[str, Any], components: dict[str, Any], name: str
) -> _Library:
    """Return the library with a token; make it if this process has none."""
    library = _libraries.get(token)
    if library is None:
        library = _libraries.setdefault(token, _Library(token, schema, components, name))
    return library


def _follow(root: Node) -> None:
    """Resolve every reference below a node, so that a bad one is found before its first use."""
    done: set[int] = set()
    waiting = [root]
    while waiting:  # not recursive, since documents have long chains of objects
        _follow_in_place(waiting.pop(), done, waiting, ())


def _follow_in_place(
    node: Node, done: set[int], waiting: list[Node], above: tuple[Node, ...]
) -> None:
    """Resolve the references that apply to the same value; add the child nodes to `waiting`.

    above: the nodes above that apply to this value, too.
    """
    if node in above:
        raise ValueError(
            f"schema at {node.place}: it contains itself, at the same place of a value"
        )
    if id(node) in done:
        return
    for part in node.in_place_applicators():
        _follow_in_place(part, done, waiting, (*above, node))
    done.add(id(node))
    waiting += node.child_applicators()
