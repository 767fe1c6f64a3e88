"""Panes as SVG: the image once, the heat over it as a layer of its own, lines and letters that stay sharp."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from saliscope.figures.draw import heat_layer
from saliscope.figures.legend import ramp, scale_bar
from saliscope.figures.overlay import png
from saliscope.figures.palette import Palette, table
from saliscope.figures.panes import Bytes, Floats, Pane

if TYPE_CHECKING:
    from PIL import Image


def data_uri(picture: Image.Image) -> str:
    """Return a picture as a data URI, so that a page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode("ascii")


class Pictures:
    """The images of a page by digest: each is written once, however many maps lie over it."""

    def __init__(self) -> None:
        self.definitions: dict[str, str] = {}

    def use(self, base: Bytes, size: tuple[int, int]) -> str:
        """Return the SVG that shows an image (H, W, 3) in a size (width, height)."""
        from PIL import Image

        name = "i" + hashlib.sha256(repr((base.shape, size)).encode() + base.tobytes()).hexdigest()[:16]
        if name not in self.definitions:
            grey = bool((base == base[..., :1]).all())
            picture = Image.fromarray(np.ascontiguousarray(base[..., 0] if grey else base))
            self.definitions[name] = f'<image id="{name}" {_stretched(*size)} href="{data_uri(picture)}"/>'
        return f'<use href="#{name}"/>'


def figure(pane: Pane, pictures: Pictures, palette: Palette, unit: str, what: str, heat: bool = True) -> str:
    """Return a pane as one SVG; with `heat` false the plain image with its letters and scale bar."""
    w, h = pane.size
    em = max(11.0, max(w, h) / pane.columns / (38 if pane.columns == 1 else 14))
    parts = [f'<svg class="pane" viewBox="0 0 {w} {h}" role="img" aria-label={quoteattr(what)}>']
    base, drawn = pane.own or (pane.base, pane.heat)
    parts.append(pictures.use(base, (w, h)))
    if heat and drawn.any():
        parts.append(f'<image class="heat" {_stretched(w, h)} href="{data_uri(heat_layer(drawn, palette))}"/>')
    if heat:
        parts += ['<g class="lines">', *_lines(pane, em), "</g>"]
    if pane.columns > 1:
        parts += [_text(x + em * 0.2, y + em * 0.6, t, em, "start") for x, y, t in pane.marks]
    if pane.letters is not None:
        top, right, bottom, left = pane.letters
        parts += [
            _text(w / 2, em * 0.8, top, em, "middle", "letter"),
            _text(w - em * 0.4, h / 2, right, em, "end", "letter"),
            _text(w / 2, h - em * 0.7, bottom, em, "middle", "letter"),
            _text(em * 0.4, h / 2, left, em, "start", "letter"),
        ]
    bar = scale_bar(pane.step, w // pane.columns, unit)
    if bar is not None:
        place = f'x="{em * 0.5:.1f}" y="{h - em * 0.65:.1f}" width="{bar[0]:.2f}" height="{em * 0.2:.1f}"'
        parts += [f'<rect class="bar" {place}/>', _text(em * 0.5, h - em * 1.3, bar[1], em * 0.85, "start")]
    return "".join([*parts, "</svg>"])


def _stretched(width: int, height: int) -> str:
    return f'width="{width}" height="{height}" preserveAspectRatio="none"'


def _lines(pane: Pane, em: float) -> list[str]:
    """Return the outlines, white on black so that they are seen on any image, and the regions' numbers."""
    drawn = []
    for line in pane.outlines:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
        for name, thick in (("under", 0.24), ("over", 0.1)):
            drawn.append(f'<path class="{name}" stroke-width="{em * thick:.2f}" d="{path}"/>')
    if pane.columns == 1:
        drawn += [_text(x, y, t, em, "middle") for x, y, t in pane.marks]
    return drawn


def colour_bar(palette: Palette, low: float, high: float) -> str:
    """Return the colour bar with its ends, and zero where it is inside, written below."""
    steps = [f'offset="{i / 64:.4f}" stop-color="rgb{rgb}"' for i, (_, rgb) in enumerate(ramp(palette, 65))]
    stops = "".join(f"<stop {step}/>" for step in steps)
    zero = '<text x="160" y="32" text-anchor="middle">0</text>' if low < 0 else ""
    return (
        f'<svg class="colourbar" viewBox="0 0 320 36" role="img" aria-label="colour bar"><defs>'
        f'<linearGradient id="ramp-{palette}">{stops}</linearGradient></defs>'
        f'<rect width="320" height="14" fill="url(#ramp-{palette})"/>'
        f'<text x="0" y="32">{low:.3g}</text>{zero}<text x="320" y="32" text-anchor="end">{high:.3g}</text></svg>'
    )


def profile_chart(positive: Floats, negative: Floats, palette: Palette, ends: tuple[str, str], name: str) -> str:
    """Return attribution per slice as bars: up for positive, down for negative; `ends` are the patient's letters."""
    up, down = float(positive.max()), float(negative.max())
    scale = 70.0 / (up + down) if up + down else 0.0
    zero, width = 8 + up * scale, 600 / len(positive)
    red, blue = (",".join(str(c) for c in table(palette)[i]) for i in (440, 70))
    bars = []
    for i, pair in enumerate(zip(positive, negative, strict=True)):
        for value, y, colour in ((pair[0], zero - pair[0] * scale, red), (pair[1], zero, blue)):
            place = f'x="{i * width:.2f}" y="{y:.2f}" width="{max(width - 0.6, 0.4):.2f}" height="{value * scale:.2f}"'
            title = f"<title>slice {i + 1}: {value:.1%}</title>"
            bars += [f'<rect {place} fill="rgb({colour})">{title}</rect>'] if value * scale > 0.05 else []
    low, high = (f" ({escape(e)})" if e else "" for e in ends)
    what = quoteattr(f"attribution by {name.lower()} slice")
    return (
        f'<svg class="profile" viewBox="0 0 600 104" role="img" aria-label={what}>{"".join(bars)}'
        f'<line x1="0" x2="600" y1="{zero:.2f}" y2="{zero:.2f}"/><text x="0" y="98">1{low}</text>'
        f'<text x="600" y="98" text-anchor="end">{len(positive)}{high}</text></svg>'
    )


def _text(x: float, y: float, text: str, em: float, anchor: str, kind: str = "mark") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{em:.1f}" stroke-width="{em / 5:.1f}" '
        f'text-anchor="{anchor}" dominant-baseline="central">{escape(text)}</text>'
    )
