"""The chest radiographs of the page on real data: cohorts of the fold that no network saw, audits, cards, lungs hidden.

An auditor has pictures, patients, the labels that the network was made for, and every other column of the table as it
is: nothing says which of them matters.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import chest_nih
import numpy as np
from card_real_audits import Lazily, audit_of, cards, material, metadata_rows, rows_of_audit
from card_real_rows import AuditRow, CardRow, OrganRow, PowerRow

from saliscope import load
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.model.randomised import randomised
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.read import read
from saliscope.trust.audit_card import Finding
from saliscope.trust.auditing.material import Extent, Item
from saliscope.trust.auditing.shortcuts import metadata
from saliscope.trust.checks.region import FILLS
from saliscope.trust.insertions.audit import Planted, planted
from saliscope.trust.insertions.insertion import suited
from saliscope.trust.interventions.organ import ask_organ_tests

FOLDER = "chest-xray-nih"
#: By what the pictures of a cohort are parted: the column of the label, the value where there is none being left out.
TEXT, RSNA, VIEW, NOTHING = "text-mined finding", "radiologists' class", "view", "no label"
#: Each network with the labels that it was made for; the audit by these is the one that counts.
NETWORKS = {"chest-opacity-confounded": TEXT, "chest-opacity": RSNA, "chest-view": VIEW}
#: Further ways to part the pictures, for the columns alone.
ALSO = (TEXT, RSNA, NOTHING)
#: As audits do by default, but for fewer pictures in which things are planted; scores and columns take all.
EXTENT = Extent(planted=20)
CARDS, LUNGS, SEED = 16, 40, 0
#: Networks with weights drawn anew; sizes of smaller cohorts, and how many are drawn of each, of these networks.
UNTRAINED, SIZES, DRAWS = 8, (60, 120), 5
SMALLER = ("chest-opacity-confounded",)


@dataclass(frozen=True)
class Row:
    """One radiograph of the fold with its row of the table and whether opacities were looked for and boxed."""

    item: Item
    told: Mapping[str, str]


@cache
def held_out(data: Path) -> tuple[Row, ...]:
    """Return the radiographs of the fold that no network saw, by lot, those with a radiologists' class first.

    So the first ones are the same for all networks. A JPEG does not say that it is a radiograph.
    """
    folder, found = data / FOLDER, []
    with (folder / "labels.csv").open(newline="") as file:
        for told in csv.DictReader(file):
            if chest_nih.fold(int(told["patient_id"])) == chest_nih.HELD_OUT:
                image = replace(read(folder / "images-256" / f"{told['image']}.jpg"), modality="CR")
                found.append(Row(Item(image, int(told["patient_id"])), told))
    by_lot = [found[i] for i in np.random.default_rng(SEED).permutation(len(found))]
    return tuple(sorted(by_lot, key=lambda row: not row.told["rsna_class"]))


def columns(told: Mapping[str, str], by: str) -> dict[str, str]:
    """Return the columns of a radiograph, its label by one of them."""
    own = dict(told)
    label = {TEXT: "No Finding" if told["finding_labels"] == "No Finding" else "finding", NOTHING: ""}
    label |= {RSNA: told["rsna_class"], VIEW: told["view"]}
    del own["image"], own["patient_id"]
    return {**own, TEXT: label[TEXT], "label": label[by]}


def cohort(data: Path, by: str) -> list[Item]:
    """Return the radiographs that have a label of one kind, with all columns but what is the label itself."""
    same = {TEXT: (TEXT,), RSNA: ("rsna_class",), VIEW: ("view",), NOTHING: ()}[by]
    items = []
    for row in held_out(data):
        own = columns(row.told, by)
        if own["label"] or by == NOTHING:
            items.append(replace(row.item, columns={k: v for k, v in own.items() if k not in same}))
    return items


def asked(name: str) -> tuple[Network, LogitTarget, float]:
    """Return a network, the target of its second label, and the logit from which on it calls that label."""
    network = load(name)
    p = network.thresholds[1] or 0.5
    return network, LogitTarget((1,), (network.labels[1],), "binary"), float(np.log(p / (1 - p)))


@cache
def planted_in(data: Path) -> tuple[Planted, ...]:
    """Return the first radiographs with each thing planted: the networks see them alike."""
    images = [row.item.image for row in held_out(data)[: EXTENT.planted]]
    viewing = load("chest-view").viewing
    return tuple(planted(images, viewing, one) for one in suited(images[0]))


@cache
def found_in(data: Path) -> Lazily:
    """Return what simple means find, by the number of the radiograph in the fold."""
    return Lazily([row.item for row in held_out(data)], load("chest-view"))


#: What the columns say of a network, once it is known.
FINDINGS: dict[str, tuple[Finding, ...]] = {}


def audited_of(data: Path, name: str, method: str) -> tuple[list[AuditRow], list[CardRow]]:
    """Return the rows of the audit of a network by its own labels, and of the cards of some pictures."""
    network, target, limit = asked(name)
    items = cohort(data, NETWORKS[name])
    own = material(items, network, method, target, limit, EXTENT)
    done = audit_of(own, method, planted_in(data), found_in(data), FINDINGS.get(name))
    FINDINGS[name] = done.findings
    rows = list(rows_of_audit(name, NETWORKS[name], method, done))
    return rows, list(cards(items, range(CARDS), network, target, limit, method, done))


def other_columns(data: Path) -> Iterator[AuditRow]:
    """Give what the columns say where pictures are parted by other labels, and of networks that learnt nothing."""
    for name, own in NETWORKS.items():
        network, target, limit = asked(name)
        for by in (b for b in ALSO if b != own):
            m = material(cohort(data, by), network, "grad-cam", target, limit, EXTENT)
            yield from metadata_rows(name, by, metadata(m))
        items = cohort(data, own)
        x = network.viewing(items[0].image).tensor
        for seed in range(UNTRAINED) if name in SMALLER else ():
            m = material(items, randomised(network, x, seed=seed), "grad-cam", target, limit, EXTENT)
            yield from metadata_rows(f"{name}, untrained {seed}", own, metadata(m))
        sys.stderr.write(f"{name}: columns by other labels\n")


def power(data: Path) -> Iterator[PowerRow]:
    """Give what the columns say of smaller cohorts, patients drawn without return."""
    for name in SMALLER:
        by = NETWORKS[name]
        network, target, limit = asked(name)
        items = cohort(data, by)
        whole = material(items, network, "grad-cam", target, limit, EXTENT)
        for size in (s for s in SIZES if s < len(items)):
            for draw in range(DRAWS):
                chosen = np.random.default_rng([size, draw]).permutation(len(items))[:size]
                m = material([items[i] for i in chosen], network, "grad-cam", target, limit, EXTENT)
                m.__dict__["scores"] = whole.scores[chosen]
                flagged = sorted((f for f in metadata(m) if f.flagged), key=lambda f: -abs(f.scores[0].number - 0.5))
                yield PowerRow(name, by, size, draw, "; ".join(f.column for f in flagged))
        sys.stderr.write(f"{name}: smaller cohorts\n")


def lungs_hidden(data: Path, name: str) -> Iterator[OrganRow]:
    """Give the logits of the radiographs that were hidden from, with the lungs hidden and with nothing but them."""
    network, target, limit = asked(name)
    by = NETWORKS[name]
    items, every = cohort(data, by), found_in(data)
    for number, (item, row) in enumerate(zip(items[:LUNGS], held_out(data), strict=False)):
        region = every[number].regions.get("lungs")
        if region is None:
            continue
        plan = PerturbationPlan(network.viewing(item.image).tensor)
        ask = ask_organ_tests(plan, region.mask, "the lungs", FILLS)
        with network.opened() as model:
            run([plan], model, [target])
        test = ask()
        hidden = list(test.hidden.values())
        yield OrganRow(
            name, number, _patient(items, number), row.told["view"], item.columns["label"], limit,
            test.unchanged, float(np.mean(hidden)), min(hidden), max(hidden), float(np.mean(list(test.alone.values()))),
        )  # fmt: skip


def _patient(items: Sequence[Item], number: int) -> int:
    """Return a running number of a patient: the table's own number is not told."""
    return list(dict.fromkeys(i.patient for i in items)).index(items[number].patient)
