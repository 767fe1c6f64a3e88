"""Panes, text and bars in pixels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saliscope.figures.legend import scale_bar
from saliscope.figures.palette import Palette, alpha, colours
from saliscope.figures.panes import Floats, Pane

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

BLACK, WHITE, GREY, AMBER = (0, 0, 0), (255, 255, 255), (170, 176, 184), (255, 196, 84)
INK = (18, 21, 26)


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return DejaVu Sans, which comes with matplotlib and has the signs of the field; else Pillow's own."""
    import matplotlib as mpl
    from PIL import ImageFont

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    if path.is_file():
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


def blended(pane: Pane, palette: Palette) -> Image.Image:
    """Return the pane's image under its heat."""
    from PIL import Image

    a = alpha(pane.heat, palette)
    shown = a > 0
    a, picture = a[shown][:, None], pane.base.copy()
    mixed = picture[shown] * (1 - a) + colours(pane.heat[shown], palette) * a
    picture[shown] = np.clip(np.round(mixed), 0, 255).astype(np.uint8)
    return Image.fromarray(picture)


def heat_layer(heat: Floats, palette: Palette) -> Image.Image:
    """Return the heat alone, RGBA, opaque at the scale's end: for a page that sets the opacity itself."""
    from PIL import Image

    a = np.round(255 * alpha(heat, palette, most=1.0)).astype(np.uint8)
    layer = np.zeros((*heat.shape, 4), np.uint8)
    shown = a > 0
    layer[shown, :3], layer[..., 3] = colours(heat[shown], palette), a
    return Image.fromarray(layer)


def annotated(pane: Pane, palette: Palette, unit: str, em: int) -> Image.Image:
    """Return the pane with heat, outlines, region numbers, letters and scale bar; `em` is the height of its text."""
    from PIL import ImageDraw

    picture = blended(pane, palette)
    on = ImageDraw.Draw(picture)
    thin = max(1, round(em / 9))
    for line in pane.outlines:
        points = [(float(x - 0.5), float(y - 0.5)) for x, y in line]
        on.line(points, fill=BLACK, width=thin + 2, joint="curve")
        on.line(points, fill=WHITE, width=thin, joint="curve")
    for x, y, text in pane.marks:
        haloed(on, (x, y), text, em, anchor="lt" if pane.columns > 1 else "mm")
    w, h = pane.size
    if pane.letters is not None:
        top, right, bottom, left = pane.letters
        gap = em // 3
        places = ((w / 2, gap, "mt"), (w - gap, h / 2, "rm"), (w / 2, h - gap, "mb"), (gap, h / 2, "lm"))
        for (x, y, anchor), text in zip(places, (top, right, bottom, left), strict=True):
            haloed(on, (x, y), text, em, AMBER, anchor)
    _bar(on, pane, unit, em)
    return picture


def haloed(
    on: ImageDraw.ImageDraw, at: tuple[float, float], text: str, em: int,
    fill: tuple[int, int, int] = WHITE, anchor: str = "mm",
) -> None:  # fmt: skip
    """Draw text that can be read on any image."""
    on.text(at, text, fill=fill, font=font(em), anchor=anchor, stroke_width=max(1, em // 8), stroke_fill=BLACK)


def _bar(on: ImageDraw.ImageDraw, pane: Pane, unit: str, em: int) -> None:
    w, h = pane.size
    bar = scale_bar(pane.step, w // pane.columns, unit)
    if bar is None:
        return
    length, text = bar
    x, y, thick = em // 2, h - em // 2, max(2, em // 6)
    on.rectangle((x - 1, y - thick - 1, x + round(length), y + 1), fill=BLACK)
    on.rectangle((x, y - thick, x + round(length) - 1, y), fill=WHITE)
    haloed(on, (x, y - thick - em // 3), text, max(9, round(em * 0.8)), anchor="lb")


def wrapped(text: str, em: int, width: int) -> list[str]:
    """Return text broken into lines of at most `width` pixels; a word that is longer is broken too."""
    lines, now = [], ""
    for word in text.split():
        trial = f"{now} {word}".strip()
        if font(em).getlength(trial) <= width:
            now = trial
            continue
        if now:
            lines.append(now)
        now = word
        while font(em).getlength(now) > width and len(now) > 1:
            fits = max(1, next(n for n in range(len(now), 0, -1) if n == 1 or font(em).getlength(now[:n]) <= width))
            lines.append(now[:fits])
            now = now[fits:]
    return [*lines, now] if now else lines
