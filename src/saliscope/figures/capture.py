"""A map burnt into pictures, for viewers that show nothing else: one picture, or every plane of a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import CannotSay
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.figures.draw import AMBER, BLACK, GREY, INK, WHITE, annotated, haloed, wrapped
from saliscope.figures.legend import unknown
from saliscope.figures.overlay import Written, legend_panel, titled, written
from saliscope.figures.panes import Pane, Slice, factor_for, pane, roomy, square
from saliscope.figures.planes import ROOM, views
from saliscope.figures.reading import Reading
from saliscope.figures.wording import RESEARCH_USE, UNCHECKED, always

if TYPE_CHECKING:
    from PIL import Image

#: All frames together hold at most so many bytes; planes that would need more are shrunk, and the legend says so.
MOST_BYTES = 512 * 2**20
#: Planes are enlarged, by a whole number, up to so many pixels along a side.
COMFORTABLE = 512
#: The height of text, and the width of the legend, of a volume's frames in pixels; a legend grows wider before taller.
EM, WIDTHS = 13, (286, 338, 403)
#: About how tall a legend is, in pixels; and how far planes are shrunk at most.
TALL, LEAST = 560, 0.1
#: What stands across a picture whose map is hidden.
HIDDEN = "DO NOT READ"


@dataclass(frozen=True, eq=False)
class _Hung:
    """The planes of an image as they are drawn: all of one factor, with text of one size."""

    image: MedicalImage
    reading: Reading
    factor: float
    em: int

    def __len__(self) -> int:
        return self.image.geometry.shape[0] if self.image.geometry.ndim == 3 else 1

    def pane(self, index: int) -> Pane:
        """Return a plane of the source: its rows run down, its columns to the right, as its own slice is hung."""
        if self.image.geometry.ndim == 2:
            return views(self.image, self.reading)[0]
        focus = self.reading.focus
        values = self.reading.values[index]
        cut = Slice(
            self.image.display[:, index],
            self.reading.scale.normalised(values),
            values,
            focus.labels[index] if focus is not None else np.broadcast_to(np.uint8(0), values.shape),
            _spacing(self.image.geometry),
            _letters(self.image.geometry),
            _title(self.image.geometry, index),
        )
        return roomy(pane(cut, focus.level if focus is not None else None, self.factor), ROOM)


def capture(image: MedicalImage, reading: Reading, card: Mapping[str, Any] | None = None) -> npt.NDArray[np.uint8]:
    """Return pictures (F, H, W, 3) with heat, outlines and legend burnt in, and the state of the card, or that none is.

    Of a picture one; of a volume one for each plane in the order of the array, so that it scrolls beside the original.
    Of a map that its card hides there is one picture without the map, of a volume its middle plane, with the reasons.
    Raises CannotSay for a volume of thousands of planes, whose frames would be too small to be read.
    """
    hidden = card is not None and bool(card["map_hidden"])
    hung = _hung(image, reading)
    first = hung.pane(len(hung) // 2 if hidden else 0)
    panel = _panel(hung, first, card, hidden)
    drawn = iter([_bare(hung, first)]) if hidden else _drawn(hung)
    head = next(drawn)
    height = max(head.height, panel.height)
    count = 1 if hidden else len(hung)
    if count * height * (head.width + panel.width) * 3 > 2 * MOST_BYTES:
        raise CannotSay(
            f"a volume of {count} planes, more than pictures of a readable size can be kept of",
            do="Choose objects that hold the map itself, such as those of the profile archive",
        )
    frames: npt.NDArray[np.uint8] = np.empty((count, height, head.width + panel.width, 3), np.uint8)
    frames[:, :, : head.width], frames[:, :, head.width :] = BLACK, INK
    frames[:, : panel.height, head.width :] = np.asarray(panel)
    frames[0, : head.height, : head.width] = np.asarray(head)
    for frame, picture in zip(frames[1:], drawn, strict=True):
        frame[: picture.height, : picture.width] = np.asarray(picture)
    return frames


def bare(image: MedicalImage, reading: Reading) -> Image.Image:
    """Return what stands in the place of a hidden map: the image, of a volume its middle plane, marked DO NOT READ."""
    hung = _hung(image, reading)
    return _bare(hung, hung.pane(len(hung) // 2))


def _drawn(hung: _Hung) -> Iterator[Image.Image]:
    for index in range(len(hung)):
        yield titled(hung.pane(index), hung.reading, hung.image, hung.em)


def _bare(hung: _Hung, shown: Pane) -> Image.Image:
    """Return a plane without anything of the map, marked."""
    from PIL import ImageDraw

    plain = replace(shown, heat=np.zeros_like(shown.heat), outlines=(), marks=())
    picture = annotated(plain, "sequential", hung.image.geometry.unit, hung.em)
    big = max(9, round(picture.width / 12))
    haloed(ImageDraw.Draw(picture), (picture.width / 2, hung.em * 2 + big), HIDDEN, big, AMBER)
    return picture


def _hung(image: MedicalImage, reading: Reading) -> _Hung:
    g = image.geometry
    if g.ndim == 2:
        size = views(image, reading)[0].size
        return _Hung(image, reading, 1.0, max(13, round(max(size) / 55)))
    whole = square(Slice(image.display[:, 0], *(reading.values[0],) * 2, image.display[0, 0], _spacing(g), None, ""))
    factor = factor_for([whole], COMFORTABLE)
    h, w = whole
    # The legend does not shrink: what is left of each frame is the plane's.
    while factor > LEAST and max(h * factor + 2 * EM, TALL) * (w * factor + WIDTHS[0]) > MOST_BYTES / (3 * g.shape[0]):
        factor *= 0.95
    return _Hung(image, reading, factor, EM)


def _panel(hung: _Hung, shown: Pane, card: Mapping[str, Any] | None, hidden: bool) -> Image.Image:
    """Return the card's state above the legend; no taller than the planes of a volume if it can be."""
    widths = WIDTHS if hung.image.geometry.ndim == 3 else (hung.em * 24,)
    panels = [_panel_of(hung, shown, card, hidden, width) for width in widths]
    w, h = shown.size
    fitting = [panel for panel in panels if panel.height <= h + 2 * hung.em]
    return fitting[0] if fitting else min(panels, key=lambda panel: (w + panel.width) * panel.height)


def _panel_of(hung: _Hung, shown: Pane, card: Mapping[str, Any] | None, hidden: bool, width: int) -> Image.Image:
    from PIL import Image

    em, said = hung.em, _state(card, hung.em, width)
    legend = _without_map(hung, em, width) if hidden else legend_panel(hung.image, hung.reading, shown, em, width)
    room = said.height - em
    panel = Image.new("RGB", (width, room + legend.height), INK)
    panel.paste(said, (0, 0))
    panel.paste(legend, (0, room))
    return panel


def _state(card: Mapping[str, Any] | None, em: int, width: int) -> Image.Image:
    big, inner = round(em * 1.4), width - 2 * em
    if card is None:
        return written([(line, AMBER, em) for line in wrapped(UNCHECKED, em, inner)], em, width)
    lines: list[Written] = [(line, AMBER, big) for line in wrapped(str(card["state_name"]), big, inner)]
    for text in (str(card["headline"]), *map(str, card["reasons"])):
        lines += [(line, WHITE, em) for line in wrapped(text, em, inner)]
        lines.append(("", GREY, em // 3))
    return written(lines, em, width)


def _without_map(hung: _Hung, em: int, width: int) -> Image.Image:
    """Return the legend of a map that is not shown: whose it is, and nothing of where it points."""
    e, inner, small = hung.reading.explanation, width - 2 * em, round(em * 0.9)
    lines: list[Written] = []
    for name, text in (
        ("Target", e.target),
        ("Method", e.provenance.method),
        ("Prediction", e.prediction.sentence(e.target)),
        ("Map", "hidden: it is in no picture of this result"),
    ):
        lines.append((name, GREY, round(em * 0.8)))
        lines += [(line, WHITE, em) for line in wrapped(text, em, inner)]
        lines.append(("", GREY, em // 3))
    lines += [
        (line, GREY, small) for n in (*unknown(hung.image.geometry), *always(e)) for line in wrapped(n, small, inner)
    ]
    warning = e.provenance.warning
    lines += [(line, AMBER, em) for text in (warning, RESEARCH_USE) for line in wrapped(text, em, inner)]
    return written(lines, em, width)


def _spacing(geometry: Geometry) -> tuple[float, float]:
    return geometry.spacing[-2], geometry.spacing[-1]


def _letters(geometry: Geometry) -> tuple[str, str, str, str] | None:
    """Return the letters at the top, right, bottom and left of a source plane."""
    ends = geometry.letters
    return (ends[1][0], ends[2][1], ends[1][1], ends[2][0]) if ends else None


def _title(geometry: Geometry, index: int) -> str:
    """Return which plane this is and, where it is known, at what place of the patient axis nearest to the stack's."""
    said = f"Slice {index + 1} of {geometry.shape[0]}"
    if geometry.frame != "patient" or geometry.unit != "mm":
        return said
    middle = [index, *((n - 1) / 2 for n in geometry.shape[1:])]
    axis = int(np.abs(geometry.normal).argmax())
    return f"{said}, {'xyz'[axis]} {geometry.to_world(middle)[axis]:.0f} mm"
