"""A multipart/related answer taken apart while it comes, so that no more of it is in memory than a chunk (RFC 2046)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from saliscope.core.errors import PacsError

_MOST_HEADERS = 16384
Piece = tuple[Literal["start", "data", "end"], bytes]


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names; raises PacsError where it is no multipart/related."""
    found = re.search(r'(?i);\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', content_type)
    if not content_type.lower().startswith("multipart/related") or found is None:
        raise _broken("no multipart/related with a boundary")
    return (found[1] or found[2]).encode("latin-1", "replace")


def pieces(chunks: Iterable[bytes], boundary: bytes) -> Iterator[Piece]:
    """Yield ("start", b""), ("data", bytes) any number of times, and ("end", b"") for each part.

    Raises PacsError where the answer ends before its closing boundary.
    """
    mark = b"\r\n--" + boundary
    buffer, source = bytearray(b"\r\n"), iter(chunks)
    inside = False
    while True:
        place = buffer.find(mark)
        if place < 0:
            if inside and len(buffer) > len(mark):
                yield "data", bytes(buffer[: -len(mark)])
            del buffer[: -len(mark)]
            _more(buffer, source)
            continue
        if inside:
            if place:
                yield "data", bytes(buffer[:place])
            yield "end", b""
        del buffer[: place + len(mark)]
        while len(buffer) < 2:
            _more(buffer, source)
        if buffer.startswith(b"--"):
            return
        # The line's own end stays: a part without headers has its empty line right here.
        while (place := buffer.find(b"\r\n\r\n")) < 0:
            if len(buffer) > _MOST_HEADERS:
                raise _broken("a part whose headers do not end")
            _more(buffer, source)
        del buffer[: place + 4]
        inside = True
        yield "start", b""


def _more(buffer: bytearray, source: Iterator[bytes]) -> None:
    chunk = next(source, None)
    if chunk is None:
        raise _broken("an end before the closing boundary")
    buffer += chunk


def _broken(got: str) -> PacsError:
    return PacsError(f"an answer with {got}", expected="a whole multipart/related message", do="Ask again")
