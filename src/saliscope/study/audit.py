"""What is known of a method's maps for one model: a cohort in, a model card of explanations out.

What is looked at is `examining.card_of`: it is given the cohort, the network, the method and the target, and
returns the card. Reading, tables, pages and files are done around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from saliscope.core.errors import InputError, SaliscopeError, TargetError, WriteError, did_you_mean
from saliscope.core.target_words import plain_words
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.read import Limits, discover
from saliscope.study.cohort import group
from saliscope.study.examining import card_of
from saliscope.study.plan import Plan
from saliscope.study.run import Failed
from saliscope.study.watch import Watch
from saliscope.trust.audit_card import AuditCard
from saliscope.write import new_folder, safe_name, write_files
from saliscope.write.card_files import AUDIT, AUDIT_PAGE, audit_files


@dataclass(frozen=True)
class Audit:
    """A model card of explanations and the folder that holds it."""

    card: AuditCard
    folder: Path


@dataclass(frozen=True)
class AuditOutcome:
    """What came of an audit: a card for each method and target, and the inputs that could not be used."""

    out: Path
    audits: tuple[Audit, ...]
    failures: tuple[Failed, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 when all was done, 2 when nothing was, 3 when part failed; what was found never changes it."""
        if not self.failures:
            return 0
        return 3 if self.audits else 2

    @property
    def pages(self) -> tuple[Path, ...]:
        """Return the pages to open."""
        return tuple(one.folder / AUDIT_PAGE for one in self.audits)

    def sentences(self) -> list[str]:
        """Return what was found, a line for each card."""
        lines = []
        for one in self.audits:
            card = one.card
            found = (
                f"barred: {card.barred}" if card.barred else f"shortcuts flagged: {'; '.join(card.shortcuts) or 'none'}"
            )
            ran = sum(r.outcome not in ("not-run", "not-applicable") for r in card.results)
            lines.append(f"{card.target} by {card.method}: {found} ({ran} of {len(card.results)} checks run)")
        return lines

    def described(self) -> dict[str, Any]:
        """Return the only card as plain data, or all of them with what failed under "cards" and "failures"."""
        if len(self.audits) == 1 and not self.failures:
            return self.audits[0].card.described()
        return {
            "out": str(self.out),
            "exit_code": self.exit_code,
            "cards": [one.card.described() for one in self.audits],
            "failures": [asdict(f) for f in self.failures],
        }


def audit(
    inputs: Sequence[str | Path],
    plan: Plan,
    out: Path,
    *,
    table: Path | None = None,
    masks: Path | None = None,
    watch: Watch,
    limits: Limits | None = None,
    overwrite: bool = False,
) -> AuditOutcome:
    """Audit each method of a plan for each of its targets over the images among the inputs, into the folder `out`.

    `table` is a CSV with a column "image" (a file name), and "patient", "label" and metadata if they are known;
    `masks` a folder of masks named like their images. Raises SaliscopeError when nothing can begin.
    """
    methods = plan.make()
    network = load(plan.model, allow_code=plan.allow_code, device=plan.device)
    targets = targets_of(plan.targets, network)
    sources, unreadable = discover(inputs, limits or Limits())
    if not sources and not unreadable:
        raise InputError("no image among the inputs", expected="a DICOM, NIfTI, PNG, JPEG or TIFF", do="Check the path")
    failures = [Failed(str(f.path), type(f.error).__name__, str(f.error), f.error.do) for f in unreadable]
    for failed in failures:
        watch.failed(failed.source, failed.message)
    if not sources:
        return AuditOutcome(out, (), tuple(failures))
    whole = group(sources, table, masks)
    if network.warning:
        watch.warned(f"{network.name}: {network.warning}")
    watch.cases(len(methods) * len(targets))
    done = []
    for target in targets:
        for name, method in methods.items():
            what = f"{target} by {name}"
            folder = out / f"{safe_name(target)}.{safe_name(name)}"
            _refuse_taken(folder, overwrite=overwrite)
            try:
                card = card_of(whole, network, name, method, target, limits or Limits(), partial(watch.step, what))
            except SaliscopeError as error:
                failures.append(Failed(what, type(error).__name__, str(error), error.do))
                watch.failed(what, str(error))
                continue
            _write(card, folder, overwrite=overwrite)
            done.append(Audit(card, folder))
            watch.done(what, "complete")
    return AuditOutcome(out, tuple(done), tuple(failures))


def targets_of(words: Sequence[str], network: Network) -> tuple[str, ...]:
    """Return the targets to audit by their labels: an audit is of one question, so there is none of "top".

    Raises TargetError for "top" and "called", and for "all" of a network without labels.
    """
    found: list[str] = []
    for word in words:
        if any(part in ("top", "called") for part in plain_words(word)):
            raise TargetError(
                f"the target {word!r} of an audit",
                expected="one question for all images",
                do=did_you_mean("", network.labels) if network.labels else "Name an index, such as 0.",
            )
        if word == "all" and not network.labels:
            raise TargetError("all targets of a network without labels", expected="indices", do="Name some: 0,1")
        known = word.isdigit() and word not in network.labels and int(word) < len(network.labels)
        found += network.labels if word == "all" else [network.labels[int(word)] if known else word]
    return tuple(dict.fromkeys(found))


def _write(card: AuditCard, folder: Path, *, overwrite: bool) -> None:
    from saliscope.figures.audit_page import audit_page

    told = card.described()
    with new_folder(folder, overwrite) as place:
        write_files(place, audit_files(told, audit_page(told)))


def _refuse_taken(folder: Path, *, overwrite: bool) -> None:
    """Refuse before the work, not after it, and never replace a folder that holds no audit."""
    held = folder.is_dir() and any(folder.iterdir())
    if held and not (overwrite and (folder / AUDIT).is_file()):
        raise WriteError(
            f"{folder}, which is there already", expected="a new folder", do="Give another --out, or --overwrite"
        )
