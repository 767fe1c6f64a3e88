"""From files to cases, by their headers only: one for each image, volume or DICOM series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from saliscope.core.errors import InputError, UnreadableFile
from saliscope.core.image import MedicalImage
from saliscope.read.guard import Guard
from saliscope.read.header import open_dicom, pixel_facts, refused_object
from saliscope.read.inputs import expanded
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.mosaic import TAGS as MOSAIC_TAGS
from saliscope.read.mosaic import is_mosaic
from saliscope.read.naming import case_key, cleaned, distinct, keyed, known_modality, lasts
from saliscope.read.placement import plane_of
from saliscope.read.sniff import IMAGE_SUFFIXES, kind_of
from saliscope.read.source import Failure, Source

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SeriesNumber", *MOSAIC_TAGS,
)  # fmt: skip
#: Begins the stand-in for a missing SeriesInstanceUID; no UID begins so.
_UNNAMED = "?"


@dataclass(frozen=True)
class _Dicom:
    """One DICOM file: its hashed-to-be identifiers, and what keeps it apart from others of its series."""

    item: Item
    modality: str
    instance: str
    series: str
    stack: tuple[object, ...] | None


def discover(
    inputs: Sequence[str | Path],
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    key: bytes | None = None,
) -> tuple[list[Source], list[Failure]]:
    """Return the cases behind files, folders, zips, globs and lists, and the files that cannot be read.

    `key` makes the case names of DICOM files; with none, it is taken from SALISCOPE_CASE_KEY or the user's key file.
    Only headers are looked at. Never raises for a file that is amiss; raises InputError for a damaged key file.
    """
    secret = case_key() if key is None else key
    found = expanded(inputs, limits)
    sources: list[Source] = []
    slices: dict[tuple[object, ...], list[_Dicom]] = {}
    passed: Counter[Path] = Counter()
    for item, named in found.files:
        try:
            with Guard(item.label, "looking at it"):
                case = _look(item, named, limits)
        except InputError as error:
            found.fail(item.where, error)
            continue
        if isinstance(case, str):
            passed[item.where.parent] += 1
        elif isinstance(case, Source):
            sources.append(case)
        elif case is not None and case.stack is None:
            sources.append(_single(case, secret))
        elif case is not None:
            slices.setdefault((_home(item), case.series, case.stack), []).append(case)
    sources += _stacks(slices, secret)
    sources.sort(key=lambda s: min(s.items))
    names = distinct([s.name for s in sources], [str(min(s.items).where.resolve()) for s in sources], secret)
    if not sources and not found.failures:
        paths = [Path(str(g)) for g in inputs]
        for path in paths:
            found.fail(path, UnreadableFile(f"{path.name}: no image in it", do="Check that it is the right one"))
    said = () if lasts(secret) else ("no key file could be made: this run's case names are not those of the next",)
    named_sources = zip(sources, names, strict=True)
    return [replace(s, name=n, notes=(*s.notes, *_beside(s, passed), *said)) for s, n in named_sources], found.failures


def read(path: str | Path, limits: Limits = Limits()) -> MedicalImage:  # noqa: B008  (frozen)
    """Return the one image behind a path; raises InputError when there is none, or several."""
    sources, failures = discover([path], limits)
    if not sources:
        raise failures[0].error
    if len(sources) > 1:
        raise InputError(
            f"{Path(path).name}: {len(sources)} images", expected="one", do="Choose one, or use saliscope.read.discover"
        )
    image = sources[0].load(limits)
    if failures:
        image = replace(image, notes=(*image.notes, f"{len(failures)} file(s) beside it could not be read"))
    return image


def _beside(source: Source, passed: Counter[Path]) -> tuple[str, ...]:
    """Return what to say of DICOM objects that lie beside a source and hold no image."""
    count = passed[min(source.items).where.parent]
    if not count:
        return ()
    return (f"{count} DICOM object(s) beside it hold no image (segmentations, reports, plans) and were passed over",)


def _look(item: Item, named: bool, limits: Limits) -> Source | _Dicom | str | None:
    """Return the case of one file, what a DICOM object is that holds no image, or None for clutter.

    Raises InputError for what should be an image and is not.
    """
    promised = named or item.where.name.lower().endswith(tuple(IMAGE_SUFFIXES))
    size = item.size()
    if size == 0 and not promised:
        return None
    limits.check_file(size, item.label)
    kind = kind_of(item.head())
    if kind == "dicom":
        return _dicom(item, named, limits)
    if kind in ("nifti", "picture"):
        inside = (item.member,) if item.member else ()
        return Source(kind, (item.path,), cleaned(item.where), members=inside)
    if promised:
        raise UnreadableFile(
            f"{item.label}: not an image of a kind that is read",
            expected="DICOM, NIfTI (.nii, .nii.gz), PNG, JPEG, TIFF or BMP, or a zip of them",
            do="Check the file, or convert it",
        )
    return None


def _dicom(item: Item, named: bool, limits: Limits) -> _Dicom | str:
    data = item.read(limits) if item.member else None
    ds, _ = open_dicom(data or item.path, item.label, limits, _TAGS)
    if not named and (what := refused_object(ds)):
        return what
    facts = pixel_facts(ds, item.label)
    limits.check_shape((facts.frames, facts.rows, facts.columns, facts.samples), item.label)
    with Guard(item.label, "reading its identifiers"):
        instance = str(ds.get("SOPInstanceUID", "") or "") or item.where.name
        series = str(ds.get("SeriesInstanceUID", "") or "") or _unnamed_series(ds, item)
        # A mosaic is a volume of its own: several are time points, which must not be taken for slices.
        stack = _stack_of(ds) if facts.frames == 1 and not is_mosaic(ds, facts.frames) else None
        return _Dicom(item, known_modality(ds.get("Modality")), instance, series, stack)


def _stack_of(ds: Dataset) -> tuple[object, ...] | None:
    """Return what slices of one stack share, or None for an image without a place."""
    plane = plane_of(ds)
    if plane is None:
        return None
    localiser = "LOCALIZER" in [str(v).upper() for v in ds.get("ImageType") or ()]
    turn = tuple(round(float(v) * 50) for v in (*plane.row, *plane.column))  # about one degree
    return int(ds.Rows), int(ds.Columns), turn, localiser


def _unnamed_series(ds: Dataset, item: Item) -> str:
    """Return what stands for a missing SeriesInstanceUID: the folder, the frame of reference and the number."""
    frame, number = (str(ds.get(k, "") or "") for k in ("FrameOfReferenceUID", "SeriesNumber"))
    return f"{_UNNAMED}{item.where.parent}|{frame}|{number}"


def _home(item: Item) -> str:
    """Return what a series does not reach beyond: the zip, for members of one."""
    return str(item.path) if item.member else ""


def _single(case: _Dicom, key: bytes, notes: tuple[str, ...] = ()) -> Source:
    name = keyed(case.modality.lower() or "dicom", case.instance, key)
    inside = (case.item.member,) if case.item.member else ()
    return Source("dicom", (case.item.path,), name, members=inside, notes=notes)


def _stacks(slices: dict[tuple[object, ...], list[_Dicom]], key: bytes) -> list[Source]:
    """Return one source for each stack; a series of several orientations or sizes is split, and this is said."""
    parts: dict[tuple[object, object], int] = {}
    for home, series, _ in slices:
        parts[home, series] = parts.get((home, series), 0) + 1
    sources = []
    for (home, series, stack), cases in slices.items():
        count = parts[home, series]
        notes = (f"its series holds {count} stacks of different orientation or size; this is one of them",)
        said: tuple[str, ...] = notes if count > 1 else ()
        cases.sort(key=lambda c: c.item)
        identity = str(series)
        if identity.startswith(_UNNAMED):
            identity = min(c.instance for c in cases)
            said += ("the files name no series; slices of one folder and frame of reference were taken together",)
        if len(cases) == 1:
            sources.append(_single(cases[0], key, said))
            continue
        whole = identity if count == 1 else f"{identity} {stack}"
        name = keyed(cases[0].modality.lower() or "dicom", whole, key)
        zipped = bool(cases[0].item.member)
        paths = (cases[0].item.path,) if zipped else tuple(c.item.path for c in cases)
        inside = tuple(c.item.member for c in cases) if zipped else ()
        sources.append(Source("dicom-series", paths, name, members=inside, notes=said))
    return sources
