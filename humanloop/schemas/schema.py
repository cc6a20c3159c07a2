"""The schema classes: what a user constructs, reads and writes.

Calling a class validates and converts: the value is cast to plain JSON types (`casting`), matched
(`nodes`), and built anew here as immutable instances. An instance belongs to every named schema
that it matched: where that is more than one, to a class made of all of them. Nothing of the input
is kept but its strings, numbers and files.

Instances are frozendict, tuple, str, Decimal, BoolClass or NoneClass by their JSON type. Parts that
have no name of their own are instances of the classes here (`DateTimeSchema`, `NumberSchema`,
`DictSchema`), or plain strings and tuples.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from frozendict import frozendict

from humanloop.exceptions_base import ApiAttributeError, ApiTypeError, ApiValueError
from humanloop.schemas import layout
from humanloop.schemas.building import BASES, exact, maker, new_instance, plain_of
from humanloop.schemas.casting import cast, is_array, is_integer, is_mapping, is_object, is_sequence
from humanloop.schemas.codec import decoder, encode, encode_instance
from humanloop.schemas.containers import Container
from humanloop.schemas.errors import ErrorDetail, SchemaValidationError
from humanloop.schemas.fast_path import converter_of
from humanloop.schemas.formats import parse_date, parse_datetime
from humanloop.schemas.native import FastPathMiss
from humanloop.schemas.nodes import FORMAT_CLASSES, Node
from humanloop.schemas.reports import Collector, Direction, Enough, Memory, Mismatch
from humanloop.schemas.scope import Scope
from humanloop.schemas.trampoline import Steps, run
from humanloop.schemas.values import BoolClass, NoneClass, unset

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import Self


_T_co = TypeVar("_T_co", covariant=True)

Numbers = Literal["float", "decimal"]


class SchemaMeta(type):
    """The type of schema classes: makes calling one validate, and keeps what is compiled of it.

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
            # As `validate` does, one call the less.
            try:
                return (cls.__convert or cls.compile())(value)
            except (FastPathMiss, RecursionError):
                pass
            return cls.validate_exactly(value)

    @property
    def node(cls) -> Node:
        """The compiled schema."""
        if cls.__node is None:
            if cls.__mixed__:
                node = Node({}, _scope_of(cls), cls.__name__)
                node.all_of = [c.node for c in cls.__mixed__ if isinstance(c, SchemaMeta)]
                node.is_composed = True
            else:
                node = Node(cls.__openapi__, _scope_of(cls), cls.__name__, cls)
            cls.__node = node
        return cls.__node

    @property
    def has_directions(cls) -> bool:
        """Whether any property of it, however deep, is `readOnly` or `writeOnly`."""
        if cls.__directed is None:
            # What a parent's discriminator leads to can't be foreseen.
            cls.__directed = any(
                node.ref is None and (node.directions or node.descends) for node in cls.node.walk()
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
        """The instance that `value` makes.

        direction: which way the value goes. A `readOnly` property is required in responses only and
            refused in requests, a `writeOnly` one the other way round; where the direction is not
            known, both are taken and neither is required.

        Raises:
            SchemaValidationError: it does not fit; the error holds all that is wrong.
        """
        if direction is not None and cls.has_directions:
            return cls.validate_exactly(value, direction)
        try:
            return (cls.__convert or cls.compile())(value)
        except (FastPathMiss, RecursionError):
            pass  # what is raised below has nothing to do with this
        return cls.validate_exactly(value)

    def validate_json(cls, data: str | bytes, direction: Direction | None = None) -> Any:
        """The instance that JSON text makes: `Schema.from_json`."""
        try:
            value = _decode(data)
        except ValueError as error:
            detail = ErrorDetail((), "json", f"expected JSON text: {error}")
            raise SchemaValidationError([detail], cls.__name__) from error
        return cls.validate(value, direction)

    def compile(cls) -> Callable[[Any], Any]:
        """Return the fast path's function, made ready."""
        cls.__convert = converter_of(cls.node).convert
        return cls.__convert

    def validate_exactly(cls, value: Any, direction: Direction | None = None) -> Any:
        """As `validate`, without the fast path."""
        with suppress(Mismatch):
            return exact(cls.node, value, (), direction)
        plain, refused = cast(value)
        report = Collector(memory=Memory(direction))
        more: list[ErrorDetail] = []
        try:
            run(cls.node.match(plain, None, report))
        except Enough:
            more = [ErrorDetail((), "limit", "there are more errors than can be told")]
        errors = [ErrorDetail(path, "type", message) for path, message in refused]
        raise SchemaValidationError([*errors, *report.errors, *more], cls.__name__)

    def mixed_with(cls, parts: tuple[type, ...]) -> SchemaMeta:
        """The class of instances of all of `parts`; this class, the last of them, keeps it."""
        found = cls.__mixes.get(parts)
        if found is None:
            named = cls if parts[0] in BASES.values() else parts[0]
            names = {"__slots__": (), "__mixed__": parts, "__doc__": named.__doc__}
            bases = tuple(ListSchema if part is tuple else part for part in parts)
            found = SchemaMeta(named.__name__, bases, {**names, "__module__": named.__module__})
            found = cls.__mixes.setdefault(parts, found)
        return found


class _Member:
    """The class attribute for a value of an enum: an instance of the class it is read from."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: object, owner: SchemaMeta) -> Any:
        return owner.validate(self._text)


def enum_members(values: Iterable[Any]) -> dict[str, str]:
    """The class attributes that stand for the strings of an enum, by the rule of version 0.5.

    `In progress` is `IN_PROGRESS`; what all values begin with, up to an underscore, is left out.
    """
    texts = [value for value in values if isinstance(value, str)]
    words = [text.split("_")[:-1] for text in texts]
    shared = list(takewhile(lambda column: len({*column}) == 1, zip(*words, strict=False)))
    start = len("".join(f"{column[0]}_" for column in shared)) if len(texts) > 1 else 0
    return {"".join(c if c.isalnum() else "_" for c in t[start:].upper()): t for t in texts}


def _with_keys(cls: SchemaMeta, value: Any, keys: dict[str, Any]) -> Any:
    """The argument of a class that was given keywords, beside a mapping or alone."""
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


# -- the classes ----------------------------------------------------------------------------------


class Schema(metaclass=SchemaMeta):
    """What every schema class derives from."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __new__(cls, value: Any = ..., /, **keys: Any) -> Self: ...

    @classmethod
    def from_json(cls, data: str | bytes, *, direction: Direction | None = None) -> Self:
        """The instance that JSON text makes.

        direction: `request` or `response`, where `readOnly` and `writeOnly` are to be respected.

        Raises:
            SchemaValidationError: it is not JSON, or does not fit the schema.
        """
        return cls.validate_json(data, direction)  # type: ignore[no-any-return]

    @classmethod
    def from_openapi_data_oapg(cls, arg: Any, _configuration: object = None) -> Self:
        """The instance that decoded JSON makes, by the name that it had in version 0.5."""
        return cls.validate(arg)  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """This value as compact JSON text, every digit kept.

        Raises:
            ApiValueError: there are bytes or a file in it.
        """
        return to_json(self)

    def to_primitive(self, *, numbers: Numbers = "float") -> Any:
        """This value in new dict, list, str, int, float (or Decimal), bool and None objects.

        numbers: what numbers with a fraction or an exponent become. As floats they are rounded to
            17 digits; those beyond the range of floats stay Decimal, as do integers of more than
            4,300 digits.
        """
        return to_primitive(self, numbers=numbers)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        from humanloop.schemas.interop import core_schema

        return core_schema(cls, to_primitive)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: Any) -> Any:
        from humanloop.schemas.interop import json_schema

        return json_schema(cls, handler)

    if not TYPE_CHECKING:
        # object.__setattr__ could set another; what has no setter it can't set.
        __class__ = property(type)

    def __setattr__(self, name: str, value: object) -> None:
        raise ApiAttributeError(f"a {type(self).__name__} can't be changed: can't set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise ApiAttributeError(f"a {type(self).__name__} can't be changed: can't delete {name!r}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> Any:
        return new_instance, (type(self), plain_of(self))

    def __reduce_ex__(self, protocol: object) -> Any:
        return self.__reduce__()


class AnyTypeSchema(Schema):
    """A schema without a type of its own: composed, nullable, or free."""

    __slots__ = ()


if TYPE_CHECKING:
    Frozen: TypeAlias = frozendict[str, Any]
else:
    Frozen = layout.Frozen


class DictSchema(Container, Schema, Frozen):
    """An object: an immutable dict whose declared keys can be read as attributes, too."""

    __slots__ = ()
    __openapi__ = {"type": "object"}

    if TYPE_CHECKING:

        def __new__(cls, mapping: Mapping[str, Any] = ..., /, **keys: Any) -> Self: ...

    else:
        __new__, __init__ = Frozen.__new__, Frozen.__init__

        def __getattr__(self, name):
            cls = type(self)
            if name in cls.declared:
                try:
                    return self[name]
                except KeyError:
                    raise ApiAttributeError(f"this {cls.__name__} has no key {name!r}") from None
            from difflib import get_close_matches

            near = [] if name.startswith("_") else get_close_matches(name, cls.declared, 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise ApiAttributeError(f"{cls.__name__} declares no key {name!r}{hint}")

        # The pure-Python frozendict keeps its hash in a slot, which anyone could write to.
        _hash = property()

        def __or__(self, other):
            if not isinstance(other, Mapping):
                return NotImplemented
            return frozendict({**self, **other})

        def __ror__(self, other):
            if not isinstance(other, Mapping):
                return NotImplemented
            return frozendict({**other, **self})

        __ior__ = __or__

        @classmethod
        def fromkeys(cls, keys, value=None):
            return cls.validate(dict.fromkeys(keys, value))

        def copy(self):
            return self

        def set(self, key, value):
            return type(self).validate({**self, key: value})

        def setdefault(self, key, default=None):
            return self if key in self else self.set(key, default)

        def delete(self, key):
            rest = dict(self)
            del rest[key]
            return type(self).validate(rest)

    def get_item(self, name: str) -> Any:
        """The value of a key, or `unset` where it is absent."""
        return self.get(name, unset)

    get_item_oapg = get_item


layout.derive(DictSchema)


class ListSchema(Container, Schema, tuple[_T_co, ...]):
    """An array: a tuple."""

    __slots__ = ()
    __openapi__ = {"type": "array"}

    if TYPE_CHECKING:

        def __new__(cls, items: Iterable[Any], /) -> Self: ...


class StrSchema(Schema, str):
    """A string."""

    __slots__ = ()
    __openapi__ = {"type": "string"}

    if TYPE_CHECKING:

        def __new__(cls, value: str | date | datetime | UUID, /) -> Self: ...


class DateTimeSchema(StrSchema):
    """A string that is an RFC 3339 date-time."""

    __slots__ = ()
    __openapi__ = {"type": "string", "format": "date-time"}

    @property
    def as_datetime(self) -> datetime:
        """The moment as an aware datetime."""
        return parse_datetime(self)

    as_datetime_oapg = as_datetime


class DateSchema(StrSchema):
    """A string that is an RFC 3339 full-date."""

    __slots__ = ()
    __openapi__ = {"type": "string", "format": "date"}

    @property
    def as_date(self) -> date:
        """The day as a date."""
        return parse_date(self)

    as_date_oapg = as_date


class UUIDSchema(StrSchema):
    """A string that is a UUID (RFC 4122)."""

    __slots__ = ()
    __openapi__ = {"type": "string", "format": "uuid"}

    @property
    def as_uuid(self) -> UUID:
        """The UUID."""
        from uuid import UUID

        return UUID(self)

    as_uuid_oapg = as_uuid


class DecimalSchema(StrSchema):
    """A string that is a decimal number."""

    __slots__ = ()
    __openapi__ = {"type": "string", "format": "number"}

    @property
    def as_decimal(self) -> Decimal:
        """The number."""
        return Decimal(self)

    as_decimal_oapg = as_decimal


class NumberSchema(Schema, Decimal):
    """A number: a Decimal with every digit that it came with."""

    __slots__ = ()
    __openapi__ = {"type": "number"}

    if TYPE_CHECKING:

        def __new__(cls, value: Decimal | float, /) -> Self: ...

    @property
    def as_int(self) -> int:
        """The number as an int.

        Raises:
            ApiValueError: it has a fraction, or more than 10,000 digits.
        """
        if self.adjusted() > 10_000 or self != self.to_integral_value():
            raise ApiValueError(f"{self:.40} is not an integer that fits")
        return int(self)

    @property
    def as_float(self) -> float:
        """The nearest float."""
        return float(self)

    as_int_oapg = as_int
    as_float_oapg = as_float


class IntSchema(NumberSchema):
    """An integer: a number without fraction or exponent part."""

    __slots__ = ()
    __openapi__ = {"type": "integer"}


class BoolSchema(Schema, BoolClass):
    """A boolean."""

    __slots__ = ()
    __openapi__ = {"type": "boolean"}

    if TYPE_CHECKING:

        def __new__(cls, value: bool | BoolClass, /) -> Self: ...


class NoneSchema(Schema, NoneClass):
    """Null."""

    __slots__ = ()
    __openapi__ = {"enum": [None]}

    if TYPE_CHECKING:

        def __new__(cls, value: NoneClass | None, /) -> Self: ...


class BytesSchema(Schema, bytes):
    """Binary data."""

    __slots__ = ()
    __openapi__ = {"type": "string", "format": "binary"}

    if TYPE_CHECKING:

        def __new__(cls, value: bytes, /) -> Self: ...


FORMAT_CLASSES.update(
    {
        "date-time": DateTimeSchema,
        "date": DateSchema,
        "uuid": UUIDSchema,
        "number": DecimalSchema,
    }
)

BASES.update(object=DictSchema, number=NumberSchema, binary=BytesSchema, any=AnyTypeSchema)
_decode = decoder(maker(NumberSchema))


# -- writing --------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """Any value that a schema class takes, or an instance, as compact JSON text.

    Raises:
        ApiValueError: JSON has no place for something in it.
    """
    try:
        return encode_instance(value) if isinstance(value, Schema) else encode(_plain(value))
    except TypeError as error:
        raise ApiValueError(str(error)) from None


def to_primitive(value: Any, *, numbers: Numbers = "float") -> Any:
    """Any value that a schema class takes, or an instance, in plain objects: `Schema.to_primitive`.

    Raises:
        ApiValueError: JSON has no place for something in it.
    """
    return run(_primitive(_plain(value), numbers))


def _plain(value: Any) -> Any:
    plain, refused = cast(value)
    if refused:
        path, message = refused[0]
        raise ApiValueError(message, path)
    return plain


def _primitive(plain: Any, numbers: Numbers) -> Steps[Any]:
    if is_object(plain):
        for key, item in plain.items():
            plain[key] = yield _primitive(item, numbers)
    if is_array(plain):
        for index, item in enumerate(plain):
            plain[index] = yield _primitive(item, numbers)
    if not isinstance(plain, Decimal):
        return plain
    # Python itself parses no longer ints: they take quadratic time.
    if is_integer(plain) and plain.adjusted() < 4300:
        return int(plain)
    if numbers == "decimal":
        return plain
    number = float(plain)
    return plain if number in (float("inf"), float("-inf")) else number


# -- pickling -------------------------------------------------------------------------------------


def _reduce_class(cls: SchemaMeta) -> Any:
    parts = cls.__dict__.get("__mixed__")
    if parts:
        return parts[-1].mixed_with, (parts,)
    return cls.__dict__.get("__recipe__", cls.__qualname__)


copyreg.pickle(SchemaMeta, _reduce_class)
