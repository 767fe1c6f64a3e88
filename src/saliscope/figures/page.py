"""The page of one case, which is one file; and the page that lists cases, whose thumbnails are files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.figures import svg, wording
from saliscope.figures.legend import colours_sentence, facts
from saliscope.figures.panes import Pane
from saliscope.figures.planes import cuts, montage, profile, stacked, view_panes, views
from saliscope.figures.reading import Reading, interpret
from saliscope.figures.regions import centre, percent, size
from saliscope.figures.scale import WHY_EMPTY
from saliscope.figures.wording import ALWAYS, RESEARCH_USE, cells

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: Pictures on a page have at most so many pixels along a side; the overlay's own file keeps them all.
MOST = 1100
#: So many labels are listed at most: those explained, then the strongest.
ROWS = 20
#: Facts that have a place of their own on the page.
ELSEWHERE = ("Target", "Method", "Network", "Colours", "Prediction")


@dataclass(frozen=True)
class CaseLink:
    """One line of the index: a case, where its page and its thumbnail lie (relative paths), and what to say of it."""

    name: str
    href: str
    thumbnail: str | None = None
    lines: tuple[str, ...] = ()


class CasePage:
    """The page of one case, to which maps are added one by one: of each only its pictures and words are kept.

    `view` (C, *S) is what the network saw. The prediction is that of the first map; all are of one image and network.
    """

    def __init__(self, image: MedicalImage, view: npt.NDArray[np.float32] | None = None) -> None:
        self._image, self._view = image, view
        self._pictures = svg.Pictures()
        self._maps: list[dict[str, Any]] = []
        self._of_first: dict[str, Any] = {}
        self._prediction: Prediction | None = None
        self._explained: set[str] = set()

    def add(self, reading: Reading, card: tuple[Mapping[str, Any], str] | None = None) -> None:
        """Add a map that was read on the image, with its explanation card and where the card's page lies."""
        image, pictures = self._image, self._pictures
        self._maps.append({**_map(image, reading, pictures, len(self._maps) + 1), "card": card})
        self._explained.add(reading.explanation.target)
        if self._of_first:
            return
        panes = views(image, reading, MOST)
        self._prediction = reading.explanation.prediction
        self._of_first = {
            "plain": [_figure(p, pictures, image, reading, "the image", heat=False) for p in panes],
            "stacked": stacked(panes),
            "view": _view(self._view, reading, pictures),
            "view_grid": cells(reading.explanation.seen).replace(" cells of ", " elements of "),
            "warning": reading.explanation.provenance.warning,
        }

    def html(self) -> str:
        """Return the page; there must be a map on it."""
        assert self._prediction is not None
        return environment().get_template("page.html").render(
            name=self._image.name,
            image=_image_facts(self._image),
            notes=self._image.notes,
            maps=self._maps,
            volume=self._image.geometry.ndim == 3,
            prediction=_prediction(self._prediction, self._explained),
            pictures=_safe("".join(self._pictures.definitions.values())),
            research=RESEARCH_USE,
            always=ALWAYS,
            **self._of_first,
        )  # fmt: skip


def page(
    image: MedicalImage,
    readings: Sequence[Reading],
    view: npt.NDArray[np.float32] | None = None,
    cards: Sequence[tuple[Mapping[str, Any], str]] = (),
) -> str:
    """Return the page (HTML) of one case with the maps read on it; `view` (C, *S) is what the network saw.

    `cards` hold, for each map or for none, its explanation card (plain data) and where the card's page lies; a map
    that its card hides stands closed behind the reasons.
    """
    made = CasePage(image, view)
    none: list[tuple[Mapping[str, Any], str] | None] = [None] * len(readings)
    for reading, card in zip(readings, cards or none, strict=True):
        made.add(reading, card)
    return made.html()


def index_page(cases: Sequence[CaseLink], title: str, lines: Sequence[str] = ()) -> str:
    """Return a page (HTML) that lists cases with thumbnails and links to theirs."""
    return environment().get_template("index.html").render(title=title, lines=lines, cases=cases, research=RESEARCH_USE)


def thumbnail(image: MedicalImage, reading: Reading, most: int = 320, heat: bool = True) -> bytes:
    """Return a small picture (PNG) of the map over its image, through the peak; without `heat` of the image alone."""
    from PIL import Image

    from saliscope.figures.draw import blended
    from saliscope.figures.overlay import png

    pane = views(image, reading, most)[0]
    return png(blended(pane, reading.scale.palette) if heat else Image.fromarray(np.ascontiguousarray(pane.base)))


def _map(image: MedicalImage, reading: Reading, pictures: svg.Pictures, number: int) -> dict[str, Any]:
    e, scale = reading.explanation, reading.scale
    what = f"{e.provenance.method} map for {e.target}"
    panes = views(image, reading, MOST)
    tiles = montage(image, reading, 1200)
    return {
        "id": f"map-{number}",
        "target": e.target,
        "method": e.provenance.method,
        "panes": [_figure(p, pictures, image, reading, what) for p in panes],
        "note": panes[0].note,
        "montage": tiles and _figure(tiles, pictures, image, reading, what),
        "profile": _profile(image, reading) if tiles else None,
        "empty": WHY_EMPTY[scale.state] if scale.state != "shown" else "",
        "prediction": e.prediction.sentence(e.target),
        "sentences": reading.sentences[: -len(wording.always(e))],
        "facts": [(name, text) for name, text in facts(reading) if name not in ELSEWHERE],
        "colour_bar": _safe(svg.colour_bar(scale.palette, *scale.ends)) if scale.drawn else None,
        "colours": colours_sentence(reading),
        "always": wording.always(e),
        "blind": e.traits.blind,
        "regions": [
            (r.number, percent(r.share), r.place, f"{r.slices[0]}–{r.slices[1]}" if r.slices else "", size(r),
             centre(r).removeprefix("centre "), f"{r.peak:.3g}")
            for r in (reading.focus.regions if reading.focus else ())
        ],
        "crumbs": _crumbs(reading),
        "beside": [_beside(image, reading, name, pictures) for name in sorted(e.beside)],
        "provenance": _provenance(reading),
    }  # fmt: skip


def _beside(image: MedicalImage, reading: Reading, name: str, pictures: svg.Pictures) -> dict[str, Any]:
    """Return the picture of a map that belongs to another, such as its variance, and its colour bar."""
    own = reading.explanation
    alone = replace(own, values=own.beside[name], beside={}, traits=replace(own.traits, signed=False))
    read = replace(interpret(alone, image), focus=None)  # where a variance is large is no finding: nothing is outlined
    pane = views(image, read, MOST)[0]
    bar = _safe(svg.colour_bar(read.scale.palette, *read.scale.ends)) if read.scale.drawn else None
    what = f"{name} of the {own.provenance.method} map for {own.target}"
    return {"name": name, "figure": _figure(pane, pictures, image, read, what)[0], "bar": bar, "title": pane.title}


def _view(view: npt.NDArray[np.float32] | None, reading: Reading, pictures: svg.Pictures) -> list[Markup]:
    if view is None:
        return []
    seen = reading.explanation.seen
    drawn = [
        svg.figure(p, pictures, "sequential", seen.unit, "what the network saw", heat=False)
        for p in view_panes(view, seen)
    ]
    return [_safe(d) for d in drawn]


def _crumbs(reading: Reading) -> str:
    focus = reading.focus
    if focus is None or not focus.crumbs:
        return ""
    return f"{focus.crumbs:,} smaller, not listed: {percent(focus.crumb_share)} together"


def _figure(
    pane: Pane, pictures: svg.Pictures, image: MedicalImage, reading: Reading, what: str, heat: bool = True
) -> tuple[Markup, str, float]:
    """Return (SVG, title, width): panes share a row by their widths, so that a millimetre is as long in each."""
    drawn = svg.figure(pane, pictures, reading.scale.palette, image.geometry.unit, f"{what} {pane.title}".strip(), heat)
    return _safe(drawn), pane.title, pane.size[0]


def _profile(image: MedicalImage, reading: Reading) -> Markup:
    cut = cuts(image.geometry)[0]
    letters = image.geometry.letters
    ends = letters[cut.across] if letters else ("", "")
    positive, negative = profile(reading, image.geometry)
    return _safe(svg.profile_chart(positive, negative, reading.scale.palette, ends, cut.name))


def _image_facts(image: MedicalImage) -> list[tuple[str, str]]:
    g = image.geometry
    shape = " × ".join(str(n) for n in g.shape)
    step = " × ".join(f"{s:.3g}" for s in g.spacing)
    return [
        ("Modality", image.modality or "unknown"),
        ("Size", f"{shape} ({'planes × ' if g.ndim == 3 else ''}rows × columns)"),
        ("Spacing", f"{step} mm" if g.unit == "mm" else "unknown"),
        ("Orientation", "" if g.letters else "unknown"),
        ("Values", image.units or "no unit"),
    ]


def _prediction(prediction: Prediction, explained: set[str]) -> dict[str, Any]:
    ranked = prediction.probabilities or prediction.logits
    kept = sorted(range(len(ranked)), key=lambda i: (prediction.labels[i] not in explained, -ranked[i]))[:ROWS]
    rows = []
    for i in sorted(kept):
        label = prediction.labels[i]
        p = prediction.probabilities[i] if prediction.probabilities else None
        limit = prediction.limits[i]
        side = "" if p is None or limit is None else "at or above" if p >= limit else "below"
        rows.append(
            {
                "label": label, "p": None if p is None else f"{p:.3f}", "width": 0 if p is None else round(100 * p, 1),
                "logit": f"{prediction.logits[i]:.3g}", "limit": "–" if limit is None else f"{limit:.2f}",
                "at": None if limit is None or p is None else round(100 * limit, 1),
                "side": side, "explained": label in explained,
            }
        )  # fmt: skip
    share = prediction.kind == "segmentation"
    more = len(prediction.labels) - len(rows)
    return {"more": more, "rows": rows, "name": "Share predicted" if share else "Probability", "kind": prediction.kind}


def _provenance(reading: Reading) -> list[tuple[str, str]]:
    p = reading.explanation.provenance
    measured = ", ".join(f"{k} = {v:.3g}" for k, v in sorted(p.diagnostics.items()))
    fields = ", ".join(f"{k} = {v}" for k, v in sorted(p.fields.items()))
    return [
        ("Model", p.model),
        ("Body", reading.shares.body if reading.shares else "not looked at: nothing to place"),
        ("Weights SHA-256", p.weights),
        ("View SHA-256", p.view),
        ("Image SHA-256", p.image),
        ("Method fields", fields or "none"),
        ("Target", p.target),
        *([("Diagnostics", measured)] if measured else []),
        ("Versions", ", ".join(f"{k} {v}" for k, v in sorted(p.versions.items()))),
        ("Device", p.device),
        *[("Note", n) for n in p.notes],
    ]


@cache
def environment() -> Environment:
    """Return where the templates of all pages are, with every text escaped; there is one, which compiles each once."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _safe(markup: str) -> Markup:
    """Mark SVG as ours: every text in it went through `escape` when it was written."""
    from markupsafe import Markup

    return Markup(markup)  # noqa: S704
