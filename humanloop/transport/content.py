"""Content codings: decompress a body, although nobody asked for a compressed one, piece by piece.

Invariants: no more than the limit is ever decompressed, however small the body that claims it. A
body that is cut or damaged is an error, never a shorter body.
"""

from __future__ import annotations

import zlib

__all__ = ["AT_ONCE", "PIECE", "ContentDecoder", "ContentError", "ContentTooLargeError"]

AT_ONCE = 268_435_456
"""Bytes that may come out of one piece where there is no limit for the whole: no text is as dense
as a body that was compressed twice to be a bomb."""

PIECE = 4_096
"""Bytes of a compressed stream to decode at once: a thousand times that come out at most."""


class ContentError(ValueError):
    """A body that its Content-Encoding does not fit."""


class ContentTooLargeError(ContentError):
    """A body over the limit."""


class ContentDecoder:
    """Decodes the pieces of one body (RFC 9110, section 8.4).

    encoding: the value of Content-Encoding; limit: bytes that may come out; None: any number.
    """

    def __init__(self, encoding: str = "", limit: int | None = None) -> None:
        names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name]
        # The last coding that was applied is the first to undo.
        self._inflaters = [_Inflater(name, limit) for name in reversed(names) if name != "identity"]
        self._limit = limit
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Return what comes out for the next piece; raise ContentError if it is damaged."""
        for inflater in self._inflaters:
            data = inflater.feed(data)
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            raise ContentTooLargeError(f"the body is over {self._limit:,} bytes")
        return data

    def end(self) -> None:
        """End the body; raise ContentError if that is too early."""
        if any(inflater.unfinished for inflater in self._inflaters):
            raise ContentError("the compressed body is truncated")


class _Inflater:
    def __init__(self, name: str, limit: int | None) -> None:
        if name not in ("gzip", "x-gzip", "deflate"):
            raise ContentError(
                f"the body has the Content-Encoding {name!r}, which was not requested"
            )
        self._name = name
        self._limit = 1 + (AT_ONCE if limit is None else limit)
        self._began = False
        self._zlib = zlib.decompressobj(
            zlib.MAX_WBITS | 16 if name != "deflate" else zlib.MAX_WBITS
        )

    @property
    def unfinished(self) -> bool:
        return self._began and not self._zlib.eof

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        if not self._began and self._name == "deflate" and data[0] & 0x0F != 8:
            self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)  # as some servers misread the coding
        self._began = True
        pieces: list[bytes] = []
        try:
            while data:
                if self._zlib.eof:  # gzip may have several members (RFC 1952, section 2.2)
                    if self._name == "deflate" or not data.startswith(b"\x1f"):
                        raise ContentError("bytes follow the end of the compressed body")
                    self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)
                pieces.append(self._zlib.decompress(data, self._limit))
                if self._zlib.unconsumed_tail:
                    raise ContentTooLargeError(f"the body is over {self._limit - 1:,} bytes")
                data = self._zlib.unused_data
        except zlib.error as error:
            raise ContentError(f"the body is not {self._name}: {error}") from error
        return b"".join(pieces)
