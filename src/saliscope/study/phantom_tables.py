"""The tables and the record of a set of phantoms: rows for each case, for each effect, and how to make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from math import pi
from platform import python_version
from typing import TYPE_CHECKING, Any

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.phantom.case import Case
from saliscope.phantom.effects.counterfactual import CohortEffects
from saliscope.phantom.effects.reliance import Reliance
from saliscope.phantom.element import Element
from saliscope.phantom.sets import PhantomSet
from saliscope.write import plain

if TYPE_CHECKING:
    from saliscope.model.network import Network

SCHEMA = "1.0"
#: What the pictures depend on.
DRAWN_BY = ("saliscope", "numpy", "scipy", "scikit-image", "pillow")
EFFECT_COLUMNS = (
    "case", "score", "element", "role", "shapley", "share", "removal", "alone", "interaction", "standard_error",
    "total", "score_with_all", "score_with_none", "renderings",
)  # fmt: skip
RELIANCE_COLUMNS = (
    "of", "name", "score", "cases", "share", "share_low", "share_high", "effect", "effect_low", "effect_high",
)  # fmt: skip


def names_of(made: PhantomSet) -> list[str]:
    """Return the names of all elements that a case of the set may have."""
    elements = [*(e for one in made.elements for e in one), *(s.element for s in made.besides), *made.shortcut]
    return list(dict.fromkeys(e.name for e in elements))


def case_columns(made: PhantomSet, geometry: Geometry) -> list[str]:
    """Return the columns of the table of cases: each element has its own, in the unit of the grid."""
    size, length = _units(geometry)
    each = [[n, f"{n}_{size}", f"{n}_{length}", f"{n}_mask"] for n in names_of(made)]
    own = ["case", "number", "seed", "label", "label_name", "image", "elements", "sha256"]
    return [*own, *(column for columns in each for column in columns)]


def case_row(
    case: Case, made: PhantomSet, image: MedicalImage, files: Mapping[str, bytes], masks: Mapping[str, str]
) -> dict[str, Any]:
    """Return the row of a case: which elements are on, how large each is, and where the files lie.

    `sha256` is what a record of an explanation says of the image, by which the two are brought together.

    An element without a place has neither size nor mask. The diameter is that of a disc or ball of the same size.
    """
    size, length = _units(image.geometry)
    row: dict[str, Any] = {
        "case": case.name,
        "number": case.seed - made[0].seed,
        "seed": case.seed,
        "label": case.label,
        "label_name": made.labels[case.label],
        "image": f"images/{next(iter(files)) if len(files) == 1 else case.name}",
        "elements": " ".join(e.name for e in case.elements),
        "sha256": _digest(files),
    }
    on = {e.name for e in case.elements}
    row |= {name: int(name in on) for name in names_of(made)}
    for name, region in case.regions.items():
        ball = 2 * (region.extent / pi) ** 0.5 if image.geometry.ndim == 2 else (6 * region.extent / pi) ** (1 / 3)
        row |= {f"{name}_{size}": _number(region.extent), f"{name}_{length}": _number(ball)}
        row[f"{name}_mask"] = masks[name]
    return row


def effect_rows(effects: CohortEffects) -> Iterator[dict[str, Any]]:
    """Give a row for each case, score and element."""
    for one in effects.each:
        for k, label in enumerate(one.labels):
            for i, element in enumerate(one.elements):
                yield {
                    "case": one.case,
                    "score": label,
                    "element": element,
                    "role": one.roles[i],
                    "shapley": _number(one.shapley[i, k]),
                    "share": _number(one.share[i, k]),
                    "removal": _number(one.removal[i, k]),
                    "alone": _number(one.alone[i, k]),
                    "interaction": _number(one.interaction[i, k]),
                    "standard_error": None if one.error is None else _number(one.error[i, k]),
                    "total": _number(one.total[k]),
                    "score_with_all": _number(one.everything[k]),
                    "score_with_none": _number(one.nothing[k]),
                    "renderings": one.cost.renderings,
                }


def reliance_rows(effects: CohortEffects) -> Iterator[dict[str, Any]]:
    """Give a row for each role and each element, and each score: means over the cases in which it stands."""
    for of, several in (("role", effects.roles), ("element", effects.elements)):
        for r in several:
            yield {"of": of, "name": r.name, "score": r.label, "cases": r.share.cases, **_estimates(r)}


def set_record(
    made: PhantomSet, plan: Mapping[str, Any], kind: str, network: Network | None, effects: CohortEffects | None
) -> dict[str, Any]:
    """Return all that is needed to make a set again, and a digest of it."""
    described = {
        "scene": {"name": made.scene.name, **_fields(made.scene)},
        "elements": {label: [_element(e) for e in one] for label, one in zip(made.labels, made.elements, strict=True)},
        "shortcut": [_element(e) for e in made.shortcut],
        "besides": [{"chance": s.chance, "element": _element(s.element)} for s in made.besides],
        "contamination": made.contamination,
        "background": made.background,
        "count": made.count,
        "seed": made.seed,
        "labels": made.labels,
    }
    record: dict[str, Any] = {
        "schema_version": SCHEMA,
        "research_use": "Research phantoms: drawn pictures, no patients. Not for diagnosis.",
        "set": described,
        "digest": hashlib.sha256(json.dumps(plain(described), sort_keys=True).encode()).hexdigest(),
        "plan": {**plan, "format": kind},
        "versions": {"python": python_version(), **{name: version(name) for name in DRAWN_BY}},
    }
    if network is not None and effects is not None:
        record["model"] = {"name": network.name, "weights_sha256": network.weights_digest()}
        record["cost"] = effects.cost
        record["cases_that_moved_no_score"] = effects.still
    return record


def _element(element: Element) -> dict[str, Any]:
    return {"kind": element.kind, **_fields(element)}


def _fields(one: Any) -> dict[str, Any]:
    return asdict(one)


def _estimates(r: Reliance) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for what, e in (("share", r.share), ("effect", r.effect)):
        ends = (("", e.mean), ("_low", e.low), ("_high", e.high))
        found |= {f"{what}{end}": None if value is None else _number(value) for end, value in ends}
    return found


def _digest(files: Mapping[str, bytes]) -> str:
    """Return the digest that reading the files gives: of the file, or of the digests of all slices."""
    each = sorted(hashlib.sha256(data).hexdigest() for data in files.values())
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


def _number(value: float) -> float:
    """Return a number in as many digits as the network's own arithmetic has."""
    return float(f"{value:.6g}")


def _units(geometry: Geometry) -> tuple[str, str]:
    return f"{'area' if geometry.ndim == 2 else 'volume'}_{geometry.unit}{geometry.ndim}", f"diameter_{geometry.unit}"
