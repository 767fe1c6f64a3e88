"""Many images, one plan, one folder: each case whole or not at all, and a run that was cut off goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from saliscope.core.errors import InputError, ModelError, SaliscopeError, printable
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.read import Limits, Source, discover
from saliscope.read.naming import case_key, keyed
from saliscope.study.case_record import WRITES, CaseRecord, Write, asked_too
from saliscope.study.dicom import DicomCase, DicomPlan, objects_in
from saliscope.study.explain import Case, explained, versions
from saliscope.study.plan import Plan
from saliscope.study.present import Showing, cards_in
from saliscope.study.store import Store, folder_of, identity_of
from saliscope.study.watch import Watch


class Examiner(Protocol):
    """Who looks at the maps of a case and gives a card for each."""

    @property
    def asked(self) -> Mapping[str, Any]:
        """Return what makes two examinations the same, as plain data."""

    def cards(
        self,
        case: Case,
        network: Network,
        methods: Mapping[str, Method],
        found: Sequence[Explanation],
        asked: Sequence[str],
        said: Callable[[str], None],
    ) -> Sequence[Mapping[str, Any]]:
        """Return the explanation cards of all that was found of a case by the targets asked for, as plain data."""


@dataclass(frozen=True)
class Finished:
    """A complete case: its folder, what was predicted, the folders of its explanations, the states of their cards.

    `dicom` says what objects were written of its maps, and which were not.
    """

    name: str
    kind: str
    image: str
    sentence: str
    explanations: tuple[str, ...]
    kept: bool = False
    states: tuple[str, ...] = ()
    dicom: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """An input that could not be explained; a name of a file in another encoding is put into characters."""

    source: str
    error: str
    message: str
    do: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", printable(self.source))


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    out: Path
    cases: tuple[Finished, ...]
    failures: tuple[Failed, ...]
    page: Path | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 when all was done, 2 when nothing was, 3 when part failed."""
        if not self.failures:
            return 0
        return 3 if self.cases else 2

    def folder(self, case: str) -> Path:
        """Return the folder of a case."""
        return folder_of(self.out, case)

    def sentence(self) -> str:
        """Return what came of it in words."""
        kept = sum(c.kept for c in self.cases)
        parts = [f"{len(self.cases)} explained" + (f", {kept} of them before" if kept else "")]
        if self.failures:
            where = f", see {self.out / 'failures.csv'}" if self.cases else ""
            parts.append(f"{len(self.failures)} failed{where}")
        return "; ".join(parts) + "."

    def described(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return {
            "out": str(self.out),
            "page": str(self.page) if self.page else None,
            "exit_code": self.exit_code,
            "cases": [asdict(c) for c in self.cases],
            "failures": [asdict(f) for f in self.failures],
        }


@dataclass
class _Progress:
    """What a run has so far."""

    cases: list[Finished] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)


def run(
    inputs: Sequence[str | Path],
    plan: Plan,
    out: Path,
    *,
    watch: Watch,
    limits: Limits | None = None,
    overwrite: bool = False,
    examiner: Examiner | None = None,
    dicom: DicomPlan | None = None,
    network: Network | None = None,
    write: Write = "pages",
) -> Outcome:
    """Explain every image among the inputs into the folder `out`, and return what came of it.

    With an `examiner` each map gets a card, by `dicom` it is written as DICOM objects too. `network` is that of the
    plan, where it is loaded already. `write` says how much is written of each map.
    The folder of an earlier run of the same network grows: of a case that is complete only what is missing is
    explained. Raises SaliscopeError when nothing can begin: an unknown model, method or option, no input at all, or a
    folder that holds another run.
    """
    methods = plan.make()
    network = network or load(plan.model, allow_code=plan.allow_code, device=plan.device)
    sources, unreadable = discover(inputs, limits or Limits())
    if not sources and not unreadable:
        raise InputError("no image among the inputs", expected="a DICOM, NIfTI, PNG, JPEG or TIFF", do="Check the path")
    beside = {**(examiner.asked if examiner else {}), **({"dicom": dicom.asked} if dicom else {})}
    store = Store.opened(out, identity_of(network, beside), overwrite=overwrite)
    so_far = _Progress()
    for failure in unreadable:
        _note_failure(so_far, watch, str(failure.path), failure.error)
    started = _now()
    if network.warning:
        watch.warned(f"{network.name}: {network.warning}")
    watch.cases(len(sources))
    state = "interrupted"
    try:
        for source in sources:
            _one(source, network, methods, plan, store, so_far, watch, limits or Limits(), examiner, dicom, write)
        state = "complete"
    finally:
        record = _record(plan, network, so_far, state)
        store.close(record, [asdict(f) for f in so_far.failures], {"started": started, "finished": _now()})
    if not so_far.cases:
        store.discard_if_empty()
    states = {store.case(c.name).name: c.states for c in so_far.cases}
    page = store.index(states, network.name) if so_far.cases else None
    return Outcome(out, tuple(so_far.cases), tuple(so_far.failures), page)


def _one(
    source: Source,
    network: Network,
    methods: Mapping[str, Method],
    plan: Plan,
    store: Store,
    so_far: _Progress,
    watch: Watch,
    limits: Limits,
    examiner: Examiner | None,
    dicom: DicomPlan | None,
    write: Write,
) -> None:
    def say(what: str) -> None:
        watch.step(source.name, what)

    try:
        say("reading")
        opened = dicom.opened(source, limits) if dicom else None
        image = source.load(limits)
        if opened is not None:
            opened.check(image)
        source_key = keyed("source", str([str(i.where.absolute()) for i in source.items[:1]]), case_key())
        name = store.place(source.name, source_key, image.digest)
        image, place = (image if name == source.name else replace(image, name=name)), store.case(name)
        written, kept = _grown(image, place, source_key, network, methods, plan, write, examiner, opened, say)
        folders = written.folders
        told = cards_in(place, folders) if examiner else ()
        states = tuple(dict.fromkeys(str(card["state_name"]) for card in told))
        objects = objects_in(place, folders) if dicom else ()
        done = Finished(name, source.kind, image.digest, written.sentence, folders, kept, states, objects)
    except SaliscopeError as error:
        _note_failure(so_far, watch, str(source.paths[0]), error)
    except Exception as error:  # noqa: BLE001 - one case that breaks the network must not end the others
        said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
        wrapped = ModelError(
            f"the network could not be run on this image ({said})", do="Check the card's view and layer"
        )
        _note_failure(so_far, watch, str(source.paths[0]), wrapped)
    else:
        so_far.cases.append(done)
        watch.done(done.name, "complete before" if done.kept else "; ".join((*done.states, done.sentence)))


def _grown(
    image: MedicalImage,
    place: Path,
    source: str,
    network: Network,
    methods: Mapping[str, Method],
    plan: Plan,
    write: Write,
    examiner: Examiner | None,
    dicom: DicomCase | None,
    say: Callable[[str], None],
) -> tuple[CaseRecord, bool]:
    """Return what the folder of a case says once it holds all that is asked, and whether it held that before."""
    earlier = CaseRecord.read(place)
    if earlier is not None and earlier.image != image.digest:
        earlier = None
    wanted = max(write, earlier.write if earlier else write, key=WRITES.index)
    # Of what only a table was written there is no map to go on with.
    complete = earlier is not None and (earlier.write == wanted or earlier.write != "table")
    before = earlier if complete and earlier is not None else CaseRecord(image.digest)
    missing = before.missing(methods, plan.targets)
    if earlier is not None and not missing and earlier.write == wanted:
        return earlier, True
    case = Case(image, network.viewing(image), Showing)
    found: list[Explanation] = []
    cards: list[Mapping[str, Any]] = []
    for targets, asked in missing.items():
        own = explained([case], network, asked, list(targets), say)
        found += own
        cards += examiner.cards(case, network, asked, own, targets, say) if examiner else ()
    say("writing")
    words = asked_too(before.asked, methods, plan.targets)
    showing = Showing(image, case.view)
    record = showing.write_case(
        found, place, overwrite=True, cards=cards, dicom=dicom, write=wanted, earlier=earlier, asked=words,
        source=source,
    )  # fmt: skip
    return record, False


def _note_failure(so_far: _Progress, watch: Watch, source: str, error: SaliscopeError) -> None:
    # The reader's messages begin with the file; once is enough.
    why = str(error)
    for name in (source, Path(source).name):
        why = why.removeprefix(f"{printable(name)}: ")
    so_far.failures.append(Failed(source, type(error).__name__, why, error.do))
    watch.failed(so_far.failures[-1].source, why)


def _record(plan: Plan, network: Network, so_far: _Progress, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "plan": plan.described(),
        "warning": network.warning,
        "model": {"name": network.name, "weights": network.weights_digest(), "view": network.viewing.digest},
        "versions": dict(versions()),
        "device": str(network.device),
        "cases": [asdict(c) for c in so_far.cases],
        "failed": len(so_far.failures),
        "statement": "Research use only, not for diagnosis.",
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
