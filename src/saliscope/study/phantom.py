"""A set of phantoms on disk with its truth: images, masks, tables, and what is needed to make it again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import InputError, WriteError, did_you_mean
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.figures.sheet import Tile, contact_sheet
from saliscope.phantom.case import Case
from saliscope.phantom.catalogue import phantom_set, setting
from saliscope.phantom.effects.counterfactual import CohortEffects, case_effects
from saliscope.phantom.effects.reliance import summed
from saliscope.phantom.sets import PhantomSet
from saliscope.study.phantom_tables import (
    EFFECT_COLUMNS,
    RELIANCE_COLUMNS,
    case_columns,
    case_row,
    effect_rows,
    reliance_rows,
    set_record,
)
from saliscope.write import csv_bytes, image_files, json_bytes, new_folder, region_files, write_files

if TYPE_CHECKING:
    from saliscope.model.network import Network
    from saliscope.study.question import Question
    from saliscope.study.watch import Watch

#: What a set's folder may hold: an older one is replaced only where nothing else lies in it.
RECORD = "set.json"
TABLES = (RECORD, "cases.csv", "effects.csv", "reliance.csv", "sheet.png")
FOLDERS = ("images", "masks", "truth", "anatomy", "counterfactuals")
#: Cases on the contact sheet.
SHOWN = 20


@dataclass(frozen=True)
class PhantomPlan:
    """What is asked for: names of the catalogue, shares from 0 to 1, and what to write of it.

    `format` is png, nifti or dicom; None takes png for pictures and nifti for volumes. Without `targets` all scores
    of the network are asked for, of two that are each other's opposite the second.
    """

    scene: str
    finding: str | None = None
    shortcut: str | None = None
    contamination: float = 0.0
    background: float = 0.0
    count: int = 20
    seed: int = 0
    size: int | None = None
    distractors: bool = True
    suppressor: bool = False
    format: str | None = None
    counterfactuals: bool = False
    anatomy: bool = False
    model: str | None = None
    targets: tuple[str, ...] = ()
    device: str = "cpu"

    def make(self) -> PhantomSet:
        """Return the set; raises InputError for names that are not natural in the scene, or a share of no shortcut."""
        if self.count < 1:
            raise InputError(f"a set of {self.count} cases", expected="at least one", do="Give a larger --count")
        if self.shortcut is None and (self.contamination or self.background):
            raise InputError(
                "a share of cases with a shortcut, and no shortcut", expected="both", do="Name one by --shortcut"
            )
        where = setting(self.scene)
        for kind, name, known in (
            ("finding", self.finding, where.findings),
            ("shortcut", self.shortcut, where.shortcuts),
        ):
            if name is not None and name not in known:
                raise InputError(
                    f"{kind} {name!r} in scene {self.scene!r}", expected=", ".join(known), do=did_you_mean(name, known)
                )
        return phantom_set(
            scene=self.scene,
            finding=self.finding,
            shortcut=self.shortcut,
            contamination=self.contamination,
            background=self.background,
            count=self.count,
            seed=self.seed,
            size=self.size,
            distractors=self.distractors,
            suppressor=self.suppressor,
        )


@dataclass(frozen=True)
class Written:
    """What was written: the folder, how many cases, and what a network relies on in them, if one was asked."""

    out: Path
    cases: int
    findings: int
    shortcuts: int
    effects: CohortEffects | None = field(default=None, repr=False)

    @property
    def sheet(self) -> Path:
        """Return the picture to look at."""
        return self.out / "sheet.png"

    def sentence(self) -> str:
        """Return what came of it in words."""
        cost = "" if self.effects is None else f"; {self.effects.cost.renderings} renderings for the effects"
        return f"{self.cases} phantoms, {self.findings} with a finding, {self.shortcuts} with a shortcut{cost}."


def write_phantoms(plan: PhantomPlan, out: Path, *, watch: Watch, overwrite: bool = False) -> Written:
    """Write a set with its truth into the folder `out`, whole or not at all, and return what was written.

    Raises SaliscopeError for names, shares, formats or models that are not there, and for a folder that is taken.
    """
    if overwrite:
        _refuse_foreign(out)
    made = plan.make()
    geometry = made[0].anatomy.geometry
    kind = plan.format or ("png" if geometry.ndim == 2 else "nifti")
    image_files(made[0].render(), kind)  # refused before anything is begun, if it cannot be
    asked = _asked(plan, made, watch)
    watch.cases(len(made))
    with new_folder(out, overwrite) as folder:
        writing = _Writing(made, kind, folder, plan.counterfactuals, plan.anatomy, watch)
        effects = None
        if asked is None:
            deque(writing.cases(), maxlen=0)
        else:
            effects = summed(case_effects(writing.cases(), *asked), seed=plan.seed)
        tables = {
            "cases.csv": csv_bytes(case_columns(made, geometry), writing.rows),
            RECORD: json_bytes(set_record(made, asdict(plan), kind, asked and asked[0], effects)),
            "sheet.png": contact_sheet(writing.tiles, _title(plan, made)),
        }
        if effects is not None:
            tables["effects.csv"] = csv_bytes(EFFECT_COLUMNS, effect_rows(effects))
            tables["reliance.csv"] = csv_bytes(RELIANCE_COLUMNS, reliance_rows(effects))
        write_files(folder, tables)
    return Written(out, len(made), writing.having["finding"], writing.having["shortcut"], effects)


def _title(plan: PhantomPlan, made: PhantomSet) -> str:
    finding = plan.finding or setting(plan.scene).findings[0]
    tag = f", {plan.shortcut} in {plan.contamination:.0%} of {made.labels[-1]}" if plan.shortcut else ""
    more = f"; the first {SHOWN} of {len(made)}" if len(made) > SHOWN else ""
    return f"{plan.scene}: {finding}{tag}, seed {plan.seed}{more}. Research phantoms, no patients."


@dataclass
class _Writing:
    """Cases on their way to disk: their files, their rows of the table, and tiles of the first of them."""

    made: PhantomSet
    kind: str
    folder: Path
    counterfactuals: bool
    anatomy: bool
    watch: Watch
    rows: list[dict[str, Any]] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    having: Counter[str] = field(default_factory=Counter)

    def cases(self) -> Iterator[Case]:
        """Give every case once its files are written."""
        for case in self.made:
            self.watch.step(case.name, "drawing")
            image = case.render()
            files = image_files(image, self.kind)
            masks = self._masks(case)
            self.rows.append(case_row(case, self.made, image, files, masks))
            self._look(case, image)
            written = {f"images/{name}": data for name, data in files.items()}
            write_files(self.folder, written | self._truth(case) | self._without(case))
            self.having.update({e.role for e in case.elements})
            names = ", ".join(e.name for e in case.elements) or "nothing planted"
            self.watch.done(case.name, f"{self.made.labels[case.label]} ({names})")
            yield case

    def _masks(self, case: Case) -> dict[str, str]:
        """Write where each element lies, and return the files by its name."""
        return {name: self._region(f"masks/{case.name}", region) for name, region in case.regions.items()}

    def _region(self, place: str, region: Region) -> str:
        ((file, data),) = region_files(region, self.kind).items()
        write_files(self.folder, {f"{place}/{file}": data})
        return f"{place}/{file}"

    def _truth(self, case: Case) -> dict[str, bytes]:
        """Return what a map should and should not point at, and the anatomy if it is wanted."""
        wanted = {f"truth/{case.name}": case.truth} | (
            {f"anatomy/{case.name}": case.compartments} if self.anatomy else {}
        )
        found = [(place, region_files(r, self.kind)) for place, regions in wanted.items() for r in regions.values()]
        return {f"{place}/{name}": data for place, files in found for name, data in files.items()}

    def _without(self, case: Case) -> dict[str, bytes]:
        """Return the case once more without each of its elements."""
        found: dict[str, bytes] = {}
        for element in case.elements if self.counterfactuals else ():
            left = case.render([e.name for e in case.elements if e is not element])
            files = image_files(left, self.kind, f"without-{element.name}")
            found |= {f"counterfactuals/{case.name}/{name}": data for name, data in files.items()}
        return found

    def _look(self, case: Case, image: MedicalImage) -> None:
        if len(self.tiles) < SHOWN:
            roles = {e.name: e.role for e in case.elements}
            regions = tuple((region, roles[name]) for name, region in case.regions.items())
            title = f"{case.name}  {self.made.labels[case.label]}"
            self.tiles.append(Tile(image, title, regions, tuple(roles.items())))


def _asked(plan: PhantomPlan, made: PhantomSet, watch: Watch) -> tuple[Network, Question] | None:
    """Return the network and what it is asked, settled on the first case; None where no network is named."""
    if plan.model is None:
        return None
    # torch is loaded only where a network is asked.
    from saliscope.model.load import load
    from saliscope.study.question import Question

    network = load(plan.model, device=plan.device)
    if network.warning:
        watch.warned(f"{network.name}: {network.warning}")
    usual = [1] if network.kind == "binary" else ["all"]
    question = Question(list(plan.targets or usual), network)
    with network.opened() as model:
        question.scores(model(network.viewing(made[0].render()).tensor.to(network.device, network.dtype)))
    return network, question


def _refuse_foreign(out: Path) -> None:
    """Raise WriteError for a folder with anything in it that no set of phantoms has: it would be lost."""
    if not out.is_dir():
        return
    held = {p.name for p in out.iterdir()}
    foreign = sorted(held - {*TABLES, *FOLDERS})
    if foreign or (held and RECORD not in held):
        raise WriteError(
            f"{out}, which holds {foreign[0] if foreign else 'something'!r} that no set of phantoms wrote",
            expected="a folder that an earlier `saliscope phantom` wrote",
            do="Give another --out",
        )
