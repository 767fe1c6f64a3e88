"""Pseudo-Color Presentation States: the colours in which a viewer that obeys them shows a map."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_palette_files

from dicom_cases import PATIENT, hidden, stamp
from dicom_maps import PICTURES, VOLUMES, case
from dicom_tools import complaints, dumped, strictly
from saliscope.core.errors import CannotSay
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.map_colours import HOT_IRON, hot_iron
from saliscope.write.dicom.objects import DicomFiles, dicom_files
from saliscope.write.dicom.parametric_map import steps
from saliscope.write.dicom.pseudo_color import pseudo_color

BOTH = "parametric-map+parametric-map-16+pseudo-color"
FLOAT = "parametric-map+pseudo-color"


@cache
def files(kind: str, kinds: str, signed: bool = False) -> DicomFiles:
    return dicom_files(*case(kind, signed), chosen(kinds), stamp())


def read(kind: str, kinds: str, name: str, signed: bool = False) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(files(kind, kinds, signed).files[f"{name}.dcm"]))


def lut(item: pydicom.Dataset) -> np.ndarray:
    """Return the colours (256, 3) of a palette, 0 to 1."""
    channels = [np.frombuffer(item[f"{c}PaletteColorLookupTableData"].value, "<u2") for c in ("Red", "Green", "Blue")]
    for channel in ("Red", "Green", "Blue"):
        assert list(item[f"{channel}PaletteColorLookupTableDescriptor"].value) == [256, 0, 16]
    return np.stack(channels, axis=1) / 65535


def shown(stored: np.ndarray, window: Any, colours: np.ndarray) -> np.ndarray:
    """Return what a viewer shows of stored values: LINEAR_EXACT (PS3.3 C.11.2.1.3.2), then the palette."""
    assert window.VOILUTFunction == "LINEAR_EXACT"
    t = (stored - float(window.WindowCenter)) / float(window.WindowWidth) + 0.5
    return np.asarray(colours[np.rint(np.clip(t, 0, 1) * 255).astype(int)])


def stored_values(ds: pydicom.Dataset, shape: tuple[int, ...]) -> np.ndarray:
    data = ds.get("FloatPixelData") or ds.PixelData
    return np.frombuffer(data, "<f4" if ds.BitsAllocated == 32 else "<u2").reshape(shape).astype(np.float64)


def test_hot_iron_is_that_of_the_standard() -> None:
    theirs = pydicom.dcmread(get_palette_files("hotiron.dcm")[0])
    for i, channel in enumerate(("Red", "Green", "Blue")):
        data = np.frombuffer(theirs[f"{channel}PaletteColorLookupTableData"].value, np.uint8)
        assert (hot_iron()[:, i] == data).all()
    assert theirs.PaletteColorLookupTableUID == HOT_IRON


@pytest.mark.parametrize("kinds", [BOTH, FLOAT])
@pytest.mark.parametrize("kind", ["ct-oblique", "cr"])
def test_an_unsigned_map_is_black_at_zero_and_white_at_the_end_of_its_scale(kind: str, kinds: str) -> None:
    result, _ = case(kind)
    ds = read(kind, kinds, "pseudo-color")
    of = read(kind, kinds, "parametric-map-16" if kinds == BOTH else "parametric-map")
    (window,) = ds.SoftcopyVOILUTSequence
    colours = shown(stored_values(of, result.values.shape), window, lut(ds))
    assert ds.PaletteColorLookupTableUID == HOT_IRON
    assert (colours[result.values == 0] == 0).all()
    assert (colours[result.values >= result.reading["scale"]["high"]] == 1).all()
    top = float(result.reading["scale"]["high"]) / (steps(result)[1] if kinds == BOTH else 1)
    (middle,) = shown(np.array([top / 2]), window, lut(ds))
    assert middle.tolist() == pytest.approx([1, 0, 0], abs=0.02)  # half way Hot Iron is pure red


@pytest.mark.parametrize("kinds", [BOTH, FLOAT])
def test_a_signed_map_is_dark_at_zero_blue_below_and_red_above(kinds: str) -> None:
    result, _ = case("ct-oblique", signed=True)
    ds = read("ct-oblique", kinds, "pseudo-color", signed=True)
    of = read("ct-oblique", kinds, "parametric-map-16" if kinds == BOTH else "parametric-map", signed=True)
    (window,) = ds.SoftcopyVOILUTSequence
    limit = result.reading["scale"]["high"]
    assert result.reading["scale"]["low"] == -limit
    slope = 1.0 if kinds == FLOAT else (result.values.max() - result.values.min()) / 65535
    zero = 0.0 if kinds == FLOAT else -result.values.min() / slope
    low, none, high = shown(np.array([-limit, 0, limit]) / slope + zero, window, lut(ds))
    assert none.max() < 0.15
    assert low[2] > low[0] + 0.3
    assert high[0] > high[2] + 0.3
    assert abs(low.sum() - high.sum()) < 0.3  # neither sign is louder
    assert "PaletteColorLookupTableUID" not in ds
    assert shown(stored_values(of, result.values.shape), window, lut(ds)).shape == (*result.values.shape, 3)


@pytest.mark.parametrize(("kinds", "name"), [(BOTH, "parametric-map-16"), (FLOAT, "parametric-map")])
def test_it_refers_to_the_map_that_most_viewers_colour(kinds: str, name: str) -> None:
    ds, of = read("ct-oblique", kinds, "pseudo-color"), read("ct-oblique", kinds, name)
    (series,) = ds.ReferencedSeriesSequence
    (image,) = series.ReferencedImageSequence
    assert series.SeriesInstanceUID == of.SeriesInstanceUID
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (of.SOPClassUID, of.SOPInstanceUID)
    (area,) = ds.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaBottomRightHandCorner) == [of.Columns, of.Rows]
    assert len({ds.SeriesInstanceUID, ds.SOPInstanceUID, of.SeriesInstanceUID, of.SOPInstanceUID}) == 4


def test_without_a_map_there_is_nothing_to_colour() -> None:
    result, source = case("ct-oblique")
    with pytest.raises(CannotSay, match="no Parametric Map is among"):
        pseudo_color(result, source, stamp(), {})
    left = dicom_files(*case("cr-unspaced"), chosen("weasis+segmentation"), stamp()).left_out
    assert set(left) == {"parametric-map", "pseudo-color"}


@pytest.mark.parametrize("kinds", [BOTH, FLOAT])
@pytest.mark.parametrize("kind", [*VOLUMES, *PICTURES])
def test_other_judges_find_no_fault(kind: str, kinds: str) -> None:
    data = files(kind, kinds).files["pseudo-color.dcm"]
    assert complaints(data) == []
    strictly(data)
    dumped(data)


def test_the_same_result_gives_the_same_bytes_of_the_same_patient() -> None:
    result, source = case("ct-oblique")
    again = dicom_files(replace(result), source, chosen(BOTH), stamp())
    assert again.files == files("ct-oblique", BOTH).files
    ds = read("ct-oblique", BOTH, "pseudo-color")
    for keyword in {*PATIENT} - {"SpecificCharacterSet"}:
        assert str(ds[keyword].value) == PATIENT[keyword], keyword
    assert ds.ContentQualification == "RESEARCH"
    made_by = [item.ManufacturerModelName for item in ds.ContributingEquipmentSequence]
    assert made_by == ["a-network", "saliscope"]


def test_what_is_written_into_one_object_does_not_reach_another() -> None:
    """Pseudonyms are written in place, one object after the other."""
    result, source = case("ct-oblique")
    seen: list[str] = []

    def mark(ds: pydicom.Dataset) -> pydicom.Dataset:
        seen.append(str(ds.PatientName))
        ds["PatientName"].value = "Nobody"
        return ds

    dicom_files(result, source, chosen(f"{BOTH}+blending+segmentation"), replace(stamp(), after=mark))
    assert seen == [PATIENT["PatientName"]] * 5
    assert source.first.PatientName == PATIENT["PatientName"]


def test_a_hidden_map_is_in_none_of_them() -> None:
    result, source = case("ct-oblique")
    found = dicom_files(hidden(result), source, chosen(f"{BOTH}+blending+segmentation+pdf"), stamp())
    assert set(found.files) == {"pdf.dcm"}
