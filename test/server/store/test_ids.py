"""Ids and numbers that any process makes by itself."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from humanloop.server.store.ids import new_id, new_number, next_row


def test_rows_rise_and_are_the_time() -> None:
    before = time.time_ns()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [next_row() for _ in range(5000)], range(4)))
    assert all(each == sorted(each) for each in made)
    rows = {row for each in made for row in each}
    assert len(rows) == 20_000
    assert before <= min(rows)
    assert max(rows) <= time.time_ns() + len(rows)


def test_ids_and_numbers_are_many() -> None:
    assert len({new_id("pr_") for _ in range(1000)}) == 1000
    assert {len(new_id("pr_")) for _ in range(100)} == {24}
    numbers = {new_number() for _ in range(1000)}
    assert len(numbers) == 1000
    assert 2**50 < max(numbers) < 2**53
