"""Results under a pseudonym: the Basic Application Level Confidentiality Profile on our own objects (PS3.15 E.2)."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from saliscope.write.dicom.confidential import action_of
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import MANUFACTURER, face_may_show
from saliscope.write.dicom_modules import code_item

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

#: Modalities whose pixels are known to carry text, unless the header says that they do not.
_TEXT_IN_PIXELS = ("US", "ES", "XA", "XC", "OT", "SC", "")
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_STANDARD = "1.2.840.10008."
#: UIDs of classes, code systems and resources: they name nobody, whatever their root.
_OF_KINDS = frozenset((
    "CodingSchemeUID", "ContextUID", "MappingResourceUID", "TransferSyntaxUID", "ImplementationClassUID",
    "SOPClassUID", "ReferencedSOPClassUID", "MediaStorageSOPClassUID",
))  # fmt: skip
#: Written by us alone, from network, method and map: cleaned descriptors (113105), graphics (113103) and content
#: (113104). Sequences among them are cleaned item by item.
_OURS = frozenset((
    "SeriesDescription", "DerivationDescription", "ContributionDescription", "ContentSequence",
    "GraphicAnnotationSequence", "EncapsulatedDocument",
))  # fmt: skip
#: References that results live on (X/Z/U*), and codes of a context group: kept, the UIDs inside mapped.
_MAPPED_INSIDE = frozenset(("ReferencedImageSequence", "SourceImageSequence"))
#: Type 1 in some kind of object: a dummy, where the table would remove or empty.
_REQUIRED = frozenset(("ContentDate", "ContentTime", "PresentationCreationDate", "PresentationCreationTime"))
#: Copied from the source and not in the table, but free words or codes of the site all the same.
_ALSO_REMOVED = frozenset((
    "ProcedureCodeSequence", "ReasonForPerformedProcedureCodeSequence", "ReferencedRequestSequence",
))  # fmt: skip
#: Groups of patient, trial, study request and visit: of these nothing but the following stays.
_OF_PATIENT = (0x0010, 0x0012, 0x0032, 0x0038)
_KEPT_OF_PATIENT = frozenset(("PatientName", "PatientID", "PatientBirthDate", "PatientSex"))
#: Concepts of TID 1001, 1003, 1005 and 1007 whose values name a patient, a person, a place or an order (scheme DCM).
_NAMING_CONCEPTS = frozenset((
    "121008", "121009", "121017", "121020", "121021", "121022", "121023", "121029", "121030", "121031", "121032",
    "121033", "121036",
))  # fmt: skip
#: The scheme of our own codes in reports; other schemes that begin with 99 are of a site or a maker of devices.
_OWN_SCHEME = "99SALISCOPE"
_DUMMIES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "DS": "0", "IS": "0", "AS": "000Y"}
_TEXTS = ("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "PN")
_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113103", "Clean Graphics Option"),
    ("113104", "Clean Structured Content Option"),
    ("113105", "Clean Descriptors Option"),
)


@dataclass(frozen=True)
class Pseudonyms:
    """Puts objects under pseudonyms made by a key; the same key gives a patient the same one everywhere.

    Dates are removed, emptied or replaced by 1900-01-01, as each object's definition allows; none is shifted. UIDs are
    replaced one for one, in references too, so that the objects of one result still fit each other. They fit the
    source only if it went through the same mapping (`uid`).
    """

    key: bytes = field(repr=False)

    def __call__(self, ds: Dataset) -> Dataset:
        """Return a finished object under its pseudonym, as a copy: an object may share parts with its source."""
        name, ds = self.patient(ds), _copied(ds)
        self._clean(ds, top=True)
        ds.PatientID, ds.PatientName = name, name.replace("-", "^")
        ds.PatientBirthDate, ds.PatientSex = "", ""
        ds.PatientIdentityRemoved = "YES"
        ds.DeidentificationMethod = ["PS3.15 Basic Application Level", "Confidentiality Profile, keyed pseudonyms"]
        ds.DeidentificationMethodCodeSequence = [code_item(value, "DCM", meaning) for value, meaning in _METHODS]
        ds.LongitudinalTemporalInformationModified = "REMOVED"
        meta = ds.file_meta
        for keyword in [e.keyword for e in meta if e.tag.element > 0x0013]:
            delattr(meta, keyword)  # titles and addresses of applications, private information
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        return ds

    def patient(self, ds: Dataset) -> str:
        """Return the pseudonym of an object's patient: PSN- and 16 letters, from identifier and issuer."""
        identifier = str(ds.get("PatientID", "") or "").strip()
        issuer = str(ds.get("IssuerOfPatientID", "") or "").strip()
        named = "|".join(str(ds.get(k, "") or "").strip() for k in ("PatientName", "PatientBirthDate"))
        # Without an identifier the name, without a name the study: two unknown patients must not become one.
        words = identifier or (named if named != "|" else "") or str(ds.get("StudyInstanceUID", ""))
        return f"PSN-{b32encode(self._digest('patient', issuer, words)[:10]).decode()}"

    def uid(self, uid: str) -> str:
        """Return the UID that stands for another; those of the standard itself stand for themselves."""
        if uid.startswith(_STANDARD) or not uid:
            return uid
        return f"2.25.{UUID(bytes=self._digest('uid', uid)[:16], version=4).int}"

    def _digest(self, *words: str) -> bytes:
        return hmac.new(self.key, "\0".join(("saliscope pseudonym", *words)).encode(), hashlib.sha256).digest()

    def _clean(self, ds: Dataset, *, top: bool) -> None:
        """Clean an item: each element kept, mapped, emptied or removed, and what is nested in it."""
        ours = top and str(ds.get("Manufacturer", "")) == MANUFACTURER
        for element in list(ds):
            self._clean_element(ds, element, ours=ours)

    def _clean_element(self, ds: Dataset, element: DataElement, *, ours: bool) -> None:
        keyword, action = element.keyword, action_of(element.tag)
        if keyword == "DeviceSerialNumber" and ours:
            return  # saliscope's own version
        if _foreign(element):
            del ds[element.tag]
        elif element.VR == "UI":
            _mapped(self, element)
        elif keyword in _OURS or keyword in _MAPPED_INSIDE or not action:
            self._descend(element)
        elif keyword in _REQUIRED or action == "D":
            self._dummy(ds, element)
        elif "Z" in action:
            element.value = [] if element.VR == "SQ" else ""
        else:
            del ds[element.tag]

    def _descend(self, element: DataElement) -> None:
        if element.VR == "PN":
            element.value = ""  # nobody's name, wherever it stands
        if element.VR != "SQ":
            return
        element.value = [item for item in element.value if not (_local(item) or _names_somebody(item))]
        for item in element.value:
            self._clean(item, top=False)

    def _dummy(self, ds: Dataset, element: DataElement) -> None:
        if element.VR == "SQ":
            self._descend(element)
        elif element.VR in _DUMMIES:
            element.value = _DUMMIES[element.VR]
        elif element.VR in _TEXTS:
            element.value = "REMOVED"
        else:
            del ds[element.tag]


def pixels_may_name(source: DicomSource) -> str:
    """Return why a picture of the source cannot be put under a pseudonym, "" where nothing speaks against it.

    Text in its pixels may name the patient, and a face may be recognised; both stay in a picture, whatever its header.
    """
    for header in source.headers:
        said = str(header.get("BurnedInAnnotation", "") or "").upper()
        if said == "YES":
            return "the source says that text is burnt into its pixels, which may name the patient"
        modality = str(header.get("Modality", "") or "").upper()
        captured = str(header.get("SOPClassUID", "")).startswith(_CAPTURES)
        if said != "NO" and (captured or modality in _TEXT_IN_PIXELS):
            return "the source does not say that its pixels are free of text, which may name the patient"
    face = face_may_show(source)
    if face:
        return "a face may be recognised in the source's pixels"
    if face is None and len(source.planes) > 1:
        return "nothing says that no face can be recognised in the source's slices"
    return ""


def _copied(ds: Dataset) -> Dataset:
    """Return a copy down to every item; values are shared, for they are replaced and never changed."""
    from pydicom import DataElement, Dataset

    new = Dataset()
    for element in ds:
        nested = element.VR == "SQ"
        value = [_copied(item) for item in element.value] if nested else element.value
        new.add(DataElement(element.tag, element.VR, value))
        new[element.tag].is_undefined_length = element.is_undefined_length and not nested
    if hasattr(ds, "file_meta"):
        new.file_meta = type(ds.file_meta)()
        new.file_meta.update(ds.file_meta)
    return new


def _foreign(element: DataElement) -> bool:
    """Return whether an element goes whatever the table says: private, of the patient, or words of the site."""
    tag = element.tag
    if tag.is_private or element.keyword in _ALSO_REMOVED:
        return True
    return tag.group in _OF_PATIENT and element.keyword not in _KEPT_OF_PATIENT


def _mapped(names: Pseudonyms, element: DataElement) -> None:
    """Replace the UIDs of an element, unless they are of classes, code systems or resources."""
    if element.keyword in _OF_KINDS or not element.value:
        return
    value = element.value
    element.value = names.uid(str(value)) if isinstance(value, str) else [names.uid(str(v)) for v in value]


def _local(item: Dataset) -> bool:
    """Return whether an item is a code of the site's own scheme, whose words may be anything (PS3.16 8)."""
    scheme = str(item.get("CodingSchemeDesignator", "") or "").upper()
    return scheme == "L" or (scheme.startswith("99") and scheme != _OWN_SCHEME)


def _names_somebody(item: Dataset) -> bool:
    concept = item.get("ConceptNameCodeSequence")
    if str(item.get("ValueType", "")) == "PNAME":
        return True
    return bool(concept) and str(concept[0].get("CodeValue", "")) in _NAMING_CONCEPTS
