"""The kinds of DICOM object that a result is written as, the profiles that choose among them, and what shows where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from saliscope.core.errors import WriteError, did_you_mean

Kind = Literal[
    "secondary-capture", "presentation-state", "structured-report", "segmentation", "parametric-map",
    "parametric-map-16", "pseudo-color", "blending", "pdf",
]  # fmt: skip
Dimensions = Literal["2D", "volume"]
#: Who shows results, in the order of the table. OHIF was looked at (docs/explanation/dicom-in-ohif.md); what is said of
#: the others is read in their own documents.
VIEWERS = ("classic PACS", "OHIF", "Weasis", "3D Slicer")


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object: its SOP classes, what it holds, whether a viewer draws the map from it, and who shows it.

    `series` begins the description of its series, `place` is that of its number among those of one explanation;
    `made_by` names the function that writes it, as module:function below saliscope.write.dicom; `needs` are the kinds
    that it refers to, if they are written too.
    """

    name: Kind
    title: str
    series: str
    sop_classes: tuple[str, ...]
    holds: str
    place: int
    made_by: str
    shown: Mapping[str, str]
    needs: tuple[Kind, ...] = ()
    draws_map: bool = True


@dataclass(frozen=True)
class Profile:
    """A named choice of objects for one kind of reader; `dimensions` are the images that it is for."""

    name: str
    about: str
    kinds: tuple[Kind, ...]
    dimensions: tuple[Dimensions, ...] = ("2D", "volume")


def _shown(pacs: str, ohif: str, weasis: str, slicer: str) -> dict[str, str]:
    return dict(zip(VIEWERS, (pacs, ohif, weasis, slicer), strict=True))


_STORAGE = "1.2.840.10008.5.1.4.1.1"
#: Every kind by name, in the order in which they are made: what refers to others comes after them.
KINDS: Mapping[str, ObjectKind] = {
    k.name: k
    for k in (
        ObjectKind(
            "secondary-capture",
            "Secondary Capture, RGB",
            "Picture",
            (f"{_STORAGE}.7", f"{_STORAGE}.7.4"),
            "the picture: image, heat, outlines and legend, burnt in; of a volume a frame for each plane",
            0,
            "secondary_capture:secondary_capture",
            _shown("shown", "shown", "shown", "loads as a colour image"),
            draws_map=False,  # of a hidden map it shows the reason in its place
        ),
        ObjectKind(
            "parametric-map",
            "Parametric Map, 32-bit float",
            "Map",
            (f"{_STORAGE}.30",),
            "the map: raw signed values on the image's own grid",
            1,
            "parametric_map:parametric_map",
            _shown("stored; few show it", "volumes: coloured overlay, faint", "shown", "by QuantitativeReporting"),
        ),
        ObjectKind(
            "parametric-map-16",
            "Parametric Map, 16-bit",
            "Map, 16-bit",
            (f"{_STORAGE}.30",),
            "the map in steps of 1/65535 of its range, with the slope back to its values",
            2,
            "parametric_map:parametric_map_16",
            _shown("grey, where it is shown", "drawn wrong: send the 32-bit map", "shown", "by QuantitativeReporting"),
        ),
        ObjectKind(
            "segmentation",
            "Segmentation, binary",
            "Regions",
            (f"{_STORAGE}.66.4",),
            "the listed regions: the smallest area that holds half of the positive attribution",
            3,
            "segmentation:segmentation",
            _shown("many show it", "volumes: overlay; of 2D it breaks the page", "shown", "by QuantitativeReporting"),
        ),
        ObjectKind(
            "presentation-state",
            "Grayscale Softcopy Presentation State",
            "Outlines",
            (f"{_STORAGE}.11.1",),
            "the outlines of the regions on the original pixels, nothing burnt in",
            4,
            "presentation_state:presentation_state",
            _shown("outlines on the original", "not shown", "outlines on the original", "not shown"),
        ),
        ObjectKind(
            "pseudo-color",
            "Pseudo-Color Softcopy Presentation State",
            "Colours",
            (f"{_STORAGE}.11.3",),
            "the palette and window in which the parametric map is to be shown",
            5,
            "pseudo_color:pseudo_color",
            _shown("few apply it", "not shown", "applied to the map", "not shown"),
            ("parametric-map-16", "parametric-map"),
        ),
        ObjectKind(
            "blending",
            "Advanced Blending Presentation State",
            "Blending",
            (f"{_STORAGE}.11.8",),
            "image and parametric map, one over the other, with palettes and opacity",
            6,
            "blending:blending",
            _shown("few apply it", "not shown", "not shown", "not shown"),
            ("parametric-map-16", "parametric-map"),
        ),
        ObjectKind(
            "pdf",
            "Encapsulated PDF",
            "Page",
            (f"{_STORAGE}.104.1",),
            "the page: picture, prediction, regions, how it was made, the card's state",
            7,
            "encapsulated_pdf:encapsulated_pdf",
            _shown("most open it", "opens it", "opens it", "not shown"),
            draws_map=False,
        ),
        ObjectKind(
            "structured-report",
            "Comprehensive 3D SR, TID 1500",
            "Report",
            (f"{_STORAGE}.88.34",),
            "prediction, method, regions with their shares, the card's state, and references to the other objects",
            8,
            "structured_report:structured_report",
            _shown("stored; some show it", "outlines with numbers", "listed", "by QuantitativeReporting"),
            ("segmentation", "parametric-map", "parametric-map-16", "secondary-capture"),
            draws_map=False,
        ),
    )
}

PROFILES: Mapping[str, Profile] = {
    p.name: p
    for p in (
        Profile(
            "pacs-basic",
            "what every PACS shows: a picture, outlines on the original, a report",
            ("secondary-capture", "presentation-state", "structured-report"),
        ),
        Profile(
            "ohif-2d",
            "radiographs and ultrasound in OHIF, which shows maps and segmentations of volumes only",
            ("secondary-capture", "structured-report"),
            ("2D",),
        ),
        Profile(
            "ohif-volume",
            "CT and MR in OHIF: map, regions, report",
            ("parametric-map", "segmentation", "structured-report"),
            ("volume",),
        ),
        Profile("weasis", "Weasis: the map with its palette", ("parametric-map", "pseudo-color")),
        Profile("slicer", "3D Slicer: map and regions", ("parametric-map", "segmentation")),
        Profile("archive", "the record: raw values and the report", ("parametric-map", "structured-report")),
    )
}


def chosen(words: str) -> tuple[ObjectKind, ...]:
    """Return the kinds of profiles and kinds joined by "+" ("pacs-basic", "archive+pdf"), in the order of making.

    Raises WriteError for a word that is neither.
    """
    names: set[str] = set()
    for word in words.split("+"):
        if word in PROFILES:
            names |= set(PROFILES[word].kinds)
        elif word in KINDS:
            names.add(word)
        else:
            raise WriteError(
                f"the DICOM profile {word!r}",
                expected="a profile, a kind of object, or several joined by +",
                do=did_you_mean(word, [*PROFILES, *KINDS]),
            )
    return tuple(kind for name, kind in KINDS.items() if name in names)


def refuse_unfit(words: str, dimensions: Dimensions) -> None:
    """Raise WriteError for a profile that is not for such images."""
    for word in words.split("+"):
        profile = PROFILES.get(word)
        if profile is not None and dimensions not in profile.dimensions:
            fitting = [p.name for p in PROFILES.values() if dimensions in p.dimensions]
            raise WriteError(
                f"the profile {word} for {'a volume' if dimensions == 'volume' else 'a single image'}",
                expected=f"{profile.about}",
                do=f"Choose {', '.join(fitting)}",
            )


def what_shows_where(kinds: Sequence[ObjectKind]) -> list[dict[str, str]]:
    """Return a row for each kind: its title, and who shows it."""
    return [{"object": kind.title, **kind.shown} for kind in kinds]
