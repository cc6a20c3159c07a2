"""The type of schema classes: calling a class validates a value and returns its instance.

A value takes one of two ways. The fast path (`fast_path`) checks and builds in one pass; it takes
common values of common schemas. What it does not take is interpreted (`instances`): cast to plain
JSON types, matched, and built. Where nothing matches, the matcher explains.

Invariants: both ways give the same instances and errors. An instance belongs to every named schema
that it matched: where that is more than one, to a class made of all of them.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from humanloop.exceptions import ApiTypeError
from humanloop.schemas.casting import TOO_DEEP, deep_nesting_start, is_mapping, is_sequence
from humanloop.schemas.codec import JsonTooDeep, decoder
from humanloop.schemas.errors import ErrorDetail, SchemaValidationError
from humanloop.schemas.fast_path import converter_of
from humanloop.schemas.instances import BASES, interpret, maker
from humanloop.schemas.matcher import Mismatch, explain
from humanloop.schemas.native import FastPathMiss
from humanloop.schemas.nodes import Direction, Node, Scope
from humanloop.schemas.values import unset

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["SchemaMeta", "enum_members"]


class SchemaMeta(type):
    """The type of schema classes.

    __openapi__: the schema object. __scope__: what resolves its `$ref`s; None for those of the
    package that the class stands in. __recipe__: how to make a class again that no module holds.
    __mixed__: for the class of an instance of several schemas, those schemas' classes.
    """

    __openapi__: Mapping[str, Any] = MappingProxyType({})
    __scope__: Scope | None = None
    __recipe__: tuple[Any, ...] | None = None
    __mixed__: tuple[type, ...] = ()

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> SchemaMeta:
        # Without slots an instance would have a __dict__, which anyone could write to.
        namespace.setdefault("__slots__", ())
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        cls.__mixes: dict[tuple[type, ...], SchemaMeta] = {}
        cls.__node: Node | None = None
        cls.__convert: Callable[[Any], Any] | None = None
        cls.__keys: dict[str, None] | None = None
        cls.__directed: bool | None = None
        values = cls.__openapi__.get("enum")
        for member, text in enum_members(values if is_sequence(values) else ()).items():
            setattr(cls, member, _Member(text))

    if not TYPE_CHECKING:  # a type checker would read this signature in place of __new__'s

        def __call__(cls, value=unset, /, **keys):
            if keys or value is unset:
                value = _with_keys(cls, value, keys)
            return cls.validate(value)

    @property
    def node(cls) -> Node:
        """The compiled schema."""
        if cls.__node is None:
            if cls.__mixed__:
                node = Node({}, _scope_of(cls), f"{cls.__name__}#")
                node.all_of = [c.node for c in cls.__mixed__ if isinstance(c, SchemaMeta)]
                node.is_composed = True
            else:
                node = Node(cls.__openapi__, _scope_of(cls), f"{cls.__name__}#", cls)
            cls.__node = node
        return cls.__node

    @property
    def __signature__(cls) -> Signature:
        """The keywords that a call takes, for `inspect.signature`, `help` and notebooks."""
        from humanloop.schemas.signatures import signature_of

        return signature_of(cls, cls.node)

    @property
    def has_directions(cls) -> bool:
        """True if any property, however deep, is `readOnly` or `writeOnly`."""
        if cls.__directed is None:
            # The subtypes of a parent's discriminator can't be foreseen.
            cls.__directed = any(
                node.ref is None and (node.directions or node.selects_subtype)
                for node in cls.node.walk()
            )
        return cls.__directed

    @property
    def declared(cls) -> dict[str, None]:
        """The keys that can be read as attributes."""
        if cls.__keys is None:
            keys = cls.node.keys()
            for part in cls.__mixed__:
                keys.update(part.declared if isinstance(part, SchemaMeta) else {})
            cls.__keys = keys
        return cls.__keys

    def validate(cls, value: Any, direction: Direction | None = None) -> Any:
        """Return the instance that `value` makes.

        direction: which way the value goes. A `readOnly` property is required in responses only and
            refused in requests, a `writeOnly` one the other way round; where the direction is not
            known, both are taken and neither is required.

        Raises:
            SchemaValidationError: it does not fit; the error holds all that is wrong.
        """
        if direction is None or not cls.has_directions:
            try:  # not `suppress`, which takes as long as some values do
                return (cls.__convert or cls.compile())(value)
            except (FastPathMiss, RecursionError):
                pass  # what is raised below has nothing to do with this
        return cls.interpret(value, direction)

    def validate_json(cls, data: str | bytes, direction: Direction | None = None) -> Any:
        """Return the instance that JSON text makes: `Schema.from_json`."""
        try:
            value = _decoder()(data)
        except JsonTooDeep as error:
            detail = ErrorDetail(error.path, "depth", TOO_DEEP)
            raise SchemaValidationError([detail], cls.__name__) from None
        except ValueError as error:
            detail = ErrorDetail((), "json", f"expected JSON text: {error}")
            raise SchemaValidationError([detail], cls.__name__) from error
        return cls.validate(value, direction)

    def compile(cls) -> Callable[[Any], Any]:
        """Prepare the fast path and return its function."""
        cls.__convert = converter_of(cls.node).convert
        return cls.__convert

    def interpret(cls, value: Any, direction: Direction | None = None) -> Any:
        """Return the instance that `value` makes, without the fast path; see `validate`."""
        try:
            with suppress(Mismatch):
                return interpret(cls.node, value, (), direction)
            errors = explain(cls.node, value, direction)
        except RecursionError:
            errors = [ErrorDetail(deep_nesting_start(value), "depth", TOO_DEEP)]
        raise SchemaValidationError(errors, cls.__name__)

    def mixed_with(cls, parts: tuple[type, ...]) -> SchemaMeta:
        """Return the class of instances of all of `parts`; this class, the last one, keeps it."""
        found = cls.__mixes.get(parts)
        if found is None:
            named = cls if parts[0] in BASES.values() else parts[0]
            names = {"__slots__": (), "__mixed__": parts, "__doc__": named.__doc__}
            bases = tuple(BASES["named array"] if part is tuple else part for part in parts)
            found = SchemaMeta(named.__name__, bases, {**names, "__module__": named.__module__})
            found = cls.__mixes.setdefault(parts, found)
        return found


@cache
def _decoder() -> Any:
    return decoder(maker(BASES["number"]))


def _with_keys(cls: SchemaMeta, value: Any, keys: dict[str, Any]) -> Any:
    """Return the argument of a class that was given keywords, beside a mapping or alone."""
    for item in keys.values():
        if item is unset:
            keys = {key: item for key, item in keys.items() if item is not unset}
            break
    if value is unset:
        return keys
    if not is_mapping(value):
        came = type(value).__name__
        raise ApiTypeError(f"{cls.__name__} takes keywords beside a mapping alone, got {came}")
    return {**value, **keys}


def _scope_of(cls: SchemaMeta) -> Scope:
    if cls.__scope__ is not None:
        return cls.__scope__
    package = sys.modules[cls.__module__.rpartition(".")[0] or cls.__module__]
    return Scope(lambda name: getattr(package, name))


# -- enums ----------------------------------------------------------------------------------------


class _Member:
    """The class attribute for a value of an enum: an instance of the class it is read from."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: object, owner: SchemaMeta) -> Any:
        return owner.validate(self._text)


def enum_members(values: Iterable[Any]) -> dict[str, str]:
    """Return the class attributes that stand for the strings of an enum, as version 0.5 named them.

    `In progress` is `IN_PROGRESS`; what all values begin with, up to an underscore, is left out.
    What makes no name becomes one: `EMPTY` for the empty string, `VALUE_1ST` for `1st`, `VALUE_3`
    for a third value without letters or digits. Of equal names all but the first get a number.
    """
    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    words = [text.split("_")[:-1] for text in texts]
    shared = list(takewhile(lambda column: len({*column}) == 1, zip(*words, strict=False)))
    start = len("".join(f"{column[0]}_" for column in shared)) if len(texts) > 1 else 0
    members: dict[str, str] = {}
    for position, text in enumerate(texts, 1):
        wanted = _member_name(text[start:], position)
        name, number = wanted, 2
        while name in members:
            name, number = f"{wanted}_{number}", number + 1
        members[name] = text
    return members


def _member_name(text: str, position: int) -> str:
    """Return an identifier for a value; Python reads identifiers in the normal form NFKC."""
    name = "".join(c if c.isalnum() else "_" for c in normalize("NFKC", text.upper()))
    if name.isidentifier() and not name.startswith("_"):
        return name
    rest = name.strip("_") if f"_{name}".isidentifier() else ""
    return f"VALUE_{rest or position}" if text else "EMPTY"


# -- pickling -------------------------------------------------------------------------------------


def _reduce_class(cls: SchemaMeta) -> Any:
    parts = cls.__dict__.get("__mixed__")
    if parts:
        return parts[-1].mixed_with, (parts,)
    return cls.__dict__.get("__recipe__", cls.__qualname__)


copyreg.pickle(SchemaMeta, _reduce_class)
