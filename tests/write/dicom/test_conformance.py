"""Every kind of object of every source, judged by tools of others: dciodvfy, dcmdump, and pydicom reading strictly."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dicom_cases import case_of, stamp, write_source
from dicom_tools import all_complaints, allowed, complaints, dumped, kind_of, strictly, tool
from real_data import data_folder
from saliscope.figures.reading import interpret
from saliscope.study.dicom import result_of
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.objects import DicomFiles, dicom_files, encoded

VOLUMES = ("ct", "mr", "ct-oblique", "ct-flipped", "ct-sheared")
PICTURES = ("dx", "cr", "cr-unspaced", "us")
#: Real: an enhanced MR of ten frames, in which parts of the standard stand that no phantom has.
MULTIFRAME = "mr-multiframe"
#: What cannot be said of a source, and is therefore left out; every other kind must be there.
_UNPLACED = {"blending"}
_UNSPACED = {"parametric-map", "parametric-map-16", "pseudo-color", "blending"}
LEFT_OUT = {"dx": _UNPLACED, "cr": _UNPLACED, "us": _UNPLACED, "cr-unspaced": _UNSPACED, MULTIFRAME: _UNSPACED}


@cache
def written(kind: str, signed: bool) -> DicomFiles:
    """Return every object of the map of a source."""
    with TemporaryDirectory() as place:
        if kind == MULTIFRAME:
            folder = data_folder()
            assert folder is not None
            path = folder / "dicom" / "emri_small.dcm"
        else:
            path = write_source(Path(place), kind)
        plain, source = case_of(path, signed=signed)
        drawn = result_of(plain.image, interpret(plain.explanation, plain.image))
        # Pictures of fewer pixels: what is judged does not hang on how many there are.
        result = replace(plain, outlines=drawn.outlines, capture=lambda: plain.capture()[:, ::4, ::4].copy())
        return dicom_files(result, source, tuple(KINDS.values()), stamp())


@pytest.fixture(params=[*VOLUMES, *PICTURES, MULTIFRAME])
def made_of(request: pytest.FixtureRequest) -> str:
    """Return the name of a source; that of the real one only where the real data are."""
    if request.param == MULTIFRAME:
        request.getfixturevalue("data")
    return str(request.param)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_object_is_what_the_standard_says(made_of: str, signed: bool) -> None:
    objects = written(made_of, signed)
    assert set(objects.left_out) == LEFT_OUT.get(made_of, set()), objects.left_out
    assert {f"{name}.dcm" for name in set(KINDS) - set(objects.left_out)} == set(objects.files)
    for file, data in objects.files.items():
        name = file.removesuffix(".dcm")
        assert complaints(data, name) == [], file
        assert data[:132] == b"\0" * 128 + b"DICM", file
        ds = strictly(data)
        assert ds.SOPClassUID in KINDS[name].sop_classes
        assert kind_of(data) == name
        assert f"ui [{ds.SOPInstanceUID}]".lower() in dumped(data).lower().replace("ui =", "ui "), file


def test_every_known_complaint_is_still_heard(data: Path) -> None:
    """A line that explains nothing any more would one day hide a new fault."""
    heard = [
        (file.removesuffix(".dcm"), complaint)
        for source in (*VOLUMES, *PICTURES, MULTIFRAME)
        for signed in (False, True)
        for file, data in written(source, signed).files.items()
        for complaint in all_complaints(data)
    ]
    for row in allowed():
        for kind in row.kinds:
            assert kind == "all" or kind in KINDS, row
            assert any(row.explains(complaint, kind) for name, complaint in heard if kind in (name, "all")), (kind, row)
        assert row.reason
        assert bool(row.line) != bool(row.pattern), row


def test_a_new_fault_is_heard() -> None:
    """The judge judges: an object without its series is refused by it."""
    ds = strictly(written("dx", signed=False).files["secondary-capture.dcm"])
    del ds.Modality
    ds.Rows = ds.Rows + 1
    assert any("Modality" in line for line in complaints(encoded(ds), "secondary-capture"))


def test_a_tool_that_is_missing_skips_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool"):
        tool("no-such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool"):
        tool("no-such-tool")
