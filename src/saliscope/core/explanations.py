"""Several explanations: a list that shows itself as a table, and in a notebook as a grid of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation, read_back
from saliscope.core.listing import Listing

if TYPE_CHECKING:
    from saliscope.core.explanation import Source


class Explanations(Listing[Explanation]):
    """A list of explanations: a table in a terminal, in a notebook a grid of pictures (rows images and targets).

    Slices and sums are lists of this kind too; `Explanations(e for e in all if ...)` makes one of any explanations.

        >>> both = saliscope.explain(x, net, ["grad-cam", "gradient"], target=1)
        >>> both
        IMAGE     TARGET   PROBABILITY  METHOD    LAYER  LARGEST
        tensor-0  class 1  0.46         grad-cam  1      0.000...
        tensor-0  class 1  0.46         gradient         0.000...
        >>> both[:1][0].provenance.method
        'grad-cam'
    """

    @classmethod
    def load(cls, folder: str | Path, image: Source | None = None) -> Explanations:
        """Return all explanations below the folder of a run, of a case or of a map; no network is needed.

        `image` is the image, or a list of the images, that was explained: see `Explanation.load`, whose errors are
        raised here too.

            >>> saved = both.save(folder / "both")
            >>> len(saliscope.Explanations.load(saved))
            2
        """
        return cls(read_back(folder, image, only=False))

    def save(self, folder: str | Path) -> Path:
        """Write all into a new folder, whole or not at all; return its path.

        Those of one image share a page; of several images each has a folder of its own below `folder`.
        Raises WriteError for an empty list, a folder that is there already, one that cannot be written, and an
        explanation without its image.

            >>> saved = both.save(folder / "both")
            >>> (saved / "page.html").is_file()
            True
        """
        presenter = next((e.presenter for e in self if e.presenter is not None), None)
        if presenter is None:
            raise WriteError(
                "explanations without their images" if self else "an empty list of explanations",
                expected="explanations made by saliscope.explain",
                do="Explain an image first",
            )
        return presenter.save(self, Path(folder))

    def row(self, one: Explanation) -> dict[str, str]:
        """Return what the table says of an explanation, by column."""
        return {
            "image": one.image_name,
            "target": one.target,
            "probability": "" if one.probability is None else f"{one.probability:.3g}",
            "method": one.provenance.method,
            "layer": one.provenance.layer or "",
            "largest": f"{float(one.values.max()):.3g}",
        }

    def _repr_html_(self) -> str | None:
        presenter = next((e.presenter for e in self if e.presenter is not None), None)
        return presenter.gallery(self) if presenter is not None else None
