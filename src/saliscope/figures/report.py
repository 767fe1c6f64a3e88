"""A map on one or two pages of paper (PDF): may it be read, the picture, what was said, where, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from saliscope.core.image import MedicalImage
from saliscope.figures.capture import bare
from saliscope.figures.legend import colours_sentence, facts, outline_sentence, ramp, unknown
from saliscope.figures.overlay import drawn
from saliscope.figures.planes import views
from saliscope.figures.reading import Reading
from saliscope.figures.regions import centre, percent, size
from saliscope.figures.wording import RESEARCH_USE, UNCHECKED, always

if TYPE_CHECKING:
    from PIL import Image
    from reportlab.platypus import Flowable

#: Points of an A4 page, and what of it is written on: that fits on Letter too, whichever is in the printer.
PAGE, MARGIN, WIDTH, HEIGHT = (595.28, 841.89), 42.0, 511.28, 708.0
#: The picture has at most so many pixels along a side, and takes at most so much of the first page.
MOST, TALL = 1000, 280.0
#: The shade behind each state of a card; what the state is stands there in words.
SHADES = {"read-with-care": "#e9f0f7", "doubtful": "#fdf1d8", "do-not-read": "#f9dfdc", "not-assessed": "#ececec"}
_PLAIN, _BOLD = "DejaVu Sans", "DejaVu Sans Bold"


def report(image: MedicalImage, reading: Reading, card: Mapping[str, Any] | None = None) -> bytes:
    """Return the report as PDF, the same bytes for the same map; it holds no identifier, and all its words are text.

    Of a map that its card hides there is neither heat nor place, but the reasons.
    """
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    _fonts()
    e = reading.explanation
    out = BytesIO()
    title = f"{e.provenance.method} map for {e.target}"
    document = BaseDocTemplate(
        out, pagesize=PAGE, invariant=1, title=title, author="saliscope", subject=RESEARCH_USE, creator="saliscope",
        lang="en", initialFontName=_PLAIN,
    )  # fmt: skip
    frame = Frame(MARGIN, PAGE[1] - MARGIN - HEIGHT, WIDTH, HEIGHT, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=_foot))
    document.build(_story(image, reading, card, title))
    return out.getvalue()


def _story(image: MedicalImage, reading: Reading, card: Mapping[str, Any] | None, title: str) -> list[Flowable]:
    from reportlab.platypus import Spacer

    hidden = card is not None and bool(card["map_hidden"])
    e = reading.explanation
    story: list[Flowable] = [
        _text(title, 16, bold=True),
        _text(f"Case {image.name}. {RESEARCH_USE}", 9, "#555555"),
        Spacer(0, 8),
    ]
    story += [_of_card(card), Spacer(0, 10)]
    story += _pictures(image, reading, hidden)
    story += [_heading("Prediction"), _text(f"{e.prediction.sentence(e.target)}.")]
    if not hidden:
        story.append(_heading("What the map shows"))
        story += [_text(sentence) for sentence in reading.sentences[: -len(always(e))]]
        story += _regions(reading)
    story += [_heading("What no map shows"), *map(_text, always(e))]
    story += [_heading("How it was made"), _table(_made(image, reading), (96.0, WIDTH - 96.0))]
    return story


def _of_card(card: Mapping[str, Any] | None) -> Flowable:
    """Return what the card says, first of all: state, headline, reasons."""
    from reportlab.platypus import Table

    if card is None:
        lines, shade = [_text(UNCHECKED)], SHADES["not-assessed"]
    else:
        lines = [_text(str(card["state_name"]), 14, bold=True), _text(str(card["headline"]), bold=True)]
        lines += [_text(f"– {reason}") for reason in card["reasons"]]
        shade = SHADES.get(str(card["state"]), SHADES["not-assessed"])
    style = [
        ("BACKGROUND", (0, 0), (-1, -1), shade), ("LINEBEFORE", (0, 0), (0, -1), 3, "#333333"),
        ("LEFTPADDING", (0, 0), (-1, -1), 10), ("RIGHTPADDING", (0, 0), (-1, -1), 8),
        ("TOPPADDING", (0, 0), (-1, -1), 5), ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
        ("FONTNAME", (0, 0), (-1, -1), _PLAIN),
    ]  # fmt: skip
    return Table([[lines]], colWidths=[WIDTH], style=style)


def _pictures(image: MedicalImage, reading: Reading, hidden: bool) -> list[Flowable]:
    """Return the picture with its colour bar and how to read it; of a hidden map the image alone."""
    from reportlab.platypus import Image as Picture
    from reportlab.platypus import Spacer

    panes = [] if hidden else views(image, reading, MOST)
    # On paper it is small: its text is larger than on a screen.
    em = 20 if len(panes) > 1 else max(16, round(max(panes[0].size) / 38)) if panes else 0
    shown = drawn(panes, reading, image, em) if panes else bare(image, reading)
    shown.thumbnail((3 * MOST, MOST))
    scale = min(WIDTH / shown.width, TALL / shown.height)
    story: list[Flowable] = [Picture(_png(shown), shown.width * scale, shown.height * scale), Spacer(0, 4)]
    notes = list(unknown(image.geometry))
    if hidden:
        return [*story, _text("The image alone: its map is hidden.", 8, "#555555"), *_notes(notes)]
    if reading.scale.drawn:
        story.append(_colour_bar(reading))
    story.append(_text(f"Colours: {colours_sentence(reading)}.", 8, "#555555"))
    if reading.focus is not None and reading.focus.regions:
        notes.insert(0, f"Outlined: {outline_sentence(reading)}.")
    return [*story, *_notes(notes)]


def _notes(notes: Sequence[str]) -> list[Flowable]:
    return [_text(note, 8, "#555555") for note in notes]


def _colour_bar(reading: Reading) -> Flowable:
    """Return the colours between the values at their ends."""
    import numpy as np
    from PIL import Image
    from reportlab.platypus import Image as Picture
    from reportlab.platypus import Table

    colours = np.array([[colour for _, colour in ramp(reading.scale.palette, 180)]], dtype=np.uint8)
    low, high = reading.scale.ends
    bar = Picture(_png(Image.fromarray(colours)), 180, 8)
    style = [("FONTNAME", (0, 0), (-1, -1), _PLAIN), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), *_close()]
    cells = [_text(f"{low:.3g}", 8), bar, _text(f"{high:.3g}", 8)]
    return Table([cells], colWidths=[42, 188, 60], style=style, hAlign="LEFT")


def _close() -> list[tuple[Any, ...]]:
    sides = ("LEFT", "RIGHT", "TOP", "BOTTOM")
    return [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in sides]


def _regions(reading: Reading) -> list[Flowable]:
    regions = reading.focus.regions if reading.focus else ()
    if not regions:
        return []
    volume = any(r.slices for r in regions)
    head = ["", "Share", "Place", *(["Slices"] if volume else []), "Size", "Centre", "Peak"]
    rows = [
        [str(r.number), percent(r.share), r.place,
         *([f"{r.slices[0]}–{r.slices[1]} of {r.planes}" if r.slices else ""] if volume else []),
         size(r), centre(r).removeprefix("centre "), f"{r.peak:.3g}"]
        for r in regions
    ]  # fmt: skip
    widths = (18.0, 44.0, 130.0, 70.0, 72.0, 120.0, 45.0) if volume else (20.0, 50.0, 160.0, 90.0, 125.0, 54.0)
    return [_heading("Regions, by their share of the positive attribution"), _table(rows, widths, head)]


def _made(image: MedicalImage, reading: Reading) -> list[list[str]]:
    e = reading.explanation
    p = e.provenance
    fields = ", ".join(f"{k} = {v}" for k, v in p.fields.items())
    rows = [["Method", f"{p.method} ({fields})" if fields else p.method]]
    rows += [[name, text] for name, text in facts(reading) if name in ("Layer", "Map grid", "Nothing finer than")]
    rows += [["Cannot see", e.traits.blind]]
    steps = " × ".join(f"{s:.3g}" for s in image.geometry.spacing)
    grid = " × ".join(map(str, image.geometry.shape))
    rows += [
        ["Image", f"{image.modality or 'modality unknown'}, {grid} elements of {steps} {image.geometry.unit}"],
        ["Model", p.model],
        ["Weights SHA-256", p.weights],
        ["View SHA-256", p.view],
        ["Image SHA-256", p.image],
        ["Versions", ", ".join(f"{k} {v}" for k, v in p.versions.items())],
    ]
    return rows + ([["Warning", p.warning]] if p.warning else [])


def _table(rows: Sequence[Sequence[str]], widths: Sequence[float], head: Sequence[str] = ()) -> Flowable:
    from reportlab.platypus import Table

    cells = [[_text(text, 8, bold=True) for text in head]] if head else []
    cells += [
        [_text(text, 8, "#555555" if not head and not i else "#000000") for i, text in enumerate(row)] for row in rows
    ]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.3, "#cccccc"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2), ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 0), ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        ("FONTNAME", (0, 0), (-1, -1), _PLAIN),
    ]  # fmt: skip
    return Table(cells, colWidths=list(widths), style=style, repeatRows=1 if head else 0, hAlign="LEFT")


def _heading(text: str) -> Flowable:
    return _text(text, 10, bold=True, before=8, with_next=True)


def _text(
    text: str, points: float = 9, colour: str = "#000000", *, bold: bool = False, before: float = 0,
    with_next: bool = False,
) -> Flowable:  # fmt: skip
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle(
        "text", fontName=_BOLD if bold else _PLAIN, fontSize=points, leading=points * 1.35, textColor=colour,
        spaceBefore=before, spaceAfter=2, keepWithNext=with_next, splitLongWords=True,
    )  # fmt: skip
    return Paragraph(escape(text, quote=False), style)


def _foot(canvas: Any, document: Any) -> None:
    canvas.setFont(_PLAIN, 8)
    canvas.setFillGray(0.35)
    y = PAGE[1] - MARGIN - HEIGHT - 18
    canvas.drawString(MARGIN, y, f"saliscope. {RESEARCH_USE}")
    canvas.drawRightString(MARGIN + WIDTH, y, f"page {document.page}")


def _png(picture: Image.Image) -> BytesIO:
    from saliscope.figures.overlay import png

    return BytesIO(png(picture))


def _fonts() -> None:
    """Register DejaVu Sans, whose licence lets it be embedded, as it comes with matplotlib."""
    from pathlib import Path

    import matplotlib as mpl
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name, file in ((_PLAIN, "DejaVuSans.ttf"), (_BOLD, "DejaVuSans-Bold.ttf")):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / file)))
