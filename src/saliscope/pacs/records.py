"""What the queue keeps: objects received, studies to explain, objects owed to a peer, and what went wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: A UID (PS3.5 9.1): numbers joined by points, at most 64 characters; and what looks like one in a text.
UID = re.compile(r"(?=.{1,64}\Z)\d+(?:\.\d+)+")
_IN_TEXT = re.compile(r"\d+(?:\.\d+){4,}")


@dataclass(frozen=True)
class Received:
    """An object that a caller sent, stored whole at `path`; `sha256` is that of its data set."""

    sop_uid: str
    sop_class: str
    study_uid: str
    series_uid: str
    path: Path
    sha256: str
    caller: str


@dataclass(frozen=True)
class Study:
    """A study claimed to be explained: its objects as they came; `fresh` are the series with objects not yet explained.

    `tries` counts the failures before; `claim` and `last` belong to the queue.
    """

    study_uid: str
    objects: tuple[Received, ...]
    fresh: tuple[str, ...]
    tries: int
    claim: int
    last: int


@dataclass(frozen=True)
class Owed:
    """An object owed to a peer, by name; `unsure` where an earlier try ended in the dark: ask the peer before sending.

    `tries` counts the failures before; `key` and `claim` belong to the queue.
    """

    sop_uid: str
    sop_class: str
    path: Path
    peer: str
    unsure: bool = False
    tries: int = 0
    key: int = 0
    claim: int = 0


@dataclass(frozen=True)
class Noted:
    """Something that went wrong: when (seconds since 1970), at what (`explain` or `send`), with which peer, and why."""

    at: float
    doing: str
    peer: str
    why: str


def retry_at(tries: int, now: float, *, first_s: float = 30.0, most_s: float = 3600.0, most: int = 12) -> float | None:
    """Return when to try again after so many failures: each wait doubles up to `most_s`; None after `most` of them."""
    if tries >= most:
        return None
    return now + min(first_s * 2.0 ** min(max(tries - 1, 0), 32), most_s)


def without_uids(text: str) -> str:
    """Return a message on one line with every UID taken out."""
    return _IN_TEXT.sub("(UID)", " ".join(text.split()))[:500]
