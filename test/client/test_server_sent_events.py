"""The parser of event streams: every rule of the standard, and no chunk border that matters."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from humanloop.server_sent_events import EventParser, ServerSentEvent

BOM = b"\xef\xbb\xbf"
MEGABYTE = 1024 * 1024


def parse(stream: bytes) -> list[ServerSentEvent]:
    return EventParser().feed(stream)


def reference(stream: bytes) -> list[ServerSentEvent]:
    """The standard's text, word for word, over the whole of a stream."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _unfinished = re.split("\r\n|\n|\r", text)
    events: list[ServerSentEvent] = []
    data, event_type = "", ""
    for line in lines:
        if line == "":
            if data != "":
                events.append(ServerSentEvent(data[:-1], event_type or "message"))
            data, event_type = "", ""
            continue
        if line[0] == ":":
            continue
        field, value = line, ""
        if ":" in line:
            colon = line.index(":")
            field, value = line[:colon], line[colon + 1 :]
            if value[:1] == " ":
                value = value[1:]
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
    return events


PIECES = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"),
    *(b"data", b"event", b"id", b"retry", b"Data", b"data ", b"more"),
    *(b":", b": ", b":  ", b" ", b"\0", b"12", b"0", b"007", b"-1", b"\xc2\xb2", b"a", b"x y"),
    *(BOM, b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80"),
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xff", b"\x80", b"\xed\xa0\x80", b"\xe2\x80\xa8"),
    *(b"data: 1\n", b"data: 2\n\n", b"event: e\n", b"id: 7\n", b"retry: 10\n", b"data\n"),
]
streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=40).map(b"".join)


@given(streams)
@example(BOM + BOM + b"data: 1\n\n")
def test_the_events_are_those_of_the_standard(stream: bytes) -> None:
    assert parse(stream) == reference(stream)


@given(streams, st.data())
def test_chunk_borders_do_not_matter(stream: bytes, data: st.DataObject) -> None:
    borders = data.draw(st.lists(st.integers(0, len(stream))).map(sorted))
    whole, parts = EventParser(), EventParser()
    expected = whole.feed(stream)
    ends = [*borders, len(stream)]
    chunks = [stream[start:end] for start, end in zip([0, *borders], ends, strict=True)]
    assert [event for chunk in chunks for event in parts.feed(chunk)] == expected
    assert (parts.pending, parts.lines) == (whole.pending, whole.lines)


@given(streams)
def test_single_bytes(stream: bytes) -> None:
    whole, parts = EventParser(), EventParser()
    expected = whole.feed(stream)
    assert [e for at in range(len(stream)) for e in parts.feed(stream[at : at + 1])] == expected
    assert (parts.pending, parts.lines) == (whole.pending, whole.lines)
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    assert whole.lines == len(re.findall("\r\n|\n|\r", text))


@given(streams, st.integers(0, 30), st.data())
def test_chunk_borders_do_not_matter_to_the_limit(
    stream: bytes, limit: int, data: st.DataObject
) -> None:
    border = data.draw(st.integers(0, len(stream)))

    def refuses(*chunks: bytes) -> bool:
        parser = EventParser(max_event_bytes=limit)
        try:
            for chunk in chunks:
                parser.feed(chunk)
        except ValueError:
            return True
        return False

    assert refuses(stream[:border], stream[border:]) is refuses(stream)


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a \n\n", [" a "]),  # one space goes, the others stay
        (b"data:\ta\n\n", ["\ta"]),
        (b"data: a: b\n\n", ["a: b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data: a\ndata\ndata:\ndata: \n\n", ["a\n\n\n"]),
        (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),  # the standard's own example
        (b"data:test\n\ndata: test\n\n", ["test", "test"]),  # and another
        (b"data: a\rdata: b\r\r", ["a\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", ["a\nb"]),
        (b"data: a\n\r\ndata: b\r\n\ndata: c\r\n\r", ["a", "b", "c"]),
        (b"data: a\n\rdata: b\n\n", ["a", "b"]),  # LF CR are two line ends
        (b"\n\n\r\n\r\rdata: a\n\n\n\n", ["a"]),
        (b": a comment\ndata: a\n:data: b\n:\n\n", ["a"]),
        (b": a comment\n\n:\n\n", []),
        (b"event: e\nid: 1\nretry: 5\n\n", []),
        (b"", []),
        (b"data: a\n", []),
        (b"data: a\n\ndata: b", ["a"]),
        (b"Data: a\nDATA: b\n data: c\ndata : d\ndatas: e\nother: f\nother\n\n", []),
        (BOM + b"data: a\n\n", ["a"]),
        (BOM + b"\ndata: a\n\n", ["a"]),
        (BOM + BOM + b"data: a\n\n", []),  # only one is skipped: the second is part of a name
        (b"data: a\n" + BOM + b"data: b\n\n", ["a"]),
        (b"\ndata: a\n\n" + BOM + b"data: b\n\n", ["a"]),
        (b"data: " + BOM + b"a\n\n", ["\ufeffa"]),
        (b"data: \xe2\x82\xac\n\n", ["€"]),
        (b"data: a\xe2\x80\xa8b\x0bc\x0cd\xc2\x85e\n\n", ["a\u2028b\x0bc\x0cd\x85e"]),
        (b"data: \0\n\n", ["\0"]),
        (b"data: a\xff\xc3\n\n", ["a\ufffd\ufffd"]),
        (b"data: \xf0\x9f\x98\ndata: \x80\n\n", ["\ufffd\n\ufffd"]),
        (b"data: \xed\xa0\x80\n\n", ["\ufffd\ufffd\ufffd"]),
        (b"data\xff: a\n\n", []),
    ],
)
def test_data(stream: bytes, data: list[str]) -> None:
    assert parse(stream) == [ServerSentEvent(text) for text in data]
    assert parse(stream) == reference(stream)


def test_the_type_of_an_event() -> None:
    stream = b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\nevent: c\ndata: 3\n\n"
    stream += b"event: d\nevent\ndata: 4\n\nevent: e\n\ndata: 5\n\nevent:  \xff\ndata: 6\n\n"
    assert [event.event for event in parse(stream)] == [
        *("a", "message", "c", "message", "message", " \ufffd"),
    ]


def test_an_event_comes_with_the_byte_that_ends_it() -> None:
    parser = EventParser()
    assert parser.feed(b"data: 1\r\n") == []
    assert parser.feed(b"\r") == [ServerSentEvent("1")]
    assert not parser.pending
    assert parser.feed(b"\ndata: 2\n\n") == [ServerSentEvent("2")]


@pytest.mark.parametrize(
    ("stream", "pending", "lines"),
    [
        (b"", False, 0),
        (BOM, False, 0),
        (BOM[:2], True, 0),
        (BOM + b"d", True, 0),
        (b"\n" + BOM, True, 1),
        (b"d", True, 0),
        (b":", True, 0),
        (b": comment\n", False, 1),
        (b"event: e\n", False, 1),  # without data there would be no event
        (b"data\n", True, 1),
        (b"data: 1\r\n", True, 1),
        (b"data: 1\r\n\r", False, 2),
        (b"data: 1\r\n\r\n", False, 2),
        (b"data: 1\n\n: ping\n\n", False, 4),
        (b"data: 1\n\ndata: 2\n", True, 3),
    ],
)
def test_pending_and_lines(stream: bytes, pending: bool, lines: int) -> None:
    parser = EventParser()
    parser.feed(stream)
    assert (parser.pending, parser.lines) == (pending, lines)


@pytest.mark.parametrize(
    "stream",
    [b"data: 1234", b"data: 1234\n\n", b"data: 12\ndata: 3\n", b": comment..", b"data\n" * 7],
)
def test_an_event_that_is_too_large(stream: bytes) -> None:
    parser = EventParser(max_event_bytes=9)
    message = r"^a server-sent event is larger than the 9 bytes that max_event_bytes allows$"
    with pytest.raises(ValueError, match=message):
        parser.feed(b"data: 0\n\n" + stream)
    with pytest.raises(ValueError, match=message):
        parser.feed(b"\n\n")
    with pytest.raises(ValueError, match=message):
        parser.feed(b"")


def test_the_limit_is_for_one_event() -> None:
    parser = EventParser(max_event_bytes=9)
    assert len(parser.feed(b": ping...\ndata: 123\n\n" * 1000)) == 1000
    assert len(parser.feed(b": ping...\n" * 1000 + b"data: 1\n\n")) == 1


def test_the_usual_limit() -> None:
    chunk = b"x" * (16 * MEGABYTE)
    parser, unlimited = EventParser(), EventParser(max_event_bytes=None)
    for _ in range(4):
        parser.feed(chunk)
        unlimited.feed(chunk)
    with pytest.raises(ValueError, match="67108864 bytes"):
        parser.feed(b"x")
    assert unlimited.feed(b"x\n\n") == []


@pytest.mark.parametrize("line_end", [b"", b"\ndata:", b"\r\ndata: ", b"\n\n", b"\r\r"])
def test_a_long_stream_in_many_small_chunks(line_end: bytes) -> None:
    # 200,000 chunks of 50 bytes and more. Work that grew with what is held would be 10^12 bytes.
    parser, chunk, count = EventParser(), b"0123456789" * 5 + line_end, 200_000
    found = parser.feed(b"data: ")
    for _ in range(count):
        found += parser.feed(chunk)
    found += parser.feed(b"\n\n")
    parts = ["0123456789" * 5] * count
    if line_end.strip():
        assert [event.data for event in found] == ["\n".join([*parts, ""])]
    elif line_end:
        assert [event.data for event in found] == parts[:1]  # then lines of unknown fields
    else:
        assert [event.data for event in found] == ["".join(parts)]


def test_a_large_chunk_of_many_lines() -> None:
    [event] = parse(b"data: 0123456789\n" * 300_000 + b"\n")
    assert len(event.data) == 11 * 300_000 - 1


def test_single_bytes_of_a_long_line() -> None:
    parser, count = EventParser(), 300_000
    parser.feed(b"data:")
    assert not any(parser.feed(b"x") for _ in range(count))
    assert parser.feed(b"\n\n") == [ServerSentEvent("x" * count)]
