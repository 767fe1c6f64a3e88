"""One DICOM file: a single image, one frame of several, or a volume of enhanced frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saliscope.core.errors import InputError, MixedSeries
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.read.frames import frame_header, stacked_frames
from saliscope.read.guard import Guard
from saliscope.read.header import Pixels, check_pixels, open_dicom, pixel_facts
from saliscope.read.item import Item
from saliscope.read.limits import Limits
from saliscope.read.mosaic import is_mosaic, unfolded
from saliscope.read.naming import known_modality
from saliscope.read.pixels import Slice, check_codec, decoded, modality_units, without_padding
from saliscope.read.placement import picture_grid, plane_of, spacing_of
from saliscope.read.showing import displayed
from saliscope.read.stack import volume_grid

if TYPE_CHECKING:
    from pydicom import Dataset

_BURNT = ("US", "ES", "XA", "XC", "OT", "")


def load_dicom(item: Item, name: str, frame: int, limits: Limits) -> MedicalImage:
    """Return the image of one file; raises InputError in one of its kinds."""
    data = item.read(limits)
    ds, notes = open_dicom(data, item.label, limits)
    facts = pixel_facts(ds, item.label)
    check_codec(ds, facts, item.label)
    check_pixels(ds, facts, item.label, limits)
    modality = known_modality(ds.get("Modality"))
    notes += cautions(ds, modality)
    digest = hashlib.sha256(data).hexdigest()
    if facts.frames > 1 and ds.get("PerFrameFunctionalGroupsSequence"):
        limits.check_slices(facts.frames, item.label)
        with Guard(item.label, "reading its frames"):
            headers = [frame_header(ds, i) for i in range(facts.frames)]
            stack = stacked_frames(headers, item.label)
        if stack is not None:
            chosen = [headers[i] for i in stack[0]]
            slices = (decoded(ds, headers[i], facts, i, item.label) for i in stack[0])
            grid, said = enhanced_grid(chosen, facts, modality, item.label)
            return assembled(slices, grid, chosen, facts, modality, item.label, digest, name, notes + stack[1] + said)
    with Guard(item.label, "reading its header"):
        tiled = is_mosaic(ds, facts.frames)
    if tiled:
        return _unfolded(ds, facts, modality, item.label, digest, name, notes, limits)
    if not 0 <= frame < facts.frames:
        raise InputError(
            f"{item.label}: frame {frame + 1} of {facts.frames}", expected="a frame it has", do="Choose another"
        )
    if facts.frames > 1:
        notes.append(f"{facts.frames} frames that make no volume; frame {frame + 1} is shown")
    with Guard(item.label, "reading its header"):
        header = frame_header(ds, frame)
        grid, said = picture_grid((facts.rows, facts.columns), header, modality)
    one = decoded(ds, header, facts, frame, item.label)
    return assembled([one], grid, [header], facts, modality, item.label, digest, name, notes + said)


def _unfolded(
    ds: Dataset, facts: Pixels, modality: str, label: str, digest: str, name: str, notes: Sequence[str], limits: Limits
) -> MedicalImage:
    """Return the volume of a mosaic."""
    with Guard(label, "reading its header"):
        header = frame_header(ds)
        mosaic = unfolded(ds, header, facts, modality, label, limits)
    slices = mosaic.slices(decoded(ds, header, facts, 0, label))
    headers = [header] * len(mosaic.order)
    said = (*notes, *mosaic.notes)
    return assembled(slices, mosaic.grid, headers, mosaic.facts, modality, label, digest, name, said)


def assembled(
    slices: Iterable[Slice], grid: Geometry, headers: Sequence[Dataset], facts: Pixels, modality: str,
    label: str, digest: str, name: str, notes: Sequence[str],
) -> MedicalImage:  # fmt: skip
    """Return the image of slices in order on their grid, shown by the looks of the middle header."""
    channels = 3 if facts.colour else 1
    values = np.empty((channels, len(headers), facts.rows, facts.columns), dtype=np.float32)
    padding = np.zeros(values.shape[1:], dtype=bool)
    for i, one in enumerate(slices):
        values[:, i], padding[i] = one.values, one.padding
    values, padding = values.reshape(channels, *grid.shape), padding.reshape(grid.shape)
    middle = headers[len(headers) // 2]
    units = modality_units(middle, modality)
    filled, mask, said = without_padding(values, padding, label)
    display, shown = displayed(filled, mask, middle, units, facts.photometric, label)
    if modality == "CT" and not units:
        shown.append("the header gives no rescaling to HU; values are as stored")
    if len({_window_of(h) for h in headers}) > 1:
        shown.append("slices have display windows of their own; that of the middle slice is used for all")
    return MedicalImage(filled, display, grid, modality, units, digest, name, (*notes, *said, *shown), mask)


def enhanced_grid(headers: Sequence[Dataset], facts: Pixels, modality: str, label: str) -> tuple[Geometry, list[str]]:
    """Return the grid of headers sorted by position; raises MixedSeries when they do not make an even stack."""
    planes = [p for p in map(plane_of, headers) if p is not None]
    spacings = [spacing_of(h, modality) for h in headers]
    first, notes = spacings[0]
    for other, _ in spacings[1:]:
        if (other is None) != (first is None) or (first and other and not np.allclose(first, other, rtol=1e-4)):
            raise MixedSeries(f"{label}: slices of several pixel spacings", expected="one", do="Give one stack")
    grid, said = volume_grid(planes, (facts.rows, facts.columns), first, label)
    return grid, notes + said


def cautions(ds: Dataset, modality: str) -> list[str]:
    """Return what a reader of the image should know before looking, from flags of the header."""
    notes = []
    burnt = str(ds.get("BurnedInAnnotation", "") or "").upper()
    if burnt == "YES":
        notes.append("the header says that text is burnt into the pixels, which may name the patient")
    elif burnt != "NO" and modality in _BURNT:
        notes.append("the header does not say whether text is burnt into the pixels")
    stored = ds.get("BitsStored")
    if stored is not None and "HighBit" in ds and ds.HighBit != stored - 1:
        notes.append("the header's HighBit does not fit its BitsStored; the lowest bits were read as the pixels")
    if str(ds.get("LossyImageCompression", "") or "") == "01":
        notes.append("the image was compressed with loss at some time")
    if any(0x6000 <= tag >> 16 <= 0x601E and tag & 0xFFFF == 0x0010 for tag in ds.keys()):  # noqa: SIM118
        notes.append("the file carries overlay graphics, which are not shown")
    return notes


def _window_of(header: Dataset) -> tuple[str, str]:
    return str(header.get("WindowCenter")), str(header.get("WindowWidth"))
