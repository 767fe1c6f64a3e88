"""lago2025: the model card of explanations, what is known of a method's maps for one model, layer and target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from saliscope.core.errors import CardError
from saliscope.core.explanation import Explanation
from saliscope.core.listing import Listing
from saliscope.core.score import Score, Undefined
from saliscope.trust import principles, wording
from saliscope.trust.audit_note import note, row, summary
from saliscope.trust.check import CheckResult
from saliscope.trust.recorded import (
    SCHEMA_VERSION,
    digest_of,
    method_digest,
    not_assessed,
    number_of,
    result_of,
    result_record,
    score_of,
)
from saliscope.trust.schema import faults
from saliscope.write.record import json_bytes, plain

#: A card with every curve and every check takes some 100 kB; what is far larger is something else.
MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Cohort:
    """The images that were looked at: how many, of how many patients (None: not known), what was left out and why."""

    source: str
    images: int
    patients: int | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return the cohort as plain data."""
        return {
            "source": self.source,
            "images": self.images,
            "patients": self.patients,
            "excluded": dict(self.excluded),
        }


@dataclass(frozen=True)
class Threshold:
    """What a check of a single image is held against: a value, where it is from in words, and of how many it is."""

    value: float | Undefined
    source: str
    n: int


@dataclass(frozen=True)
class Insertion:
    """What came of planting a shortcut into images: `what` in words, whether it counts against the model, and why."""

    what: str
    flagged: bool
    sentence: str
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A column of the cohort's table that the score or the map was found to follow, or not."""

    column: str
    kind: Literal["metadata", "subgroup"]
    flagged: bool
    sentence: str
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, repr=False)
class AuditCard:
    """What is known of the maps of one method, with all its fields, for one model, view, layer and target.

    `barred` says why no map of the method may be read for this model; empty where it may. `thresholds` are by name.
    `samples` counts the forward samples that all of it cost.
    """

    model: str
    weights: str
    view: str
    method: str
    fields: Mapping[str, Any]
    layer: str | None
    target: str
    cohort: Cohort
    results: tuple[CheckResult, ...]
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    insertions: tuple[Insertion, ...] = ()
    findings: tuple[Finding, ...] = ()
    barred: str = ""
    samples: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def shortcuts(self) -> tuple[str, ...]:
        """Return what the model was found to answer to, by name: what was planted, and columns of metadata."""
        planted = [i.what for i in self.insertions if i.flagged]
        followed = [f.column for f in self.findings if f.flagged and f.kind == "metadata"]
        return tuple(dict.fromkeys([*planted, *followed]))

    @property
    def method_sha256(self) -> str:
        """Return the SHA-256 of the method's name with its fields."""
        return method_digest(self.method, self.fields)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the card, by which explanation cards refer to it."""
        return digest_of(self._content())

    @classmethod
    def made(cls, explanation: Explanation, cohort: Cohort, results: Sequence[CheckResult], **more: Any) -> Self:
        """Return the card of the model, view, method, layer and target that a map was made with."""
        p = explanation.provenance
        return cls(
            model=p.model,
            weights=p.weights,
            view=p.view,
            method=p.method,
            fields=p.fields,
            layer=p.layer,
            target=explanation.target,
            cohort=cohort,
            results=tuple(results),
            versions=p.versions,
            **more,
        )

    def fits(self, explanation: Explanation) -> str:
        """Return why the card says nothing of a map: a sentence that names what differs; empty where it fits."""
        p = explanation.provenance
        pairs = (
            ("other weights", self.weights, p.weights),
            ("another preparation of the image", self.view, p.view),
            (f"the method {self.method}", self.method, p.method),
            (f"the method {self.method} with other fields", self.method_sha256, method_digest(p.method, p.fields)),
            (f"the layer {self.layer}", self.layer, p.layer),
            (f"the target {self.target}", self.target, explanation.target),
        )
        differing = next((what for what, own, other in pairs if own != other), None)
        return "" if differing is None else wording.say("audit.mismatch", what=differing)

    def described(self) -> dict[str, Any]:
        """Return the card as plain data, as its layout (audit-card.schema.json) says, with its own digest."""
        return {**self._content(), "digest": self.digest}

    def save(self, folder: str | Path) -> Path:
        """Write audit.json and audit.html into a new folder, whole or not at all; return its path.

        Raises WriteError for a folder that is there already or cannot be written.
        """
        from saliscope.figures.audit_page import audit_page
        from saliscope.write import save
        from saliscope.write.card_files import audit_files

        told = self.described()
        return save(folder, audit_files(told, audit_page(told)))

    def __repr__(self) -> str:
        return summary(self)

    def _repr_html_(self) -> str:
        return note(self)

    def _content(self) -> dict[str, Any]:
        found: dict[str, Any] = plain(
            {
                "document": "audit-card",
                "schema_version": SCHEMA_VERSION,
                "research_use": wording.RESEARCH_USE,
                "model": {"name": self.model, "weights_sha256": self.weights, "view_sha256": self.view},
                "method": {"name": self.method, "fields": self.fields, "layer": self.layer},
                "method_sha256": self.method_sha256,
                "target": self.target,
                "cohort": self.cohort.described(),
                "barred": self.barred or None,
                "shortcuts": self.shortcuts,
                "checks": [result_record(r) for r in self.results],
                "headings_not_assessed": not_assessed(self.results),
                "insertions": [_row(i, what=i.what) for i in self.insertions],
                "findings": [_row(f, column=f.column, kind=f.kind) for f in self.findings],
                "thresholds": {name: _threshold(t) for name, t in self.thresholds.items()},
                "forward_samples": self.samples,
                "always": wording.ALWAYS,
                "pointers": [p.described() for p in principles.OF_MODEL],
                "versions": self.versions,
            }
        )
        return found

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the card in a file that `saliscope audit-model` wrote.

        Raises CardError for a file that is no such card, breaks its layout, or was changed after it was written.
        """
        try:
            if Path(path).stat().st_size > MOST_BYTES:
                raise _no_card(path, f"has more than {MOST_BYTES:,} bytes")
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _no_card(path, f"cannot be read ({error})") from error
        found = faults(record, "audit-card")
        if found:
            raise _no_card(path, f"breaks the layout: {'; '.join(found[:3])}")
        card = cls.of(record)
        if json_bytes(card.described()) != json_bytes(record):
            raise _no_card(path, "is not what was written: its digest does not belong to what it says")
        return card

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the card that plain data describe, which keep its layout."""
        cohort = record["cohort"]
        return cls(
            model=record["model"]["name"],
            weights=record["model"]["weights_sha256"],
            view=record["model"]["view_sha256"],
            method=record["method"]["name"],
            fields=record["method"]["fields"],
            layer=record["method"]["layer"],
            target=record["target"],
            cohort=Cohort(cohort["source"], cohort["images"], cohort["patients"], cohort["excluded"]),
            results=tuple(result_of(r) for r in record["checks"]),
            thresholds={
                name: Threshold(number_of(t["value"]), t["source"], t["n"]) for name, t in record["thresholds"].items()
            },
            insertions=tuple(Insertion(r["what"], *_told(r)) for r in record["insertions"]),
            findings=tuple(Finding(r["column"], r["kind"], *_told(r)) for r in record["findings"]),
            barred=record["barred"] or "",
            samples=record["forward_samples"],
            versions=record["versions"],
        )


class AuditCards(Listing[AuditCard]):
    """A list of model cards of explanations: a table in a terminal, each in short in a notebook."""

    def row(self, one: AuditCard) -> dict[str, str]:
        """Return what the table says of one card, by column."""
        return row(one)

    def _repr_html_(self) -> str:
        return "".join(map(note, self))


def _row(one: Insertion | Finding, **named: str) -> dict[str, Any]:
    scores = [score.described() for score in one.scores]
    return {**named, "flagged": one.flagged, "sentence": one.sentence, "scores": scores}


def _told(record: Mapping[str, Any]) -> tuple[bool, str, tuple[Score, ...]]:
    return record["flagged"], record["sentence"], tuple(score_of(s) for s in record["scores"])


def _threshold(threshold: Threshold) -> dict[str, Any]:
    value = threshold.value
    number = {"undefined": value.reason} if isinstance(value, Undefined) else value
    return {"value": number, "source": threshold.source, "n": threshold.n}


def _no_card(path: str | Path, why: str) -> CardError:
    return CardError(
        f"{path}, which {why}",
        expected="a model card of explanations",
        do="Make one: saliscope audit-model.",
    )
