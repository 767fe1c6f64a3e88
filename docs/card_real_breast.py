"""The sonograms of the page on real data: audits of the held-out part, cards of some maps, burnt-in text hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import breast_ultrasound as recipe
import numpy as np
from busi_pictures import Picture, chosen, gathered
from card_real_audits import Lazily, audit_of, cards, material, rows_of_audit
from card_real_rows import AuditRow, CardRow, TextRow

from saliscope import load
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.trust.auditing.material import Extent, Item
from saliscope.trust.auditing.shortcuts import FILLS
from saliscope.trust.checks.hidden import COMPARABLE, NOT_THE_PATIENT
from saliscope.trust.insertions.audit import Planted, planted
from saliscope.trust.insertions.insertion import suited
from saliscope.trust.interventions.region_test import ask_region_test

FOLDER = "breast-ultrasound-busi"
LABELS = ("benign", "malignant")
TEXT = "burnt-in text"
#: Marks are hidden in all pictures that have them; the rest is as audits do by default, but for what is planted.
EXTENT = Extent(hidden=1000, planted=20)
CARDS, SEED, PLACES = 12, 0, 4


@cache
def held_out(data: Path) -> tuple[Picture, ...]:
    """Return the pictures that the network was not trained on, in an order by lot."""
    pictures, _ = gathered(data / FOLDER)
    own = [p for p in pictures if p.part == "test"]
    return tuple(own[i] for i in np.random.default_rng(SEED).permutation(len(own)))


@cache
def items_of(data: Path) -> tuple[Item, ...]:
    """Return the pictures as items of a cohort; a JPEG does not say that it is a sonogram."""
    return tuple(Item(replace(p.image, modality="US"), p.group, {"label": p.label}) for p in held_out(data))


@cache
def found_in(data: Path) -> Lazily:
    """Return what simple means find in each picture."""
    return Lazily(items_of(data), load(recipe.NAME))


@cache
def planted_in(data: Path) -> tuple[Planted, ...]:
    """Return the first pictures with each thing planted."""
    images = [item.image for item in items_of(data)[: EXTENT.planted]]
    return tuple(planted(images, load(recipe.NAME).viewing, one) for one in suited(images[0]))


def target_of(network: Network, label: str) -> LogitTarget:
    """Return the logit of a label."""
    return LogitTarget((network.labels.index(label),), (label,), "multi-class")


def audited_of(data: Path, label: str, method: str) -> tuple[list[AuditRow], list[CardRow]]:
    """Return the rows of the audit of one label, and of the cards of its pictures that the first results show."""
    network, items = load(recipe.NAME), items_of(data)
    target = target_of(network, label)
    own = material(items, network, method, target, None, EXTENT)
    done = audit_of(own, method, planted_in(data), found_in(data), None)
    rows = list(rows_of_audit(f"{network.name}: {label}", "label", method, done))
    names = [p.name for p in held_out(data)]
    some = [names.index(p.name) for p in chosen(held_in_order(data)) if p.label == label][:CARDS]
    return rows, list(cards(items, some, network, target, None, method, done))


def held_in_order(data: Path) -> Sequence[Picture]:
    """Return the held-out pictures in the order of the data set, from which first results drew theirs."""
    order = {"normal": 0, "benign": 1, "malignant": 2}
    return sorted(held_out(data), key=lambda p: (order[p.label], p.path.name))


def text_hidden(data: Path) -> Iterator[TextRow]:
    """Give what hiding the burnt-in text does to the logit of each picture's own label, asked as the audit asks it."""
    network, items = load(recipe.NAME), items_of(data)
    for number, (item, found) in enumerate(zip(items, found_in(data).values(), strict=True)):
        region = found.regions.get(TEXT)
        if region is None or not 0 < region.share <= COMPARABLE:
            continue
        plan = PerturbationPlan(network.viewing(item.image).tensor)
        everywhere = np.ones(region.mask.shape, bool)
        ask = ask_region_test(plan, region.mask, NOT_THE_PATIENT[TEXT], everywhere, FILLS, nulls=PLACES, side="changes")
        label = item.columns["label"]
        with network.opened() as model:
            run([plan], model, [target_of(network, label)])
        test = ask()
        if test.nulls:
            share, elsewhere = float(region.share), float(np.mean(test.nulls))
            group = int(str(item.patient))
            yield TextRow(number, group, label, share, test.score.number, elsewhere, len(test.nulls))
