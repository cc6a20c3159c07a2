"""Recursion without Python's stack: results and exceptions go where a call's would."""

from __future__ import annotations

import pytest

from humanloop.schemas.trampoline import Steps, run


def total(depth: int) -> Steps[int]:
    return 0 if depth == 0 else depth + (yield total(depth - 1))


def failing(depth: int, caught_at: int) -> Steps[str]:
    if depth == 0:
        raise KeyError("bottom")
    try:
        below: str = yield failing(depth - 1, caught_at)
    except KeyError as error:
        if depth != caught_at:
            raise
        return f"{error.args[0]} from {depth}"
    return below


def test_a_result_comes_back_from_any_depth() -> None:
    assert run(total(0)) == 0
    assert run(total(50_000)) == 50_000 * 50_001 // 2


def test_an_exception_goes_up_until_somebody_takes_it() -> None:
    assert run(failing(5000, 17)) == "bottom from 17"
    with pytest.raises(KeyError, match="bottom"):
        run(failing(5000, 0))
