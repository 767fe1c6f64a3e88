"""What stands beside every picture: how it was made and how to read it."""

from __future__ import annotations

from saliscope.core.geometry import Geometry
from saliscope.figures.palette import Palette, table
from saliscope.figures.reading import Reading
from saliscope.figures.regions import SHARE, percent
from saliscope.figures.scale import WHY_EMPTY
from saliscope.figures.wording import cells, quantity, resolution

#: Lengths of scale bars, in millimetres.
BARS = tuple(m * 10.0**e for e in range(-3, 4) for m in (1, 2, 5))


def facts(reading: Reading) -> list[tuple[str, str]]:
    """Return what must be known to read the map, as (name, text)."""
    e = reading.explanation
    p = e.provenance
    lines = [
        ("Target", e.target),
        ("Method", p.method + (" (control)" if e.traits.family == "control" else "")),
        ("Network", p.model),
        ("Prediction", e.prediction.sentence(e.target)),
    ]
    if p.layer:
        lines.append(("Layer", p.layer + (f" ({p.layer_reason})" if p.layer_reason else "")))
    lines += [
        ("Map grid", cells(e.geometry)),
        ("Nothing finer than", resolution(e)),
        ("Colours", colours_sentence(reading)),
    ]
    if reading.focus is not None and reading.focus.regions:
        lines.append(("Outline", outline_sentence(reading)))
    return lines


def colours_sentence(reading: Reading) -> str:
    """Return what the colours mean."""
    if not reading.scale.drawn:
        return WHY_EMPTY[reading.scale.state]
    low, high = reading.scale.ends
    return f"{low:.3g} to {high:.3g}, {reading.scale.mode}; transparent near zero"


def outline_sentence(reading: Reading) -> str:
    """Return what is inside the outlines."""
    held = reading.focus.held if reading.focus else SHARE
    much = "half" if held < SHARE + 0.05 else percent(held)
    crumbs = reading.focus.crumbs if reading.focus else 0
    rest = f"; {crumbs:,} smaller {'speck is' if crumbs == 1 else 'specks are'} not outlined" if crumbs else ""
    return f"the smallest area that holds {much} of the {quantity(reading.explanation)}{rest}"


def scale_bar(step: float, width: int, unit: str) -> tuple[float, str] | None:
    """Return (pixels, text) of a bar of about a fifth of the width; `step` is one pixel in mm; None if not known."""
    if unit != "mm":
        return None
    length = max((b for b in BARS if b / step <= width / 4), default=BARS[0])
    return length / step, f"{length:g} mm"


def unknown(geometry: Geometry) -> list[str]:
    """Return what is not known of the image's place, to be written where it would stand."""
    said = [] if geometry.letters else ["orientation unknown"]
    return said + ([] if geometry.unit == "mm" else ["spacing unknown"])


def ramp(palette: Palette, steps: int = 256) -> list[tuple[float, tuple[int, int, int]]]:
    """Return (t, colour) along the colour bar, from its low end to its high end."""
    low = -1.0 if palette == "diverging" else 0.0
    ts = [low + (1 - low) * i / (steps - 1) for i in range(steps)]
    colours = table(palette)
    return [(t, tuple(int(c) for c in colours[round((t + 1) * 255)])) for t in ts]  # type: ignore[misc]
