"""What is found in a segment, whatever bytes are in it."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from humanloop.spool import segments

ACTIONS = st.text("abcdefghijklmnopqrstuvwxyz._ ", min_size=1, max_size=64).map(str.encode)
BODIES = st.binary(max_size=200).map(lambda data: b"{" + data + b"}")


class File:
    """Bytes that are read, and how many were."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.count = 0

    def read(self, start: int, length: int) -> bytes:
        found = self.data[start : start + length]
        self.count += len(found)
        return found

    def contents(self) -> list[segments.Found]:
        found, position = list[segments.Found](), 0
        while (each := segments.find_next(self.read, position, len(self.data))) is not None:
            found.append(each)
            position = each.end
        return found


@given(st.lists(st.tuples(ACTIONS, BODIES), max_size=4))
def test_records_are_found_one_after_another(records: list[tuple[bytes, bytes]]) -> None:
    bodies = [segments.body_of(*each) for each in records]
    found = File(b"".join(map(segments.record, bodies))).contents()
    assert [(each.kind, each.body) for each in found] == [("record", body) for body in bodies]


@given(st.binary(min_size=1, max_size=200), st.integers(0, 200), ACTIONS, BODIES)
@example(b"\x01\0\0\0" * 4, 0, b"a" * 64, b"{}")
@example(b"a\n{", 65_526, b"a" * 64, b"{}")
@example(b"a", 65_535, b"logs.log", b"{}")
@example(b"a", 65_600, b"a" * 64, b"{}")
def test_a_record_after_damage_is_found(
    damage: bytes, zeros: int, action: bytes, data: bytes
) -> None:
    damage += b"\0" * zeros
    body = segments.body_of(action, data)
    *before, last = File(damage + segments.record(body)).contents()
    assert (last.kind, last.start, last.body) == ("record", len(damage), body)
    assert b"".join(each.body for each in before) == damage


def test_much_damage_costs_little() -> None:
    """It is read about once, also where lengths are that could be a record's."""
    size = 1 << 20
    body = segments.body_of(b"logs.log", b"{}")
    for damage in (
        random.Random(1).randbytes(size),
        b"\x01\0\0\0" * (size // 4),
        b"\0\0\x01\0" * (size // 4),
        b"\0\0\x01\0some words\n" * (size // 16),
    ):
        file = File(damage + segments.record(body))
        damaged, found = file.contents()
        assert (damaged.kind, damaged.body, found.body) == ("damaged", damage, body)
        assert file.count < 3 * size
