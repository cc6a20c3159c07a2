"""The values that stand for JSON's true, false and null, and for "no value given".

A schema instance must be able to belong to several classes at once, which `bool` and `NoneType` do
not allow. `BoolClass` and `NoneClass` take their places: they compare, hash and test like True,
False and None, and each class of them has one instance per value.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar, Final, final

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


class BoolClass:
    """JSON's true or false: equal to, and as truthy as, the bool that it was made of."""

    __slots__ = ("_value",)
    _value: bool
    TRUE: ClassVar[BoolClass]
    FALSE: ClassVar[BoolClass]
    _instances: ClassVar[dict[tuple[type, bool], BoolClass]] = {}

    def __new__(cls, value: object = False) -> Any:
        return cls.of(bool(value))

    @classmethod
    def of(cls, value: bool) -> BoolClass:
        """The one instance of this class for `value`."""
        found = BoolClass._instances.get((cls, value))
        if found is None:
            found = object.__new__(cls)
            object.__setattr__(found, "_value", value)
            found = BoolClass._instances.setdefault((cls, value), found)
        return found

    def __bool__(self) -> bool:
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == (other._value if isinstance(other, BoolClass) else other)

    def __hash__(self) -> int:
        return hash(self._value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} can't be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} can't be changed")

    def __repr__(self) -> str:
        return repr(self._value)

    def is_true(self) -> bool:
        """True if this is true."""
        return self._value

    def is_false(self) -> bool:
        """True if this is false."""
        return not self._value

    is_true_oapg = is_true
    is_false_oapg = is_false

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, (self._value,)


BoolClass.TRUE = BoolClass.of(True)
BoolClass.FALSE = BoolClass.of(False)


class NoneClass:
    """JSON's null: equal to None, and false."""

    __slots__ = ()
    NONE: ClassVar[NoneClass]
    _instances: ClassVar[dict[type, NoneClass]] = {}

    def __new__(cls, value: None = None) -> Any:
        return cls.of()

    @classmethod
    def of(cls) -> NoneClass:
        """The one instance of this class."""
        found = NoneClass._instances.get(cls)
        return found or NoneClass._instances.setdefault(cls, object.__new__(cls))

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, NoneClass)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return "None"

    def is_none(self) -> bool:
        """True: this is null."""
        return True

    is_none_oapg = is_none

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).of, ()


NoneClass.NONE = NoneClass.of()
