"""The type of schema classes: calling a class validates a value and returns its instance.

A value takes one of two ways. The fast path (`fast_path`) checks and builds in one pass; it accepts
common values of common schemas. Other values are interpreted (`instances`): cast to plain JSON
types, matched, and built. If nothing matches, the matcher explains.

Invariants: both ways give the same instances and errors. An instance belongs to every named schema
that it matched: for more than one, to a class that combines them. Only its users keep a class
alive: its caches are on itself, or on the outermost of the schemas that it was used with, which
refers to the others anyway.
"""

from __future__ import annotations

import copyreg
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from humanloop.exceptions import ApiTypeError
from humanloop.schemas.casting import TOO_DEEP, deep_nesting_start, is_sequence
from humanloop.schemas.codec import JsonTooDeep, decoder
from humanloop.schemas.constructors import (
    CONSTRUCTORS,
    Validating,
    collected,
    has_constructor,
    with_keys,
)
from humanloop.schemas.enums import Member, enum_members
from humanloop.schemas.errors import ErrorDetail, SchemaValidationError, check_choice
from humanloop.schemas.fast_path import converter_of
from humanloop.schemas.instances import BASES, interpret, maker
from humanloop.schemas.matcher import Mismatch, explain
from humanloop.schemas.native import FastPathMiss
from humanloop.schemas.nodes import Direction, Node, Scope
from humanloop.schemas.number import NumberClass
from humanloop.schemas.values import unset

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["SchemaMeta", "visible_names"]

_DIRECTIONS: tuple[str, ...] = get_args(Direction)


class SchemaMeta(ABCMeta):
    """The type of schema classes. A user's subclass may mix in abstract base classes.

    __openapi__: the schema object. __scope__: resolves its `$ref`s; None for those of the class's
        package. __recipe__: for a class that is in no module, the function that finds it or makes
        it again, and its argument; its second argument is the class to keep if there is none.
        __mixed__: for the class of an instance of several schemas, those schemas' classes.
    """

    __openapi__: Mapping[str, Any] = MappingProxyType({})
    __scope__: Scope | None = None
    __recipe__: tuple[Callable[..., Any], Any] | None = None
    __mixed__: tuple[type, ...] = ()

    # ABCMeta's methods, which `register` would need, take many times as long.
    __instancecheck__ = type.__instancecheck__
    __subclasscheck__ = type.__subclasscheck__

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any
    ) -> SchemaMeta:
        # Without slots, an instance has a __dict__, to which anyone can write. A cached_property
        # needs one; cloudpickle sets it later, on a class that no `class` statement made.
        is_statement = "__qualname__" in namespace
        if is_statement and not any(isinstance(v, cached_property) for v in namespace.values()):
            namespace.setdefault("__slots__", ())
        mixins = [base for base in bases if not isinstance(base, SchemaMeta)]
        if mcs is SchemaMeta and has_constructor(mixins, namespace):
            mcs = ConstructedMeta
            place = [base in mixins for base in bases].index(False)
            bases = (*bases[:place], Validating, *bases[place:])
        return super().__new__(mcs, name, bases, namespace, **keywords)

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any
    ) -> None:
        super().__init__(name, bases, namespace, **keywords)
        cls.__learned = _Learned(cls)
        cls.__convert: Callable[[Any], Any] | None = None
        values = cls.__openapi__.get("enum")
        for member, text in enum_members(values if is_sequence(values) else ()).items():
            setattr(cls, member, Member(text))

    if not TYPE_CHECKING:  # a type checker would use this signature in place of __new__'s

        def __call__(cls, value=unset, /, **keys):
            if keys or value is unset:
                value = with_keys(cls, value, keys)
            return cls.validate(value)

    def __setattr__(cls, name: str, value: object) -> None:
        if name in CONSTRUCTORS and not isinstance(cls, ConstructedMeta):
            raise ApiTypeError(
                f"{cls.__name__}: {name} can be defined in the body of a subclass, not set later "
                "(a schema class can't be a dataclass)"
            )
        super().__setattr__(name, value)

    @property
    def node(cls) -> Node:
        """The compiled schema."""
        node = cls.__learned.node
        if node is None:
            if cls.__mixed__:
                node = Node({}, _scope_of(cls), f"{cls.__name__}#")
                node.all_of = [c.node for c in cls.__mixed__ if isinstance(c, SchemaMeta)]
                node.is_composed = True
            else:
                node = Node(cls.__openapi__, _scope_of(cls), f"{cls.__name__}#", cls)
            cls.__learned.node = node
        return node

    @property
    def __signature__(cls) -> Signature:
        """The keywords of a call, for `inspect.signature`, `help` and notebooks."""
        from humanloop.schemas.signatures import signature_of

        return signature_of(cls, cls.node)

    @property
    def has_directions(cls) -> bool:
        """True if any property, however deep, is `readOnly` or `writeOnly`."""
        if cls.__learned.directed is None:
            # The subtypes of a parent's discriminator are not known in advance.
            cls.__learned.directed = any(
                node.ref is None and (node.directions or node.selects_subtype)
                for node in cls.node.walk()
            )
        return cls.__learned.directed

    @property
    def declared(cls) -> dict[str, None]:
        """The keys that can be read as attributes."""
        keys = cls.__learned.keys
        if keys is None:
            keys = cls.node.keys()
            for part in cls.__mixed__:
                keys.update(part.declared if isinstance(part, SchemaMeta) else {})
            cls.__learned.keys = keys
        return keys

    @property
    def converters(cls) -> dict[Any, Any]:
        """The converters of nodes whose instances are of this class, the outermost, and others."""
        return cls.__learned.converters

    def __dir__(cls) -> list[str]:
        return visible_names(cls, super().__dir__())

    def validate(cls, value: Any, direction: Direction | None = None) -> Any:
        """Return the instance for `value`.

        direction: the direction of the value. A `readOnly` property is required in responses only
            and refused in requests, a `writeOnly` one the other way round; if the direction is not
            known, both are accepted and neither is required.

        Raises:
            SchemaValidationError: it does not fit the schema; the error contains all errors.
            ApiValueError: `direction` is neither of its values.
        """
        if direction is None or not cls._regards(direction):
            try:  # not `suppress`, which takes as long as validating some values
                return (cls.__convert or cls.compile())(value)
            except (FastPathMiss, RecursionError):
                pass  # so that later errors don't have this one as their context
        return cls.interpret(value, direction)

    def _regards(cls, direction: Direction) -> bool:
        check_choice("direction", direction, _DIRECTIONS)
        return cls.has_directions

    def validate_json(cls, data: str | bytes, direction: Direction | None = None) -> Any:
        """Return the instance for JSON text: `Schema.from_json`."""
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
        """Return the instance for `value`, without the fast path; see `validate`."""
        value = collected(cls, value)
        try:
            with suppress(Mismatch):
                return interpret(cls.node, value, (), direction)
            errors = explain(cls.node, value, direction)
        except RecursionError:
            errors = [ErrorDetail(deep_nesting_start(value), "depth", TOO_DEEP)]
        fractions = sys.modules.get("fractions")
        if fractions and issubclass(cls, NumberClass) and isinstance(value, fractions.Fraction):
            # With this, `statistics` computes a mean of numbers: it calls their class with a
            # fraction. The mean need not fit the schema, as a mean of integers does not, so it
            # belongs to none.
            return NumberClass(value.numerator) / value.denominator
        raise SchemaValidationError(errors, cls.__name__)

    def mixed_with(cls, others: tuple[type, ...], made: SchemaMeta | None = None) -> SchemaMeta:
        """Return the class of instances of this class, the outermost schema, and of `others`.

        made: the class to keep if there is none.
        """
        mixes = cls.__learned.mixes
        found = mixes.get(others)
        return found or mixes.setdefault(others, made or _mixed(cls, others))


class ConstructedMeta(SchemaMeta):
    """The type of a class that defines `__new__` or `__init__`: a call runs them as Python does."""

    if not TYPE_CHECKING:
        __call__ = type.__call__


class _Learned:
    """The caches of a class, except its fast path, which is read too often.

    mixes: the classes that `mixed_with` made.
    """

    __slots__ = ("cls", "converters", "directed", "keys", "mixes", "node")

    def __init__(self, cls: SchemaMeta) -> None:
        self.cls = cls
        self.converters: dict[Any, Any] = {}
        self.directed: bool | None = None
        self.keys: dict[str, None] | None = None
        self.mixes: dict[tuple[type, ...], SchemaMeta] = {}
        self.node: Node | None = None

    def __reduce__(self) -> Any:
        return _learn_anew, (self.cls, self.cls.__dict__.get("__recipe__"))


def _learn_anew(cls: SchemaMeta, recipe: tuple[Callable[..., Any], Any] | None) -> Any:
    """Register a class that was pickled by value, as cloudpickle does, and return its caches.

    In the process that pickled it, it is the same class, and keeps them.
    """
    if recipe is not None:
        find, argument = recipe
        find(argument, cls)
    return vars(cls)["_SchemaMeta__learned"]


def _mixed(outermost: SchemaMeta, others: tuple[type, ...]) -> SchemaMeta:
    """Return a new class for instances of several classes. The methods of the outermost win."""
    parts = (outermost, *others)
    bases = tuple(BASES["named array"] if part is tuple else part for part in parts)
    free = [part for part in parts if issubclass(part, BASES["any"])]
    concrete = [part for part in parts if part not in free and part not in BASES.values()]
    named = [*concrete, *reversed(free)][0]
    return SchemaMeta(
        named.__name__,
        bases,
        {
            "__slots__": (),
            "__mixed__": parts,
            "__recipe__": (outermost.mixed_with, others),
            "__doc__": named.__doc__,
            "__module__": named.__module__,
        },
    )


_HIDDEN = frozenset(
    # Methods of dict that can't work here, and private names of frozendict.
    [
        *("__delitem__", "__setitem__", "clear", "pop", "popitem", "update"),
        *("_clone", "_get_by_index", "_hash"),
    ]
)


def visible_names(cls: SchemaMeta, names: Iterable[str]) -> list[str]:
    """Return the names that `dir` lists for a class or an instance: `names` without useless ones.

    The declared keys are among them, so that `Mock(spec=LogResponse)` has them, too.
    """
    own = (name for name in names if name not in _HIDDEN and "_SchemaMeta__" not in name)
    return sorted({*own, *filter(str.isidentifier, cls.declared)})


@cache
def _decoder() -> Any:
    return decoder(maker(BASES["number"]))


def _scope_of(cls: SchemaMeta) -> Scope:
    """Return the scope that resolves the `$ref`s of a class.

    The references name classes in the module of the class that defines `__openapi__`, or in its
    package; or else in those of the next base class with its own schema object, since a subclass
    may take over parts of that.
    """
    if cls.__scope__ is not None:
        return cls.__scope__
    modules = [c.__module__ for c in cls.__mro__ if "__openapi__" in vars(c)]
    places = [place for name in modules for place in (name, name.rpartition(".")[0])]

    def component(name: str) -> Any:
        for place in places:
            found = getattr(sys.modules.get(place), name, None)
            if isinstance(found, SchemaMeta):
                return found
        raise KeyError(name)

    return Scope(component)


# -- pickling -------------------------------------------------------------------------------------


def _reduce_class(cls: SchemaMeta) -> Any:
    recipe = cls.__dict__.get("__recipe__")
    return cls.__qualname__ if recipe is None else (recipe[0], recipe[1:])


copyreg.pickle(SchemaMeta, _reduce_class)
copyreg.pickle(ConstructedMeta, _reduce_class)
