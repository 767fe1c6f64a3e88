"""An audit over a cohort as rows of a table, and the cards of its maps: the parts that both data sets share."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from card_real_rows import NAN, AuditRow, CardRow

from saliscope import METHODS, explain
from saliscope.core.explanation import Explanation
from saliscope.core.protocols import Method
from saliscope.core.score import Score, Undefined
from saliscope.core.target import LogitTarget
from saliscope.metrics.statistics.multiple import benjamini_hochberg, holm
from saliscope.model.network import Network
from saliscope.study.examining import CONTROLS, examined, on_its_layer
from saliscope.study.explain import Case
from saliscope.study.settle import settled
from saliscope.trust.audit_card import AuditCard, Cohort, Finding, Insertion
from saliscope.trust.auditing.audited import Audited, audited
from saliscope.trust.auditing.material import Extent, Item, Material
from saliscope.trust.auditing.shortcuts import insertions
from saliscope.trust.check import CheckResult
from saliscope.trust.checks.hidden import Decision
from saliscope.trust.insertions.audit import Planted
from saliscope.trust.regions.find import Found, find

#: The method whose maps are judged; another would be one more.
JUDGED = ("grad-cam",)
#: Beside which each is laid, for the agreement of kinds.
BESIDE = {"grad-cam": "integrated-gradients"}


def made(name: str, network: Network, item: Item) -> Method:
    """Return a method settled on a network as the command line settles it."""
    view = network.viewing(item.image)
    return on_its_layer(name, settled(METHODS.make(name), item.image, view, network), network, view)


def material(
    items: Sequence[Item], network: Network, name: str, target: LogitTarget, limit: float | None, extent: Extent
) -> Material:
    """Return a cohort as an audit works on it."""
    return Material(items, network, made(name, network, items[0]), target, Decision(target.labels[0], limit), extent)


def audit_of(
    own: Material, name: str, ready: Sequence[Planted], regions: Mapping[int, Found], findings: Sequence[Finding] | None
) -> Audited:
    """Return the audit of a method; what was planted and found is shared, and columns once they are known."""
    own.__dict__["regions"] = {i: regions[i] for i in own.order[: own.extent.hidden]}
    if findings is not None:
        # Columns do not depend on the method: without them they are not asked again.
        own.items = [replace(i, columns={}) for i in own.items]
    others = {BESIDE[name]: made(BESIDE[name], own.network, own.items[0])}
    controls = {c: made(c, own.network, own.items[0]) for c in CONTROLS}
    done = audited(own, name, others=others, controls=controls, planted=insertions(own, ready=ready))
    sys.stderr.write(f"audit of {own.network.name} for {own.target.labels[0]} by {name}\n")
    return done if findings is None else replace(done, findings=tuple(findings))


class Lazily(Mapping[int, Found]):
    """What simple means find in the pictures of a cohort, looked for once and only where it is asked."""

    def __init__(self, items: Sequence[Item], network: Network) -> None:
        self.items, self.network = items, network
        self.found: dict[int, Found] = {}

    def __getitem__(self, number: int) -> Found:
        """Return what is found in a picture."""
        if number not in self.found:
            image = self.items[number].image
            self.found[number] = find(image, self.network.viewing(image))
        return self.found[number]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.items)

    def __iter__(self) -> Iterator[int]:
        """Give the numbers of the pictures."""
        return iter(range(len(self.items)))


def rows_of_audit(network: str, labels: str, method: str, done: Audited) -> Iterator[AuditRow]:
    """Give the rows of one audit; columns and what was planted do not depend on the method."""
    of_model = (done.findings, [i for i in done.insertions if i.scores and i.scores[0].metric == "insertion-effect"])
    if method == JUDGED[0]:
        yield from metadata_rows(network, labels, of_model[0])
        yield from planted_rows(network, labels, of_model[1])
    yield from (check_row(network, labels, method, r) for r in done.results)


def metadata_rows(network: str, labels: str, findings: Sequence[Finding]) -> Iterator[AuditRow]:
    """Give a row for each group of each column."""
    if not findings:
        return
    adjusted = benjamini_hochberg([f.scores[0].parts["p"] for f in findings])
    for f, p in zip(findings, adjusted, strict=True):
        score = f.scores[0]
        low, high = ends(score)
        yield AuditRow(
            network, labels, "", "metadata", f.column, score.number, low, high, score.parts["p"], p, score.n, NAN,
            int(f.flagged), "against" if f.flagged else "supports",
        )  # fmt: skip


def planted_rows(network: str, labels: str, planted: Sequence[Insertion]) -> Iterator[AuditRow]:
    """Give a row for each thing planted; its value is the change that it makes, in standard deviations."""
    adjusted = holm([i.scores[0].parts.get("p", 1.0) for i in planted])
    for one, p in zip(planted, adjusted, strict=True):
        score = one.scores[0]
        spread = score.parts["spread"]
        low, high = (e / spread for e in ends(score))
        yield AuditRow(
            network, labels, "", "planted", one.what, score.parts.get("relative", NAN), low, high,
            score.parts.get("p", 1.0), p, score.n, score.parts["crossed"], int(one.flagged),
            "against" if one.flagged else "supports",
        )  # fmt: skip


def check_row(network: str, labels: str, method: str, result: CheckResult) -> AuditRow:
    """Return the row of a check of a method over the cohort."""
    score = result.scores[0] if result.scores else Score("none", Undefined("no score"), "neither", n=0)
    low, high = ends(score)
    parts = score.parts
    hidden = result.check.startswith("hidden-")
    return AuditRow(
        network, labels, method, "hidden" if hidden else "check", result.check,
        score.number if score.defined else NAN, low, high, parts.get("p", NAN), NAN, score.n,
        parts.get("decisions changed", NAN), int(result.outcome == "against"), result.outcome,
    )  # fmt: skip


def ends(score: Score) -> tuple[float, float]:
    """Return the ends of a score's interval, nan without one."""
    return (score.interval.low, score.interval.high) if score.interval is not None else (NAN, NAN)


def cards(
    items: Sequence[Item],
    numbers: Sequence[int],
    network: Network,
    target: LogitTarget,
    limit: float | None,
    name: str,
    done: Audited,
) -> Iterator[CardRow]:
    """Give the card of a method's map of some items, the audit being that of the same cohort."""
    label, audit = target.labels[0], None
    for number in numbers:
        item = items[number]
        case = Case(item.image, network.viewing(item.image), partial(_no_presenter))
        e = explain(item.image, network, name, label)
        assert isinstance(e, Explanation)
        if audit is None:
            audit = audit_card(e, len(items), done)
            if audit.fits(e):
                raise RuntimeError(audit.fits(e))
        found = examined(e, case, network, METHODS.make(name), audit, "quick", lambda _: None)
        reasons = " ".join(dict.fromkeys(r.check for r in found.verdict.reasons))
        called = called_of(e, label, limit)
        yield CardRow(
            network.name, name, label, number, item.columns["label"], int(called), found.verdict.state, reasons
        )
    sys.stderr.write(f"{len(numbers)} pictures with cards for {label} of {network.name} by {name}\n")


def called_of(e: Explanation, label: str, limit: float | None) -> bool:
    """Return whether a network calls a label: above its limit, or of several the first."""
    p = e.prediction.probabilities[e.prediction.labels.index(label)]
    if limit is None:
        return bool(p == max(e.prediction.probabilities))
    return bool(np.log(p / (1 - p)) >= limit)


def audit_card(e: Explanation, count: int, audit: Audited) -> AuditCard:
    """Return the model card of explanations that an audit comes to."""
    return AuditCard.made(
        e, Cohort("held-out pictures", count), audit.results, thresholds=audit.thresholds, insertions=audit.insertions,
        findings=audit.findings, barred=audit.barred, samples=audit.samples,
    )  # fmt: skip


def _no_presenter(*_: object) -> None:
    raise NotImplementedError("no picture of these maps is drawn")
