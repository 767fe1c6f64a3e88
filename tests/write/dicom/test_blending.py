"""Advanced Blending Presentation States: map over image, as a viewer that obeys them shows it."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import pydicom
import pytest

from dicom_cases import PATIENT, stamp
from dicom_maps import PICTURES, VOLUMES, case
from dicom_tools import complaints, dumped, strictly
from saliscope.core.errors import CannotSay
from saliscope.write.dicom.blending import blending
from saliscope.write.dicom.kinds import chosen
from saliscope.write.dicom.objects import DicomFiles, dicom_files
from saliscope.write.dicom.parametric_map import parametric_map, steps

KINDS = "parametric-map-16+blending"
FLOAT = "parametric-map+blending"


@cache
def files(kind: str, kinds: str = KINDS, signed: bool = False) -> DicomFiles:
    return dicom_files(*case(kind, signed), chosen(kinds), stamp())


def read(kind: str, kinds: str = KINDS, name: str = "blending", signed: bool = False) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(files(kind, kinds, signed).files[f"{name}.dcm"]))


@pytest.mark.parametrize("kind", VOLUMES)
def test_the_map_lies_over_its_image(kind: str) -> None:
    _, source = case(kind)
    ds, of = read(kind), read(kind, name="parametric-map-16")
    over, under = ds.AdvancedBlendingSequence
    assert [over.BlendingInputNumber, under.BlendingInputNumber] == [1, 2]
    assert over.SeriesInstanceUID == of.SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in over.ReferencedImageSequence] == [of.SOPInstanceUID]
    assert under.SeriesInstanceUID == source.first.SeriesInstanceUID
    named = [i.ReferencedSOPInstanceUID for i in under.ReferencedImageSequence]
    assert sorted(named) == sorted(h.SOPInstanceUID for h in source.headers)
    assert ds.FrameOfReferenceUID == of.FrameOfReferenceUID == source.first.FrameOfReferenceUID
    (step,) = ds.BlendingDisplaySequence
    assert (step.BlendingMode, step.RelativeOpacity) == ("FOREGROUND", pytest.approx(0.4))
    # The opacity is that of the first input: the map (PS3.4 N.2.6).
    assert [i.BlendingInputNumber for i in step.BlendingDisplayInputSequence] == [1, 2]
    referred = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    assert referred == {*named, of.SOPInstanceUID}


def test_the_image_stays_grey_in_its_own_window() -> None:
    _, source = case("ct-oblique")
    _, under = read("ct-oblique").AdvancedBlendingSequence
    assert (colours_of(under) == (np.arange(256) / 255)[:, None]).all()
    (window,) = under.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (source.first.WindowCenter, source.first.WindowWidth)


def colours_of(item: pydicom.Dataset) -> np.ndarray:
    """Return the colours (256, 3) of an input of the blending, 0 to 1."""
    (palette,) = item.PaletteColorLookupTableSequence
    channels = (palette[f"{c}PaletteColorLookupTableData"].value for c in ("Red", "Green", "Blue"))
    return np.stack([np.frombuffer(c, "<u2") for c in channels], axis=1) / 65535


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_the_strongest_values_are_in_colour_on_any_tissue(signed: bool) -> None:
    over, _ = read("ct-oblique", signed=signed).AdvancedBlendingSequence
    colours = colours_of(over)
    for end in (colours[-1], colours[0])[: 1 + signed]:
        for grey in (0.0, 0.5, 1.0):
            seen = 0.4 * end + 0.6 * grey
            assert np.ptp(seen) > 0.1  # not grey, which would look like the image


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kinds", [KINDS, FLOAT])
def test_what_is_near_zero_leaves_the_image_bare(kinds: str, signed: bool) -> None:
    result, _ = case("ct-oblique", signed)
    over, under = read("ct-oblique", kinds, signed=signed).AdvancedBlendingSequence
    (threshold,) = over.ThresholdSequence
    edges = [v.ThresholdValue for v in threshold.ThresholdValueSequence]
    intercept, slope = steps(result) if kinds == KINDS else (0.0, 1.0)
    high = result.reading["scale"]["high"]
    stored = (result.values.astype(np.float64) - intercept) / slope
    if signed:
        assert threshold.ThresholdType == "RANGE_EXCL"
        drawn = (stored < edges[0]) | (stored > edges[1])
        wanted = np.abs(result.values) > 0.1 * high
    else:
        assert threshold.ThresholdType == "GREATER_OR_EQUAL"
        drawn, wanted = stored >= edges[0], result.values >= 0.1 * high
    assert (drawn == wanted).mean() > 0.999  # but for rounding at the edge itself
    assert 0 < drawn.mean() < 1
    assert "ThresholdSequence" not in under


@pytest.mark.parametrize("kind", [*PICTURES])
def test_an_image_without_a_place_cannot_be_blended(kind: str) -> None:
    found = files(kind)
    assert set(found.files) == {"parametric-map-16.dcm"}
    assert "frame of reference" in found.left_out["blending"]


def test_without_a_map_there_is_nothing_to_blend() -> None:
    result, source = case("ct-oblique")
    with pytest.raises(CannotSay, match="no Parametric Map is among"):
        blending(result, source, stamp(), {})
    made = {"parametric-map": parametric_map(result, source, stamp(), {})}
    assert blending(result, source, stamp(), made).Modality == "PR"


@pytest.mark.parametrize("kinds", [KINDS, FLOAT])
@pytest.mark.parametrize("kind", VOLUMES)
def test_other_judges_find_no_fault(kind: str, kinds: str) -> None:
    data = files(kind, kinds).files["blending.dcm"]
    assert complaints(data) == []
    strictly(data)
    dumped(data)


def test_the_same_result_gives_the_same_bytes_of_the_same_patient() -> None:
    again = dicom_files(*case("ct-oblique"), chosen(KINDS), stamp())
    assert again.files == files("ct-oblique").files
    ds = read("ct-oblique")
    for keyword in {*PATIENT} - {"SpecificCharacterSet"}:
        assert str(ds[keyword].value) == PATIENT[keyword], keyword
