"""What can be drawn, by name: scenes, findings and shortcuts, and sets of cases made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from saliscope.core.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from saliscope.phantom.element import Element
    from saliscope.phantom.scene import Scene
    from saliscope.phantom.sets import PhantomSet

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A class of `saliscope.phantom` by "module:Class", some of its fields, and what it is in a line."""

    address: str
    about: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **fields: Any) -> Any:
        """Return an instance; fields that are given go before those of the table."""
        module, _, name = self.address.partition(":")
        return getattr(import_module(f"saliscope.phantom.{module}"), name)(**{**self.fields, **fields})


def _part(address: str, about: str = "", **fields: Any) -> Part:
    return Part(address, about, MappingProxyType(fields))


@dataclass(frozen=True)
class Finding:
    """What decides the label: the parts of a case of each label, and what a label is called."""

    about: str
    cases: tuple[tuple[Part, ...], ...]
    labels: tuple[str, ...] = ("absent", "present")


@dataclass(frozen=True)
class Setting:
    """A scene, the findings and shortcuts that are natural in it, and what stands in half of its cases of any label.

    The first finding and the first shortcut are those that are taken where none is named; `fitted` are fields of
    shortcuts that differ in this scene from their own.
    """

    scene: Part
    findings: tuple[str, ...]
    shortcuts: tuple[str, ...]
    distractors: tuple[Part, ...] = ()
    fitted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """Return what it is, in a line."""
        return self.scene.about


_NODULE, _MASS = "findings.nodule:Nodule", "findings.mass:Mass"
_BREAST, _WHITE_MATTER = "findings.ultrasound_mass:UltrasoundMass", "findings.white_matter:WhiteMatterLesion"

FINDINGS: Mapping[str, Finding] = {
    "nodule": Finding("a round lesion", ((), (_part(_NODULE),))),
    "tiny": Finding(
        "a lesion smaller than a cell of most class activation maps",
        ((), (_part("findings.nodule:tiny"),)),
    ),
    "two": Finding("two lesions", ((), (_part(_NODULE, name="first"), _part(_NODULE, name="second")))),
    "opacity": Finding("an ill-defined opacity", ((), (_part("findings.opacity:Opacity"),))),
    "effusion": Finding("a pleural effusion", ((), (_part("findings.effusion:Effusion"),))),
    "mass": Finding("a round mass", ((), (_part(_MASS),))),
    "shape": Finding(
        "a mass in every case: its shape decides (oliveira2024)",
        ((_part(_MASS, shape="round"),), (_part(_MASS, shape="spiculated"),)),
        ("round", "spiculated"),
    ),
    "margin": Finding(
        "a mass in the breast of every case: its margin decides",
        ((_part(_BREAST),), (_part(_BREAST, margin="spiculated"),)),
        ("smooth", "spiculated"),
    ),
    "ultrasound-mass": Finding("a mass in the breast", ((), (_part(_BREAST),))),
    "white-matter": Finding("lesions of the white matter", ((), (_part(_WHITE_MATTER),))),
    "white-matter-shape": Finding(
        "lesions of the white matter in every case: their shape decides (oliveira2024)",
        ((_part(_WHITE_MATTER, shape="regular"),), (_part(_WHITE_MATTER, shape="irregular"),)),
        ("regular", "irregular"),
    ),
}

SHORTCUTS: Mapping[str, Part] = {
    "marker": _part("shortcuts.marker:Marker", "a laterality marker: a lead letter in a corner"),
    "text": _part("shortcuts.marker:Words", "a printed word in a corner"),
    "device": _part("shortcuts.device:Device", "a pacemaker, a line, a drain or an electrode"),
    "calipers": _part("shortcuts.calipers:Calipers", "two crosses and a dotted line: somebody measured"),
    "ruler": _part("shortcuts.ruler:Ruler", "a scale along an edge"),
    "collimation": _part("shortcuts.collimation:Collimation", "dark shutters on four sides"),
    "columns": _part("shortcuts.sun:Columns", "two bright columns (sun2023)"),
    "corner": _part("shortcuts.sun:Corner", "a black wedge along the lower edge (sun2023)"),
    "sun-tag": _part("shortcuts.sun:Tag", "a black text in the lower left (sun2023)"),
    "exposure": _part("shortcuts.acquired:Exposure", "another exposure: it has no place"),
    "blur": _part("shortcuts.acquired:Blur", "a less sharp scanner: it has no place"),
    "noise": _part("shortcuts.acquired:Noise", "more noise: it has no place"),
    "resolution": _part("shortcuts.acquired:Resolution", "a coarser detector: it has no place"),
}
EVERYWHERE = ("text", "ruler", "exposure", "blur", "noise", "resolution")


def _lettered(text: str) -> dict[str, dict[str, Any]]:
    """Return marks that can be read in the coarse planes of a volume."""
    return {"marker": {"height": 0.11}, "text": {"text": text, "height": 0.1}}


SCENES: Mapping[str, Setting] = {
    "chest": Setting(
        _part("scenes.chest:ChestRadiograph", "a chest radiograph"),
        findings=("nodule", "tiny", "two", "opacity", "effusion", "mass", "shape"),
        shortcuts=("marker", "device", "collimation", "columns", "corner", "sun-tag", *EVERYWHERE),
        distractors=(
            _part(
                "shortcuts.marker:Marker",
                name="side-marker",
                role="distractor",
                text="L",
                frame="none",
                corner="top-right",
            ),
            _part("shortcuts.device:Device", name="electrode", role="distractor", form="electrode"),
        ),
        fitted={"blur": {"blur_mm": 3.0}, "noise": {"factor": 4.0}},
    ),
    "ultrasound": Setting(
        _part("scenes.ultrasound:BreastUltrasound", "a sonogram of the breast"),
        findings=("ultrasound-mass", "margin"),
        shortcuts=("calipers", "marker", *EVERYWHERE),
        distractors=(_part("shortcuts.ruler:Ruler", name="depth-scale", role="distractor"),),
        fitted={
            "device": {"form": "line"},
            "ruler": {"edge": "bottom"},
            "exposure": {"factor": 1.5},
            "blur": {"blur_mm": 0.3},
        },
    ),
    "brain": Setting(
        _part("scenes.brain:BrainMR", "a brain in magnetic resonance"),
        findings=("white-matter", "white-matter-shape"),
        shortcuts=("marker", *EVERYWHERE),
        fitted={"device": {"form": "line"}, "blur": {"blur_mm": 2.0}, **_lettered("T1")},
    ),
    "body-ct": Setting(
        _part("scenes.body_ct:BodyCT", "a body in computed tomography"),
        findings=("nodule",),
        shortcuts=("device", "marker", *EVERYWHERE),
        distractors=(_part("shortcuts.device:Device", name="venous-line", role="distractor", form="line"),),
        # Hounsfield units are calibrated: a dose is seen in the noise only. A volume this coarse needs a large nodule.
        fitted={
            "nodule": {"diameter_mm": (24.0, 36.0), "contrast": (0.7, 1.0)},
            "blur": {"blur_mm": 4.0},
            "exposure": {"factor": 0.3},
            **_lettered("CE"),
        },
    ),
    "field": Setting(
        _part("scenes.field:Field", "grain without anatomy, for quick tests"),
        findings=("nodule",),
        shortcuts=("marker", "columns", "corner", "exposure", "noise"),
    ),
}


def setting(scene: str) -> Setting:
    """Return a scene with what is natural in it; raises InputError for a name that is not there."""
    return _named("scene", SCENES, scene)


def make_scene(scene: str, size: int | None = None) -> Scene:
    """Return a scene by name, `size` columns wide over the same extent; raises InputError for an unknown name."""
    usual: Scene = setting(scene).scene.make()
    found: Scene = usual if size is None else _sized(usual, size)
    return found


def make_shortcut(scene: str, shortcut: str) -> Element:
    """Return a shortcut by name, fitted to a scene; raises InputError for an unknown name."""
    element: Element = _named("shortcut", SHORTCUTS, shortcut).make(**setting(scene).fitted.get(shortcut, {}))
    return element


def phantom_set(
    scene: str = "chest",
    finding: str | None = None,
    shortcut: str | None = None,
    *,
    contamination: float = 0.0,
    background: float = 0.0,
    count: int = 100,
    seed: int = 0,
    size: int | None = None,
    distractors: bool = True,
    suppressor: bool = False,
) -> PhantomSet:
    """Return a set of cases by names; without a finding, the first that is natural in the scene.

    The shortcut, if any, stands in a share `contamination` of the cases of the last label and `background` of the
    others. With `suppressor` the exposure varies from case to case, whatever the label, and a step wedge shows it
    (haufe2014). Raises InputError for unknown names and shares outside 0 to 1.
    """
    from saliscope.phantom.sets import PhantomSet, Sometimes

    where = setting(scene)
    name = where.findings[0] if finding is None else finding
    what = _named("finding", FINDINGS, name)
    besides = [Sometimes(part.make()) for part in where.distractors if distractors]
    if suppressor:
        varied = Part(
            "shortcuts.acquired:Exposure", fields={"name": "exposures", "role": "distractor", "factor": (0.75, 1.3)}
        )
        besides += [Sometimes(part.make(), 1.0) for part in (varied, Part("shortcuts.wedge:Wedge"))]
    return PhantomSet(
        make_scene(scene, size),
        tuple(tuple(part.make(**where.fitted.get(name, {})) for part in parts) for parts in what.cases),
        () if shortcut is None else (make_shortcut(scene, shortcut),),
        contamination,
        background,
        tuple(besides),
        count,
        seed,
        what.labels,
    )


def _named(kind: str, table: Mapping[str, T], name: str) -> T:
    if name not in table:
        raise InputError(f"{kind} {name!r}", expected=", ".join(table), do=did_you_mean(name, table))
    return table[name]


def _sized(grid: Any, size: int) -> Any:
    """Return the scene with so many columns over the same millimetres."""
    if isinstance(getattr(grid, "size", None), int):
        return replace(grid, size=size)
    field_name = "shape" if hasattr(grid, "shape") else "size"
    shape = getattr(grid, field_name)
    larger = size / shape[-1]
    fitted = {field_name: tuple(max(1, round(n * larger)) for n in shape), "spacing_mm": grid.spacing_mm / larger}
    return replace(grid, **fitted)
