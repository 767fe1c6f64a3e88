"""May these maps be read: images in, for each map an explanation card beside it.

What is looked at of one map is `examining.examined`: it is given the map, its case, the network and method that
made it and the model card of explanations that fits, and returns the card. Reading, explaining, pages, files and
going on after an interruption are those of `saliscope explain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from saliscope.core.errors import MetricError
from saliscope.core.explanation import Explanation
from saliscope.core.protocols import Method
from saliscope.model.network import Network
from saliscope.read import Limits
from saliscope.study.examining import examined
from saliscope.study.explain import Case
from saliscope.study.plan import Plan
from saliscope.study.present import cards_in
from saliscope.study.run import Failed, run
from saliscope.study.run import Outcome as Ran
from saliscope.study.watch import Watch
from saliscope.trust.audit_card import AuditCard
from saliscope.trust.explanation_card import ExplanationCard, Tier
from saliscope.write.card_files import CARD_PAGE


@dataclass(frozen=True)
class CheckedMap:
    """A map with its card as plain data, and where the card's page lies."""

    case: str
    card: Mapping[str, Any]
    page: Path

    @property
    def sentence(self) -> str:
        """Return the state with what brought it about, for a terminal."""
        reasons = self.card["reasons"] or [self.card["headline"]]
        unaudited = self.card["audit"]["reason"]
        missing = [unaudited] if unaudited and unaudited not in reasons else []
        told = " ".join((f"{self.card['state_name']}.", *reasons, *missing))
        ran, method = self.card["coverage"], self.card["method"]["name"]
        return f"{self.card['target']} by {method}: {told} ({ran['run']} of {ran['applicable']} checks run)"


@dataclass(frozen=True)
class CheckOutcome:
    """What came of checking: the run that made the maps, and the card of each."""

    run: Ran
    maps: tuple[CheckedMap, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 when all was done, 2 when nothing was, 3 when part failed; a state never changes it."""
        return self.run.exit_code

    @property
    def failures(self) -> tuple[Failed, ...]:
        """Return the inputs that could not be checked."""
        return self.run.failures

    @property
    def page(self) -> Path | None:
        """Return the page to open: the card, if there is one only."""
        return self.maps[0].page if len(self.maps) == 1 else self.run.page

    def sentence(self) -> str:
        """Return what came of it in words."""
        counts: dict[str, int] = {}
        for one in self.maps:
            counts[one.card["state_name"]] = counts.get(one.card["state_name"], 0) + 1
        states = ", ".join(f"{n} {name}" for name, n in counts.items())
        failed = f" {len(self.failures)} failed." if self.failures else ""
        return f"{len(self.maps)} {'map' if len(self.maps) == 1 else 'maps'} checked: {states or 'none'}.{failed}"

    def described(self) -> dict[str, Any]:
        """Return the only card as plain data, or all of them with what failed under "cards" and "failures"."""
        if len(self.maps) == 1 and not self.failures:
            return dict(self.maps[0].card)
        told = self.run.described()
        return {
            "out": told["out"],
            "exit_code": told["exit_code"],
            "cards": [dict(one.card) for one in self.maps],
            "failures": told["failures"],
        }


@dataclass(frozen=True)
class Cards:
    """Gives each map its card, by the model card of explanations that fits it, if one does."""

    audits: tuple[AuditCard, ...] = ()
    tier: Tier = "quick"
    asked: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        asked = {"tier": self.tier, "audits": sorted(a.digest for a in self.audits)}
        object.__setattr__(self, "asked", asked)

    @classmethod
    def of(cls, paths: Sequence[str | Path], tier: Tier) -> Cards:
        """Return who gives cards by the audits in some files; raises CardError for a file that is none."""
        return cls(tuple(AuditCard.read(path) for path in paths), tier)

    def cards(
        self,
        case: Case,
        network: Network,
        methods: Mapping[str, Method],
        found: Sequence[Explanation],
        asked: Sequence[str],
        said: Callable[[str], None],
    ) -> list[dict[str, Any]]:
        """Return the explanation cards of all that was found of a case, as plain data."""
        return [card.described() for card in self.examined(case, network, methods, found, asked, said)]

    def examined(
        self,
        case: Case,
        network: Network,
        methods: Mapping[str, Method],
        found: Sequence[Explanation],
        asked: Sequence[str],
        said: Callable[[str], None],
    ) -> list[ExplanationCard]:
        """Return the explanation cards of all that was found of a case."""
        given = []
        for explanation in found:
            method = methods[explanation.provenance.method]
            audit = self._audit_of(explanation)
            said(f"checking {explanation.target} by {explanation.provenance.method}")
            given.append(examined(explanation, case, network, method, audit, self.tier, said, asked))
        return given

    def _audit_of(self, explanation: Explanation) -> AuditCard | None:
        fitting = [audit for audit in self.audits if not audit.fits(explanation)]
        return next(iter([*fitting, *self.audits]), None)


def check(
    inputs: Sequence[str | Path],
    plan: Plan,
    out: Path,
    *,
    card: Sequence[str | Path] = (),
    tier: Tier = "quick",
    watch: Watch,
    limits: Limits | None = None,
    overwrite: bool = False,
) -> CheckOutcome:
    """Explain every image among the inputs into `out` and give each map a card; `card` are files of audits.

    A case that is complete from an earlier, equal run is kept. Raises SaliscopeError when nothing can begin.
    """
    examiner = Cards.of(card, tier)
    done = run(inputs, plan, out, watch=watch, limits=limits, overwrite=overwrite, examiner=examiner)
    return CheckOutcome(done, maps_of(done))


def tier_of(word: str) -> Tier:
    """Return a tier by its name; raises MetricError for another."""
    tiers: tuple[Tier, ...] = get_args(Tier)
    if word not in tiers:
        raise MetricError(f"the tier {word!r}", expected=" or ".join(tiers), do="Choose one of them.")
    return next(tier for tier in tiers if tier == word)


def maps_of(done: Ran) -> tuple[CheckedMap, ...]:
    """Return the cards that a run left beside its maps."""
    found = []
    for case in done.cases:
        folder = done.folder(case.name)
        cards = cards_in(folder, case.explanations)
        found += [
            CheckedMap(case.name, card, folder / name / CARD_PAGE)
            for card, name in zip(cards, case.explanations, strict=True)
        ]
    return tuple(found)
