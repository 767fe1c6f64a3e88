"""The lines must lie where the map is, on its own slice or frame, over grey levels that are those of the source."""

import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pictured import changed, pictured, points, with_frames, written
from PIL import Image
from pydicom import Dataset
from skimage.measure import points_in_poly

from dicom_cases import stamp, write_source
from dicom_tools import complaints, dumped, strictly, tool
from saliscope.core.errors import CannotSay
from saliscope.figures.reading import interpret
from saliscope.study.dicom import result_of
from saliscope.write.dicom.presentation_state import presentation_state

ALL = ("ct", "mr", "ct-oblique", "ct-flipped", "ct-sheared", "dx", "cr", "cr-unspaced", "us")


def planted(path, start, size):
    """Return a result whose map is 1 in a box and 0 outside, on the grid of the image itself."""
    known, source = pictured(path)
    values = np.zeros(known.image.geometry.shape, np.float32)
    values[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = 1
    explanation = replace(known.explanation, values=values, geometry=known.image.geometry)
    return result_of(known.image, interpret(explanation, known.image)), source


def drawn(ds):
    """Return (item, lines) for each item with lines."""
    return [
        (a, [points(g) for g in a.GraphicObjectSequence])
        for a in ds.GraphicAnnotationSequence
        if "GraphicObjectSequence" in a
    ]


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_source_gives_a_sound_object_and_the_same_bytes_again(tmp_path, kind):
    result, source = pictured(write_source(tmp_path, kind))
    data = written(result, source, "presentation-state")
    assert complaints(data) == []
    assert "POLYLINE" in dumped(data)
    assert data == written(result, source, "presentation-state")
    ds = strictly(data)
    assert (ds.Modality, ds.ContentLabel, ds.ContentDescription) == ("PR", "SALISCOPE", "grad-cam map: nodule")
    (series,) = ds.ReferencedSeriesSequence
    named = {item.ReferencedSOPInstanceUID for item in series.ReferencedImageSequence}
    assert named == {h.SOPInstanceUID for h in source.headers}


@pytest.mark.parametrize("kind", ["dx", "cr-unspaced", "ct-oblique", "ct-flipped", "mr"])
def test_the_lines_hold_the_elements_of_the_regions_and_no_others(tmp_path, kind):
    result, source = pictured(write_source(tmp_path, kind))
    ds = strictly(written(result, source, "presentation-state"))
    labels = result.labels.reshape(-1, *result.labels.shape[-2:])
    seen = {}
    for item, lines in drawn(ds):
        (image,) = item.ReferencedImageSequence
        (plane,) = [
            i for i in range(len(labels)) if source.of_plane(i).SOPInstanceUID == image.ReferencedSOPInstanceUID
        ]
        seen[plane] = lines
    assert sorted(seen) == [i for i, one in enumerate(labels) if one.any()]
    for plane, lines in seen.items():
        rows, columns = np.indices(labels[plane].shape)
        # In pixel units the upper left corner of the image is 0, so that an element's middle lies half of one further.
        middles = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
        inside = sum(points_in_poly(middles, line).astype(int) for line in lines) % 2 == 1
        wrong = middles[inside != (labels[plane].ravel() > 0)]
        # Only elements that the line itself runs through may differ: it is simplified to a quarter of an element.
        for at in wrong:
            assert min(_away(at, np.array(line)) for line in lines) < 0.3


def _away(at, line):
    a, b = line[:-1], line[1:]
    along = np.clip(((at - a) * (b - a)).sum(1) / np.maximum(((b - a) ** 2).sum(1), 1e-9), 0, 1)
    return np.linalg.norm(a + along[:, None] * (b - a) - at, axis=1).min()


@pytest.mark.parametrize(("kind", "start", "size"), [("dx", (30, 50), (10, 20)), ("ct-oblique", (4, 10, 5), (1, 4, 6))])
def test_a_planted_box_is_outlined_within_half_an_element(tmp_path, kind, start, size):
    result, source = planted(write_source(tmp_path, kind), start, size)
    ds = strictly(written(result, source, "presentation-state"))
    ((item, (line,)),) = drawn(ds)
    plane = start[0] if len(start) == 3 else 0
    assert item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.of_plane(plane).SOPInstanceUID
    (row, column), (high, wide) = start[-2:], size[-2:]
    low, far = np.min(line, axis=0), np.max(line, axis=0)
    assert (low + far) / 2 == pytest.approx((column + wide / 2, row + high / 2), abs=0.02)
    assert np.abs(low - (column, row)).max() <= 0.5 + 1e-5
    assert np.abs(far - (column + wide, row + high)).max() <= 0.5 + 1e-5


def test_a_region_at_the_corner_stays_within_the_image(tmp_path):
    result, source = planted(write_source(tmp_path, "dx"), (0, 90), (8, 6))
    ds = strictly(written(result, source, "presentation-state"))
    ((_, (line,)),) = drawn(ds)
    assert np.min(line, axis=0).min() >= 0
    assert np.max(line, axis=0)[0] <= source.first.Columns


def test_the_numbers_stand_at_their_regions_and_the_caption_on_every_image(tmp_path):
    result, source = pictured(write_source(tmp_path, "dx"))
    ds = strictly(written(result, source, "presentation-state"))
    *items, caption = ds.GraphicAnnotationSequence
    told = [t.UnformattedTextValue for item in items for t in item.TextObjectSequence]
    assert [t.split(":")[0] for t in told] == ["1", "2"]
    assert f"{100 * result.reading['regions'][0]['share']:.0f} % of positive attribution" in told[0]
    assert "ReferencedImageSequence" not in caption
    assert "Research use, not for diagnosis" in caption.TextObjectSequence[0].UnformattedTextValue
    assert {a.GraphicLayer for a in ds.GraphicAnnotationSequence} == {ds.GraphicLayerSequence[0].GraphicLayer}


def test_frames_of_one_file_are_named_by_number(tmp_path):
    result, source = pictured(with_frames(tmp_path))
    data = written(result, source, "presentation-state")
    assert complaints(data) == []
    ds = strictly(data)
    held = {source.planes[i][1] + 1 for i, one in enumerate(result.labels) if one.any()}
    assert {int(item.ReferencedImageSequence[0].ReferencedFrameNumber) for item, _ in drawn(ds)} == held
    (image,) = ds.ReferencedSeriesSequence[0].ReferencedImageSequence
    assert len(image.ReferencedFrameNumber) == len(source.planes)
    assert float(ds.RescaleIntercept) == -1024


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("dx", {}),
        ("us", {}),
        ("cr", {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": None}),
        ("dx", {"WindowCenter": "200", "WindowWidth": "150"}),
        ("ct-oblique", {"WindowCenter": ["40", "300"], "WindowWidth": ["400", "1500"]}),
    ],
)
def test_dcmtk_shows_the_source_as_it_was_shown_before(tmp_path, kind, values):
    result, source = pictured(changed(write_source(tmp_path / "source", kind), **values))
    state, picture = tmp_path / "state.dcm", tmp_path / "shown.pgm"
    state.write_bytes(written(result, source, "presentation-state"))
    paths = {pydicom.dcmread(p).SOPInstanceUID: p for p in (tmp_path / "source").rglob("*.dcm")}
    image = paths[source.first.SOPInstanceUID]
    subprocess.run([tool("dcmp2pgm"), "-p", state, image, picture], check=True, capture_output=True)
    shown = np.asarray(Image.open(picture)).astype(int)
    display = result.image.display.reshape(-1, *shown.shape)[0].astype(int)
    assert np.abs(shown - display).max() <= 1
    assert np.ptp(shown) > 20


def test_slices_with_windows_of_their_own_keep_them(tmp_path):
    folder = write_source(tmp_path, "ct-oblique")
    for i, path in enumerate(sorted(folder.rglob("*.dcm"))):
        ds = pydicom.dcmread(path)
        ds.WindowCenter, ds.WindowWidth = 40 + 10 * (i % 2), 400
        ds.save_as(path)
    result, source = pictured(folder)
    data = written(result, source, "presentation-state")
    assert complaints(data) == []
    looks = strictly(data).SoftcopyVOILUTSequence
    for look in looks:
        for image in look.ReferencedImageSequence:
            (header,) = [h for h in source.headers if h.SOPInstanceUID == image.ReferencedSOPInstanceUID]
            assert look.WindowCenter == header.WindowCenter
    assert sum(len(look.ReferencedImageSequence) for look in looks) == 9


def test_a_table_is_kept_before_a_window_and_a_window_without_width_is_not(tmp_path):
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new("LUTData", "OW", (4095 * (np.arange(4096) / 4095) ** 2).astype("<u2").tobytes())
    folder = changed(write_source(tmp_path, "dx"), VOILUTSequence=[table], WindowCenter="100", WindowWidth="200")
    result, source = pictured(folder)
    (look,) = strictly(written(result, source, "presentation-state")).SoftcopyVOILUTSequence
    assert len(look.VOILUTSequence) == 1
    assert "WindowWidth" not in look
    result, source = pictured(changed(folder, VOILUTSequence=None, WindowWidth="0"))
    assert "SoftcopyVOILUTSequence" not in strictly(written(result, source, "presentation-state"))


def test_slices_that_are_rescaled_differently_cannot_be_said(tmp_path):
    folder = write_source(tmp_path, "mr")
    for i, path in enumerate(sorted(folder.rglob("*.dcm"))):
        ds = pydicom.dcmread(path)
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1 + i % 2, 0, "US"
        ds.save_as(path)
    result, source = pictured(folder)
    with pytest.raises(CannotSay, match="differ in their rescaling"):
        presentation_state(result, source, stamp(), {})


def test_a_map_without_regions_and_a_source_in_colour_cannot_be_said(tmp_path):
    result, source = pictured(write_source(tmp_path, "us"))
    with pytest.raises(CannotSay, match="without regions"):
        presentation_state(replace(result, outlines=tuple), source, stamp(), {})
    source.first.PhotometricInterpretation = "RGB"
    with pytest.raises(CannotSay, match="in colour"):
        presentation_state(result, source, stamp(), {})


def test_pixels_are_as_wide_as_high_as_they_are(tmp_path):
    result, source = pictured(write_source(tmp_path / "a", "ct-oblique"))
    (area,) = strictly(written(result, source, "presentation-state")).DisplayedAreaSelectionSequence
    assert [float(v) for v in area.PresentationPixelSpacing] == pytest.approx([1.4, 1.1])
    assert list(area.DisplayedAreaTopLeftHandCorner) == [1, 1]
    assert list(area.DisplayedAreaBottomRightHandCorner) == [source.first.Columns, source.first.Rows]
    result, source = pictured(write_source(tmp_path / "b", "cr-unspaced"))
    (area,) = strictly(written(result, source, "presentation-state")).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelAspectRatio) == [1, 1]


def test_collimation_stays_dark(tmp_path):
    edges = dict(zip(("Left", "Right", "Upper", "Lower"), (5, 90, 6, 91), strict=True))
    words = {f"Shutter{k}{'Vertical' if k in ('Left', 'Right') else 'Horizontal'}Edge": v for k, v in edges.items()}
    result, source = pictured(changed(write_source(tmp_path, "dx"), ShutterShape="RECTANGULAR", **words))
    data = written(result, source, "presentation-state")
    assert complaints(data) == []
    ds = strictly(data)
    assert {k: ds[k].value for k in words} == words
    assert ds.ShutterPresentationValue == 0
