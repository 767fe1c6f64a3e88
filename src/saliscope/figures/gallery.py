"""Small pictures of many maps side by side, as a piece of HTML that a notebook shows among its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from saliscope.core.image import MedicalImage
from saliscope.figures.legend import ramp
from saliscope.figures.palette import Palette
from saliscope.figures.planes import views
from saliscope.figures.reading import Reading
from saliscope.figures.scale import WHY_EMPTY
from saliscope.figures.wording import RESEARCH_USE

#: Quality of a small picture (JPEG), with full colour resolution: at this one the heat keeps its edges.
QUALITY = 85
#: A colour bar of a small picture is made of so many colours.
STOPS = 9
NOTE = "Each map has a scale of its own: the ends of its colours stand below it."


@dataclass(frozen=True)
class Tile:
    """A small picture (JPEG) with the ends of its colours; `said` stands below it, or in its place."""

    picture: bytes | None
    said: str = ""
    size: tuple[int, int] = (0, 0)
    ends: tuple[float, float] = (0.0, 0.0)
    palette: Palette | None = None

    def described(self) -> dict[str, Any]:
        """Return what a template needs of it."""
        steps = [f"rgb{rgb}".replace(" ", "") for _, rgb in ramp(self.palette, STOPS)] if self.palette else []
        return {
            "uri": self.picture and "data:image/jpeg;base64," + base64.b64encode(self.picture).decode("ascii"),
            "said": self.said,
            "width": self.size[0],
            "height": self.size[1],
            "bar": ",".join(steps),
            "low": f"{self.ends[0]:.3g}",
            "high": f"{self.ends[1]:.3g}",
        }


def tile(image: MedicalImage, reading: Reading, most: int, *, alone: bool = False) -> Tile:
    """Return the map over its image, of a volume the first plane through the peak, at most `most` pixels a side.

    `alone` draws the map without its image, on black and as strongly as its colours go.
    """
    from PIL import Image

    from saliscope.figures.draw import BLACK, blended, heat_layer

    pane = views(image, reading, most)[0]
    if alone:
        picture = Image.new("RGB", pane.size, BLACK)
        layer = heat_layer(pane.heat, reading.scale.palette)
        picture.paste(layer, mask=layer)
    else:
        picture = blended(pane, reading.scale.palette)
    out = BytesIO()
    picture.save(out, format="JPEG", quality=QUALITY, subsampling=0, optimize=True)
    state = reading.scale.state
    said = pane.title if state == "shown" else WHY_EMPTY[state]
    palette = reading.scale.palette if reading.scale.drawn else None
    # The reader's page enlarges what is smaller, so that all pictures of a grid are of one size.
    width, height = (max(1, round(n * most / max(pane.size))) for n in pane.size)
    return Tile(out.getvalue(), said, (width, height), reading.scale.ends, palette)


def gallery(
    columns: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[Sequence[Tile]]]], left_out: int = 0
) -> str:
    """Return rows of tiles as HTML: `columns` are the headings, a row its lines and the tiles of each column."""
    from saliscope.figures.page import environment

    shown = [(lines, [[t.described() for t in cell] for cell in cells]) for lines, cells in rows]
    return environment().get_template("gallery.html").render(
        columns=columns, rows=shown, left_out=left_out, note=NOTE, research=RESEARCH_USE
    )  # fmt: skip


def card_note(told: Mapping[str, Any], tiles: Sequence[Tile] = ()) -> str:
    """Return a card in short as HTML: `told` has a name, a state, sentences, and rows (question, outcome, sentence)."""
    from saliscope.figures.page import environment

    shown = [t.described() for t in tiles]
    return environment().get_template("card_note.html").render(**told, tiles=shown, research=RESEARCH_USE)
