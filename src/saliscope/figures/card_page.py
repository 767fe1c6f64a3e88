"""The page of an explanation card: may this map be read, in words first, then the map, then the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.image import MedicalImage
from saliscope.figures import svg
from saliscope.figures.check_rows import left_out, sections
from saliscope.figures.legend import colours_sentence
from saliscope.figures.planes import views
from saliscope.figures.reading import Reading

if TYPE_CHECKING:
    import numpy.typing as npt
    from markupsafe import Markup

    from saliscope.core.region import Mask

#: The picture of a card has at most so many pixels along a side.
MOST = 800
#: A sign of each state: its shape and what stands in it say it without colour.
SIGNS = {
    "read-with-care": '<circle cx="24" cy="24" r="21"/><path class="in" d="M24 21v13M24 13.5v1.5"/>',
    "doubtful": '<path d="M24 3 46 43H2Z"/><path class="in" d="M19 22a5 5 0 1 1 7 4.6c-1.5.7-2 1.6-2 3.4M24 35.5v1"/>',
    "do-not-read": '<path d="M15 2h18l13 13v18L33 46H15L2 33V15Z"/><path class="in" d="M15 15 33 33M33 15 15 33"/>',
    "not-assessed": '<rect class="open" x="3" y="3" width="42" height="42" rx="4"/><path class="in" d="M14 24h20"/>',
}


@dataclass(frozen=True)
class CardPicture:
    """The pictures of a card as SVG: the image with its map, and the image alone, beside each other for a volume.

    `definitions` hold what both use; `widths` let a millimetre be as long in each of several planes; `colours` is the
    colour bar, if there is one, `caption` how to read it.
    """

    definitions: Markup
    mapped: tuple[Markup, ...]
    plain: tuple[Markup, ...]
    widths: tuple[float, ...]
    colours: Markup | None
    caption: str


def card_picture(image: MedicalImage, reading: Reading, areas: Sequence[Mask] = ()) -> CardPicture:
    """Return the pictures of a map that was read on its image, with the outlines of areas (*S) numbered from 1."""
    pictures = svg.Pictures()
    panes = views(image, reading, MOST, numbered_areas(areas, image.geometry.shape))
    palette, unit = reading.scale.palette, image.geometry.unit
    what = f"{reading.explanation.provenance.method} map for {reading.explanation.target}"
    mapped = tuple(_safe(svg.figure(p, pictures, palette, unit, f"{what} {p.title}".strip())) for p in panes)
    plain = tuple(_safe(svg.figure(p, pictures, palette, unit, f"the image {p.title}", heat=False)) for p in panes)
    colours = _safe(svg.colour_bar(palette, *reading.scale.ends)) if reading.scale.drawn else None
    return CardPicture(
        definitions=_safe("".join(pictures.definitions.values())),
        mapped=mapped,
        plain=plain,
        widths=tuple(p.size[0] for p in panes),
        colours=colours,
        caption=colours_sentence(reading) + (f". Outlined: {_outlined(len(areas))}" if areas else ""),
    )


def numbered_areas(areas: Sequence[Mask], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Return the numbers of areas (*S), counted from 1, 0 for none; where two touch, a gap parts their outlines."""
    from scipy import ndimage

    found: npt.NDArray[np.uint8] = np.zeros(shape, np.uint8)
    for number, area in enumerate(areas, start=1):
        beside = ndimage.binary_dilation(found > 0, np.ones((3,) * len(shape)))
        found[area & ~beside] = number
    return found


def hidden_png(image: MedicalImage, reading: Reading) -> bytes:
    """Return what stands in the place of an overlay that a card hides (PNG): the image alone, and why."""
    from PIL import Image, ImageDraw

    from saliscope.figures.draw import AMBER, haloed
    from saliscope.figures.overlay import png

    pane = views(image, reading, MOST)[0]
    picture = Image.fromarray(np.ascontiguousarray(pane.base))
    em = max(9, picture.width // 34)
    for i, line in enumerate(("DO NOT READ", "the map is hidden; its card says why")):
        haloed(ImageDraw.Draw(picture), (picture.width / 2, em * (1.5 + 1.6 * i)), line, em, AMBER)
    return png(picture)


def _outlined(count: int) -> str:
    return "what the map points at, hidden as a whole" + (" and each numbered area by itself" if count > 1 else "")


def card_page(card: Mapping[str, Any], picture: CardPicture | None = None, back: str = "") -> str:
    """Return the page (HTML, one file, no script) of an explanation card that is plain data; `back` a link from it.

    Where the card hides its map, the map stands closed behind the reasons and can be opened.
    """
    from saliscope.figures.page import environment

    return environment().get_template("card.html").render(
        card=card,
        sign=sign(card["state"]),
        picture=picture,
        sections=sections(card),
        not_run=left_out(card, "not-run"),
        not_applicable=left_out(card, "not-applicable"),
        provenance=provenance(card) + _of_image(card),
        back=back,
    )  # fmt: skip


def sign(state: str) -> Markup:
    """Return the sign of a state as SVG."""
    return _safe(f'<svg class="sign" viewBox="0 0 48 48" aria-hidden="true">{SIGNS[state]}</svg>')


def provenance(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what either document says of where it is from, as (name, text)."""
    model, method = card["model"], card["method"]
    return [
        ("Model", model["name"]),
        ("Weights SHA-256", model["weights_sha256"]),
        ("View SHA-256", model["view_sha256"]),
        ("Method", method["name"]),
        ("Fields", ", ".join(f"{k} = {v}" for k, v in method["fields"].items()) or "none"),
        ("Layer", method["layer"] or "none"),
        ("Target", card["target"]),
        ("Versions", ", ".join(f"{k} {v}" for k, v in card["versions"].items())),
    ]


def _of_image(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    audit = card["audit"]
    return [("Image SHA-256", card["image"]["sha256"]), ("Model card of explanations", audit["digest"] or "none")]


def _safe(markup: str) -> Markup:
    from markupsafe import Markup

    return Markup(markup)  # noqa: S704 - every text in it went through `escape` when it was written
