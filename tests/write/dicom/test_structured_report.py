"""The structured report of a result: what it says first, its numbers, its references, and how others read it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread

from dicom_cases import case_of, hidden, stamp, write_source
from dicom_tools import complaints, dumped, strictly, tool
from saliscope.core.prediction import Prediction
from saliscope.write.dicom.objects import encoded
from saliscope.write.dicom.result import Outline, Result
from saliscope.write.dicom.segmentation import segmentation
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.sr_codes import PRIVATE, SCHEME
from saliscope.write.dicom.structured_report import structured_report

SOURCES = ("mr", "ct-oblique", "ct-flipped", "ct-sheared", "dx", "cr", "cr-unspaced", "us")
CARD = {
    "state": "doubtful", "state_name": "DOUBTFUL", "headline": "At least one check speaks against this map.",
    "reasons": ["The first reason.", "The second reason."], "map_hidden": False,
    "coverage": {"run": 7, "applicable": 9}, "always": ["Always this."], "reliability": {"sentence": "3 of 40 misled."},
}  # fmt: skip
Case = tuple[Result, DicomSource]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Return the case of a kind of source, made once."""
    made: dict[str, Case] = {}

    def of(kind: str) -> Case:
        if kind not in made:
            result, source = case_of(write_source(tmp_path_factory.mktemp("sr") / kind, kind))
            made[kind] = (replace(result, outlines=lambda: boxes(result)), source)
        return made[kind]

    return of


def boxes(result: Result) -> tuple[Outline, ...]:
    """Return a rectangle around each region on each plane, through the edges of its elements."""
    planes = result.labels if result.volume else result.labels[None]
    found = []
    for plane, labels in enumerate(planes):
        for region in np.unique(labels[labels > 0]):
            rows, columns = np.nonzero(labels == region)
            top, left, bottom, right = rows.min() - 0.5, columns.min() - 0.5, rows.max() + 0.5, columns.max() + 0.5
            points = np.array([(top, left), (top, right), (bottom, right), (bottom, left)])
            found.append(Outline(plane, int(region), points))
    return tuple(found)


def report(case: Case, made: dict[str, Any] | None = None, card: Any = None) -> pydicom.Dataset:
    """Return the report of a case, written and read again."""
    result, source = case
    result = replace(result, card=card) if card is not None else result
    return strictly(encoded(structured_report(result, source, stamp(), made or {})))


def walk(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Give every content item below an item, in the order of reading."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from walk(child)


def said(ds: pydicom.Dataset, name: str) -> list[str]:
    """Return the texts under one of saliscope's own concepts."""
    meaning = PRIVATE[name]
    return [i.TextValue for i in walk(ds) if i.ValueType == "TEXT" and _name(i) == meaning]


def numbers(ds: pydicom.Dataset, name: str) -> list[tuple[float, str]]:
    """Return the numbers of a name with their units."""
    found = [i.MeasuredValueSequence[0] for i in walk(ds) if i.ValueType == "NUM" and _name(i) == name]
    return [(float(v.NumericValue), v.MeasurementUnitsCodeSequence[0].CodeValue) for v in found]


def _name(item: pydicom.Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning) if "ConceptNameCodeSequence" in item else ""


def answering(case: Case, prediction: Prediction, target: str) -> Case:
    """Return a case whose network said something else."""
    result, source = case
    explanation = replace(result.explanation, prediction=prediction, target=target)
    return replace(result, explanation=explanation), source


@pytest.mark.parametrize("kind", SOURCES)
def test_the_judges_and_highdicom_read_the_report_of_every_source(kind: str, case: Callable[[str], Case]) -> None:
    result, source = case(kind)
    for of in (result, hidden(result)):
        data = encoded(structured_report(of, source, stamp(), {}))
        assert complaints(data, "structured-report") == []
        assert "Comprehensive3DSR" in dumped(data).replace(" ", "")
        strictly(data)
        read = srread(BytesIO(data)).content
        groups = (
            read.get_volumetric_roi_measurement_groups() if result.volume else read.get_planar_roi_measurement_groups()
        )
        regions = [] if of.hidden else result.reading["regions"]
        assert len(groups) == len(regions)
        for group, region in zip(groups, regions, strict=True):
            share, *_ = group.get_measurements()
            assert share.value == pytest.approx(100 * region["share"], rel=1e-5)


def test_a_person_reads_state_reasons_answer_and_map_before_anything_else(
    case: Callable[[str], Case], tmp_path: Path
) -> None:
    result, source = case("dx")
    path = tmp_path / "report.dcm"
    path.write_bytes(encoded(structured_report(replace(result, card=CARD), source, stamp(), {})))
    printed = subprocess.run([tool("dsrdump"), "+Pl", str(path)], capture_output=True, check=True, text=True).stdout
    order = [
        "DOUBTFUL", "At least one check", "The first reason", "The second reason", "7 of 9", "3 of 40 misled.",
        "nodule: probability 0.87, at or above the operating threshold of 0.50", "Half of the attribution",
        "Always this.", "Research use, not for diagnosis.", "Image Library", "Imaging Measurements", "Region 1",
    ]  # fmt: skip
    places = [printed.index(words) for words in order]
    assert places == sorted(places)
    assert "Verification Flag   : UNVERIFIED" in printed
    assert "Completion Flag     : COMPLETE" in printed
    assert "Preliminary Flag    : PRELIMINARY" in printed


def test_a_map_without_a_card_is_said_to_be_unchecked(case: Callable[[str], Case]) -> None:
    assert said(report(case("dx")), "state") == ["no card: this map was not checked"]


def test_of_a_hidden_map_nothing_is_said_but_why(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    ds = report((hidden(result), source))
    assert said(ds, "state") == ["DO NOT READ"]
    assert said(ds, "reason") == ["no"]
    assert not said(ds, "map") + said(ds, "axes") + said(ds, "place") + said(ds, "centre")
    assert not numbers(ds, PRIVATE["share"])
    assert not [i for i in walk(ds) if i.ValueType in ("SCOORD", "SCOORD3D")]
    assert ds.CompletionFlag == "PARTIAL"
    assert "DO NOT READ" in ds.CompletionFlagDescription
    assert said(ds, "predicted")
    middle = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in walk(ds) if i.ValueType == "IMAGE"}
    assert middle == {source.headers[0].SOPInstanceUID, source.headers[-1].SOPInstanceUID}


def test_outlines_lie_on_the_corners_of_elements_of_the_image_they_were_drawn_on(case: Callable[[str], Case]) -> None:
    result, source = case("dx")
    lines = [i for i in walk(report((result, source))) if i.ValueType == "SCOORD"]
    assert len(lines) == len(result.reading["regions"])
    for line, outline in zip(lines, boxes(result), strict=True):
        points = np.array(line.GraphicData).reshape(-1, 2)
        assert line.GraphicType == "POLYLINE"
        assert np.array_equal(points[0], points[-1])
        rows, columns = np.nonzero(result.labels == outline.region)
        # The first element spans 0 to 1 (PS3.3 C.18.6.1.2): columns first.
        assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
        assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
        of = line.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        assert of == source.first.SOPInstanceUID


def test_lines_of_a_volume_refer_to_the_slice_that_they_lie_on(case: Callable[[str], Case]) -> None:
    result, source = case("ct-flipped")
    lines = [i for i in walk(report((result, source))) if i.ValueType == "SCOORD"]
    drawn = sorted(boxes(result), key=lambda o: (o.region, o.plane))
    assert len(lines) == len(drawn) > 2
    for line, outline in zip(lines, drawn, strict=True):
        of = line.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        assert of == source.of_plane(outline.plane).SOPInstanceUID


def test_of_several_lines_around_a_region_the_widest_is_kept_and_the_others_are_counted(
    case: Callable[[str], Case],
) -> None:
    result, source = case("dx")
    hole = Outline(0, 1, np.array([(40.0, 40.0), (40.0, 41.0), (41.0, 41.0)]))
    ds = report((replace(result, outlines=lambda: (hole, *boxes(result))), source))
    assert [len(i.GraphicData) for i in walk(ds) if i.ValueType == "SCOORD"] == [10, 10]
    assert said(ds, "outlines")[0].startswith("1 more")


@pytest.mark.parametrize("only", [None, 1], ids=["all regions", "one region"])
@pytest.mark.parametrize("kind", ["ct", "dx"])
def test_regions_without_lines_are_the_segments_where_there_is_a_segmentation(
    kind: str, only: int | None, case: Callable[[str], Case]
) -> None:
    """One segment alone, named in the shared group as highdicom writes it, is where its version 0.28.2 fails."""
    result, source = case(kind)
    if only is not None:
        reading = {**result.reading, "regions": [r for r in result.reading["regions"] if r["number"] == only]}
        result = replace(result, reading=reading, labels=np.where(result.labels == only, result.labels, 0))
    result = replace(result, outlines=tuple)
    seg = segmentation(result, source, stamp(), {})
    if only is not None:
        shared = seg.SharedFunctionalGroupsSequence[0]
        for frame in seg.PerFrameFunctionalGroupsSequence:
            shared.SegmentIdentificationSequence = frame.SegmentIdentificationSequence
            del frame.SegmentIdentificationSequence
    ds = report((result, source), {"segmentation": seg})
    assert not [i for i in walk(ds) if i.ValueType == "SCOORD"]
    name = "Referenced Segment" if result.volume else "Referenced Segmentation Frame"
    referred = [i.ReferencedSOPSequence[0] for i in walk(ds) if _name(i) == name]
    if result.volume:
        assert [r.ReferencedSegmentNumber for r in referred] == [s.SegmentNumber for s in seg.SegmentSequence]
    assert {r.ReferencedSOPInstanceUID for r in referred} == {seg.SOPInstanceUID}
    tracked = [i.UID for i in walk(ds) if _name(i) == "Tracking Unique Identifier"]
    assert {s.TrackingUID for s in seg.SegmentSequence} <= set(tracked)
    if not result.volume:  # a frame, or a segment: not both (PS3.3 10.3)
        assert not any("ReferencedSegmentNumber" in r for r in referred)
        assert [r.ReferencedFrameNumber for r in referred] == list(range(1, len(referred) + 1))
    images = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in walk(ds) if "egmentation" in _name(i)}
    planes = {source.of_plane(p).SOPInstanceUID for p in np.flatnonzero(result.labels.any((-1, -2)))}
    assert images - {seg.SOPInstanceUID} == (planes if result.volume else {source.first.SOPInstanceUID})
    assert complaints(encoded(ds), "structured-report") == []


@pytest.mark.parametrize("kind", ["ct", "dx"])
def test_every_group_of_measurements_has_a_line_and_bears_the_name_of_its_segment(
    kind: str, case: Callable[[str], Case]
) -> None:
    """OHIF 3.13 opens an empty view where one group has none: what has no place stands elsewhere."""
    result, source = case(kind)
    seg = segmentation(result, source, stamp(), {})
    ds = report((result, source), {"segmentation": seg})
    groups = [i for i in walk(ds) if _name(i) == "Measurement Group"]
    assert len(groups) == len(result.reading["regions"])
    for group in groups:
        assert [i for i in walk(group) if i.ValueType == "SCOORD"]
    named = {i.UID for group in groups for i in walk(group) if _name(i) == "Tracking Unique Identifier"}
    assert named == {segment.TrackingUID for segment in seg.SegmentSequence}
    assert numbers(ds, "Probability")


def test_a_region_without_lines_is_that_of_its_source_images(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    ds = report((replace(result, outlines=tuple), source))
    groups = [i for i in walk(ds) if _name(i) == "Measurement Group"]
    images = [sum(c.ValueType == "IMAGE" for c in g.ContentSequence) for g in groups]
    lies_on = [int((result.labels == r["number"]).any((1, 2)).sum()) for r in result.reading["regions"]]
    assert [n for n in images if n] == lies_on


def test_everything_referred_to_is_in_the_evidence(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    seg = segmentation(result, source, stamp(), {})
    ds = report((result, source), {"segmentation": seg})
    listed = {
        row.ReferencedSOPInstanceUID
        for study in ds.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for row in series.ReferencedSOPSequence
    }
    assert listed == {h.SOPInstanceUID for h in source.headers} | {seg.SOPInstanceUID}
    assert "PertinentOtherEvidenceSequence" not in ds
    referred = {i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in walk(ds) if "ReferencedSOPSequence" in i}
    assert referred <= listed
    assert seg.SOPInstanceUID in referred


@pytest.mark.parametrize(("kind", "unit"), [("ct", "cm3"), ("dx", "mm2"), ("cr-unspaced", None)])
def test_sizes_are_in_millimetres_only_where_the_source_knows_them(
    kind: str, unit: str | None, case: Callable[[str], Case]
) -> None:
    result, source = case(kind)
    ds = report((result, source))
    regions = result.reading["regions"]
    found = numbers(ds, "Volume") + numbers(ds, "Area")
    assert [u for _, u in found] == [unit] * len(regions) if unit else found == []
    assert [v for v, _ in numbers(ds, PRIVATE["elements"])] == [r["elements"] for r in regions]
    peaks = numbers(ds, "Gradient-weighted class activation")
    assert peaks == [(pytest.approx(r["peak"], rel=1e-5), "1") for r in regions]
    centres = said(ds, "centre")
    assert all(("of the origin of the patient" in c) == (kind == "ct") for c in centres)
    assert all("row" in c for c in centres)


def test_sentences_with_millimetres_say_along_which_axes(case: Callable[[str], Case]) -> None:
    """A centre of (29, 22, -22) mm, read on a workstation as LPS, would be on the other side of the patient."""
    for kind in ("ct", "cr-unspaced"):
        ds = report(case(kind))
        sentences = [s for s in said(ds, "map") if ") mm" in s]
        assert bool(sentences) == (kind == "ct")
        assert bool(said(ds, "axes")) == bool(sentences)
    texts = [i.TextValue for i in walk(report(case("ct"))) if i.ValueType == "TEXT"]
    assert sum(") mm" in t for t in texts) == 1


def test_the_centre_in_millimetres_is_that_of_the_source(case: Callable[[str], Case]) -> None:
    result, source = case("ct-oblique")
    words = said(report((result, source)), "centre")[0].split(" of the origin")[0].split(", ")
    signs = {"right": -1, "left": 1, "anterior": -1, "posterior": 1, "inferior": -1, "superior": 1}
    lps = [signs[w.split()[2]] * float(w.split()[0]) for w in words]
    plane, row, column = result.reading["regions"][0]["index"]
    header = source.of_plane(0)
    after = source.of_plane(1)
    step = np.array(after.ImagePositionPatient, float) - np.array(header.ImagePositionPatient, float)
    along, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    spacing = [float(s) for s in header.PixelSpacing]
    expected = np.array(header.ImagePositionPatient, float) + plane * step
    expected = expected + along * column * spacing[1] + down * row * spacing[0]
    assert lps == pytest.approx(expected.tolist(), abs=0.06)


MANY = Prediction(
    tuple(f"finding {i}" for i in range(30)), (0.0,) * 30, tuple((i * 7 % 30) / 30 for i in range(30)), "multi-label",
    (0.4,) * 30, (None,) * 29 + (0.6,),
)  # fmt: skip


def test_the_explained_answer_comes_first_and_the_weakest_are_counted(case: Callable[[str], Case]) -> None:
    ds = report(answering(case("dx"), MANY, "finding 1"))
    found = numbers(ds, "Probability")
    assert found[0] == (pytest.approx(7 / 30, rel=1e-5), "1")
    assert [v for v, _ in found[1:]] == sorted((v for v, _ in found[1:]), reverse=True)
    assert len(found) == 20
    assert said(ds, "not-listed") == ["10 weaker answers of the network"]
    assert len(numbers(ds, PRIVATE["threshold"])) == 20
    assert numbers(ds, PRIVATE["own-scale"]) == ([(0.6, "1")] if 203 % 30 >= 10 else [])
    assert said(ds, "calibration")


@pytest.mark.parametrize(
    ("prediction", "target", "name", "expected"),
    [
        (Prediction(("age",), (54.321,), None, "regression", (None,)), "age", PRIVATE["value"], [(54.321, "1")]),
        (
            Prediction(("liver", "spleen"), (1.0, 2.0), (0.25, 0.004), "segmentation", (None, None)), "liver",
            PRIVATE["predicted-share"], [(25.0, "%"), (0.4, "%")],
        ),
        (
            Prediction(("benign", "malignant"), (0.0, 2.0), (0.12, 0.88), "multi-class", (None, None)),
            "contrast:malignant/benign", "Probability", [(0.88, "1"), (0.12, "1")],
        ),
        (Prediction(("broken",), (float("nan"),), (float("nan"),), "binary", (0.5,)), "broken", "Probability", []),
        (Prediction((), (), None, "regression", ()), "point:3,4", PRIVATE["value"], []),
    ],
    ids=["regression", "segmentation", "contrast", "not a number", "no labels"],
)  # fmt: skip
def test_every_kind_of_answer_can_be_said(
    prediction: Prediction, target: str, name: str, expected: list[Any], case: Callable[[str], Case]
) -> None:
    if not prediction.labels:
        prediction = Prediction(("-",), (0.0,), None, "regression", (None,))
        expected = [(0.0, "1")]
    ds = report(answering(case("dx"), prediction, target))
    assert numbers(ds, name) == expected
    assert said(ds, "answer") == [target]
    assert said(ds, "predicted")[0] == prediction.sentence(target)
    assert complaints(encoded(ds), "structured-report") == []


ODD = 'le\\ft "up\'per" <b>lobe</b> & ' + "ä" * 200 + "\x00\x1b"


def test_odd_characters_and_long_names_are_kept_where_they_fit(case: Callable[[str], Case]) -> None:
    result, source = answering(case("dx"), Prediction((ODD,), (1.0,), (0.7,), "binary", (0.5,)), ODD)
    provenance = replace(result.explanation.provenance, model=ODD, method="odd\\method", fields={"a": ODD})
    result = replace(result, explanation=replace(result.explanation, provenance=provenance))
    data = encoded(structured_report(result, source, stamp(), {}))
    ds = strictly(data)
    assert complaints(data, "structured-report") == []
    assert said(ds, "answer") == [ODD.replace("\x00", " ").replace("\x1b", " ").strip()]
    assert len(ds.SeriesDescription) <= 64
    names = [i.TextValue for i in walk(ds) if _name(i) == "Tracking Identifier"]
    assert all(len(n) <= 64 for n in names)
    assert len(set(names)) == len(names)


def test_network_and_method_are_identified_with_weights_and_parameters(case: Callable[[str], Case]) -> None:
    result, _ = case("dx")
    ds = report(case("dx"))
    texts = [(_name(i), i.TextValue) for i in walk(ds) if i.ValueType == "TEXT" and _name(i).startswith("Algorithm")]
    p = result.explanation.provenance
    assert ("Algorithm Name", p.model) in texts
    assert ("Algorithm Version", f"weights SHA-256 {p.weights}") in texts
    assert ("Algorithm Name", "saliscope") in texts
    assert ("Algorithm Parameters", "method = grad-cam") in texts
    assert ("Algorithm Parameters", "absolute = False") in texts


def test_an_empty_map_says_so_in_words_and_has_no_region(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    sentence = "The map is zero everywhere."
    reading = {**result.reading, "regions": [], "sentences": [sentence], "state": "zero"}
    result = replace(result, reading=reading, labels=np.zeros_like(result.labels), outlines=tuple)
    data = encoded(structured_report(result, source, stamp(), {}))
    assert complaints(data, "structured-report") == []
    assert said(strictly(data), "map") == [sentence]
    assert srread(BytesIO(data)).content.get_volumetric_roi_measurement_groups() == []


def test_private_concepts_are_few_short_and_of_a_scheme_that_is_named(case: Callable[[str], Case]) -> None:
    assert all(len(value) <= 16 and len(meaning) <= 64 for value, meaning in PRIVATE.items())
    assert len(set(PRIVATE.values())) == len(PRIVATE)
    ds = report(case("dx"))
    assert [i.CodingSchemeDesignator for i in ds.CodingSchemeIdentificationSequence] == [SCHEME]
    used = {
        (c.CodingSchemeDesignator, c.CodeValue)
        for i in walk(ds)
        for c in [*i.get("ConceptNameCodeSequence", ()), *i.get("ConceptCodeSequence", ())]
    }
    assert {value for scheme, value in used if scheme == SCHEME} <= set(PRIVATE)
    assert {scheme for scheme, _ in used} <= {"DCM", "SCT", "UCUM", "UMLS", "RFC5646", SCHEME}


def test_the_same_result_gives_the_same_bytes_and_another_time_other_identifiers(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    first, again = (encoded(structured_report(result, source, stamp(), {})) for _ in range(2))
    assert first == again
    later = replace(stamp(), time=stamp().time.replace(hour=7))
    other = strictly(encoded(structured_report(result, source, later, {})))
    one = strictly(first)

    def own(ds: pydicom.Dataset) -> set[str]:
        return {ds.SOPInstanceUID, ds.SeriesInstanceUID, *(i.UID for i in walk(ds) if "Tracking Unique" in _name(i))}

    assert not own(one) & own(other)
    dates = {str(e.value) for e in one.iterall() if e.VR in ("DA", "DT")}
    assert not any(d.startswith("202611") for d in dates)


def test_three_hundred_slices_are_all_evidence_and_described_in_a_few_lines(case: Callable[[str], Case]) -> None:
    result, source = case("ct")
    headers = [pydicom.Dataset.from_json(source.first.to_json()) for _ in range(300)]
    for i, header in enumerate(headers):
        header.SOPInstanceUID = f"1.2.3.{i}"
    long = DicomSource(tuple(headers), tuple((i, 0) for i in range(300)))
    data = encoded(structured_report(result, long, stamp(), {}))
    ds = strictly(data)
    rows = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert len(rows) == 300
    library = next(i for i in walk(ds) if _name(i) == "Image Library")
    assert sum(i.ValueType == "IMAGE" for i in walk(library)) <= 2 + len(result.reading["regions"])
    assert len(data) < 100_000


def test_frames_of_a_real_enhanced_image_are_named(data: Path) -> None:
    result, source = case_of(data / "dicom" / "emri_small.dcm")
    result = replace(result, outlines=lambda: boxes(result)) if result.volume else result
    out = encoded(structured_report(result, source, stamp(), {}))
    assert complaints(out, "structured-report") == []
    ds = strictly(out)
    frames = [i.ReferencedSOPSequence[0].ReferencedFrameNumber for i in walk(ds) if i.ValueType == "IMAGE"]
    assert frames
    assert all(1 <= f <= source.first.NumberOfFrames for f in frames)
    assert set(frames) >= {source.planes[0][1] + 1, source.planes[-1][1] + 1}
