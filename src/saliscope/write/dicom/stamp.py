"""What all objects of one result share: when and by what they were made, their identifiers, whose they are."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid5

from saliscope.write.dicom.kinds import KINDS, Kind
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom_modules import code_item
from saliscope.write.image_dicom import NAMESPACE

if TYPE_CHECKING:
    from pydicom import Dataset

#: The first series number of results: high, so that they stand behind what the scanner made.
SERIES = 9000
#: So many kinds of object at most lie between the series numbers of two explanations of one case.
PER_MAP = 10
MANUFACTURER = "saliscope"
#: (109101, DCM, "Acquisition Equipment"), and a date with time as PS3.5 6.2 writes it.
ACQUISITION, _MOMENT = "109101", "%Y%m%d%H%M%S.%f"
#: Body parts (CID 4 and its defined terms) on whose slices a face can be recognised or rebuilt.
FACES = ("HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "ORBIT", "NECK", "SINUS", "JAW", "MAXILLA", "WHOLEBODY", "TMJ")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


@dataclass(frozen=True)
class Stamp:
    """When the objects of a result are made (`time`, aware), of which map of the case (`number`, from 0), as what.

    `qualification` is RESEARCH unless whoever runs it answers for more (PS3.3 C.12.1.1). `after` is applied to every
    object once all of a result are made, such as pseudonyms.
    """

    time: datetime
    number: int = 0
    qualification: str = "RESEARCH"
    after: Callable[[Dataset], Dataset] | None = None

    def uid(self, result: Result, *words: str) -> str:
        """Return a UID under 2.25 that hangs on result, time and words: the same again only for the same bytes."""
        name = "|".join((result.digest, self.time.isoformat(), str(self.number), *words))
        return f"2.25.{uuid5(NAMESPACE, name).int}"

    def at(self, source: DicomSource) -> datetime:
        """Return the time in the zone that the source's own times are in, else local: one object has one zone."""
        said = str(source.first.get("TimezoneOffsetFromUTC", "") or "")
        if len(said) == 5 and said[0] in "+-" and said[1:].isdigit():
            minutes = int(said[1:3]) * 60 + int(said[3:])
            return self.time.astimezone(timezone((-1 if said[0] == "-" else 1) * timedelta(minutes=minutes)))
        return self.time.astimezone()

    def words(self, result: Result, kind: Kind) -> dict[str, Any]:
        """Return the arguments that every constructor of highdicom takes, for an object of a kind."""
        version = version_of(result)
        return {
            "series_instance_uid": self.uid(result, kind, "series"),
            "series_number": SERIES + PER_MAP * self.number + KINDS[kind].place,
            "series_description": clipped(f"{KINDS[kind].series}: {result.title} (research)", 64),
            "sop_instance_uid": self.uid(result, kind, "instance"),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MANUFACTURER,
            "software_versions": version,
            "device_serial_number": version,
        }


def finished(ds: Dataset, result: Result, source: DicomSource, stamp: Stamp, *, burnt: bool | None) -> Dataset:
    """Return an object with what all kinds must say: equipment, derivation, qualification, times, what is burnt in.

    `burnt` says whether its pixels show the source with text in them, None for an object without pixels.
    """
    _apart(ds, source)
    at = stamp.at(source)
    ds.InstanceCreationDate, ds.InstanceCreationTime = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    ds.SeriesDate, ds.SeriesTime = ds.InstanceCreationDate, ds.InstanceCreationTime
    for keyword, value in (("ContentDate", ds.InstanceCreationDate), ("ContentTime", ds.InstanceCreationTime)):
        if keyword in ds:
            setattr(ds, keyword, value)
    if "TimezoneOffsetFromUTC" in source.first:
        ds.TimezoneOffsetFromUTC = source.first.TimezoneOffsetFromUTC
    ds.ContentQualification = stamp.qualification
    ds.SpecificCharacterSet = "ISO_IR 192"
    others = [_timed(item, source, at) for item in ds.get("ContributingEquipmentSequence") or ()]
    ds.ContributingEquipmentSequence = [*others, *_equipment(result, at)]
    if burnt is not None:
        _of_pixels(ds, result, source, burnt=burnt)
    ds.file_meta.ImplementationVersionName = "SALISCOPE"
    return ds


def derivation(result: Result) -> str:
    """Return in a sentence how the map came about, without identifiers (at most 1024 characters)."""
    p, e = result.explanation.provenance, result.explanation
    layer = f" at layer {p.layer}" if p.layer else ""
    sign = "signed" if e.traits.signed else "unsigned"
    text = (
        f"saliscope {p.versions.get('saliscope', '')}: {p.method}{layer} of network {p.model} (weights SHA-256 "
        f"{p.weights}) for {p.target}; {sign}, raw, not normalised; linear between the centres of the native cells "
        f"({' x '.join(map(str, e.geometry.shape))}), zero outside what the network saw. Explains the network's "
        "score. Does not show where disease is. Research use, not for diagnosis."
    )
    return clipped(text, 1024)


def version_of(result: Result) -> str:
    """Return saliscope's version that made the map."""
    return str(result.explanation.provenance.versions.get("saliscope", "0"))


def clipped(text: str, length: int) -> str:
    """Return text without control characters and backslashes, in at most so many characters.

    Counted as bytes of UTF-8, which are never fewer: PS3.5 6.2 counts characters, many readers do not.
    """
    plain = "".join(c if c.isprintable() and c != "\\" else " " for c in text).strip()
    data = plain.encode()
    return plain if len(data) <= length else data[: length - 3].decode(errors="ignore").rstrip() + "..."


def face_may_show(source: DicomSource) -> bool | None:
    """Return whether a face may be recognised in the source's pixels; None where nothing says so."""
    said = str(source.first.get("RecognizableVisualFeatures", "") or "").upper()
    if said in ("YES", "NO"):
        return said == "YES"
    part = str(source.first.get("BodyPartExamined", "") or "").upper().replace(" ", "")
    if part:
        return part in FACES
    return False if str(source.first.get("Modality", "")) in ("US", "MG", "CR", "DX") else None


def _apart(ds: Dataset, source: DicomSource) -> None:
    """Copy what highdicom shares with the source: who changes the result must not change the source."""
    for tag in list(ds.keys()):
        if tag in source.first and ds.get_item(tag) is source.first.get_item(tag):
            ds[tag] = deepcopy(ds[tag])


def _timed(item: Dataset, source: DicomSource, at: datetime) -> Dataset:
    """Return equipment that highdicom named with the time of its part in place of that of now.

    What acquired the source did so when the source says, as far as it says; what else there is worked with us.
    """
    first = source.first
    if item.PurposeOfReferenceCodeSequence[0].CodeValue != ACQUISITION:
        item.ContributionDateTime = at.strftime(_MOMENT)
        return item
    parts = (str(first.get(keyword) or "") for keyword in ("AcquisitionDate", "AcquisitionTime"))
    said = str(first.get("AcquisitionDateTime") or "") or "".join(parts if first.get("AcquisitionDate") else ())
    if "ContributionDateTime" in item:
        del item.ContributionDateTime
    if said:
        item.ContributionDateTime = said
    return item


def _of_pixels(ds: Dataset, result: Result, source: DicomSource, *, burnt: bool) -> None:
    ds.BurnedInAnnotation = "YES" if burnt else "NO"
    # Pixels with our text in them are those that show the source; the others are numbers of a map.
    face = face_may_show(source) if burnt else False
    if face is not None:
        ds.RecognizableVisualFeatures = "YES" if face else "NO"
    if "DerivationDescription" not in ds:
        ds.DerivationDescription = derivation(result)
    if str(source.first.get("LossyImageCompression", "") or "") == "01":
        for keyword in _LOSSY:
            if keyword in source.first:
                ds[keyword] = deepcopy(source.first[keyword])


def _equipment(result: Result, at: datetime) -> list[Dataset]:
    """Return who had a part in it: the network with the digest of its weights, and saliscope (PS3.3 C.12.1.1.5)."""
    from pydicom import Dataset

    p = result.explanation.provenance
    network = Dataset()
    network.Manufacturer, network.ManufacturerModelName = "unknown", clipped(p.model, 64)
    network.SoftwareVersions = p.weights[:64]
    network.ContributionDescription = "The network explained; its version is the SHA-256 of its weights"
    ours = Dataset()
    ours.Manufacturer, ours.ManufacturerModelName = MANUFACTURER, MANUFACTURER
    ours.SoftwareVersions = version_of(result)
    ours.ContributionDescription = clipped(f"Explained the network by {p.method}; view SHA-256 {p.view}", 1024)
    for item in (network, ours):
        item.PurposeOfReferenceCodeSequence = [code_item("109102", "DCM", "Processing Equipment")]
        item.ContributionDateTime = at.strftime(_MOMENT)
    return [network, ours]
