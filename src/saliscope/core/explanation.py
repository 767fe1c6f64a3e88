"""One map, raw and signed, on its own grid, with where it lies and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import GeometryError, WriteError, did_you_mean
from saliscope.core.geometry import Geometry
from saliscope.core.placed import Grid, PlacedMap, as_array, as_tensor, check_fit
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Size, Sizes, Traits
from saliscope.core.provenance import Provenance

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saliscope.core.image import MedicalImage

    #: What is known by the digest of the image that was explained.
    Source = str | Path | MedicalImage | Tensor | Sequence[str | Path | MedicalImage | Tensor]

#: Who reads a folder back: an address, as the catalogues have them, because a noun knows no files.
READER = "saliscope.study.stored:load"
#: A picture in a notebook has at most so many pixels along a side of the image.
NOTEBOOK = 480


class Presenter(Protocol):
    """Who can place, show and store an explanation; given by `study`, because a noun knows neither colour nor files."""

    @property
    def name(self) -> str:
        """Return the name of the image."""

    def placed(self, explanation: Explanation, grid: Grid) -> PlacedMap:
        """Return the map on the grid of the image, or of what the network saw of it."""

    def overlay(self, explanation: Explanation, most: int | None) -> Image:
        """Return the picture of the map over its image, with at most `most` pixels along a side of the image."""

    def gallery(self, explanations: Sequence[Explanation]) -> str:
        """Return small pictures of explanations, by image, target and method, as HTML."""

    def save(self, explanations: Sequence[Explanation], folder: Path) -> Path:
        """Write the folder of explanations, whole or not at all, and return its path."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One map: values (*S) float32, raw and signed, on `geometry`; `seen` is the grid that the network saw.

    `beside` holds maps of the same grid that belong to it, such as a variance, by name. `resolution` is the least size
    that it can show, in units of `geometry` for each axis: never less than a cell, one for each part of which the map
    is put together, finest first, and none where the method states none. `np.asarray(e)` is the values.
    Read-only from birth. Raises GeometryError when values and grid do not fit.

        >>> e = saliscope.explain(x, net, "grad-cam", target=1)
        >>> np.asarray(e).shape, e.on("image").values.shape
        ((32, 32), (64, 64))
    """

    values: npt.NDArray[np.float32]
    geometry: Geometry
    seen: Geometry
    target: str
    prediction: Prediction
    traits: Traits
    provenance: Provenance
    beside: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    presenter: Presenter | None = None
    resolution: Sizes = ()

    def __post_init__(self) -> None:
        for values in (self.values, *self.beside.values()):
            check_fit(values, self.geometry)
            values.setflags(write=False)

    @property
    def finest(self) -> Size:
        """Return the least size that the map can show, in units of `geometry`: its cell where it states none."""
        return self.resolution[0] if self.resolution else self.geometry.spacing

    @property
    def coarsest(self) -> Size:
        """Return the least size that the coarsest part of the map can show, in units of `geometry`."""
        return self.resolution[-1] if self.resolution else self.geometry.spacing

    @classmethod
    def load(cls, folder: str | Path, image: Source | None = None) -> Explanation:
        """Return the explanation that `save` or `saliscope explain` wrote into a folder; no network is needed.

        `folder` is that of one map, or one with a single map in it; `Explanations.load` reads all below a folder.
        Values, grids, prediction and provenance are those that were saved. The source image is not stored: with
        `image`, the same file, MedicalImage or tensor again, page and pictures are made anew. Without it `overlay`
        returns the picture that was saved, and `save` is refused.
        Raises UnreadableFile for a folder with no map or several, for a file that is missing or was changed, and
        for a layout that is not known; InputError for an image that is not the one that was explained.

            >>> saved = e.save(folder / "case")
            >>> back = saliscope.Explanation.load(saved, image=x)
            >>> np.array_equal(back, e), back.prediction == e.prediction
            (True, True)
        """
        (found,) = read_back(folder, image, only=True)
        return found

    @property
    def image_name(self) -> str:
        """Return the name of the image, which holds no identifier; the start of its digest where there is no name."""
        return self.presenter.name if self.presenter is not None else self.provenance.image[:8]

    @property
    def probability(self) -> float | None:
        """Return the probability of the target, of a segmentation the share predicted; None where there is none."""
        p = self.prediction
        known = p.probabilities is not None and self.target in p.labels
        return p.probabilities[p.labels.index(self.target)] if known and p.probabilities is not None else None

    def on(self, grid: Grid) -> PlacedMap:
        """Return the map placed on another grid by where its cells lie: float32 (*S), raw and signed, with its grid.

        "image" is the grid of the source image (in mm, or px where the spacing is unknown), as pages and NIfTI files
        have it; "input" that of the tensor that the network saw. Linear between the centres of the cells; a finer map
        is smoothed first. What the network did not see is exactly 0, as on the page, because it had no influence:
        NaN would spread into every sum and picture. `e.seen` tells where that is.
        Raises GeometryError for another word.

            >>> placed = e.on("image")
            >>> placed.values.shape, placed.values.dtype, placed.geometry.unit
            ((64, 64), dtype('float32'), 'px')
        """
        if grid not in get_args(Grid):
            raise GeometryError(
                f"the grid {grid!r}", expected="'image' or 'input'", do=did_you_mean(str(grid), get_args(Grid))
            )
        return self._presenter().placed(self, grid)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return as_array(self.values, dtype, copy)

    def to_tensor(self) -> Tensor:
        """Return the values (*S) on the map's own grid as a float32 tensor on the CPU, a copy of its own.

        >>> e.to_tensor().shape
        torch.Size([32, 32])
        """
        return as_tensor(self.values)

    def overlay(self, most: int | None = None) -> Image:
        """Return the picture (RGB) of the map over the image that it explains, with its legend.

        The image has at most `most` pixels along a side; None keeps its own, and enlarges a small one.
        Raises WriteError for an explanation without its image.

            >>> e.overlay(most=256).mode
            'RGB'
        """
        return self._presenter().overlay(self, most)

    def save(self, folder: str | Path) -> Path:
        """Write map, picture, page and record into a new folder, whole or not at all; return its path.

        Open page.html in it. Raises WriteError for a folder that is there already, one that cannot be written, and
        an explanation without its image.

            >>> saved = e.save(folder / "malignant")
            >>> sorted(path.name for path in saved.iterdir())
            ['case.json', 'class-1.grad-cam', 'page.html', 'thumbnail.png']
        """
        return self._presenter().save([self], Path(folder))

    def __repr__(self) -> str:
        p, low, high = self.provenance, float(self.values.min()), float(self.values.max())
        place = f" at layer {p.layer}" if p.layer else ""
        lines = [
            f"Explanation of {self.target!r} by {p.method}{place}",
            f"network: {p.model}; {self.prediction.sentence(self.target)}",
            f"map: {_size(self.geometry)}, values {low:.3g} to {high:.3g}",
            f"image: {self.image_name}; the network saw {_size(self.seen)}",
        ]
        return "\n  ".join(lines)

    def _repr_png_(self) -> bytes | None:
        if self.presenter is None:
            return None
        data = self.overlay(NOTEBOOK)._repr_png_()
        return bytes(data) if data is not None else None

    def _presenter(self) -> Presenter:
        if self.presenter is None:
            raise WriteError(
                "an explanation without its image",
                do="Make it by saliscope.explain, which keeps image and map together",
            )
        return self.presenter


def read_back(folder: str | Path, image: Source | None, *, only: bool) -> list[Explanation]:
    """Return what a folder holds; with `only` it must be one map."""
    module, _, name = READER.partition(":")
    reader: Callable[..., list[Explanation]] = getattr(import_module(module), name)
    return reader(Path(folder), image, only=only)


def _size(grid: Geometry) -> str:
    """Return a grid in words: elements and their size."""
    step = sorted({f"{s:.3g}" for s in grid.spacing}, key=float)
    each = step[0] if len(step) == 1 else " × ".join(f"{s:.3g}" for s in grid.spacing)
    return f"{' × '.join(map(str, grid.shape))} of {each} {grid.unit}"
