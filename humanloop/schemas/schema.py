"""The schema classes, with which users construct, read and write values.

Instances are frozendict, tuple, str, Decimal, BoolClass or NoneClass by their JSON type. Parts
without a name of their own are instances of the classes here (`DateTimeSchema`, `NumberSchema`,
`DictSchema`), or plain strings and tuples.

Invariants: an instance can't be changed, and keeps no part of the input except strings, numbers and
files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from frozendict import frozendict

from humanloop.exceptions import ApiAttributeError, ApiKeyError
from humanloop.schemas.containers import Container
from humanloop.schemas.dataframes import to_dataframe
from humanloop.schemas.formats import parse_date, parse_datetime
from humanloop.schemas.instances import (
    BASES,
    FrozenBase,
    new_instance,
    plain_of,
    restore_frozendict_base,
)
from humanloop.schemas.metaclass import SchemaMeta, visible_names
from humanloop.schemas.native import converters
from humanloop.schemas.nodes import FORMAT_CLASSES, Direction
from humanloop.schemas.number import NumberClass
from humanloop.schemas.values import BoolClass, NoneClass, unset
from humanloop.schemas.writing import Numbers, to_json, to_primitive
from humanloop.secrets import masked_start, shorten

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
    __test__ = False  # pytest collects classes named Test*

    if TYPE_CHECKING:
        __openapi__: ClassVar[Mapping[str, Any]]

        def __new__(cls, value: Any = ..., /, **keys: Any) -> Self: ...
        def __init__(self, *arguments: Any, **keys: Any) -> None: ...  # for `super()`

    @classmethod
    def from_json(cls, data: str | bytes, *, direction: Direction | None = None) -> Self:
        """Return the instance for JSON text.

        direction: `request` or `response`, if `readOnly` and `writeOnly` should be enforced.

        Raises:
            SchemaValidationError: it is not JSON, or does not fit the schema.
            ApiValueError: `direction` is neither of these.
        """
        return cls.validate_json(data, direction)  # type: ignore[no-any-return]

    @classmethod
    def from_openapi_data_oapg(cls, arg: Any, _configuration: object = None) -> Self:
        """Return the instance for decoded JSON; the name is that of version 0.5."""
        return cls.validate(arg)  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """Return this value as compact JSON text, every digit kept.

        Raises:
            ApiValueError: it contains bytes or a file.
        """
        return to_json(self)

    def to_primitive(self, *, numbers: Numbers = "float") -> Any:
        """Return this value in new dict, list, str, int, float (or Decimal), bool and None objects.

        numbers: `float` or `decimal`, the type of numbers with a fraction or an exponent. Floats
            are rounded to 17 digits; numbers beyond the range of floats stay Decimal, as do
            integers of more than 4,300 digits. Other integers become int in both cases.

        Raises:
            ApiValueError: `numbers` is neither of these.
        """
        return to_primitive(self, numbers=numbers)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        from humanloop.schemas.interop import core_schema

        return core_schema(cls, to_primitive)

    @property
    def __pydantic_serializer__(self) -> Any:
        if "pydantic_core" not in sys.modules:  # pydantic is not the caller then
            raise AttributeError("__pydantic_serializer__")
        from humanloop.schemas.interop import serializer

        return serializer(to_primitive)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: Any) -> Any:
        from humanloop.schemas.interop import json_schema

        return json_schema(cls, handler)

    if not TYPE_CHECKING:
        # object.__setattr__ could set another one; a property without a setter prevents this.
        __class__ = property(type)

    def __setattr__(self, name: str, value: object) -> None:
        raise ApiAttributeError(f"a {type(self).__name__} can't be changed: can't set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise ApiAttributeError(f"a {type(self).__name__} can't be changed: can't delete {name!r}")

    def __dir__(self) -> list[str]:
        return visible_names(type(self), object.__dir__(self))

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

    __slots__ = ("__weakref__",)
    __openapi__ = {"type": "object"}

    if TYPE_CHECKING:

        def __new__(cls, mapping: Mapping[str, Any] = ..., /, **keys: Any) -> Self: ...
        def __replace__(self, /, **changes: Any) -> Self: ...

        # frozendict's own hints say less than is true here, or something else.
        def __or__(self, other: Mapping[str, Any]) -> frozendict[str, Any]: ...  # type: ignore[override]
        def __ror__(self, other: Mapping[str, Any]) -> frozendict[str, Any]: ...  # type: ignore[override]
        def setdefault(self, key: str, default: Any = None) -> Self: ...  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]

    else:
        __new__, __init__ = Frozen.__new__, Frozen.__init__

        def __getattr__(self, name):
            cls = type(self)
            if name in cls.declared and name in self:
                return self[name]
            if hasattr(cls, name):  # a property raised the error: its message says more
                return object.__getattribute__(self, name)
            if name in cls.declared:
                error = ApiAttributeError(_absent(self, name))
            elif name in self:
                error = ApiAttributeError(
                    f"{cls.__name__} declares no key {name!r}: use [{name!r}]"
                )
            else:
                error = ApiAttributeError(f"{cls.__name__} declares no key {name!r}")
                error.suggest(name, () if name.startswith("_") else cls.declared)
            error.name = name  # with it, Python adds no suggestion of its own to the message
            raise error

        def __missing__(self, key):
            declared = type(self).declared
            if key in declared:
                error = ApiKeyError(_absent(self, key))
            else:
                shown = shorten(masked_start(repr(key)))
                error = ApiKeyError(f"this {_kind(self)} has no key {shown}")
                error.suggest(key, chain(declared, self))
            error.args = (key,)  # like the arguments of any KeyError
            raise error

        def _ipython_key_completions_(self):
            return list(self)

        # The pure-Python frozendict caches its hash in a slot, to which anyone could write.
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

        def __replace__(self, /, **changes):
            return type(self).validate({**self, **changes})

        def delete(self, key):
            if key not in self:
                self.__missing__(key)
            return type(self).validate({k: item for k, item in self.items() if k != key})

    def get_item(self, name: str) -> Any:
        """Return the value of a key, or `unset` if it is absent."""
        return self.get(name, unset)

    get_item_oapg = get_item

    def to_dataframe(self) -> Any:
        """Return the records of this page, or else this object, as a pandas DataFrame.

        See `schemas.to_dataframe`.
        """
        return to_dataframe(self)


restore_frozendict_base(DictSchema)


def _absent(instance: Any, key: str) -> str:
    """Return the message for a declared key that an object does not have."""
    return f"this {_kind(instance)} has no key {key!r}, which is optional; .get({key!r}) is None"


def _kind(instance: Any) -> str:
    return "object" if type(instance) is DictSchema else type(instance).__name__


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


class NumberSchema(Schema, NumberClass):
    """A number: a Decimal with every digit of its source, which works with floats."""

    __slots__ = ()
    __openapi__ = {"type": "number"}

    if TYPE_CHECKING:

        def __new__(cls, value: Decimal | float, /) -> Self: ...

    def __conform__(self, protocol: object) -> int | float:
        """Return the value that sqlite3 stores for this number: an int of 64 bits, or a float."""
        is_whole = self.same_quantum(Decimal(1)) and abs(self) < 2**63
        return int(self) if is_whole else float(self)


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
converters.remember((*BASES.values(), *FORMAT_CLASSES.values()))
