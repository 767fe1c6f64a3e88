"""lago2025: the explanation card, whether the map of one image may be read, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from saliscope.core.errors import CardError
from saliscope.core.explanation import Explanation
from saliscope.trust import principles, wording
from saliscope.trust.audit_card import AuditCard
from saliscope.trust.check import CheckResult, State, Verdict, verdict
from saliscope.trust.recorded import SCHEMA_VERSION, not_assessed, result_record
from saliscope.write.record import plain

#: "quick": about 70 forward samples; "full": every check that applies.
Tier = Literal["quick", "full"]


@dataclass(frozen=True)
class Reliability:
    """How often maps with one state were misleading where the truth is known, out of `n`, with the upper 95 % bound.

    `source` names the study. Raises CardError where nothing was counted.
    """

    misleading: int
    n: int
    upper: float
    source: str

    def __post_init__(self) -> None:
        if not (0 <= self.misleading <= self.n and self.n >= 1 and self.misleading / self.n <= self.upper <= 1):
            raise CardError(
                f"{self.misleading} misleading maps of {self.n}, at most {self.upper}",
                expected="a count out of at least one, and a bound above its share",
                do="Give no statement instead.",
            )

    def described(self) -> dict[str, Any]:
        """Return the statement as plain data, with its sentence."""
        sentence = wording.say("reliability", n=self.n, k=self.misleading, upper=100 * self.upper)
        return {
            "sentence": sentence,
            "misleading": self.misleading,
            "n": self.n,
            "upper": self.upper,
            "source": self.source,
        }


@dataclass(frozen=True)
class ExplanationCard:
    """One map with its verdict: what was asked of which network about which image, and what every check found.

    `audit` is the digest of the model card of explanations that it refers to; where there is none, `unaudited` says
    why. `samples` counts the forward samples that the checks cost, beside those of the map itself.
    Raises CardError for a verdict that its own results, or the missing audit, do not bear out.
    """

    image: str
    image_digest: str
    model: str
    weights: str
    view: str
    method: str
    fields: Mapping[str, Any]
    layer: str | None
    target: str
    prediction: str
    verdict: Verdict
    results: tuple[CheckResult, ...]
    tier: Tier
    samples: int
    audit: str = ""
    unaudited: str = ""
    reliability: Reliability | None = None
    always: tuple[str, ...] = wording.ALWAYS
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.audit) == bool(self.unaudited):
            raise _wrong("a card with neither, or both, of an audit and why there is none", "one of the two")
        best = verdict(self.results, audited=bool(self.audit))
        if _RANK[self.verdict.state] < _RANK[best.state]:
            raise _wrong(
                f"the state {self.verdict.state!r} over results that give {best.state!r}",
                "no better state than the worst decisive check and the missing audit allow",
            )
        if (self.verdict.run, self.verdict.applicable) != (best.run, best.applicable):
            raise _wrong(
                f"a coverage of {self.verdict.run} of {self.verdict.applicable}",
                f"{best.run} of {best.applicable}, as its results say",
            )
        if any(reason not in self.results for reason in self.verdict.reasons):
            raise _wrong("reasons that are none of the results", "reasons from among the results")

    @classmethod
    def of(
        cls,
        explanation: Explanation,
        name: str,
        results: Sequence[CheckResult],
        *,
        audit: AuditCard | None,
        tier: Tier,
        samples: int,
        needed: Iterable[str] = (),
        reliability: Mapping[State, Reliability] | None = None,
        always: tuple[str, ...] = wording.ALWAYS,
    ) -> Self:
        """Return the card of a map of the image called `name`, its verdict drawn from the results.

        An audit of another model, view, method, layer or target is no audit, and what it differs in is said.
        `needed` are the checks without which a map is not assessed, `reliability` the statements by state.
        """
        why = wording.say("audit.none") if audit is None else audit.fits(explanation)
        found = verdict(results, audited=not why, needed=needed)
        p = explanation.provenance
        return cls(
            image=name,
            image_digest=p.image,
            model=p.model,
            weights=p.weights,
            view=p.view,
            method=p.method,
            fields=p.fields,
            layer=p.layer,
            target=explanation.target,
            prediction=explanation.prediction.sentence(explanation.target),
            verdict=found,
            results=tuple(results),
            tier=tier,
            samples=samples,
            audit=audit.digest if audit is not None and not why else "",
            unaudited=why,
            reliability=(reliability or {}).get(found.state),
            always=always,
            versions=p.versions,
        )

    @property
    def state(self) -> State:
        """Return the state."""
        return self.verdict.state

    @property
    def map_hidden(self) -> bool:
        """Return whether the map is hidden behind its reason."""
        return self.state == "do-not-read"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what brought the state about, in sentences; for a map not assessed what is missing comes first."""
        missing = (self.unaudited,) if self.state == "not-assessed" and self.unaudited else ()
        worst_first = sorted(self.verdict.reasons, key=lambda r: (r.outcome != "against", not r.decisive))
        return tuple(dict.fromkeys((*missing, *(_reason(r) for r in worst_first))))

    def described(self) -> dict[str, Any]:
        """Return the card as plain data, as its layout (explanation-card.schema.json) says."""
        found: dict[str, Any] = plain(
            {
                "document": "explanation-card",
                "schema_version": SCHEMA_VERSION,
                "research_use": wording.RESEARCH_USE,
                "state": self.state,
                "state_name": wording.STATE_NAMES[self.state],
                "headline": wording.HEADLINES[self.state],
                "reasons": self.reasons,
                "coverage": {"run": self.verdict.run, "applicable": self.verdict.applicable},
                "map_hidden": self.map_hidden,
                "image": {"name": self.image, "sha256": self.image_digest},
                "model": {"name": self.model, "weights_sha256": self.weights, "view_sha256": self.view},
                "method": {"name": self.method, "fields": self.fields, "layer": self.layer},
                "target": self.target,
                "prediction": self.prediction,
                "tier": self.tier,
                "forward_samples": self.samples,
                "audit": {"digest": self.audit or None, "reason": self.unaudited or None},
                "checks": [result_record(r) for r in self.results],
                "headings_not_assessed": not_assessed(self.results),
                "reliability": None if self.reliability is None else self.reliability.described(),
                "always": self.always,
                "pointers": [p.described() for p in principles.OF_IMAGE],
                "versions": self.versions,
            }
        )
        return found


#: From the state that claims most for a map on: a card may claim less than its results allow, never more.
_RANK: Mapping[State, int] = {"read-with-care": 0, "doubtful": 1, "not-assessed": 2, "do-not-read": 3}


def _reason(result: CheckResult) -> str:
    # That a check was not run says nothing without what it asks.
    return f"{result.question} {result.sentence}" if result.outcome == "not-run" else result.sentence


def _wrong(got: str, expected: str) -> CardError:
    return CardError(got, expected=expected, do="Draw the verdict from the results: saliscope.trust.check.verdict.")
