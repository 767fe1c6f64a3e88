"""How an unknown network is shown its images: guessed from its first layer, its library and what its file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saliscope.study.card_text import Line
from saliscope.study.card_words import said_size, said_spread

#: What torchvision's and timm's networks are mostly trained with.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: The size of an input that nothing tells, by dimensions.
USUAL = {2: 224, 3: 96}
_CHANGE = "use what it was trained with"


@dataclass(frozen=True)
class Spread:
    """What a library says of a network's input: size, mean and deviation, and who says it."""

    size: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    who: str = ""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a network's input: `shape` is (C, *S) as its file says it, None where it does not."""

    dimensions: int
    channels: int
    shape: tuple[int | None, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    spread: Spread = field(default_factory=Spread)


@dataclass(frozen=True, eq=False)
class Input:
    """The input of a card: its dimensions, channels C and size S, and its lines and steps."""

    dimensions: int
    channels: int
    size: tuple[int, ...]
    lines: tuple[Line, ...]
    steps: tuple[tuple[Line, ...], ...]

    @property
    def words(self) -> str:
        """Return the input in words."""
        return f"{self.channels} channel{'s' if self.channels != 1 else ''} of {' x '.join(map(str, self.size))}"


def input_of(seen: Seen, told: Sequence[int] = ()) -> Input:
    """Return the input of a network, of the size that the user told where one is."""
    size, why = _size(seen, tuple(told))
    channels = Line("count", seen.channels, "the first convolution takes so many channels")
    steps = [
        (Line("step", "channels"), channels),
        (Line("step", "resize"), Line("shape", list(size), why)),
        *_intensities(seen),
    ]
    lines = (
        Line("dimensions", seen.dimensions, "the first convolution's"),
        Line(
            "source",
            "display" if seen.dimensions == 2 else "values",
            "grey levels 0..255 as a clinician sees them; 'values' for the file's own, such as HU"
            if seen.dimensions == 2
            else "the file's own values, such as HU",
        ),
    )
    return Input(seen.dimensions, seen.channels, size, lines, tuple(steps))


def _size(seen: Seen, told: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    if told:
        return told * seen.dimensions if len(told) == 1 else told, ""
    fixed = seen.shape[1:]
    if fixed and all(n is not None for n in fixed):
        return tuple(int(n or 0) for n in fixed), ""
    size, place = said_size(seen.beside, seen.dimensions)
    if size:
        return size, f"{place!r} in the file"
    if len(seen.spread.size) == seen.dimensions:
        return seen.spread.size, f"{seen.spread.who} trains so; {_CHANGE}"
    return (USUAL[seen.dimensions],) * seen.dimensions, f"nothing in the file says it; {_CHANGE}, or say --size"


def _intensities(seen: Seen) -> list[tuple[Line, ...]]:
    """Return the steps from grey levels to what the network takes."""
    if seen.dimensions == 3:
        return [(Line("step", "normalise", f"by the scan's own mean and deviation; {_CHANGE}"),)]
    scale = (Line("step", "scale"), Line("factor", 1 / 255, f"0..255 becomes 0..1; {_CHANGE}"))
    mean, std, place = said_spread(seen.beside, seen.channels)
    why = f"{place!r} in the file" if place else ""
    if not mean and len(seen.spread.mean) == seen.channels:
        mean, std, why = list(seen.spread.mean), list(seen.spread.std), f"{seen.spread.who}'s; {_CHANGE}"
    if not mean:
        return [scale]
    return [scale, (Line("step", "normalise"), Line("mean", mean, why), Line("std", std, why))]
