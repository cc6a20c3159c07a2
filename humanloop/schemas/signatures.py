"""The signature of a schema class, made when `inspect.signature`, `help` or a notebook asks for it.

It shows the arguments of `SchemaMeta.__call__`: one value, or for an object a mapping, keywords, or
both. The stubs of the generated classes say the same to type checkers.

Invariants: a required key has no default, although a mapping may contain it; a key that can't be
the name of a parameter can only be passed in the mapping.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from inspect import Parameter, Signature, signature
from unicodedata import normalize

from humanloop.schemas.casting import JSON_TYPES
from humanloop.schemas.nodes import Node
from humanloop.schemas.values import unset

__all__ = ["free_name", "is_parameter", "signature_of"]


class _Hint(str):
    """An annotation as text, shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


_ANY = _Hint("Any")
_DEEPEST = 20  # levels of nested schemas in a hint


def signature_of(cls: type, node: Node) -> Signature:
    """Return the signature of a schema class; `node` is its compiled schema."""
    for base in cls.__mro__:
        if base is object or "__openapi__" in vars(base):
            break
        for name in ("__init__", "__new__"):
            if name in vars(base):  # a user's constructor, which a call runs
                own = signature(getattr(base, name))
                return own.replace(parameters=[*own.parameters.values()][1:])
    return _signature(node)


def _signature(node: Node) -> Signature:
    choices = [[*_parts(choice)] for choice in _choices(node)]
    objects = [parts for parts in choices if any(_is_object(part) for part in parts)]
    if not objects and not any(part.is_free for parts in choices for part in parts):
        value = Parameter("value", Parameter.POSITIONAL_ONLY, annotation=_hint(node))
        return Signature([value])
    keywords = [*_keywords(objects[0])] if len(objects) == 1 else []
    free = partial(free_name, taken=[parameter.name for parameter in keywords])
    mapping = Parameter(
        free("mapping" if objects else "value"),
        Parameter.POSITIONAL_ONLY,
        default=unset,
        annotation=_hint(node),
    )
    parameters = [mapping, *keywords]
    extra = _extra(objects[0], len(keywords)) if len(objects) == 1 else _ANY
    if extra:
        parameters.append(Parameter(free("extra"), Parameter.VAR_KEYWORD, annotation=extra))
    return Signature(parameters)


def is_parameter(key: str) -> bool:
    """Return whether a key can be the name of a keyword.

    Type checkers take `__key` for a positional parameter; Python reads names in the normal form
    NFKC.
    """
    is_name = key.isidentifier() and not keyword.iskeyword(key) and not key.startswith("__")
    return is_name and normalize("NFKC", key) == key


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name for a parameter that differs from the names taken by keys."""
    taken = {*taken}
    while name in taken:
        name = f"_{name}"
    return name


def _choices(node: Node) -> Iterator[Node]:
    """Yield the alternatives of a node."""
    node = node.resolved
    branches = node.any_of or node.one_of
    for branch in branches:
        yield from _choices(branch)
    if not branches:
        yield node


def _parts(node: Node) -> Iterator[Node]:
    """Yield a node and its parts in allOf."""
    node = node.resolved
    yield node
    for part in node.all_of:
        yield from _parts(part)


def _is_object(node: Node) -> bool:
    return node.type == "object" or bool(node.properties)


def _keywords(parts: Sequence[Node]) -> Iterator[Parameter]:
    """Yield a keyword for each declared key of an object."""
    required = {key for part in parts for key in part.required if key not in part.directions}
    declared = {key: node for part in parts for key, node in part.properties.items()}
    for key, node in declared.items():
        if is_parameter(key):
            default = Parameter.empty if key in required else unset
            annotation = _hint(node)
            yield Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _extra(parts: Sequence[Node], keywords: int) -> _Hint | None:
    """Return the hint for undeclared keywords; None if an object is closed."""
    if keywords < len({key for part in parts for key in part.properties}):
        return _ANY  # such as `**{"a-b": 1}`, a declared key that can't be a parameter
    if any(part.closed for part in parts):
        return None
    additional = [part.additional for part in parts if part.additional is not None]
    return _hint(additional[0]) if additional else _ANY


def _hint(node: Node, above: tuple[Node, ...] = ()) -> _Hint:
    """Return the type hint for the values from which an instance can be made.

    above: the nodes around this one, to recognise a node that contains itself.
    """
    return _Hint(" | ".join(dict.fromkeys(_members(node, above))))


def _members(node: Node, above: tuple[Node, ...]) -> Iterator[str]:
    """Yield the members of a hint, which is a union."""
    if len(above) == _DEEPEST:
        yield "Any"
        return
    named, node = node.ref is not None and node.resolved.cls, node.resolved
    if named and (node in above or node.members or node.properties):
        yield named.__name__
    if node in above:
        return
    above = (*above, node)
    if branches := node.any_of or node.one_of or (node.all_of if len(node.all_of) == 1 else ()):
        for branch in branches:
            yield from _members(branch, above)
    elif node.members:
        yield f"Literal[{', '.join(map(repr, node.members))}]"
    elif node.type == "array":
        yield f"Sequence[{_hint(node.items, above) if node.items else 'Any'}]"
    elif any(map(_is_object, _parts(node))):
        values = None if node.properties else node.additional
        yield f"Mapping[str, {_hint(values, above) if values else 'Any'}]"
    elif node.type is None:
        yield "Any"
    else:
        kind = JSON_TYPES.get(f"{node.type}:{node.schema.get('format')}", JSON_TYPES[node.type])
        for name in kind.inputs:
            yield name.rpartition(".")[2]
    if node.nullable:
        yield "None"
