"""The schema classes: what a user constructs, reads and writes.

Instances are frozendict, tuple, str, Decimal, BoolClass or NoneClass by their JSON type. Parts that
have no name of their own are instances of the classes here (`DateTimeSchema`, `NumberSchema`,
`DictSchema`), or plain strings and tuples.

Invariants: an instance can't be changed, and keeps nothing of the input but its strings, numbers
and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from frozendict import frozendict

from humanloop.exceptions import ApiAttributeError, ApiValueError
from humanloop.schemas.containers import Container
from humanloop.schemas.formats import parse_date, parse_datetime
from humanloop.schemas.instances import (
    BASES,
    FrozenBase,
    new_instance,
    plain_of,
    restore_frozendict_base,
)
from humanloop.schemas.metaclass import SchemaMeta
from humanloop.schemas.nodes import FORMAT_CLASSES, Direction
from humanloop.schemas.values import BoolClass, NoneClass, unset
from humanloop.schemas.writing import Numbers, to_json, to_primitive
from humanloop.secrets import did_you_mean

if TYPE_CHECKING:
    from uuid import UUID

    from typing_extensions import Self

__all__ = [
    "AnyTypeSchema",
    "BoolSchema",
    "BytesSchema",
    "DateSchema",
    "DateTimeSchema",
    "DecimalSchema",
    "DictSchema",
    "IntSchema",
    "ListSchema",
    "NoneSchema",
    "NumberSchema",
    "Schema",
    "StrSchema",
    "UUIDSchema",
]

_T_co = TypeVar("_T_co", covariant=True)


class Schema(metaclass=SchemaMeta):
    """The base of every schema class."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __new__(cls, value: Any = ..., /, **keys: Any) -> Self: ...

    @classmethod
    def from_json(cls, data: str | bytes, *, direction: Direction | None = None) -> Self:
        """Return the instance that JSON text makes.

        direction: `request` or `response`, where `readOnly` and `writeOnly` are to be respected.

        Raises:
            SchemaValidationError: it is not JSON, or does not fit the schema.
        """
        return cls.validate_json(data, direction)  # type: ignore[no-any-return]

    @classmethod
    def from_openapi_data_oapg(cls, arg: Any, _configuration: object = None) -> Self:
        """Return the instance that decoded JSON makes, by the name that it had in version 0.5."""
        return cls.validate(arg)  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """Return this value as compact JSON text, every digit kept.

        Raises:
            ApiValueError: there are bytes or a file in it.
        """
        return to_json(self)

    def to_primitive(self, *, numbers: Numbers = "float") -> Any:
        """Return this value in new dict, list, str, int, float (or Decimal), bool and None objects.

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
    Frozen = FrozenBase


class DictSchema(Container, Schema, Frozen):
    """An object: an immutable dict whose declared keys can be read as attributes, too."""

    __slots__ = ()
    __openapi__ = {"type": "object"}

    if TYPE_CHECKING:

        def __new__(cls, mapping: Mapping[str, Any] = ..., /, **keys: Any) -> Self: ...

        # Of frozendict's own hints these say less than holds here, or something else.
        def __or__(self, other: Mapping[str, Any]) -> frozendict[str, Any]: ...  # type: ignore[override]
        def __ror__(self, other: Mapping[str, Any]) -> frozendict[str, Any]: ...  # type: ignore[override]
        def setdefault(self, key: str, default: Any = None) -> Self: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    else:
        __new__, __init__ = Frozen.__new__, Frozen.__init__

        def __getattr__(self, name):
            cls = type(self)
            if name in cls.declared:
                try:
                    return self[name]
                except KeyError:
                    raise ApiAttributeError(f"this {cls.__name__} has no key {name!r}") from None
            hint = "" if name.startswith("_") else did_you_mean(name, cls.declared)
            raise ApiAttributeError(f"{cls.__name__} declares no key {name!r}{hint}")

        # The pure-Python frozendict keeps its hash in a slot, which anyone could write to.
        _hash = property()

        def __hash__(self):
            return hash(frozenset(self.items()))

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
        """Return the value of a key, or `unset` if it is absent."""
        return self.get(name, unset)

    get_item_oapg = get_item


restore_frozendict_base(DictSchema)


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

    if TYPE_CHECKING:

        def __new__(cls, value: Decimal | int, /) -> Self: ...


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

BASES.update(
    {
        "object": DictSchema,
        "number": NumberSchema,
        "binary": BytesSchema,
        "any": AnyTypeSchema,
        "named array": ListSchema,
    }
)
