"""Maps of an earlier run as DICOM objects: nothing is computed anew, the image is read again."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saliscope.core.errors import InputError, SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.read import Limits, Source, discover
from saliscope.study.dicom import DicomPlan
from saliscope.study.present import folder_names
from saliscope.study.run import Failed
from saliscope.study.stored import Stored, stored
from saliscope.study.watch import Watch


@dataclass(frozen=True)
class ExportedMap:
    """The objects of one map: its case and folder, what was written and what was left out."""

    case: str
    folder: Path
    sentence: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class ExportOutcome:
    """What came of an export."""

    out: Path
    maps: tuple[ExportedMap, ...]
    failures: tuple[Failed, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 when all was done, 2 when nothing was, 3 when part failed."""
        if not self.failures:
            return 0
        return 3 if self.maps else 2

    def sentence(self) -> str:
        """Return what came of it in words."""
        count = sum(len(m.files) for m in self.maps)
        failed = f"; {len(self.failures)} failed" if self.failures else ""
        return f"{count} DICOM objects of {len(self.maps)} map(s) in {self.out}{failed}."

    def described(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        maps = [
            {"case": m.case, "folder": str(m.folder), "said": m.sentence, "files": list(m.files)} for m in self.maps
        ]
        failures = [vars(f) for f in self.failures]
        return {"out": str(self.out), "exit_code": self.exit_code, "maps": maps, "failures": failures}


def export(
    folder: Path,
    inputs: Sequence[str | Path],
    plan: DicomPlan,
    out: Path,
    *,
    watch: Watch,
    limits: Limits | None = None,
    overwrite: bool = False,
) -> ExportOutcome:
    """Write the maps of a run as DICOM into `out`, one folder for each map; `inputs` are the images explained there.

    Image and map find each other by the digest of the image. Raises SaliscopeError when nothing can begin.
    """
    from saliscope.write import new_folder

    maps: dict[str, list[Stored]] = defaultdict(list)
    for one in stored(folder):
        maps[one.explanation.provenance.image].append(one)
    allowed = limits or Limits()
    sources, unreadable = discover(inputs, allowed)
    failures = [Failed(str(f.path), type(f.error).__name__, str(f.error), f.error.do) for f in unreadable]
    watch.cases(len(maps))
    done: list[ExportedMap] = []
    with new_folder(out, overwrite) as place:
        for source in sources:
            try:
                done += _one(source, maps, plan, place, out, allowed, watch)
            except SaliscopeError as error:
                failures.append(Failed(str(source.paths[0]), type(error).__name__, str(error), error.do))
                watch.failed(failures[-1].source, str(error))
        for missing in maps.values():
            absent = InputError(
                "its image is not among those given",
                expected="the very files that were explained",
                do="Name the images, or the folder that they lie in, behind the folder of the run",
            )
            failures.append(Failed(missing[0].case, "InputError", str(absent), absent.do))
            watch.failed(missing[0].case, str(absent))
        if not done:
            first = failures[0] if failures else None
            raise InputError(
                f"nothing to export ({first.message if first else 'no image among the inputs'})",
                do="Name the images that were explained",
            )
    return ExportOutcome(out, tuple(done), tuple(failures))


def save_dicom(
    explanations: Explanation | Sequence[Explanation],
    source: str | Path,
    folder: str | Path,
    profile: str = "pacs-basic",
    *,
    pseudonymise: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write explanations of one DICOM image or series as DICOM objects into a new folder, and return their paths.

    `source` is the file or folder that was explained, `profile` as for `saliscope explain --dicom`. Several
    explanations get folders of their own. Raises a SaliscopeError for an image that was not explained, for what is no
    DICOM, and for what the profile is not for.
    """
    from saliscope.figures.reading import interpret
    from saliscope.write import new_folder, write_files

    given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    sources, failures = discover([source], Limits())
    if len(sources) != 1:
        raise (
            failures[0].error
            if failures
            else InputError(
                f"{Path(source).name}: {len(sources)} images",
                expected="the one that was explained",
                do="Name its files",
            )
        )
    image = sources[0].load(Limits())
    case = DicomPlan(profile, pseudonymise).opened(sources[0], Limits())
    case.check(image)
    readings = (interpret(e, image) for e in given)
    names = folder_names(given) if len(given) > 1 else ("",)
    paths = []
    with new_folder(folder, overwrite) as place:
        for name, written in zip(names, case.objects(image, readings), strict=True):
            write_files(place / name, {Path(file).name: data for file, data in written.files.items()})
            paths += [Path(folder) / name / f"{kind}.dcm" for kind in written.kinds]
    return paths


def _one(
    source: Source, maps: dict[str, list[Stored]], plan: DicomPlan, place: Path, out: Path, limits: Limits, watch: Watch
) -> list[ExportedMap]:
    """Write the objects of all maps of one image, and take them off the list; nothing where the run has none of it."""
    from saliscope.figures.reading import interpret
    from saliscope.write import write_files

    watch.step(source.name, "reading")
    image = source.load(limits)
    found = maps.pop(image.digest, None)
    if not found:
        return []
    case = plan.opened(source, limits)
    case.check(image)
    watch.step(source.name, "writing")
    readings = (interpret(one.explanation, image) for one in found)
    cards = [one.card for one in found]
    done = []
    try:
        for one, written in zip(found, case.objects(image, readings, cards), strict=True):
            name = f"{one.case}/{one.folder.name}"
            write_files(place, {f"{name}/{Path(file).name}": data for file, data in written.files.items()})
            done.append(ExportedMap(one.case, out / name, written.sentence, tuple(f"{k}.dcm" for k in written.kinds)))
    except SaliscopeError:
        for case_name in {one.case for one in found}:
            shutil.rmtree(place / case_name, ignore_errors=True)
        raise
    watch.done(source.name, "; ".join(d.sentence for d in done))
    return done
