"""How often the explanation card is wrong, where the truth is known: docs/explanation/card-study.md and its tables.

    .venv/bin/python docs/make_card_study.py measure [--part PART] [--only REGEX]  # goes on where it stopped
    .venv/bin/python docs/make_card_study.py page

Development, on which every limit was set: drawn radiographs with nodules (`chest`). Report: another generator and
another modality, drawn sonograms with masses (`ultrasound`), on which nothing was set. Truth is what each network
really uses (all elements left out in every combination); *misleading* is defined in
`saliscope.phantom.effects.assertion`.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from card_study_truth import Truth, truths

from saliscope import METHODS, explain, load
from saliscope.core.errors import NetworkWarning
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import LogitTarget
from saliscope.metrics.statistics.intervals import upper_bound
from saliscope.model.network import Network
from saliscope.model.shipped import shipped
from saliscope.perturb.plan import PerturbationPlan
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import phantom_set
from saliscope.phantom.effects.assertion import assertion
from saliscope.study.examining import on_its_layer
from saliscope.trust.audit_card import AuditCard, Cohort, Insertion
from saliscope.trust.auditing.audited import Audited, audited
from saliscope.trust.auditing.material import Extent, Item, Material
from saliscope.trust.auditing.shortcuts import insertions
from saliscope.trust.check import verdict
from saliscope.trust.checks.examine import NEEDED, examine
from saliscope.trust.checks.hidden import Decision
from saliscope.trust.claim import claim
from saliscope.trust.insertions.audit import Planted, planted
from saliscope.trust.insertions.insertion import suited
from saliscope.trust.regions.find import Found, find
from saliscope.trust.subject import Subject, on_view

ROOT = Path(__file__).resolve().parents[1]
PARTS = ROOT / "out" / "card-study"
TABLE = ROOT / "docs" / "explanation" / "card-study.csv"
MODELS = ROOT / "docs" / "explanation" / "card-study-models.csv"
CALIBRATION = ROOT / "src" / "saliscope" / "trust" / "calibration.json"
TARGET = LogitTarget((1,), ("present",), "binary")
OF_PART = {"development": ("chest", "nodule"), "report": ("ultrasound", "ultrasound-mass")}
#: Images of a network's cohort; seeds that no network was trained or tested on.
COHORT, CASE_SEED, COHORT_SEED = 60, 12, 15
EXTENT = Extent(maps=20, randomised=6, retested=4, hidden_by_rank=6, hidden=40, planted=32)
PLAIN = ("grad-cam", "eigen-cam", "lrp", "integrated-gradients", "gradient", "guided-backprop")
#: Maps that know nothing of the network, given to the card as if a gradient method had made them.
CONTROLS = ("edges", "centre", "random", "constant")
OTHER = "other-patient"


def shortcut_of(name: str) -> tuple[str, float, float]:
    """Return the shortcut of a network's name, and its shares among images with and without a finding in training."""
    _, _, _, kind, *rest = name.split("-")
    if kind in ("clean", "untrained", "shuffled"):
        return "text", 0.5 if kind == "clean" else 0.0, 0.5 if kind == "clean" else 0.0
    return kind, int(rest[0]) / 100, 0.0


@cache
def cases(part: str, shortcut: str) -> tuple[tuple[str, Case, MedicalImage], ...]:
    """Return cases of three kinds: with finding and shortcut, with the finding alone, with the shortcut alone."""
    scene, finding = OF_PART[part]
    kinds = (("both", 1.0, 0.0, 1, 8), ("finding", 0.0, 0.0, 1, 6), ("shortcut", 0.0, 1.0, 0, 4))
    found: list[tuple[str, Case, MedicalImage]] = []
    for kind, share, background, label, count in kinds:
        every = phantom_set(
            scene, finding, shortcut, contamination=share, background=background, count=60, seed=CASE_SEED, size=128
        )
        some = [case for case in every if case.label == label][:count]
        found += [(kind, case, case.render()) for case in some]
    return tuple(found)


@cache
def cohort(part: str, shortcut: str, share: float, background: float) -> tuple[Item, ...]:
    """Return a cohort as the network was trained on, which is what an auditor has."""
    scene, finding = OF_PART[part]
    every = phantom_set(
        scene, finding, shortcut, contamination=share, background=background, count=COHORT, seed=COHORT_SEED, size=128
    )
    return tuple(Item(case.render(), n, {"label": str(case.label)}) for n, case in enumerate(every))


@cache
def planted_in(part: str, shortcut: str, share: float, background: float, view: str) -> tuple[Planted, ...]:
    """Return the views with each planted mark, once for all networks of one view."""
    items = cohort(part, shortcut, share, background)
    network = next(n for n in NETWORKS if n.viewing.digest == view)
    images = [item.image for item in items[: EXTENT.planted]]
    return tuple(planted(images, network.viewing, one) for one in suited(images[0]))


@cache
def regions_in(part: str, shortcut: str, share: float, background: float, view: str) -> tuple[Found, ...]:
    """Return what is found in a cohort, once for all networks of one view."""
    network = next(n for n in NETWORKS if n.viewing.digest == view)
    return tuple(find(i.image, network.viewing(i.image)) for i in cohort(part, shortcut, share, background))


NETWORKS: list[Network] = []


def material(part: str, network: Network, name: str, method: Method) -> Material:
    """Return the material of an audit of a network, regions shared."""
    where = shortcut_of(name)
    found = Material(cohort(part, *where), network, method, TARGET, Decision("present", 0.0), EXTENT)
    every = regions_in(part, *where, network.viewing.digest)
    found.__dict__["regions"] = {i: every[i] for i in found.order[: EXTENT.hidden]}
    return found


def measured(part: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give ("model", ...) once and ("map", ...) for each map of a network."""
    network = load(name)
    NETWORKS.append(network)
    where = shortcut_of(name)
    every = cases(part, where[0])
    true = truths(every, network, TARGET)
    view = network.viewing(every[0][2])
    methods = {m: on_its_layer(m, METHODS.make(m), network, view) for m in (*PLAIN, *CONTROLS)}
    first = material(part, network, name, methods["grad-cam"])
    flagged = insertions(first, ready=planted_in(part, *where, network.viewing.digest))
    audits: dict[str, Audited] = {}
    for m, method in methods.items():
        others = {"grad-cam": methods["grad-cam"]} if m != "grad-cam" else {"lrp": methods["lrp"]}
        audits[m] = audited(material(part, network, name, method), m, others=others, controls={}, planted=flagged)
    barred = {m: a.barred for m, a in audits.items()}
    yield (
        "model",
        {**model_row(part, name, network, flagged), "barred": "; ".join(m for m, why in barred.items() if why)},
    )
    for number, (kind, case, image) in enumerate(every):
        made = {e.provenance.method: e for e in explain(image, network, [METHODS.make(m) for m in methods], "present")}
        other = every[(number + 1) % len(every)][2]
        made[OTHER] = explain(other, network, "grad-cam", "present")  # type: ignore[assignment]
        for m, e in made.items():
            row = of_map(
                network,
                image,
                m,
                e,
                methods.get(m, methods["grad-cam"]),
                audits.get(m, audits["grad-cam"]),
                true[number],
                case,
            )
            yield "map", {"part": part, "network": name, "method": m, "case": number, "kind": kind, **row}
        sys.stderr.write(f"{name}: {number + 1} of {len(every)} cases\n")


def of_map(
    network: Network,
    image: MedicalImage,
    name: str,
    e: Explanation,
    method: Method,
    audit: Audited,
    true: Truth,
    case: Case,
) -> dict[str, Any]:
    """Return what is true of a map and what the card says of it."""
    view = network.viewing(image)
    disguised = replace(e, traits=replace(e.traits, family="gradient"))
    own = on_view(disguised, view)
    if name == OTHER:
        # Another patient's map as if it were of this image.
        disguised = replace(disguised, provenance=replace(e.provenance, image=image.digest), prediction=true.prediction)
    pointed = claim(own)
    why = "it points at nothing" if pointed is None else assertion(case, true.effects, pointed.weight, true.spread).why
    with network.opened() as model:
        found = find(image, view)
        subject = Subject(
            image, view, disguised, method, model, TARGET, own, PerturbationPlan(view.tensor), found.regions
        )
        results = examine(subject, card(disguised, audit), "quick", found.absent)
        samples = model.counts.samples
    state = verdict(results, audited=True, needed=NEEDED)
    numbers = {f"{r.check} {k}": round(v, 4) for r in results for s in r.scores for k, v in s.parts.items()}
    numbers |= {r.check: round(r.scores[0].number, 4) for r in results if r.scores and r.scores[0].defined}
    numbers["samples"] = samples
    return {
        "score": float(true.effects.everything[0]),
        "why": why,
        "state": state.state,
        "reasons": " ".join(r.check for r in state.reasons),
        "outcomes": json.dumps({r.check: r.outcome for r in results}),
        "numbers": json.dumps(numbers),
    }


def card(e: Explanation, audit: Audited) -> AuditCard:
    """Return the model card of explanations that an audit comes to."""
    return AuditCard.made(
        e, Cohort("phantoms", COHORT), audit.results, thresholds=audit.thresholds, insertions=audit.insertions,
        findings=audit.findings, barred=audit.barred, samples=audit.samples,
    )  # fmt: skip


def model_row(part: str, name: str, network: Network, planted_: Sequence[Insertion]) -> dict[str, Any]:
    """Return what planting says of a network beside the true share of its shortcut."""
    performance = network.card.performance if network.card is not None else {}
    true = performance.get("share_shortcut", {})
    moves = {i.what: round(i.scores[0].parts.get("relative", 0.0), 3) for i in planted_ if i.scores}
    return {
        "part": part,
        "network": name,
        "true": true.get("value", "") if isinstance(true, dict) else "",
        "flagged": "; ".join(i.what for i in planted_ if i.flagged),
        "strongest": max((abs(v) for n, v in moves.items() if n.endswith(("top-left", "top-right"))), default=""),
        "moves": json.dumps(moves),
    }


def measure(part: str, only: str) -> None:
    """Measure what is not measured yet."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NetworkWarning)
    PARTS.mkdir(parents=True, exist_ok=True)
    scene = OF_PART[part][0]
    names = [n for n in shipped() if n.startswith(f"phantom-{scene}-") and re.search(only, n)]
    for name in sorted(names, key=lambda n: zlib.crc32(n.encode())):
        path = PARTS / f"{name}.json"
        claimed = path.with_suffix(".half")
        if path.is_file() or claimed.is_file():
            continue
        claimed.touch()
        rows = list(measured(part, name))
        path.write_text(json.dumps(rows), encoding="utf-8")
        claimed.unlink()


def measure_models() -> None:
    """Plant marks for every network of both parts, which is what flags a model whatever the method."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NetworkWarning)
    PARTS.mkdir(parents=True, exist_ok=True)
    rows = []
    for part, (scene, _) in OF_PART.items():
        for name in (n for n in shipped() if n.startswith(f"phantom-{scene}-")):
            network = load(name)
            NETWORKS.append(network)
            where = shortcut_of(name)
            view = network.viewing(cohort(part, *where)[0].image)
            method = on_its_layer("grad-cam", METHODS.make("grad-cam"), network, view)
            found = Material(cohort(part, *where), network, method, TARGET, Decision("present", 0.0), EXTENT)
            flagged = insertions(found, ready=planted_in(part, *where, network.viewing.digest))
            rows.append(model_row(part, name, network, flagged))
            sys.stderr.write(f"{name}: {rows[-1]['flagged'] or 'nothing'}\n")
    write(MODELS, rows)


def gather() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return all rows of maps and of models that were measured."""
    rows = [row for path in sorted(PARTS.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
    known = (*PLAIN, *CONTROLS, OTHER)
    return [r for what, r in rows if what == "map" and r["method"] in known], [r for what, r in rows if what == "model"]


def calibration(maps: Sequence[dict[str, str]]) -> dict[str, Any]:
    """Return how often each state was misleading over both parts, for the cards themselves: not only the better one."""
    states: dict[str, Any] = {}
    for state in ("read-with-care", "doubtful"):
        own = [r for r in maps if r["state"] == state and r["method"] in PLAIN]
        wrong = sum(bool(r["why"]) for r in own)
        if own:
            states[state] = {"misleading": wrong, "n": len(own), "upper": round(upper_bound(wrong, len(own)), 4)}
    return {"source": "docs/explanation/card-study.md", "states": states}


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the table holds of a map: what is true, what the card says, and the numbers that decided."""
    numbers = json.loads(row["numbers"])
    told = {
        "p": numbers.get("region-test p", ""),
        "effect": numbers.get("region-test relative", ""),
        "idle": numbers.get("islands", ""),
        "retest": numbers.get("test-retest", ""),
        "samples": numbers["samples"],
    }
    plain = {k: row[k] for k in ("part", "network", "method", "case", "kind")}
    return {
        **plain,
        "score": f"{row['score']:.3f}",
        "why": row["why"],
        "state": row["state"],
        "reasons": row["reasons"],
        **told,
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as a table, whole or not at all."""
    half = path.with_suffix(".half")
    with half.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)
    half.replace(path)


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "models", "page"))
    parser.add_argument("--part", default="development", choices=tuple(OF_PART))
    parser.add_argument("--only", default="", help="networks whose name this pattern is found in")
    asked = parser.parse_args()
    if asked.what == "measure":
        measure(asked.part, asked.only)
        return
    if asked.what == "models":
        measure_models()
        return
    from card_study_page import page

    write(TABLE, [kept(row) for row in gather()[0]])
    maps, models = rows_of(TABLE), rows_of(MODELS)
    TABLE.with_suffix(".md").write_text(page(maps, models), encoding="utf-8")
    CALIBRATION.write_text(json.dumps(calibration(maps), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
