"""The values for JSON's true, false and null, and for "no value given".

A schema instance must be able to belong to several classes at once, which `bool` and `NoneType` do
not allow. `BoolClass` and `NoneClass` replace them: they compare, hash and test like True, False
and None, and each such class has one instance per value. A `BoolClass` also orders, counts and
combines like a bool, but is not a number: it has no further arithmetic.

FastAPI and pydantic write them as their plain values, in any place. FastAPI's encoder has no
protocol, but calls `vars()` on unknown objects: so `__dict__` is the plain value. pydantic reads
`__pydantic_serializer__`.
"""

from __future__ import annotations

import io
import operator
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

__all__ = ["BoolClass", "FileIO", "NoneClass", "Unset", "unset"]

FileIO = io.FileIO


@final
class Unset:
    """The type of `unset`, which marks a value that was not given (None is a value)."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "unset"

    def __reduce__(self) -> str:
        return "unset"


unset: Final = Unset()


@cache
def _serializer(plain: Callable[[Any], bool | None]) -> Any:
    core: Any = sys.modules.get("pydantic_core")
    if core is None:  # pydantic is not the caller then
        raise AttributeError("__pydantic_serializer__")
    return core.SchemaSerializer(
        {"type": "any", "serialization": {"type": "function-plain", "function": plain}}
    )


def _none(value: object) -> None:
    return None


def _of(cls: Any, *value: bool) -> Any:
    """Return an unpickled instance; cloudpickle would copy a class method with its references."""
    return cls.of(*value)


class BoolClass:
    """JSON's true or false: equal to its bool, and with the same truth value."""

    __slots__ = ("_value",)
    TRUE: ClassVar[BoolClass]
    FALSE: ClassVar[BoolClass]
    _instances: ClassVar[dict[bool, BoolClass]] = {}

    if TYPE_CHECKING:

        def __lt__(self, other: object) -> bool: ...
        def __le__(self, other: object) -> bool: ...
        def __gt__(self, other: object) -> bool: ...
        def __ge__(self, other: object) -> bool: ...
        def __and__(self, other: BoolClass | bool) -> bool: ...
        def __or__(self, other: BoolClass | bool) -> bool: ...
        def __xor__(self, other: BoolClass | bool) -> bool: ...
        def __add__(self, other: BoolClass | int) -> int: ...

        __rand__, __ror__, __rxor__, __radd__ = __and__, __or__, __xor__, __add__
    else:
        # object.__setattr__ could set another one; a property without a setter prevents this.
        __class__ = property(type)
        __dict__ = property(bool)
        __pydantic_serializer__ = property(lambda self: _serializer(bool))

    def __new__(cls, value: object = False) -> Any:
        return cls.of(bool(value))

    @classmethod
    def of(cls, value: bool) -> BoolClass:
        """Return the one instance of this class for `value`."""
        found = cls._instances.get(value)
        if found is None:
            found = object.__new__(cls)
            _set_value(found, value)
            found = cls._instances.setdefault(value, found)
        return found

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._instances = {}

    def __bool__(self) -> bool:
        return _value_of(self)

    def __eq__(self, other: object) -> bool:
        return bool(self) == (bool(other) if isinstance(other, BoolClass) else other)

    def __hash__(self) -> int:
        return hash(bool(self))

    def __index__(self) -> int:
        return int(bool(self))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} can't be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} can't be changed")

    def __repr__(self) -> str:
        return repr(bool(self))

    def __format__(self, spec: str) -> str:
        return format(bool(self), spec)

    def is_true(self) -> bool:
        """Return True if this is true."""
        return bool(self)

    def is_false(self) -> bool:
        """Return True if this is false."""
        return not self

    def __conform__(self, protocol: object) -> int:
        """Return the value that sqlite3 stores for this."""
        return int(self)

    is_true_oapg = is_true
    is_false_oapg = is_false

    def __reduce__(self) -> tuple[Any, ...]:
        return _of, (type(self), bool(self))


# The only way to the slot: with an attribute, object.__setattr__ could make true false for all.
_value_of: Callable[[BoolClass], bool] = vars(BoolClass)["_value"].__get__
_set_value: Callable[[BoolClass, bool], None] = vars(BoolClass)["_value"].__set__
type.__delattr__(BoolClass, "_value")

BoolClass.TRUE = BoolClass.of(True)
BoolClass.FALSE = BoolClass.of(False)


def _as_bool(operation: Callable[[Any, Any], Any], swapped: bool) -> Callable[..., Any]:
    def method(self: BoolClass, other: object) -> Any:
        plain = bool(other) if isinstance(other, BoolClass) else other
        return operation(plain, bool(self)) if swapped else operation(bool(self), plain)

    return method


for _name in ("lt", "le", "gt", "ge", "and", "or", "xor", "add"):
    _operation = getattr(operator, f"__{_name}__")
    setattr(BoolClass, f"__{_name}__", _as_bool(_operation, False))
    # The reflections of comparisons are comparisons: nothing calls `__rlt__`.
    setattr(BoolClass, f"__r{_name}__", _as_bool(_operation, True))


class NoneClass:
    """JSON's null: equal to None, and false."""

    __slots__ = ()
    NONE: ClassVar[NoneClass]
    _instances: ClassVar[dict[None, NoneClass]] = {}

    if not TYPE_CHECKING:
        __class__ = property(type)
        __dict__ = property(_none)
        __pydantic_serializer__ = property(lambda self: _serializer(_none))

    def __new__(cls, value: None = None) -> Any:
        return cls.of()

    @classmethod
    def of(cls) -> NoneClass:
        """Return the one instance of this class."""
        found = cls._instances.get(None)
        return cls._instances.setdefault(None, object.__new__(cls)) if found is None else found

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._instances = {}

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, NoneClass)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return "None"

    def is_none(self) -> bool:
        """Return True: this is null."""
        return True

    is_none_oapg = is_none

    def __reduce__(self) -> tuple[Any, ...]:
        return _of, (type(self),)


NoneClass.NONE = NoneClass.of()
