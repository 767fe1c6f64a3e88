"""From a complete study to the objects that are owed: each series by its rule, each network loaded once."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from saliscope.core.errors import InputError, SaliscopeError
from saliscope.core.target_words import choose
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.pacs.config import Config, Rule
from saliscope.pacs.queue import Owed, Queue, Study, retry_at
from saliscope.read.naming import case_key, keyed
from saliscope.study.dicom import FOLDER, DicomPlan
from saliscope.study.plan import Plan
from saliscope.study.routing import Task, routed
from saliscope.study.run import Examiner, Outcome, run

Told = Callable[[str], None]
RESULTS, WORK = "results", "work"
#: Failures of a study after which it waits for a person.
TRIES = 4


class Stopped(BaseException):
    """Raised inside a run when the node is to end; the study stays claimed, and the next start takes it up."""


@dataclass
class _Quiet:
    """Watches a run for the node: says what failed and what a network warns of, and ends the run when told to."""

    told: Told
    stop: Event

    def cases(self, total: int) -> None:
        """Take note of nothing: studies are counted, not cases."""

    def warned(self, what: str) -> None:
        """Say nothing: said once, when the network was loaded."""

    def step(self, case: str, what: str) -> None:  # noqa: ARG002
        """End the run if the node is to end."""
        if self.stop.is_set():
            raise Stopped

    def done(self, case: str, what: str) -> None:
        """End the run if the node is to end, with this case complete."""

    def failed(self, what: str, why: str) -> None:  # noqa: ARG002
        """Say why a case failed; the file is named by its contents' hash."""
        self.told(f"a case failed: {why}")


@dataclass(frozen=True)
class Prepared:
    """A rule made ready: its network loaded, its methods, targets and profile known to be there."""

    rule: Rule
    plan: Plan
    network: Network
    dicom: DicomPlan
    examiner: Examiner | None


def prepared(rules: Sequence[Rule], told: Told) -> dict[str, Prepared]:
    """Return the rules made ready, by name, each network loaded once; raises SaliscopeError for what is not there.

    What a rule asks of a network whose labels are known must be one of them.
    """
    networks: dict[str, Network] = {}
    found = {}
    for rule in rules:
        plan = Plan(rule.model, rule.method, rule.target)
        plan.make()
        if rule.model not in networks:
            networks[rule.model] = load(rule.model)
            if networks[rule.model].warning:
                told(f"warning: {rule.model}: {networks[rule.model].warning}")
        network = networks[rule.model]
        if network.labels:
            choose(rule.target, network.labels, network.kind)
        found[rule.name] = Prepared(rule, plan, network, DicomPlan(rule.profile), _examiner(rule))
    return found


def _examiner(rule: Rule) -> Examiner | None:
    if not rule.check and rule.card is None:
        return None
    from saliscope.study.check import Cards, tier_of

    return Cards.of([rule.card] if rule.card else [], tier_of("quick"))


@dataclass
class Explaining:
    """Explains the studies of a queue, one after another."""

    config: Config
    queue: Queue
    rules: dict[str, Prepared]
    told: Told
    stop: Event
    key: bytes = field(default_factory=case_key)

    def next(self) -> bool:
        """Explain the study that is due; False where none is."""
        self.queue.take_back("studies")
        study = self.queue.due(time.time(), self.config.node.quiet_s)
        if study is None:
            return False
        name = keyed("study", study.study_uid, self.key)
        try:
            owed, note, wrong = self._owed(study, name)
        except InputError as error:
            self._failed(study, name, error, again=False)
        except (SaliscopeError, OSError, MemoryError) as error:
            self._failed(study, name, error, again=True)
        except Exception as error:  # noqa: BLE001 - one study that breaks something must not end the others
            self._failed(study, name, error, again=True)
        else:
            self.queue.explained(study, owed, note, wrong)
            self.told(f"{name}: {note}")
            shutil.rmtree(self._work(study), ignore_errors=True)
        return True

    def _owed(self, study: Study, name: str) -> tuple[list[Owed], str, list[str]]:
        """Return what is owed of a study to whom, in words what was done, and what of it went wrong.

        A rule that cannot work on it, at once or to the last try, does not keep back the results of the others.
        """
        todo = routed(study, self.config.rules)
        owed: list[Owed] = []
        said, wrong, errors = [], [], []
        for task in todo.tasks:
            self.told(f"{name}: explaining {len(task.paths)} objects by rule {task.rule.name}")
            try:
                outcome = self._run(task, study)
                results = _kept(outcome, self.config.node.folder / RESULTS)
            except Exception as error:
                if not isinstance(error, InputError) and study.tries + 1 < TRIES:
                    raise
                errors.append(error)
                wrong.append(f"rule {task.rule.name}: {_why(error)}")
                said.append(wrong[-1])
                continue
            owed += [Owed(uid, kind, path, peer) for uid, kind, path in results for peer in task.rule.send_to]
            failed = f", {len(outcome.failures)} images failed ({_kinds(outcome)})" if outcome.failures else ""
            to = ", ".join(task.rule.send_to)
            written = "; ".join(dict.fromkeys(line for case in outcome.cases for line in case.dicom))
            said.append(f"rule {task.rule.name}: images {len(outcome.cases)}, objects {len(results)} for {to}{failed}")
            said.append(written)
            wrong += [f"rule {task.rule.name}{failed}"] if failed else []
        if errors and len(errors) == len(todo.tasks):
            raise errors[0]
        note = "; ".join([*said, *([todo.sentence] if todo.sentence else [])]) or "nothing new in it"
        return owed, note, wrong

    def _run(self, task: Task, study: Study) -> Outcome:
        ready = self.rules[task.rule.name]
        outcome = run(
            task.paths,
            ready.plan,
            self._work(study) / task.rule.name,
            watch=_Quiet(self.told, self.stop),
            examiner=ready.examiner,
            dicom=ready.dicom,
            network=ready.network,
        )
        if not outcome.cases:
            raise InputError(f"no image was explained ({_kinds(outcome)})", do="Look at the lines before this one")
        return outcome

    def _failed(self, study: Study, name: str, error: BaseException, *, again: bool) -> None:
        why = _why(error)
        at = retry_at(study.tries + 1, time.time(), most=TRIES) if again else None
        self.queue.not_explained(study, why, at)
        if at is None:
            shutil.rmtree(self._work(study), ignore_errors=True)
        self.told(f"{name}: not explained, {'to be tried again' if at else 'given up'}: {why}")

    def _work(self, study: Study) -> Path:
        return self.config.node.folder / WORK / hashlib.sha256(study.study_uid.encode()).hexdigest()[:32]


def _kept(outcome: Outcome, folder: Path) -> list[tuple[str, str, Path]]:
    """Return UID, class and place of the objects of a run, under names that say nothing, until they are sent."""
    from pydicom import dcmread

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = []
    for case in outcome.cases:
        for name in case.explanations:
            for path in sorted((outcome.folder(case.name) / name / FOLDER).glob("*.dcm")):
                meta = dcmread(path, specific_tags=[], stop_before_pixels=True).file_meta
                uid = str(meta.MediaStorageSOPInstanceUID)
                place = folder / f"{hashlib.sha256(uid.encode()).hexdigest()}.dcm"
                place.unlink(missing_ok=True)
                try:
                    os.link(path, place)
                except OSError:  # a file system without links
                    shutil.copyfile(path, place)
                found.append((uid, str(meta.MediaStorageSOPClassUID), place))
    return found


def _why(error: BaseException) -> str:
    """Return what went wrong without what a stranger's bytes may put into a message that is not ours."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, SaliscopeError) else kind


def _kinds(outcome: Outcome) -> str:
    return ", ".join(dict.fromkeys(f.error for f in outcome.failures))
