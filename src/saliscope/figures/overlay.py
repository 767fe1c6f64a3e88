"""One map over its image as a picture that can be read without the page."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from saliscope.core.image import MedicalImage
from saliscope.figures.draw import AMBER, BLACK, GREY, INK, WHITE, annotated, font, haloed, wrapped
from saliscope.figures.legend import facts, ramp, unknown
from saliscope.figures.palette import table
from saliscope.figures.panes import Pane
from saliscope.figures.planes import cuts, montage, profile, stacked, views
from saliscope.figures.reading import Reading
from saliscope.figures.wording import RESEARCH_USE

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

#: A line of text with its colour and size.
Written = tuple[str, tuple[int, int, int], int]
SCORE = "Explains the model's score. "
#: The level of PNG compression, and the lower one of pictures of more pixels than `LARGE`: higher ones cost more time
#: than they save bytes.
LEVEL, LOWER, LARGE = 3, 1, 4_000_000
#: What is written across a picture that has no positive evidence to show.
EMPTY = {
    "zero": "no evidence",
    "constant": "no evidence",
    "not finite": "no evidence",
    "no positive evidence": "no positive evidence",
}


def overlay(image: MedicalImage, reading: Reading, most: int | None = None) -> Image.Image:
    """Return the picture (RGB): image, heat, outlines and legend.

    A picture keeps its source pixels, unless they are not square or few, or more than `most` along a side; the legend
    says when they were resampled.
    """
    from PIL import Image

    panes = views(image, reading, most)
    em = max(13, round(max(panes[0].size) / 55)) if len(panes) == 1 else 14
    parts = [drawn(panes, reading, image, em)]
    if image.geometry.ndim == 3:
        tiles = montage(image, reading, parts[0].width)
        parts += [titled(tiles, reading, image, em)] if tiles else []
        parts.append(_chart(reading, image, parts[0].width, em * 9, em))
    width = max(p.width for p in parts)
    legend = legend_panel(image, reading, panes[0], em, em * 24)
    canvas = Image.new("RGB", (width + legend.width, max(sum(p.height for p in parts), legend.height)), BLACK)
    y = 0
    for part in parts:
        canvas.paste(part, (0, y))
        y += part.height
    canvas.paste(INK, (width, 0, canvas.width, canvas.height))
    canvas.paste(legend, (width, 0))
    return canvas


def overlay_png(image: MedicalImage, reading: Reading) -> bytes:
    """Return the overlay as the bytes of a PNG, the same for the same map, with no text chunk inside."""
    return png(overlay(image, reading))


def png(picture: Image.Image) -> bytes:
    """Return a picture as PNG, declared sRGB, with nothing else said inside."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add(b"sRGB", b"\x00")
    out = BytesIO()
    level = LOWER if picture.width * picture.height > LARGE else LEVEL
    picture.save(out, format="PNG", compress_level=level, pnginfo=info)
    return out.getvalue()


def drawn(panes: list[Pane], reading: Reading, image: MedicalImage, em: int) -> Image.Image:
    """Return the panes beside each other; those of few slices one above the other beside the first."""
    pictures = [titled(p, reading, image, em) for p in panes]
    if stacked(panes):
        pictures = [pictures[0], _joined(pictures[1:], em, down=True)]
    return _joined(pictures, em)


def _joined(pictures: list[Image.Image], gap: int, down: bool = False) -> Image.Image:
    from PIL import Image

    along, across = ([p.height for p in pictures], [p.width for p in pictures])
    if not down:
        along, across = across, along
    size = (sum(along) + gap * (len(pictures) - 1), max(across))
    canvas = Image.new("RGB", size[::-1] if down else size, BLACK)
    at = 0
    for picture, length in zip(pictures, along, strict=True):
        canvas.paste(picture, (0, at) if down else (at, 0))
        at += length + gap
    return canvas


def titled(pane: Pane, reading: Reading, image: MedicalImage, em: int) -> Image.Image:
    """Return a pane drawn below its title, marked where there is no evidence to show."""
    from PIL import Image, ImageDraw

    drawn = annotated(pane, reading.scale.palette, image.geometry.unit, em)
    if reading.scale.state != "shown" and pane.columns == 1:
        big = min(round(em * 1.4), round(drawn.width / 13))
        haloed(ImageDraw.Draw(drawn), (drawn.width / 2, em * 2 + big), EMPTY[reading.scale.state], big, AMBER)
    if not pane.title:
        return drawn
    room = round(em * 1.6)
    canvas = Image.new("RGB", (drawn.width, drawn.height + room), BLACK)
    ImageDraw.Draw(canvas).text((em // 3, room // 2), pane.title, fill=GREY, font=font(em - 1), anchor="lm")
    canvas.paste(drawn, (0, room))
    return canvas


def legend_panel(image: MedicalImage, reading: Reading, pane: Pane, em: int, width: int) -> Image.Image:
    """Return what stands beside a picture: colour bar, how the map was made, and what it does not say."""
    from PIL import ImageDraw

    inner = width - 2 * em
    lines: list[Written] = []
    for name, text in facts(reading):
        lines.append((name, GREY, round(em * 0.8)))
        lines += [(line, WHITE, em) for line in wrapped(text, em, inner)]
        lines.append(("", GREY, em // 3))
    said = reading.sentences[0] if reading.scale.drawn else ""
    lines += [(line, WHITE, em) for line in wrapped(said, em, inner)]
    lines.append(("", GREY, em // 2))
    notes = [*unknown(image.geometry), pane.note]
    lines += [(line, GREY, round(em * 0.9)) for n in notes if n for line in wrapped(n, round(em * 0.9), inner)]
    score = "Explains nothing: a control map. " if reading.explanation.traits.family == "control" else SCORE
    always = f"{score}Does not show where disease is."
    lines += [(line, GREY, round(em * 0.9)) for line in wrapped(always, round(em * 0.9), inner)]
    warning = reading.explanation.provenance.warning
    lines += [(line, AMBER, em) for text in (warning, RESEARCH_USE) for line in wrapped(text, em, inner)]
    bar = round(em * 3.2) if reading.scale.drawn else 0
    picture = written(lines, em, width, bar)
    if bar:
        _colour_bar(ImageDraw.Draw(picture), reading, em, inner)
    return picture


def written(lines: Sequence[Written], em: int, width: int, above: int = 0) -> Image.Image:
    """Return lines of (text, colour, size) as a panel, with so many pixels left free above them."""
    from PIL import Image, ImageDraw

    height = em + above + sum(round(size * 1.35) for _, _, size in lines) + em
    picture = Image.new("RGB", (width, height), INK)
    on = ImageDraw.Draw(picture)
    y = em + above
    for text, colour, size in lines:
        on.text((em, y), text, fill=colour, font=font(max(8, size)))
        y += round(size * 1.35)
    return picture


def _colour_bar(on: ImageDraw.ImageDraw, reading: Reading, em: int, width: int) -> None:
    for i, (_, colour) in enumerate(ramp(reading.scale.palette, width)):
        on.line((em + i, em, em + i, em * 2), fill=colour)
    low, high = reading.scale.ends
    small = font(max(8, round(em * 0.8)))
    on.text((em, em * 2 + em // 4), f"{low:.3g}", fill=WHITE, font=small)
    on.text((em + width, em * 2 + em // 4), f"{high:.3g}", fill=WHITE, font=small, anchor="ra")
    if low < 0:
        on.text((em + width // 2, em * 2 + em // 4), "0", fill=WHITE, font=small, anchor="ma")


def _chart(reading: Reading, image: MedicalImage, width: int, height: int, em: int) -> Image.Image:
    """Return the slice profile: bars up for positive and down for negative attribution."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), BLACK)
    on = ImageDraw.Draw(picture)
    positive, negative = profile(reading, image.geometry)
    cut = cuts(image.geometry)[0]
    on.text((em // 3, em // 3), f"Attribution by {cut.name.lower()} slice", fill=GREY, font=font(em - 1))
    red, blue = (tuple(int(c) for c in table(reading.scale.palette)[i]) for i in (440, 70))
    most, n, room = float(positive.max() + negative.max()), len(positive), height - em * 4
    scale = room / most if most else 0.0
    zero = em * 2 + round(float(positive.max()) * scale)
    for i, (up, down) in enumerate(zip(positive, negative, strict=True)):
        left, right = em + (width - 2 * em) * i / n, em + (width - 2 * em) * (i + 1) / n - 1
        if up > 0:
            on.rectangle((left, zero - float(up) * scale, max(left, right), zero), fill=red)
        if down > 0:
            on.rectangle((left, zero, max(left, right), zero + float(down) * scale), fill=blue)
    on.line((em, zero, width - em, zero), fill=GREY)
    for i in {0, n // 2, n - 1}:
        x = em + (width - 2 * em) * (i + 0.5) / n
        on.text((x, height - em // 2), str(i + 1), fill=GREY, font=font(em - 2), anchor="mb")
    return picture
