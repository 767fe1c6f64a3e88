"""A result as a structured report, the root that ties all its objects together: Comprehensive 3D SR, TID 1500.

Read from the top it says first whether to rely on the map (the state of its card), then what the network said, then
where the map is strong, then how all of it was made (PS3.3 A.35.13, PS3.16 TID 1500).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid5

from saliscope.write.dicom.kinds import KINDS, Kind
from saliscope.write.dicom.quantity import explanation_code
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.sr_answer import answers, evaluations, summary
from saliscope.write.dicom.sr_codes import code, container, scheme, tracked
from saliscope.write.dicom.sr_library import image_library
from saliscope.write.dicom.sr_regions import region_groups
from saliscope.write.dicom.stamp import MANUFACTURER, Stamp, finished, version_of
from saliscope.write.image_dicom import EXPLICIT_LITTLE, NAMESPACE

if TYPE_CHECKING:
    from pydicom import Dataset

_NAME: Kind = "structured-report"
#: Objects with pixels are referred to as images, the others as composite objects (PS3.3 C.17.3.2.4, C.18.3, C.18.4).
_IMAGES = ("secondary-capture", "segmentation", "parametric-map", "parametric-map-16")


def structured_report(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Dataset:
    """Return the report of a result; it refers to the source and to every object in `made`.

    A map that its card hides is told of by its state and reasons only: no region, no place, no sentence of it.
    """
    from highdicom.sr import Comprehensive3DSR

    report = Comprehensive3DSR(
        evidence=[*source.headers, *made.values()],
        content=_content(result, source, stamp, made),
        is_complete=not result.hidden,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=EXPLICIT_LITTLE,
        **stamp.words(result, _NAME),
    )
    if result.hidden:
        report.CompletionFlagDescription = "The map is left out: its card says DO NOT READ"
    report.CodingSchemeIdentificationSequence = [scheme()]
    return finished(report, result, source, stamp, burnt=None)


def _content(result: Result, source: DicomSource, stamp: Stamp, made: Mapping[str, Dataset]) -> Any:
    from highdicom import sr

    groups = [] if result.hidden else region_groups(result, source, stamp, made.get("segmentation"))
    report = sr.MeasurementReport(
        observation_context=_observer(result),
        procedure_reported=code("procedure"),
        imaging_measurements=groups or [_explanation(result, stamp)],
        title=code("report"),
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(code("english")),
    )
    items = report[0].ContentSequence
    # What to rely on comes before everything that could be relied on; what no place has stands in no group of
    # measurements, because viewers look for the place of each (OHIF shows none of them where one has none).
    at = next(i for i, item in enumerate(items) if item.ValueType == "CONTAINER")
    for place, part in enumerate((summary(result), answers(result), image_library(result, source)), start=at):
        items.insert(place, part)
    items.append(evaluations(result))
    if made:
        items.append(container("results", [_reference(name, ds) for name, ds in made.items()]))
    return report


def _observer(result: Result) -> Any:
    """Return who observed: saliscope, a device (TID 1002, TID 1004)."""
    from highdicom import sr

    version = version_of(result)
    device = sr.DeviceObserverIdentifyingAttributes(
        f"2.25.{uuid5(NAMESPACE, f'{MANUFACTURER} {version}').int}",
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER,
        serial_number=version,
    )
    return sr.ObservationContext(sr.ObserverContext(code("device"), device))


def _explanation(result: Result, stamp: Stamp) -> Any:
    """Return the group of a map without a region: what it is. A report of measurements has one group at least."""
    from highdicom import sr

    return sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(stamp.uid(result, "explanation"), tracked(result.title)),
        finding_type=code("visual-explanation"),
        method=explanation_code(result),
    )


def _reference(name: str, ds: Dataset) -> Any:
    """Return a reference to another object of the same result."""
    from highdicom.sr import CompositeContentItem, ImageContentItem

    kind = ImageContentItem if name in _IMAGES else CompositeContentItem
    return kind(code(f"object-{KINDS[name].place}"), ds.SOPClassUID, ds.SOPInstanceUID, relationship_type="CONTAINS")
