"""Numbers: every digit of a Decimal, with the behaviour of floats and ints.

They are compared with ordinary JSON numbers: the digits with which Python writes a float, and
Python's own arithmetic.
"""

from __future__ import annotations

import copy
import datetime
import itertools
import math
import operator
import pickle
import random
import statistics
import struct
import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from humanloop.model import LogResponse
from humanloop.schemas import (
    DictSchema,
    IntSchema,
    NumberClass,
    NumberSchema,
    SchemaValidationError,
)

from .generated import SETTINGS
from .support import errors_of, make

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DIGITS = st.decimals(-1000, 1000, places=3) | st.decimals(allow_nan=False, allow_infinity=False)
COMPARISONS: list[Callable[[Any, Any], Any]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
OPERATIONS: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    divmod,
]
REFLECTED = {
    operator.eq: operator.eq,
    operator.ne: operator.ne,
    operator.lt: operator.gt,
    operator.le: operator.ge,
    operator.gt: operator.lt,
    operator.ge: operator.le,
}
SHARE = make({"type": "number", "minimum": 0, "maximum": 1}, name="Share")
ANY = make({}, name="Any")
EITHER = make(
    {"allOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}]},
    name="Either",
    A={"type": "number"},
    B={"type": "number"},
)
CLASSES: list[Any] = [NumberSchema, NumberClass, EITHER, ANY]


def number(value: Any) -> Any:
    """A number as it is read from a response."""
    return DictSchema(value=value)["value"]


def outcome(operation: Callable[[Any, Any], Any], *operands: Any) -> Any:
    """The type and value that come of an operation, or the class of its error alone."""
    try:
        result = operation(*operands)
    except (ArithmeticError, TypeError) as error:
        return (type(error),)
    parts = result if isinstance(result, tuple) else (result,)
    return type(result), *map(str, parts)  # so that -0.0 and NaN are told


# -- comparing ------------------------------------------------------------------------------------


def test_a_number_of_json_equals_the_float_that_is_written_like_it() -> None:
    log = LogResponse.from_json(
        '{"id": "data_1", "duration": 0.7, "config": {"id": "c", "type": "model", "model": "m"}}'
    )
    duration: Any = log["duration"]
    assert duration == 0.7
    assert [duration] == [0.7]
    assert (duration != 0.7) is False
    assert duration in (0.1, 0.7)
    assert duration <= 0.7 <= duration
    assert not duration < 0.7
    assert log["duration"] == Decimal("0.7")
    assert {"duration": duration} == {"duration": 0.7}
    assert sorted([duration, 0.5, 1]) == [0.5, 0.7, 1]
    assert (min(duration, 0.5), max(duration, 0.5)) == (0.5, 0.7)


@pytest.mark.parametrize("compare", COMPARISONS)
@SETTINGS
@given(digits=DIGITS, value=FLOATS)
@example(digits=Decimal("0.7"), value=0.7)
@example(digits=Decimal("0.70000000000000000001"), value=0.7)
@example(digits=Decimal("1e400"), value=1.7976931348623157e308)
@example(digits=Decimal("-0.0"), value=0.0)
def test_a_float_compares_by_its_digits(
    compare: Callable[[Any, Any], Any], digits: Decimal, value: float
) -> None:
    as_written = Decimal(repr(value))
    for other in (value, numpy.float64(value)):
        for cls in CLASSES:
            assert compare(cls(digits), other) == compare(digits, as_written)
            assert REFLECTED[compare](other, cls(digits)) == compare(digits, as_written)
    assert compare(number(value), value) == compare(0, 0)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_nan_and_infinity_compare_as_with_a_float(compare: Callable[[Any, Any], Any]) -> None:
    for other in (math.nan, math.inf, -math.inf, numpy.float64("nan")):
        assert compare(number(0.7), other) == compare(0.7, other)
        assert compare(other, number(0.7)) == compare(other, 0.7)


OTHERS = [3, True, Fraction(7, 10), Decimal("0.7"), 10**30, "0.7", None, numpy.int64(3), ()]


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("digits", ["0.7", "3", "1"])
def test_with_all_else_it_compares_as_a_decimal(
    compare: Callable[[Any, Any], Any], other: Any, digits: str
) -> None:
    plain = int(other) if isinstance(other, numpy.int64) else other
    for cls in CLASSES:
        value = cls(Decimal(digits))
        assert outcome(compare, value, other) == outcome(compare, Decimal(digits), plain)
        assert outcome(compare, plain, value) == outcome(compare, plain, Decimal(digits))


@pytest.mark.parametrize("compare", COMPARISONS)
def test_classes_of_numbers_compare_with_each_other(compare: Callable[[Any, Any], Any]) -> None:
    values = [cls(digits) for cls in CLASSES for digits in (1, Decimal("0.7"))] + [IntSchema(1)]
    for one, other in itertools.product(values, values):
        assert compare(one, other) == compare(Decimal(one), Decimal(other))


@SETTINGS
@given(DIGITS)
def test_the_hash_is_that_of_the_decimal(digits: Decimal) -> None:
    for cls in CLASSES:
        assert hash(cls(digits)) == hash(digits)


def test_keys_of_a_dict_are_found_where_the_float_is_exact() -> None:
    """No hash agrees with both: `hash(Decimal("0.9"))` and `hash(0.9)` differ."""
    assert hash(Decimal("0.9")) != hash(0.9)
    assert {0.5: "half", 3: "three"}[number(0.5)] == "half"
    assert {0.5: "half", 3: "three"}[number(3)] == "three"
    assert {Decimal("0.9"): "most"}[number(0.9)] == "most"
    assert {0.9: "most"}.get(number(0.9)) is None
    assert {0.9: "most"}[float(number(0.9))] == "most"


# -- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@SETTINGS
@given(digits=DIGITS, other=FLOATS | st.floats(-10, 10))
@example(digits=Decimal("0.7"), other=0.1)
@example(digits=Decimal("0"), other=0.0)
@example(digits=Decimal("1e400"), other=2.0)
def test_arithmetic_with_a_float_is_that_of_floats(
    operation: Callable[[Any, Any], Any], digits: Decimal, other: float
) -> None:
    for cls in CLASSES:
        assert outcome(operation, cls(digits), other) == outcome(operation, float(digits), other)
        assert outcome(operation, other, cls(digits)) == outcome(operation, other, float(digits))


@pytest.mark.parametrize("operation", OPERATIONS)
@SETTINGS
@given(digits=DIGITS, other=st.integers(-100, 100) | st.decimals(-10, 10, places=2) | st.booleans())
def test_with_an_int_or_a_decimal_it_is_that_of_decimals(
    operation: Callable[[Any, Any], Any], digits: Decimal, other: Any
) -> None:
    for cls in CLASSES:
        for one, two in ((cls(digits), other), (other, cls(digits))):
            plain = outcome(operation, *(Decimal(v) if v is not other else v for v in (one, two)))
            expected = (NumberClass, *plain[1:]) if plain[:1] == (Decimal,) else plain
            assert outcome(operation, one, two) == expected


def test_what_comes_out_works_with_floats_again() -> None:
    x = number(0.7)
    assert x * 2 == 1.4
    assert x * 2 + 0.5 == 1.9
    assert round(x * 3, 1) == 2.1
    assert abs(-x) == +x == 0.7
    assert (Decimal(1) + x) * 0.5 == 0.85
    assert x.quantize(Decimal("0.1")) == x.normalize() == 0.7
    computed: list[Any] = [x.max(Decimal(0)), x.copy_abs(), x.to_integral(), x.fma(2, 1)]
    assert [value * 0.5 for value in computed] == [0.35, 0.35, 0.5, 1.2]
    assert divmod(x, 2) == (0, 0.7)
    assert sum([x, x]) == 1.4
    assert sum([x, 0.5, 1]) == 2.2
    assert NumberSchema(x * 2) == 1.4
    assert DictSchema(value=x * 2) == {"value": 1.4}
    assert pickle.loads(pickle.dumps(x * 2)) == copy.deepcopy(x * 2) == 1.4
    assert pickle.loads(pickle.dumps(x)) == copy.copy(x) == 0.7
    assert math.prod([x, 2]) == 1.4
    assert pow(number(3), 2, 5) == 4


def test_arithmetic_with_what_only_plain_numbers_know() -> None:
    second = datetime.timedelta(seconds=1)
    x = number(0.5)
    assert x * second == second * x == datetime.timedelta(seconds=0.5)
    assert second / x == datetime.timedelta(seconds=2)
    assert x + 1j == 0.5 + 1j
    assert x + Fraction(1, 2) == Fraction(1, 2) + x == 1
    assert number(3) + Fraction(1, 2) == Fraction(7, 2)


@pytest.mark.parametrize("other", ["a", None, [], object()], ids=["text", "None", "list", "object"])
def test_arithmetic_with_anything_else_is_a_type_error(other: Any) -> None:
    for operation in (operator.add, operator.truediv):
        with pytest.raises(TypeError, match=r"NumberSchema|concatenate"):
            operation(number(0.7), other)
        with pytest.raises(TypeError, match=r"NumberSchema|concatenate"):
            operation(other, number(0.7))


def test_another_class_may_compute_with_it_by_itself() -> None:
    class Money:
        def __rmul__(self, other: Any) -> Any:
            return ("money", other)

    assert number(0.7) * Money() == ("money", Decimal("0.7"))


# -- whole numbers --------------------------------------------------------------------------------


def test_a_whole_number_is_an_index() -> None:
    total = number(3)
    assert list(range(total)) == [0, 1, 2]
    assert operator.index(total) == 3
    assert "abcd"[total] == "d"
    assert "abcd"[:total] == "abc"
    assert [0] * total == [0, 0, 0]
    assert "ab" * total == "ababab"
    assert "a b c d e".split(" ", total) == ["a", "b", "c", "d e"]
    assert hex(total) == "0x3"
    assert struct.pack("<id", total, number(0.5)) == struct.pack("<id", 3, 0.5)
    assert random.Random(1).randrange(total) in (0, 1, 2)
    assert list(itertools.islice("abcd", total)) == ["a", "b", "c"]
    assert math.comb(5, total) == 10
    time.sleep(number(0))


@pytest.mark.parametrize("digits", ["0.7", "1e99999"])
def test_any_other_is_none_and_says_so(digits: str) -> None:
    value = NumberSchema(Decimal(digits))
    for use in (range, operator.index, hex, time.sleep):
        with pytest.raises(TypeError, match=r"is not an integer that fits; .* float\(x\)"):
            use(value)


def test_is_integer() -> None:
    assert number(3).is_integer()
    assert number(Decimal("3.0")).is_integer()
    assert not number(0.7).is_integer()


# -- what takes numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        statistics.mean,
        statistics.fmean,
        statistics.variance,
        statistics.pvariance,
        statistics.stdev,
        statistics.pstdev,
        statistics.median,
        statistics.median_low,
        statistics.mode,
        statistics.harmonic_mean,
        statistics.geometric_mean,
        statistics.quantiles,
        math.fsum,
        sum,
        max,
        min,
        sorted,
        numpy.mean,
        numpy.std,
        numpy.sum,
    ],
    ids=lambda function: str(function.__name__),
)
def test_statistics(function: Callable[[Any], Any]) -> None:
    kinds: list[list[Any]] = [
        [number(0.7), number(0.1), number(3), number(2.5)],
        [number(0.7), 1, number(3), Decimal("2.5")],
    ]
    for numbers in kinds[: 1 if function is statistics.harmonic_mean else 2]:  # 1 / 1 is a float
        made, expected = function(numbers), function([float(value) for value in numbers])
        assert numpy.asarray(made, dtype=float) == pytest.approx(numpy.asarray(expected))


def test_a_mean_is_exact_and_works_with_floats() -> None:
    assert statistics.mean([number(0.7), number(0.1)]) == 0.4
    assert statistics.mean([number(1), number(2)]) == 1.5
    assert statistics.mean([IntSchema(1), IntSchema(2)]) == 1.5
    assert statistics.variance([number(0.7), number(0.1)]) == 0.18
    assert statistics.median([number(0.7), 0.5]) == 0.6
    assert statistics.fmean([number(0.7), 0.5, 1]) == pytest.approx(2.2 / 3)
    assert statistics.linear_regression([number(1), number(2)], [number(0.5), 1]).slope == 0.5


def test_the_mean_of_bounded_numbers_need_not_keep_to_the_bounds() -> None:
    assert statistics.mean([SHARE(0.7), SHARE(Decimal("0.1"))]) == 0.4
    small = make({"type": "integer", "maximum": 4})
    assert statistics.variance([small(1), small(4)]) == 4.5


def test_a_fraction_is_no_json_number() -> None:
    assert errors_of(DictSchema, {"a": Fraction(1, 2)}) == [("/a", "type")]
    with pytest.raises(SchemaValidationError):
        make({"type": "string"})(Fraction(1, 2))


@pytest.mark.parametrize("spec", ["", ".2f", "g", ".1%", ">8", "08.3f", "+", "e", ",.1f"])
def test_format_is_that_of_the_decimal(spec: str) -> None:
    assert format(number(0.7), spec) == format(Decimal("0.7"), spec)
    assert f"{number(1234.5):,.2f} %.1f %d" % (number(0.25), number(7)) == "1,234.50 0.2 7"


@pytest.mark.parametrize("spec", ["d", ",", "05d", "_", "_d", "x", "b", "c", ",d", "n", ""])
def test_format_of_an_integer_is_that_of_the_int(spec: str) -> None:
    assert format(number(12345), spec) == format(12345, spec)


def test_format_of_a_fraction_as_an_integer_fails_as_that_of_a_float() -> None:
    with pytest.raises(ValueError, match="'d' for object of type 'float'"):
        format(number(0.7), "d")


def test_numbers_are_real() -> None:
    x = number(0.7)
    assert isinstance(x, Real)
    assert (round(x), math.floor(x), math.ceil(x), math.trunc(x), int(x)) == (1, 0, 1, 0, 0)
    assert math.isclose(x, 0.7)
    assert math.sqrt(x) == math.sqrt(0.7)
    assert (float(x), complex(x)) == (0.7, 0.7 + 0j)
    assert 0 <= random.Random(1).uniform(0, x) <= 0.7
    assert random.Random(1).choices(["a"], weights=[x]) == ["a"]


# -- NumPy, pandas, Matplotlib --------------------------------------------------------------------

X = number(0.7)


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64, numpy.int64], ids=str)
@pytest.mark.parametrize("operation", OPERATIONS[:4])
def test_an_array_computes_as_with_the_plain_number(
    operation: Callable[[Any, Any], Any], dtype: Any
) -> None:
    array = numpy.array([1, 2], dtype=dtype)
    for value in (0.7, 3):
        for one, other in ((array, value), (value, array), (array[0], value), (value, array[0])):
            made = operation(*(number(v) if v is value else v for v in (one, other)))
            expected = operation(one, other)
            assert made.dtype == expected.dtype
            assert numpy.array_equal(made, expected)


def test_an_array_of_numbers_is_one_of_floats_or_of_ints() -> None:
    made = numpy.array([X, number(3)])
    assert made.dtype == numpy.float64
    assert list(made * 2.0) == [1.4, 6.0]
    assert numpy.array([number(1), number(2)]).dtype == numpy.int64
    assert numpy.asarray([X, 1, None], dtype=float)[:2].tolist() == [0.7, 1.0]
    assert numpy.arange(number(3)).tolist() == [0, 1, 2]
    assert numpy.zeros(number(2)).tolist() == [0, 0]
    assert numpy.array([number(10**30)])[0] == 10**30
    assert numpy.float32(X) == numpy.float32(0.7)
    kept = numpy.array([X, None])
    assert type(kept[0]) is NumberSchema
    assert (numpy.array([X, X], dtype=object) * X).tolist() == [Decimal("0.49")] * 2
    assert (numpy.array([0.5, 2], dtype=object) * X).tolist() == [0.35, Decimal("1.4")]


def test_functions_of_numpy_take_numbers() -> None:
    assert numpy.sqrt(X) == math.sqrt(0.7)
    assert numpy.isclose(X, 0.7)
    assert not numpy.isnan(X)
    assert numpy.clip([0.0, 1.0], number(0.1), X).tolist() == [0.1, 0.7]
    assert numpy.linspace(0, X, number(3)).tolist() == [0, 0.35, 0.7]
    assert numpy.percentile([X, number(0.1)], number(100)) == 0.7
    assert numpy.add.outer([1.0], X).tolist() == [1.7]


@pytest.mark.parametrize("compare", COMPARISONS)
@SETTINGS
@given(digits=DIGITS, others=st.lists(FLOATS, min_size=1))
@example(digits=Decimal("0.7"), others=[0.7, 0.1, 1])
@example(digits=Decimal("0.70000000000000000001"), others=[0.7, 0.1, 1])
@example(digits=Decimal(2**53 + 1), others=[2.0**53, 2.0**53 + 2])
def test_an_array_compares_each_item_as_alone(
    compare: Callable[[Any, Any], Any], digits: Decimal, others: list[float]
) -> None:
    array = numpy.array(others)
    made = compare(array, number(digits))
    assert made.dtype == bool
    assert made.tolist() == [compare(item, number(digits)) for item in others]
    assert compare(number(digits), array).tolist() == [compare(number(digits), i) for i in others]


def test_pandas() -> None:
    series = pandas.Series([0.7, 0.1])
    for made in (series * number(2), number(2) * series, series / number(0.5)):
        assert made.dtype == numpy.float64
        assert made.tolist() == [1.4, 0.2]
    assert (series == X).tolist() == [True, False]
    assert series[series < X].tolist() == [0.1]
    assert (pandas.DataFrame({"a": series}) * X).dtypes["a"] == numpy.float64
    of_numbers = pandas.Series([X, number(0.1)])
    assert (of_numbers * 2.0).tolist() == [1.4, 0.2]
    assert of_numbers.mean() == pytest.approx(0.4)
    assert (of_numbers == 0.7).tolist() == [True, False]
    for table in (
        pandas.DataFrame([{"a": X}, {"a": None}], dtype=float),
        pandas.DataFrame([{"a": X}, {"a": None}]).astype(float),
    ):
        assert table["a"].tolist()[0] == 0.7
        assert table["a"].isna().tolist() == [False, True]
    assert pandas.to_numeric(of_numbers).dtype == numpy.float64
    assert (pandas.array([1, 2], dtype="Int64") * number(3)).tolist() == [3, 6]
    assert pandas.Timedelta(seconds=1) * X == pandas.Timedelta(seconds=0.7)
