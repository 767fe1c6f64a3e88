"""Maps beside lesion masks and boxes of opacities, and beside maps that know less: rows of a table."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import card_real_breast as breast
import card_real_chest as chest
import chest_nih
import numpy as np
import numpy.typing as npt
from card_real_audits import made
from card_real_rows import NAN, MapRow

from saliscope import load
from saliscope.core.image import MedicalImage
from saliscope.core.metric import OfPlace
from saliscope.core.protocols import Method
from saliscope.core.score import Score, Undefined
from saliscope.core.target import LogitTarget
from saliscope.metrics.localisation.auprc import AUPRC
from saliscope.metrics.localisation.auroc import AUROC
from saliscope.metrics.localisation.iou import IoU
from saliscope.metrics.localisation.pointing_game import PointingGame
from saliscope.metrics.localisation.relevance_mass import RelevanceMass
from saliscope.metrics.remade import maps_of
from saliscope.model.network import Network
from saliscope.model.randomised import randomised
from saliscope.model.view import View
from saliscope.trust.auditing.material import Item
from saliscope.trust.regions.onto import onto

Mask = npt.NDArray[np.bool_]
#: Methods on all pictures (of sonograms the first by lot), and those that take long on some.
QUICK, SLOW = ("grad-cam", "layercam", "lrp"), ("integrated-gradients", "smoothgrad", "occlusion")
PICTURES, FEW = 90, 16
CONTROLS, MEAN = ("edges", "centre", "random"), "mean mask"
METRICS: dict[str, OfPlace] = {
    "hit": PointingGame(), "auprc": AUPRC(), "auroc": AUROC(), "mass": RelevanceMass(), "iou": IoU(),
    "iou_area": IoU("area"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outlined:
    """A picture with its outline on its own grid (empty where there is nothing), its group and the label explained."""

    number: int
    image: MedicalImage
    mask: Mask
    group: int
    label: str
    target: LogitTarget
    limit: float | None
    slow: bool


def of_chest(data: Path) -> Iterator[MapRow]:
    """Give the rows of both opacity networks on the held-out radiographs in which opacities were looked for to box."""
    boxes = boxes_of(data / chest.FOLDER)
    patients = list(dict.fromkeys(r.item.patient for r in chest.held_out(data)))
    for name in ("chest-opacity", "chest-opacity-confounded"):
        network, target, limit = chest.asked(name)
        part: list[Outlined] = []
        for number, row in enumerate(chest.held_out(data)):
            own = boxes.get(row.told["image"], [])
            if own or row.told["rsna_class"]:
                image = row.item.image
                group, label = patients.index(row.item.patient), "boxed" if own else "no box"
                slow = bool(own) and name == "chest-opacity" and sum(p.slow for p in part) < FEW
                mask = painted(own, image.geometry.shape)
                part.append(Outlined(number, image, mask, group, label, target, limit, slow))
        yield from rows(network, part)


def boxes_of(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """Return the boxes (x, y, width, height) of opacities by picture, as shares of it."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with (folder / "expert_boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["label"] in chest_nih.OPACITIES:
                box = tuple(float(row[k]) / chest_nih.BOX_FRAME for k in ("x", "y", "width", "height"))
                found.setdefault(row["image"], []).append(box)
    return found


def painted(boxes: Sequence[tuple[float, ...]], shape: tuple[int, ...]) -> Mask:
    """Return boxes as a mask (row, column)."""
    mask = np.zeros(shape, bool)
    for x, y, width, height in boxes:
        rows_ = slice(round(y * shape[0]), round((y + height) * shape[0]))
        mask[rows_, round(x * shape[1]) : round((x + width) * shape[1])] = True
    return mask


def of_breast(data: Path) -> Iterator[MapRow]:
    """Give the rows of `breast-ultrasound` on the held-out sonograms, each explained for its own label."""
    network = load(breast.recipe.NAME)
    few = {p.name for p in [p for p in breast.held_out(data) if p.label != "normal"][:FEW]}
    part = [
        Outlined(
            n, replace(p.image, modality="US"), p.lesion, p.group, p.label, breast.target_of(network, p.label), None,
            slow=p.name in few,
        )
        for n, p in enumerate(breast.held_out(data)[:PICTURES])
    ]  # fmt: skip
    yield from rows(network, part)


def rows(network: Network, part: Sequence[Outlined]) -> Iterator[MapRow]:
    """Give the rows of all methods, trained and untrained, and of the controls."""
    views = [network.viewing(p.image) for p in part]
    masks = [onto(p.mask, p.image.geometry, v.geometry) for p, v in zip(part, views, strict=True)]
    called = [_called(network, p, v) for p, v in zip(part, views, strict=True)]
    copies = {"trained": network, "untrained": randomised(network, views[0].tensor, seed=0)}
    settled = {m: made(m, network, Item(part[0].image, 0)) for m in (*QUICK, *SLOW, *CONTROLS)}
    for number, (p, view, mask, yes) in enumerate(zip(part, views, masks, called, strict=True)):
        for source, name in asked(p):
            base = (network.name, source, name, p.number, p.group, p.label, int(yes))
            if not mask.any():
                yield MapRow(*base, 0.0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, "the mask is empty")
                continue
            if name == MEAN:
                others = [m for q, m in zip(part, masks, strict=True) if q.group != p.group and m.any()]
                values = np.mean(others, axis=0)
            else:
                values = _map(copies.get(source, network), settled[name], view, p.target)
            yield measured(base, values, mask)
        if number % 20 == 0:
            sys.stderr.write(f"maps of {network.name}: {number} of {len(part)}\n")


def asked(p: Outlined) -> list[tuple[str, str]]:
    """Return the maps of a picture: where they are from, and by what method."""
    methods = (*QUICK, *(SLOW if p.slow else ()))
    return [(s, m) for s in ("trained", "untrained") for m in methods] + [("control", c) for c in (*CONTROLS, MEAN)]


def measured(base: tuple[str, str, str, int, int, str, int], values: npt.NDArray[np.floating], mask: Mask) -> MapRow:
    """Return what a map says beside a mask."""
    found = {name: metric.of_place(values, mask) for name, metric in METRICS.items()}
    chance = found["iou"].null
    return MapRow(
        *base, float(mask.mean()), **{name: _number(score) for name, score in found.items()},
        by_chance=chance if isinstance(chance, float) else NAN,
        why="; ".join(dict.fromkeys(s.value.reason for s in found.values() if isinstance(s.value, Undefined))),
    )  # fmt: skip


def _number(score: Score) -> float:
    return score.number if score.defined else NAN


def _map(network: Network, method: Method, view: View, target: LogitTarget) -> npt.NDArray[np.float64]:
    with network.opened() as model:
        found: npt.NDArray[np.float64] = maps_of(model, method, view.tensor, target, on_input=True)[0, 0].numpy()
    return found


def _called(network: Network, p: Outlined, view: View) -> bool:
    """Return whether a network calls the label explained: above its limit, or of several the first."""
    with network.opened() as model:
        output = model(view.tensor).detach()
    own = float(p.target.scores(output)[0, 0])
    return own >= p.limit if p.limit is not None else own >= float(output.max())
