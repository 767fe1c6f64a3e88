"""A DICOM series: slices in files of their own that make one volume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import MixedSeries
from saliscope.core.image import MedicalImage
from saliscope.read.dicom import assembled, cautions, enhanced_grid
from saliscope.read.frames import frame_header
from saliscope.read.guard import Guard
from saliscope.read.header import Pixels, check_pixels, open_dicom, pixel_facts
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.mosaic import is_mosaic
from saliscope.read.naming import known_modality
from saliscope.read.pixels import Slice, check_codec, decoded, modality_units
from saliscope.read.placement import plane_of
from saliscope.read.stack import ordered

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class _Entry:
    """What is kept of one file between the first pass, for order, and the second, for pixels."""

    item: Item
    header: Dataset
    facts: Pixels
    modality: str
    digest: str
    notes: tuple[str, ...]


def load_series(items: Sequence[Item], name: str, limits: Limits) -> MedicalImage:
    """Return the volume of a series; raises MixedSeries when the files do not make one, else InputError."""
    label = f"series of {len(items)} files beside {items[0].label}"
    limits.check_slices(len(items), label)
    entries = [_entry(i, limits) for i in items]
    facts = entries[0].facts
    _refuse_mixed(entries, label)
    limits.check_shape((len(entries), facts.rows, facts.columns, 3 if facts.colour else 1), label)
    planes = [plane_of(e.header) for e in entries]
    known = [p for p in planes if p is not None]
    if len(known) < len(planes):
        raise MixedSeries(
            f"{label}: slices without a position", expected="ImagePositionPatient in each", do="Give files one by one"
        )
    groups = ordered(known, label)
    if len(groups) == 1:
        raise MixedSeries(
            f"{label}: {len(items)} images of one plane", expected="a stack", do="Give the files one by one"
        )
    kept, dropped = _without_twins([[entries[i] for i in g] for g in groups], label, limits)
    notes = sorted({n for e in entries for n in e.notes})
    if dropped:
        notes.append(f"{dropped} slice(s) were there twice with the same pixels; each is used once")
    headers = [e.header for e in kept]
    grid, said = enhanced_grid(headers, facts, kept[0].modality, label)
    slices = _decoded_each(kept, limits)
    digest = hashlib.sha256("\n".join(sorted({e.digest for e in entries})).encode()).hexdigest()
    return assembled(slices, grid, headers, facts, kept[0].modality, label, digest, name, notes + said)


def _entry(item: Item, limits: Limits) -> _Entry:
    data = item.read(limits)
    ds, notes = open_dicom(data, item.label, limits)
    facts = pixel_facts(ds, item.label)
    check_codec(ds, facts, item.label)
    check_pixels(ds, facts, item.label, limits)
    modality = known_modality(ds.get("Modality"))
    with Guard(item.label, "reading its header"):
        if is_mosaic(ds, facts.frames):
            raise MixedSeries(
                f"{item.label}: a mosaic, a volume of its own, among slices",
                expected="slices",
                do="Give the mosaics one by one",
            )
        header = frame_header(ds)
        said = (*notes, *cautions(ds, modality))
    return _Entry(item, header, facts, modality, hashlib.sha256(data).hexdigest(), said)


def _decode(entry: _Entry, limits: Limits) -> Slice:
    ds, _ = open_dicom(entry.item.read(limits), entry.item.label, limits)
    return decoded(ds, entry.header, entry.facts, 0, entry.item.label)


def _decoded_each(entries: Sequence[_Entry], limits: Limits) -> Iterator[Slice]:
    return (_decode(e, limits) for e in entries)


def _refuse_mixed(entries: Sequence[_Entry], label: str) -> None:
    for what, kinds in (
        ("sizes", {(e.facts.rows, e.facts.columns) for e in entries}),
        ("kinds of pixels", {(e.facts.samples, e.facts.photometric) for e in entries}),
        ("modalities", {e.modality for e in entries}),
        ("units of value", {modality_units(e.header, e.modality) for e in entries}),
        ("numbers of frames", {e.facts.frames for e in entries} - {1}),
    ):
        if len(kinds) > (0 if what == "numbers of frames" else 1):
            raise MixedSeries(f"{label}: slices of several {what}", expected="one", do="Give one stack at a time")


def _without_twins(groups: list[list[_Entry]], label: str, limits: Limits) -> tuple[list[_Entry], int]:
    """Return one entry for each position and how many were dropped as the same; raises MixedSeries if they differ."""
    dropped = 0
    for place, group in enumerate(groups):
        first = None
        for other in group[1:]:
            if other.digest == group[0].digest:
                continue
            first = first or _decode(group[0], limits)
            if not _same(first, _decode(other, limits)):
                raise MixedSeries(
                    f"{label}: {len(group)} different slices at position {place + 1} of {len(groups)} "
                    "(several echoes, phases or time points)",
                    expected="one slice for each position",
                    do="Give the files of one of them only",
                )
        dropped += len(group) - 1
    return [g[0] for g in groups], dropped


def _same(one: Slice, other: Slice) -> bool:
    return np.array_equal(one.values, other.values) and np.array_equal(one.padding, other.padding)
