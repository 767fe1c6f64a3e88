"""Everything saliscope refuses, as one tree.

SaliscopeError
├── InputError            a file or an image cannot be used
│   ├── UnreadableFile    not an image, broken, or of a kind that is not read
│   ├── MissingCodec      compressed in a way that no installed codec decodes
│   ├── TooLarge          beyond a limit that was set, refused before decoding
│   └── MixedSeries       slices that do not make one volume
├── GeometryError         a grid that is not a grid, or two that do not meet
├── ModelError            a network that cannot be used
│   ├── CardError         a model card that is wrong
│   ├── WeightsError      weights that cannot be loaded safely
│   ├── ChannelsError     an image with other channels than the network takes
│   ├── LayerError        a layer that is not there, or cannot be watched
│   └── OutputError       an output that is not understood
├── MethodError           a method that is not there, or does not fit
├── MetricError           a metric that is not there, or does not fit
├── TargetError           a target that is not there, or does not fit
├── WriteError            a result that cannot be stored
│   └── CannotSay             a kind of DICOM object that cannot say this result
└── PacsError             a configuration, a peer or a queue of DICOM traffic that cannot be used
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category


class SaliscopeError(Exception):
    """Says what was got, what was expected, and what to do."""

    def __init__(self, got: str, *, expected: str = "", do: str = "") -> None:
        # Names of files stand in these: whoever prints or stores a message can encode it.
        got, expected, do = printable(got), printable(expected), printable(do)
        self.got, self.expected, self.do = got, expected, do
        sentence = f"{got}; expected {expected}" if expected else got
        super().__init__(f"{sentence}. {do}" if do else f"{sentence}.")


class InputError(SaliscopeError):
    """A file or an image that cannot be used."""


class UnreadableFile(InputError):
    """Not an image, broken, or of a kind that is not read."""


class MissingCodec(InputError):
    """Compressed in a way that no installed codec decodes."""


class TooLarge(InputError):
    """Beyond a limit that was set; refused before decoding."""


class MixedSeries(InputError):
    """Slices that do not make one volume."""


class GeometryError(SaliscopeError):
    """A grid that is not a grid, or two grids that do not meet."""


class ModelError(SaliscopeError):
    """A network that cannot be used."""


class CardError(ModelError):
    """A model card that is wrong."""


class WeightsError(ModelError):
    """Weights that cannot be loaded safely."""


class ChannelsError(ModelError):
    """An image with other channels than the network takes; `wanted` is how many it does."""

    def __init__(self, got: str, *, wanted: int, expected: str = "", do: str = "") -> None:
        super().__init__(got, expected=expected, do=do)
        self.wanted = wanted


class LayerError(ModelError):
    """A layer that is not there, or cannot be watched."""


class OutputError(ModelError):
    """A network output that is not understood."""


class MethodError(SaliscopeError):
    """A method that is not there, or does not fit."""


class MetricError(SaliscopeError):
    """A metric that is not there, or does not fit."""


class TargetError(SaliscopeError):
    """A target that is not there, or does not fit."""


class WriteError(SaliscopeError):
    """A result that cannot be stored."""


class CannotSay(WriteError):
    """A kind of DICOM object that cannot say this result: a reason, not a fault."""


class PacsError(SaliscopeError):
    """A configuration, a peer or a queue of DICOM traffic that cannot be used."""


def printable(text: str) -> str:
    r"""Return text that every terminal and file takes, for names of files may hold anything.

    A byte that is no UTF-8 is written as \xfc, and so is a control character, which could end a line or colour it.

    Example:
        >>> printable("M\udcfcller.png")
        'M\\xfcller.png'
    """
    if text.isprintable():
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, as names on Windows may have
        data = text.encode("utf-8", "backslashreplace")
    characters = data.decode("utf-8", "backslashreplace")
    return "".join(f"\\x{ord(c):02x}" if category(c) == "Cc" else c for c in characters)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return advice that names the choices nearest to a mistaken name."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(n) for n in near)}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"Choose one of: {shown}"


class NetworkWarning(UserWarning):
    """What the card of a network says to everybody who uses it."""


class TargetWarning(UserWarning):
    """What was asked could mean two things; it says which was taken."""
