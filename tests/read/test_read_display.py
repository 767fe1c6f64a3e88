"""Values are what was measured; the display is what a clinician sees."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from saliscope.core.errors import UnreadableFile
from saliscope.read import read

RAMP = np.arange(120, dtype=np.uint16).reshape(12, 10)


def test_values_are_in_hu_and_never_windowed(make) -> None:
    image = read(make(pixels=RAMP, WindowCenter=-1000, WindowWidth=10))
    assert np.array_equal(image.values[0], RAMP - 1024.0)
    assert image.units == "HU"


def test_display_equals_pydicoms_window(make) -> None:
    path = make(pixels=RAMP, WindowCenter=[-964, 0], WindowWidth=[50, 400])
    ds = pydicom.dcmread(path)
    wide = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds, index=0)
    expected = np.rint(255 * (wide - wide.min()) / (wide.max() - wide.min()))
    assert np.array_equal(read(path).display[0], expected)


def test_monochrome1_is_inverted_in_the_display_and_not_in_the_values(make) -> None:
    plain, turned = (
        read(make(p, pixels=RAMP, PhotometricInterpretation=p, Modality="CR")) for p in ("MONOCHROME2", "MONOCHROME1")
    )
    assert np.array_equal(plain.values, turned.values)
    assert np.array_equal(plain.display, 255 - turned.display)
    assert any("inverted" in n for n in turned.notes)


def test_inverse_presentation_shape_inverts_once(make) -> None:
    both = read(make(pixels=RAMP, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"))
    alone = read(make("b", pixels=RAMP, PresentationLUTShape="INVERSE"))
    assert np.array_equal(both.display, alone.display)


def test_a_negative_slope_keeps_low_values_dark(make) -> None:
    image = read(make(pixels=RAMP, RescaleSlope=-1, RescaleIntercept=119, WindowCenter=60, WindowWidth=100))
    assert image.values[0, 0, 0] == 119
    order = np.argsort(image.values.ravel(), kind="stable")
    assert (np.diff(image.display.ravel()[order].astype(int)) >= 0).all()
    assert (image.display.min(), image.display.max()) == (0, 255)


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_a_voi_table_is_used_before_a_window(make, depth: int) -> None:
    table = Dataset()
    entries = 300  # more than eight bits can index
    table.LUTDescriptor = [entries, 10, depth]
    table.add_new("LUTData", "US", [min(i, 2**depth - 1) for i in range(entries)][::-1])
    image = read(
        make(
            pixels=RAMP, VOILUTSequence=[table], RescaleSlope=None, RescaleIntercept=None, WindowCenter=1, WindowWidth=1
        )
    )
    index = np.clip(RAMP.astype(int) - 10, 0, entries - 1)
    expected = np.rint(255 * np.array(table.LUTData)[index] / (2**depth - 1))
    assert np.abs(image.display[0].astype(int) - expected).max() <= 0


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_a_modality_table_gives_the_values(make, depth: int) -> None:
    table = Dataset()
    table.LUTDescriptor = [120, 0, depth]
    table.add_new("LUTData", "US", [2 * i for i in range(120)])
    table.ModalityLUTType = "US"
    image = read(
        make(pixels=RAMP, ModalityLUTSequence=[table], RescaleSlope=None, RescaleIntercept=None, Modality="CR")
    )
    assert np.array_equal(image.values[0], 2.0 * RAMP)


def test_a_ct_without_window_is_shown_as_soft_tissue_and_says_so(make) -> None:
    image = read(make(pixels=(RAMP * 16)))
    assert any("-160 to 240 HU" in n for n in image.notes)
    assert image.display[0][image.values[0] <= -160].max() == 0
    assert abs(int(image.display[0][image.values[0] == 48][0]) - round(255 * 208 / 400)) <= 1


@pytest.mark.parametrize(("centre", "width"), [(40, 0), (40, -5), (float("nan"), 100), (40, None)])
def test_a_senseless_window_is_not_used_and_said(make, centre: float, width: float | None) -> None:
    image = read(make(pixels=RAMP, Modality="MR", WindowCenter=str(centre), WindowWidth=width))
    assert any("makes no sense" in n for n in image.notes)
    assert (image.display.min(), image.display.max()) == (0, 255)


@pytest.mark.parametrize("slope", ["0", "nan"])
def test_a_senseless_slope_is_refused(make, slope: str) -> None:
    with pytest.raises(UnreadableFile, match="rescale slope"):
        read(make(RescaleSlope=slope))


def test_padding_is_marked_set_to_the_lowest_and_left_out_of_the_range(make) -> None:
    stored = RAMP.astype(np.int16)
    stored[0] = -2000
    path = make(pixels=stored, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    ds = pydicom.dcmread(path)
    ds.add_new("PixelPaddingValue", "US", 63536)  # -2000, as writers that mix up the sign put it
    ds.save_as(path)
    image = read(path)
    assert image.padding is not None
    assert np.array_equal(image.padding, stored == -2000)
    assert image.values.min() == 10
    assert (image.values[0][image.padding] == 10).all()
    assert (image.display[0].min(), image.display[0, -1, -1]) == (0, 255)
    assert any("8.3% of the image is padding" in n for n in image.notes)


def test_a_range_of_padding_is_marked(make) -> None:
    image = read(make(pixels=RAMP, PixelPaddingValue=5, PixelPaddingRangeLimit=2))
    assert image.padding is not None
    assert np.array_equal(image.padding, (RAMP >= 2) & (RAMP <= 5))


def test_padding_is_dark_also_where_low_is_bright(make) -> None:
    image = read(make(pixels=RAMP, PhotometricInterpretation="MONOCHROME1", Modality="CR", PixelPaddingValue=0))
    assert image.display[0, 0, 0] == 0
    assert image.display[0, 0, 1] == 255


def test_an_image_of_padding_only_is_refused(make) -> None:
    with pytest.raises(UnreadableFile, match="every pixel is padding"):
        read(make(pixels=np.zeros((4, 4), np.uint16), PixelPaddingValue=0))


def test_a_palette_becomes_rgb(make) -> None:
    red = np.arange(256, dtype=np.uint16) * 257
    tags = {f"{c}PaletteColorLookupTableDescriptor": [256, 0, 16] for c in ("Red", "Green", "Blue")}
    data = {
        "RedPaletteColorLookupTableData": red.tobytes(),
        "GreenPaletteColorLookupTableData": red[::-1].tobytes(),
        "BluePaletteColorLookupTableData": (red * 0).tobytes(),
    }
    pixels = RAMP.astype(np.uint8)
    image = read(make(pixels=pixels, PhotometricInterpretation="PALETTE COLOR", Modality="US", **tags, **data))
    assert np.allclose(image.values, [pixels, 255.0 - pixels, 0 * pixels], atol=1e-3)


def test_a_constant_image_reads(make) -> None:
    image = read(make(pixels=np.full((4, 4), 7, np.uint16), Modality="MR"))
    assert image.display.max() == 0


def test_flags_of_the_header_are_said(make) -> None:
    image = read(make(BurnedInAnnotation="YES", LossyImageCompression="01"))
    assert any("burnt into the pixels, which may name" in n for n in image.notes)
    assert any("compressed with loss" in n for n in image.notes)


def test_real_ct_and_mr_match_pydicom(data: Path) -> None:
    for name in ("693_J2KR.dcm", "MR2_J2KI.dcm"):
        path = data / "dicom" / name
        ds = pydicom.dcmread(path)
        values = apply_modality_lut(ds.pixel_array, ds)
        image = read(path)
        valid = np.ones(values.shape, bool) if image.padding is None else ~image.padding
        assert np.allclose(image.values[0][valid], values[valid], rtol=1e-6)
        ds.WindowCenter, ds.WindowWidth = (np.ravel(v)[0] for v in (ds.WindowCenter, ds.WindowWidth))
        low, high = ds.WindowCenter - 0.5 - (ds.WindowWidth - 1) / 2, ds.WindowCenter - 0.5 + (ds.WindowWidth - 1) / 2
        by_hand = np.rint(255 * np.clip((values - low) / (high - low), 0, 1))
        assert np.abs(image.display[0].astype(int) - by_hand)[valid].max() <= 1
