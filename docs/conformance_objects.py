"""What the conformance statement says of the objects that are written: found in objects made of drawn sources."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pydicom

from saliscope.figures.reading import interpret
from saliscope.study.dicom import result_of
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.objects import DicomFiles, dicom_files

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import dicom_cases

#: Value, scheme and meaning.
Code = tuple[str, str, str]
#: Sources by the names of tests/dicom_cases.py, as the statement calls them.
SOURCES = {
    "ct-oblique": "CT or MR series",
    "dx": "CR or DX",
    "cr-unspaced": "CR without pixel spacing",
    "us": "ultrasound",
}
#: Of a picture nothing is said but its form.
_BLANK = np.zeros((64, 64, 3), np.uint8)


@dataclass
class Written:
    """What was found in the objects of one kind."""

    modality: set[str] = field(default_factory=set)
    syntaxes: set[str] = field(default_factory=set)
    pixels: set[str] = field(default_factory=set)
    series: set[int] = field(default_factory=set)
    codes: set[Code] = field(default_factory=set)
    missing: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    attributes: list[set[str]] = field(default_factory=list)


@cache
def found() -> Mapping[str, Written]:
    """Return what the objects of every kind hold, and of which sources there are none."""
    kinds: dict[str, Written] = {name: Written() for name in KINDS}
    for source, called in SOURCES.items():
        made, brought, first = _made(source)
        for name, why in made.left_out.items():
            kinds[name].missing[why].append(called)
        for file, data in made.files.items():
            _look(kinds[file.removesuffix(".dcm")], pydicom.dcmread(BytesIO(data)), first)
        for kind in kinds.values():
            kind.codes -= brought
    return kinds


def everywhere() -> list[str]:
    """Return the attributes, by keyword, that saliscope itself sets in every object."""
    sets = [attributes for kind in found().values() for attributes in kind.attributes]
    return sorted(set.intersection(*sets))


def hidden() -> list[str]:
    """Return the titles of the objects that are made of a map that its card hides."""
    with TemporaryDirectory() as place:
        result, source = dicom_cases.case_of(dicom_cases.write_source(Path(place), "ct-oblique"))
        result = replace(result, capture=lambda: _BLANK[None])
        made = dicom_files(dicom_cases.hidden(result), source, tuple(KINDS.values()), dicom_cases.stamp())
    return [KINDS[name.removesuffix(".dcm")].title for name in made.files]  # type: ignore[index]


def _made(name: str) -> tuple[DicomFiles, set[Code], Any]:
    """Return the objects of a source, the codes that it brings itself, and its first header."""
    with TemporaryDirectory() as place:
        result, source = dicom_cases.case_of(dicom_cases.write_source(Path(place), name))
        drawn = result_of(result.image, interpret(result.explanation, result.image))
        pictures = np.repeat(_BLANK[None], len(source.planes), axis=0)
        result = replace(result, outlines=drawn.outlines, capture=lambda: pictures)
        made = dicom_files(result, source, tuple(KINDS.values()), dicom_cases.stamp())
        return made, {code for header in source.headers for code in _codes(header)}, source.first


def _look(kind: Written, ds: Any, source: Any) -> None:
    kind.modality.add(str(ds.Modality))
    kind.syntaxes.add(ds.file_meta.TransferSyntaxUID.name)
    kind.series.add(int(ds.SeriesNumber))
    if "BitsAllocated" in ds:
        many = "one frame" if int(ds.get("NumberOfFrames", 1)) == 1 else "frames"
        stored = "float" if "FloatPixelData" in ds else f"{ds.BitsStored} bits"
        kind.pixels.add(f"{ds.PhotometricInterpretation}, {stored}, {many}")
    kind.codes |= set(_codes(ds))
    kind.attributes.append({e.keyword for e in ds if e.keyword and e.value and source.get(e.keyword) != e.value})


def _codes(ds: Any) -> Iterator[Code]:
    """Yield the codes of an object, wherever they stand."""
    if "CodeValue" in ds and "CodingSchemeDesignator" in ds:
        yield str(ds.CodeValue), str(ds.CodingSchemeDesignator), str(ds.get("CodeMeaning", ""))
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                yield from _codes(item)
