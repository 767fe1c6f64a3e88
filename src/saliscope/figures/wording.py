"""One reading in plain sentences. They speak of the model's score, never of disease."""

from __future__ import annotations

from collections.abc import Sequence

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.figures.regions import CRUMB, SHARE, Focus, centre, percent, size
from saliscope.figures.scale import WHY_EMPTY, Scale
from saliscope.figures.shares import Shares

RESEARCH_USE = "Research use, not for diagnosis."
#: Said of a map without a card, where it goes to others.
UNCHECKED = "No explanation card belongs to this map: whether it may be read was not checked."
#: Said beside every map.
ALWAYS = (
    "This map explains the model's score; it does not show where disease is.",
    "A clean map does not exclude bias that has no location (exposure, noise, scanner).",
)
#: Said in place of the first where a map knows nothing of the model's answer.
CONTROL = (
    "This is a control map: it is made without the model's answer, explains nothing, and is there to compare with."
)
#: Said of a map that barely depends on the network's weights.
UNMOVED = (
    "Maps of this kind were shown to change little when the network's weights are drawn anew: "
    "this may show the image rather than the model."
)
#: Said of a map that is the same for every label.
NO_CLASS = "This map knows no label: it is the same whatever is asked of the model."
#: A share that is worth a sentence.
NOTABLE = 0.05
#: From this negative share on, where the rest of a map lies is the lesser news.
MOSTLY = 0.9


def sentences(
    explanation: Explanation, image: MedicalImage, scale: Scale, focus: Focus | None, shares: Shares | None, whole: bool
) -> tuple[str, ...]:
    """Return what a reader should know of one map, most important first; `whole`: the network saw all of the image."""
    control = explanation.traits.family == "control"
    said = [CONTROL] if control else []
    against = _against(explanation, shares)
    mostly = focus is not None and shares is not None and shares.negative >= MOSTLY
    if against is not None and mostly:
        said.append(f"{against} Only what is left is told of here.")
    if focus is None:
        said.append(WHY_EMPTY[scale.state] if scale.state != "shown" else WHY_EMPTY["zero"])
    else:
        said.append(_focus(explanation, focus, whole))
    if against is not None and not mostly:
        said.append(against)
    if shares is not None:
        said += _shares(explanation, shares)
    if explanation.traits.fails_randomisation:
        said.append(UNMOVED)
    if not (control or explanation.traits.class_discriminative):
        said.append(NO_CLASS)
    said.append(resolution_sentence(explanation, image))
    return (*said, *always(explanation))


def always(explanation: Explanation) -> tuple[str, ...]:
    """Return what is said beside every map of its kind, last."""
    return ALWAYS[1:] if explanation.traits.family == "control" else ALWAYS


def quantity(explanation: Explanation) -> str:
    """Return what the map's values are called."""
    if explanation.traits.family == "control":
        return "control map's positive values"
    if explanation.traits.quantity == "rank":
        return "highest joint ranks"
    return "positive attribution" if explanation.traits.signed else "attribution"


def cells(geometry: Geometry) -> str:
    """Return the size of a grid's cells: "7 × 7 cells of 41 mm"."""
    return f"{' × '.join(map(str, geometry.shape))} cells of {length(geometry.spacing, geometry.unit)}"


def length(size: Sequence[float], unit: str) -> str:
    """Return a size along each axis: "41 mm" where all are equal, else "41 × 20 mm"."""
    steps = [f"{s:.2g}" if s < 10 else f"{s:.0f}" for s in size]
    return f"{steps[0] if len(set(steps)) == 1 else ' × '.join(steps)} {unit}"


def resolution(explanation: Explanation) -> str:
    """Return the least size that the map can show: "32 px", or both ends where parts of it differ."""
    unit, finest, coarsest = explanation.geometry.unit, explanation.finest, explanation.coarsest
    if _alike(finest, coarsest):
        return length(finest, unit)
    return f"{length(finest, unit)} in parts, {length(coarsest, unit)} in others"


def resolution_sentence(explanation: Explanation, image: MedicalImage) -> str:
    """Return how fine a thing the map can show, by what its method tells apart and by its own cells."""
    grid, finest, coarsest = explanation.geometry, explanation.finest, explanation.coarsest
    if not _alike(finest, coarsest):
        return (
            f"Parts of this map cannot show anything finer than about {length(coarsest, grid.unit)}, "
            f"others nothing finer than {length(finest, grid.unit)}."
        )
    if _alike(sorted(image.geometry.spacing), sorted(finest)):
        return f"The map has about one value for each element of the image ({length(finest, grid.unit)})."
    if _alike(grid.spacing, finest, 1.01):
        return f"Cells of this map are {length(finest, grid.unit)} wide: it cannot show anything finer."
    return (
        f"This map cannot show anything finer than about {length(finest, grid.unit)}, "
        f"although it has a value every {length(grid.spacing, grid.unit)}."
    )


def _alike(finer: Sequence[float], coarser: Sequence[float], most: float = 1.5) -> bool:
    return all(c <= most * f for f, c in zip(finer, coarser, strict=True))


def _focus(explanation: Explanation, focus: Focus, whole: bool) -> str:
    if explanation.traits.quantity == "rank":
        return _ranks(explanation, focus)
    much = "Half" if focus.held < SHARE + 0.05 else percent(focus.held)
    what = quantity(explanation)
    area = f"{percent(focus.coverage)} of {'the image' if whole else 'the part of the image that the network saw'}"
    told = "" if explanation.traits.family == "control" else f" for '{explanation.target}'"
    opening = f"{much} of the {what}{told} lies in {area}"
    specks = f"{focus.crumbs:,} smaller {'speck' if focus.crumbs == 1 else 'specks'}"
    if not focus.regions:
        return (
            f"{opening}, scattered over {specks.replace('smaller ', '')}, none of which holds {percent(CRUMB)} of it."
        )
    first, n = focus.regions[0], len(focus.regions)
    count = "one region" if n == 1 else f"{n} regions"
    rest = f" and {specks} ({percent(focus.crumb_share)})" if focus.crumbs else ""
    slices = f", slices {first.slices[0]} to {first.slices[1]} of {first.planes}" if first.slices else ""
    which = "It" if n == 1 and not focus.crumbs else "The region" if n == 1 else "The largest"
    share = "" if which == "It" else f", with {percent(first.share)} of the {what},"
    return (
        f"{opening}, in {count}{rest}. {which}{share} is in the {first.place}{slices}: {size(first)}, {centre(first)}."
    )


def _ranks(explanation: Explanation, focus: Focus) -> str:
    n = len(focus.regions)
    specks = f" and {focus.crumbs:,} specks" if focus.crumbs else ""
    opening = (
        f"The {percent(focus.coverage)} of the image that the methods together rank highest for "
        f"'{explanation.target}' lies in {n} {'region' if n == 1 else 'regions'}{specks}."
    )
    if not focus.regions:
        return opening
    first = focus.regions[0]
    return f"{opening} The strongest is in the {first.place}: {size(first)}, {centre(first)}."


def _against(explanation: Explanation, shares: Shares | None) -> str | None:
    """Return how much of a signed map is negative, where that is worth a sentence."""
    if shares is None or shares.negative < NOTABLE:
        return None
    if not explanation.traits.signed or explanation.traits.family == "control":
        return None
    return (
        f"{percent(shares.negative)} of the attribution, by magnitude, is negative: "
        f"it counts against '{explanation.target}'."
    )


def _shares(explanation: Explanation, shares: Shares) -> list[str]:
    what = quantity(explanation)
    said = []
    if shares.outside_body is not None and shares.outside_body >= NOTABLE:
        said.append(f"{percent(shares.outside_body)} of the {what} lies outside the body.")
    if shares.border is not None and shares.border >= max(0.1, 1.5 * shares.border_area):
        said.append(
            f"{percent(shares.border)} of the {what} lies in the border strip, "
            f"which is {percent(shares.border_area)} of what the network saw."
        )
    if shares.padding >= 0.01:
        said.append(
            f"{percent(shares.padding)} of the {what} lies in padding around the image, where there is no patient."
        )
    return said
