"""Several explanations: a list that shows itself as a table, and in a notebook as a grid of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation, read_back

if TYPE_CHECKING:
    from saliscope.core.explanation import Source

#: So many rows of a table are printed, and a word in it has at most so many letters.
ROWS, WORD = 40, 28


class Explanations(list[Explanation]):
    """A list of explanations: a table in a terminal, in a notebook a grid of pictures (rows images and targets).

    Slices and sums are lists of this kind too; `Explanations(e for e in all if ...)` makes one of any explanations.

        >>> both = saliscope.explain(x, net, ["grad-cam", "gradient"], target=1)
        >>> both
        IMAGE     TARGET  PROBABILITY  METHOD    LAYER  LARGEST
        tensor-0  1       0.483        grad-cam  1      0.149
        tensor-0  1       0.483        gradient         0.0158
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

    def copy(self) -> Explanations:
        """Return a list of this kind with the same explanations."""
        return Explanations(self)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Explanation: ...
    @overload
    def __getitem__(self, at: slice) -> Explanations: ...
    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return Explanations(found) if isinstance(at, slice) else found

    def __add__(self, other: Iterable[Any]) -> Any:
        return Explanations([*self, *other])

    def __repr__(self) -> str:
        return table([row_of(e) for e in self]) if self else "no explanations"

    def _repr_html_(self) -> str | None:
        presenter = next((e.presenter for e in self if e.presenter is not None), None)
        return presenter.gallery(self) if presenter is not None else None


def row_of(e: Explanation) -> dict[str, str]:
    """Return what a table says of an explanation, by column."""
    return {
        "image": e.image_name,
        "target": e.target,
        "probability": "" if e.probability is None else f"{e.probability:.3g}",
        "method": e.provenance.method,
        "layer": e.provenance.layer or "",
        "largest": f"{float(e.values.max()):.3g}",
    }


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return rows as text under their column names, in columns as wide as needed; long words and lists are cut."""
    names = list(rows[0])
    shown = [{n: row[n] if len(row[n]) <= WORD else f"{row[n][: WORD - 1]}…" for n in names} for row in rows[:ROWS]]
    wide = {n: max(len(n), *(len(row[n]) for row in shown)) for n in names}
    lines = ["  ".join(row[n].ljust(wide[n]) for n in names).rstrip() for row in ({n: n.upper() for n in names}, *shown)]
    left = len(rows) - len(shown)
    return "\n".join([*lines, *([f"... and {left} more"] if left else [])])
