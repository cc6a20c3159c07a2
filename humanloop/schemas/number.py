"""Numbers that keep every digit, as `Decimal` does, and work with floats.

`Decimal` refuses arithmetic with a float, and hardly any float equals the decimal number by which
it is written: 0.7 is 0.6999999999999999555910790149937. A `NumberClass` is a Decimal for which

- a float counts as the digits with which Python writes it, in every comparison;
- arithmetic with a float is that of floats. With other numbers that `Decimal` refuses, and with a
  `timedelta`, it is that of the plain number: an int if this is an integer, else a float;
- Python takes it as an index, if it is whole, and NumPy takes it as the plain number.

Invariants: a comparison and its reflection agree. Every Decimal that arithmetic returns, or a
method of Decimal that computes, is a NumberClass, so that it works with floats, too. Creating one
creates a Decimal, and takes no longer.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from numbers import Integral, Number, Real
from typing import Any

from humanloop.exceptions import ApiTypeError, ApiValueError
from humanloop.schemas.casting import is_integer, is_sequence

__all__ = ["NumberClass"]

DIGITS = 10_000
"""The most digits of an int: Decimal("1e999999999") is whole, and would fill any memory."""

_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
"""The names of NumPy's comparison functions."""


class NumberClass(Decimal):
    """A number: a Decimal that works with floats."""

    __slots__ = ()

    # Defining `__eq__`, as below, would remove it. Equal Decimals, ints and instances have equal
    # hashes. Floats can't: Decimal("0.7") and 0.7 are both equal to this number, but their hashes
    # differ.
    __hash__ = Decimal.__hash__

    __repr__ = Decimal.__str__

    def is_integer(self) -> bool:
        """Return True if the number is whole, as `float.is_integer` does."""
        return self.is_finite() and self == self.to_integral_value()

    @property
    def as_int(self) -> int:
        """The number as an int.

        Raises:
            ApiValueError: it has a fraction, or more than 10,000 digits.
        """
        if self.adjusted() > DIGITS or not self.is_integer():
            raise ApiValueError(f"{self:.40} is not an integer that fits")
        return int(self)

    @property
    def as_float(self) -> float:
        """The nearest float."""
        return float(self)

    as_int_oapg = as_int
    as_float_oapg = as_float

    def __index__(self) -> int:
        try:
            return self.as_int
        except ApiValueError as error:
            hint = "where a fraction makes sense, as in time.sleep, pass float(x)"
            raise ApiTypeError(f"{error}; {hint}") from None

    def __format__(self, spec: str, /, *override: Any) -> str:
        try:
            return super().__format__(spec, *override)
        except ValueError:  # such as "d", which int supports
            return format(_plain(self), spec)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """The plain number as an array without dimensions, which NumPy reads.

        Source: NumPy, The array interface protocol, version 3.
        """
        number = _plain(self)
        kind, form = ("i8", "q") if isinstance(number, int) else ("f8", "d")
        try:
            data = struct.pack(f"<{form}", number)
        except struct.error:  # beyond 64 bits: NumPy stores such numbers as objects
            raise AttributeError("__array_interface__") from None
        return {"version": 3, "shape": (), "typestr": f"<{kind}", "data": data}

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Return the result of a NumPy function for the plain number (NEP 13).

        The plain number is a Python one, so that an array of 32-bit floats stays one (NEP 50).
        """
        numbers = [value for value in inputs if isinstance(value, NumberClass)]
        stand_in = _plain
        if any(getattr(value, "dtype", None) == "O" for value in inputs) or (
            ufunc.__name__ in _COMPARISONS and not all(map(_is_exact, numbers))
        ):
            stand_in = _as_object_array
        inputs = tuple([stand_in(v) if isinstance(v, NumberClass) else v for v in inputs])
        return getattr(ufunc, method)(*inputs, **options)


def _plain(number: NumberClass) -> int | float:
    return int(number) if is_integer(number) and number.adjusted() < DIGITS else float(number)


def _is_exact(number: NumberClass) -> bool:
    """Return True if a float has the same digits, so that it compares in the same way."""
    return _digits_of(float(number)) == number


def _as_object_array(number: NumberClass) -> Any:
    """Return an array of objects with a number, for which NumPy calls the number's own methods."""
    numpy: Any = import_module("numpy")
    array = numpy.empty((), dtype=object)
    array[()] = number
    return array


def _digits_of(number: float) -> Decimal:
    # Not repr, which subclasses such as numpy.float64 override.
    return Decimal(float.__repr__(number))


def _with_decimals(result: Any) -> Any:
    """Return the result of a Decimal method, with a NumberClass for each Decimal."""
    if isinstance(result, Decimal):
        return NumberClass(result)
    return tuple(map(NumberClass, result)) if is_sequence(result) else result  # divmod's pair


def _comparison(name: str) -> Callable[..., Any]:
    compare = getattr(Decimal, name)

    def method(self: NumberClass, other: object, /) -> Any:
        if isinstance(other, float):
            if other != other:  # NaN, for which Decimal would raise
                return name == "__ne__"
            other = _digits_of(other)
        elif not isinstance(other, (Decimal, int)) and isinstance(other, Integral):
            other = int(other)  # Decimal rejects integers other than int, such as numpy.int64
        return compare(self, other)

    return method


def _arithmetic(name: str, operation: Callable[..., Any], swapped: bool) -> Callable[..., Any]:
    compute = getattr(Decimal, name)

    def method(self: NumberClass, other: object, /, *modulo: object) -> Any:
        result = compute(self, other, *modulo)
        if result is not NotImplemented:
            return _with_decimals(result)
        if modulo or not isinstance(other, (Number, timedelta)):
            return NotImplemented
        plain = float(self) if isinstance(other, float) else _plain(self)
        return operation(other, plain) if swapped else operation(plain, other)

    return method


def _of_decimal(name: str) -> Callable[..., Any]:
    compute = getattr(Decimal, name)

    def method(self: NumberClass, /, *arguments: Any, **options: Any) -> Any:
        return _with_decimals(compute(self, *arguments, **options))

    return method


def _add_method(name: str, method: Callable[..., Any]) -> None:
    method.__name__, method.__qualname__ = name, f"NumberClass.{name}"
    method.__doc__ = getattr(Decimal, name).__doc__
    setattr(NumberClass, name, method)


for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"):
    _add_method(_name, _comparison(_name))

for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow"):
    _operation: Any = divmod if _name == "divmod" else getattr(operator, f"__{_name}__")
    _add_method(f"__{_name}__", _arithmetic(f"__{_name}__", _operation, False))
    _add_method(f"__r{_name}__", _arithmetic(f"__r{_name}__", _operation, True))

for _name in (
    *("__neg__", "__pos__", "__abs__", "__round__"),
    *("quantize", "normalize", "to_integral", "to_integral_exact", "to_integral_value"),
    *("sqrt", "exp", "ln", "log10", "logb", "fma", "scaleb", "remainder_near"),
    *("max", "max_mag", "min", "min_mag", "copy_abs", "copy_negate", "copy_sign"),
    *("next_minus", "next_plus", "next_toward", "rotate", "shift"),
):
    _add_method(_name, _of_decimal(_name))

# Decimal is not registered, since it does not work with floats. Matplotlib checks for Real.
Real.register(NumberClass)
