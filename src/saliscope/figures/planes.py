"""From an image to its views: a picture as it is; a volume through the peak, as radiologists hang it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.figures.anatomy import axes_of
from saliscope.figures.panes import COMFORTABLE, Pane, Slice, factor_for, mosaic, pane, roomy, square
from saliscope.figures.reading import Reading
from saliscope.figures.scale import Scale
from saliscope.figures.totals import planes

Floats = npt.NDArray[np.float32]

#: So many slices are in the montage at most, in rows of so many.
TILES, COLUMNS = 12, 6
#: A plane thinner than this is drawn with black around it, in pixels.
ROOM = 120
#: A plane more oblique than this (cosine) is called so.
STRAIGHT = 0.985


@dataclass(frozen=True)
class Cut:
    """How a volume is cut: across axis `across`, with one axis running down and one to the reader's right."""

    name: str
    across: int
    down: int
    right: int
    down_flipped: bool = False
    right_flipped: bool = False
    letters: tuple[str, str, str, str] | None = None

    def __call__(self, array: npt.NDArray[np.generic], index: int) -> npt.NDArray[np.generic]:
        """Return the plane (..., H, W) of an array (..., *S)."""
        moved = np.moveaxis(array, (self.across - 3, self.down - 3, self.right - 3), (-3, -2, -1))[..., index, :, :]
        moved = np.flip(moved, -2) if self.down_flipped else moved
        return np.flip(moved, -1) if self.right_flipped else moved


def cuts(geometry: Geometry) -> tuple[Cut, Cut, Cut]:
    """Return axial, coronal and sagittal cuts in radiological convention, or across each axis if not oriented.

    Axial: front at the top, the patient's right on the reader's left. Coronal: head at the top, the patient's right
    on the reader's left. Sagittal: head at the top, front on the reader's left.
    """
    if geometry.frame == "image":
        return Cut("Plane", 0, 1, 2), Cut("Row", 1, 0, 2), Cut("Column", 2, 0, 1)
    x, y, z = axes_of(geometry)

    def cut(name: str, across: int, down: int, right: int) -> Cut:
        # Down the picture and to its right, coordinates fall: towards the back or the feet, the left or the back.
        flip_down, flip_right = (geometry.direction[a][(x, y, z).index(a)] > 0 for a in (down, right))
        ends = geometry.letters or ()
        top, bottom = ends[down][::-1] if flip_down else ends[down]
        left, far = ends[right][::-1] if flip_right else ends[right]
        oblique = abs(geometry.direction[across][(x, y, z).index(across)]) < STRAIGHT
        shown = f"{name} (oblique)" if oblique else name
        return Cut(shown, across, down, right, flip_down, flip_right, (top, far, bottom, left))

    return cut("Axial", z, y, x), cut("Coronal", y, z, x), cut("Sagittal", x, z, y)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is cut: display (1 or 3, *S), raw values, how they become heat, and region labels (*S) on one grid."""

    display: npt.NDArray[np.uint8]
    geometry: Geometry
    scale: Scale | None
    drawn: Floats
    values: Floats
    labels: npt.NDArray[np.uint8]

    def heat(self, drawn: Floats) -> Floats:
        """Return the heat of a plane of what is drawn: of no more, because a volume is large."""
        return np.zeros_like(drawn) if self.scale is None else self.scale.normalised(drawn)


@dataclass(frozen=True, eq=False)
class _Slices:
    """The slices that views show, and what was drawn of them: pages, pictures and thumbnails are of the same ones."""

    slices: list[Slice]
    level: float | None
    comfortable: int
    drawn: dict[float, list[Pane]] = field(default_factory=dict)

    def to_scale(self, most: int | None) -> list[Pane]:
        """Return panes of one scale: a millimetre is as long in each of them."""
        coarser = [min(s.spacing) / min(min(t.spacing) for t in self.slices) for s in self.slices]
        sizes = [(h * c, w * c) for (h, w), c in zip(map(square, self.slices), coarser, strict=True)]
        factor = factor_for(sizes, min(self.comfortable, most or self.comfortable), most)
        if factor not in self.drawn:
            least = ROOM if len(self.slices) == 3 else 1
            self.drawn[factor] = [
                roomy(pane(s, self.level, factor * c), least) for s, c in zip(self.slices, coarser, strict=True)
            ]
        return list(self.drawn[factor])


_cuts: WeakKeyDictionary[Reading, _Slices] = WeakKeyDictionary()


def views(
    image: MedicalImage, reading: Reading, most: int | None = None, areas: npt.NDArray[np.uint8] | None = None
) -> list[Pane]:
    """Return the picture, or the three planes through the peak, with at most `most` pixels along a side.

    `areas` (*S) are numbers of areas to outline instead of the regions of the reading, 0 for none.
    """
    if areas is not None:
        shown = replace(_shown(image, reading), values=(areas > 0).astype(np.float32), labels=areas)
        return _cut(image, reading, shown, 0.5).to_scale(most)
    if reading not in _cuts:
        _cuts[reading] = _cut(image, reading, _shown(image, reading), _level(reading))
    return _cuts[reading].to_scale(most)


def _cut(image: MedicalImage, reading: Reading, shown: _Shown, level: float | None) -> _Slices:
    flat = image.geometry.ndim == 2
    at = () if flat else peak(reading.values, reading.scale.drawn)
    return _Slices(_slices(shown, at), level, COMFORTABLE if flat else 448)


def stacked(panes: Sequence[Pane]) -> bool:
    """Return whether the second and third plane fit one above the other beside the first: a volume of few slices."""
    return len(panes) == 3 and panes[1].size[1] + panes[2].size[1] <= 1.1 * panes[0].size[1]


def view_panes(view: Floats, seen: Geometry, most: int = 300) -> list[Pane]:
    """Return a view (C, *S) on the grid `seen`, spread over its own 0.5th to 99.5th percentile; of a volume the middle.

    Three channels are shown as colour, of any other number the first.
    """
    channels = view if view.shape[0] == 3 else view[:1]
    low, high = (float(v) for v in np.percentile(channels, [0.5, 99.5]))
    display = np.round(np.clip((channels - low) / ((high - low) or 1.0), 0, 1) * 255).astype(np.uint8)
    nothing = np.broadcast_to(np.float32(0), seen.shape)
    shown = _Shown(display, seen, None, nothing, nothing, np.broadcast_to(np.uint8(0), seen.shape))
    slices = _slices(shown, tuple(n // 2 for n in seen.shape))
    return _Slices(slices, None, most).to_scale(most)


def montage(image: MedicalImage, reading: Reading, width: int = 1200) -> Pane | None:
    """Return slices spread evenly over the map's support as one pane; None for a picture."""
    if image.geometry.ndim == 2:
        return None
    cut = cuts(image.geometry)[0]
    shown = _shown(image, reading)
    slices = [_slice(shown, cut, i, str(i + 1)) for i in _spread(reading, cut.across)]
    columns = min(COLUMNS, len(slices))
    factor = width / columns / square(slices[0])[1]
    tiles = [pane(s, _level(reading), factor) for s in slices]
    hung = ", patient's right on the reader's left" if cut.letters else ""
    total = image.geometry.shape[cut.across]
    return mosaic(tiles, columns, f"{cut.name} slices across the map, of {total}{hung}")


def profile(reading: Reading, geometry: Geometry) -> tuple[Floats, Floats]:
    """Return positive and negative attribution per axial slice, as shares of the magnitude of the whole map."""
    across = cuts(geometry)[0].across
    sums, total = reading.sums, reading.sums.magnitude or 1.0
    return (sums.positive[across] / total).astype(np.float32), (sums.negative[across] / total).astype(np.float32)


def peak(values: Floats, drawn: bool = True) -> tuple[int, ...]:
    """Return the index of the highest value, of a plateau its middle; the centre where there is nothing."""
    if not drawn:
        return tuple(n // 2 for n in values.shape)
    positive = values.max() > 0
    top = values.max() if positive else -values.min()
    found = [np.argwhere((plane if positive else np.abs(plane)) == top) for (plane,) in planes(values)]
    flat = values.ndim == 2
    where = found[0] if flat else np.concatenate([np.insert(at, 0, i, axis=1) for i, at in enumerate(found)])
    return tuple(int(i) for i in where[np.abs(where - where.mean(0)).sum(1).argmin()])


def _spread(reading: Reading, across: int) -> list[int]:
    """Return up to `TILES` slices over the listed regions, else over all that is not zero, else over the volume."""
    n = reading.values.shape[across]
    held = np.arange(n)
    if reading.scale.drawn:
        if reading.focus is not None and reading.focus.regions:
            some = np.flatnonzero(reading.focus.labels.any(axis=tuple(a for a in range(3) if a != across)))
        else:
            planes = (reading.scale.normalised(reading.values.take([i], across)) for i in range(n))
            some = np.flatnonzero([bool(np.any(plane)) for plane in planes])
        held = some if some.size else held
    low, high = max(0, int(held[0]) - 1), min(n - 1, int(held[-1]) + 1)
    count = min(TILES, high - low + 1)
    return [int(i) for i in np.unique(np.round(np.linspace(low, high, count)))]


def _shown(image: MedicalImage, reading: Reading) -> _Shown:
    # Without regions one element stands for all labels, so that a volume needs no array of its own.
    labels = reading.focus.labels if reading.focus else np.broadcast_to(np.uint8(0), reading.values.shape)
    return _Shown(image.display, image.geometry, reading.scale, reading.values, reading.values, labels)


def _level(reading: Reading) -> float | None:
    return reading.focus.level if reading.focus else None


def _slices(shown: _Shown, at: tuple[int, ...]) -> list[Slice]:
    g = shown.geometry
    if g.ndim == 3:
        return [_slice(shown, cut, at[cut.across]) for cut in cuts(g)]
    ends = g.letters
    letters = (ends[0][0], ends[1][1], ends[0][1], ends[1][0]) if ends else None
    spacing = (g.spacing[0], g.spacing[1])
    return [Slice(shown.display, shown.heat(shown.drawn), shown.values, shown.labels, spacing, letters, "")]


def _slice(shown: _Shown, cut: Cut, index: int, title: str | None = None) -> Slice:
    g = shown.geometry
    if title is None:
        at = np.array([(n - 1) / 2 for n in g.shape])
        at[cut.across] = index
        world = int(np.abs(g.direction[cut.across]).argmax())
        known = g.frame == "patient" and g.unit == "mm"
        where = f", {'xyz'[world]} {g.to_world(at)[world]:.0f} mm" if known else ""
        title = f"{cut.name} {index + 1} of {g.shape[cut.across]}{where}"
    return Slice(
        np.asarray(cut(shown.display, index), dtype=np.uint8),
        shown.heat(np.asarray(cut(shown.drawn, index), dtype=np.float32)),
        np.asarray(cut(shown.values, index), dtype=np.float32),
        np.asarray(cut(shown.labels, index), dtype=np.uint8),
        (g.spacing[cut.down], g.spacing[cut.right]),
        cut.letters,
        title,
    )
