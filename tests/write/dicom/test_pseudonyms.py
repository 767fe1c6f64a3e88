"""Results under a pseudonym: nothing of the patient is left, the objects still fit each other and stay legal."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from dicom_cases import case_of, stamp, write_source
from dicom_tools import complaints
from saliscope.write.dicom.confidential import action_of, actions
from saliscope.write.dicom.kinds import KINDS
from saliscope.write.dicom.objects import dicom_files
from saliscope.write.dicom.pseudonyms import Pseudonyms, pixels_may_name

KEY = b"a key for tests only, 32 bytes long"
MADE = tuple(KINDS.values())
CANARY = "ZQXCANARYJ"
UID = "1.2.840.99999.31415926535"
TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "AE", "UC", "UR", "CS"}
NUMBERS = {"DA": "19330407", "TM": "070707.77", "DT": "19330407070707.77", "DS": "3141.5", "IS": "31415", "AS": "089Y"}


def canary(tag: int, vr: str, depth: int = 0) -> object:
    """Return a value of an attribute that is found again: unique text, a date, a UID, or an item that holds some."""
    if vr == "SQ":
        item = Dataset()
        item.PatientName, item.PersonName, item.InstitutionName = CANARY, CANARY, CANARY
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = CANARY, "99LOCAL", CANARY
        item.ReferencedSOPInstanceUID = f"{UID}.{tag}"
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        item.add_new(0x00111010, "LO", CANARY)
        if depth < 2:
            item.ReferencedStudySequence = canary(tag, "SQ", depth + 1)
            item.ReferencedPatientSequence = canary(tag, "SQ", depth + 1)
        return Sequence([item])
    if vr == "UI":
        return f"{UID}.{tag}"
    if vr in TEXTS:
        return CANARY
    return NUMBERS.get(vr, CANARY.encode() if vr.startswith("O") or vr == "UN" else None)


def listed() -> list[tuple[int, str, str]]:
    """Return (tag, VR, action) of every attribute of the table that can stand in a data set."""
    known = []
    for pattern, action in actions().items():
        tag = int(pattern.replace("xxxxxx", "000010").replace("xx", "00").replace("ggggeeee", "00111001"), 16)
        if tag >> 16 in (0x0000, 0x0002, 0x0004, 0xFFFC, 0x0400) or pattern == "00080018":
            continue
        try:
            vr = dictionary_VR(tag).split(" or ")[0]
        except KeyError:
            vr = "LO"
        known.append((tag, vr, action))
    return known


def poisoned() -> Dataset:
    """Return a data set that holds a canary in each attribute of the table and some beside it."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.file_meta.SourceApplicationEntityTitle = CANARY
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = UID, CANARY.encode()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", f"{UID}.1"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    for tag, vr, _ in listed():
        value = canary(tag, vr)
        if value is not None:
            ds.add_new(tag, vr, value)
    for keyword in ("PatientSpeciesDescription", "RequestingPhysician", "AdmissionID", "PatientAlternativeCalendar"):
        ds.add_new(keyword, dictionary_VR(keyword), CANARY)
    ds.ProcedureCodeSequence = canary(0, "SQ")
    ds.BurnedInAnnotation, ds.PatientIdentityRemoved = "NO", "NO"
    return ds


#: What is ours in a result, and in the poisoned set a canary nonetheless.
OURS = ("SeriesDescription", "DerivationDescription", "ContributionDescription", "EncapsulatedDocument")


def saved(ds: Dataset) -> bytes:
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_the_table_is_that_of_the_standard() -> None:
    assert len(actions()) == 656
    assert set(actions().values()) == {"X", "Z", "D", "U", "X/Z", "X/D", "Z/D", "X/Z/D", "X/Z/U*"}
    for keyword, action in {
        "PatientName": "Z", "PatientID": "Z/D", "AccessionNumber": "Z", "PatientBirthDate": "Z", "StudyDate": "Z",
        "SOPInstanceUID": "U", "FrameOfReferenceUID": "U", "ReferencedSOPInstanceUID": "U", "InstitutionName": "X/Z/D",
        "PatientAge": "X", "StudyDescription": "X", "ContentDate": "Z/D", "SourceImageSequence": "X/Z/U*",
        "RequestAttributesSequence": "X", "TimezoneOffsetFromUTC": "X", "PersonName": "D", "Rows": "",
    }.items():  # fmt: skip
        assert action_of(pydicom.datadict.tag_for_keyword(keyword)) == action, keyword
    for tag in (0x50000010, 0x501E3000, 0x60003000, 0x60044000, 0x00091001, 0x7FE10010):
        assert action_of(tag) == "X", hex(tag)
    assert action_of(0x60000010) == ""


def test_no_canary_of_the_whole_table_is_left() -> None:
    ds = poisoned()
    for keyword in OURS:
        if keyword in ds:
            delattr(ds, keyword)
    before = saved(ds)
    assert before.count(CANARY.encode()) > 900
    after = saved(Pseudonyms(KEY)(ds))
    read = pydicom.dcmread(BytesIO(after))
    left = [e for e in read.iterall() if CANARY in repr(e.value)]
    assert not left, left[:5]
    for text in (CANARY, UID, "19330407", "070707.77", "089Y", "3141"):
        assert text.encode() not in after, text


def test_the_object_itself_and_what_it_shares_stay_as_they_were() -> None:
    ds = poisoned()
    before = saved(ds)
    Pseudonyms(KEY)(ds)
    assert saved(ds) == before


def test_a_table_that_forgets_an_attribute_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.write.dicom import confidential

    less = {k: v for k, v in actions().items() if k != "00081030"}
    monkeypatch.setattr(confidential, "actions", lambda: less)
    ds = poisoned()
    assert CANARY in str(Pseudonyms(KEY)(ds).StudyDescription)


def test_what_a_pseudonymised_object_says_of_itself() -> None:
    ds = Pseudonyms(KEY)(poisoned())
    assert ds.PatientIdentityRemoved == "YES"
    assert [i.CodeValue for i in ds.DeidentificationMethodCodeSequence] == ["113100", "113103", "113104", "113105"]
    assert ds.LongitudinalTemporalInformationModified == "REMOVED"
    assert ds.StudyDate == ds.StudyTime == ds.AccessionNumber == ds.PatientBirthDate == ds.PatientSex == ""
    assert ds.ContentDate == "19000101"
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert "SourceApplicationEntityTitle" not in ds.file_meta


def test_a_patient_has_one_pseudonym_and_two_have_two() -> None:
    def one(identifier: str, issuer: str = "", name: str = "A^B", study: str = "1.2.3") -> Dataset:
        ds = Dataset()
        ds.PatientID, ds.IssuerOfPatientID, ds.PatientName, ds.StudyInstanceUID = identifier, issuer, name, study
        return ds

    of = Pseudonyms(KEY).patient
    assert of(one("4711")) == of(one("4711 ", name="Other^Spelling")) == Pseudonyms(KEY).patient(one("4711"))
    assert len({of(one("4711")), of(one("4711", "another clinic")), of(one("4712")), of(one("", name="C^D"))}) == 4
    assert of(one("", name="", study="1.2.3")) != of(one("", name="", study="1.2.4"))
    assert of(one("4711")) != Pseudonyms(b"another key").patient(one("4711"))
    assert len(of(one("4711"))) == 20
    assert "4711" not in of(one("4711"))


def test_uids_are_replaced_one_for_one_and_the_standards_own_kept() -> None:
    names = Pseudonyms(KEY)
    assert names.uid("1.2.3") == names.uid("1.2.3") != names.uid("1.2.4")
    assert names.uid("1.2.840.10008.1.5.1") == "1.2.840.10008.1.5.1"
    assert pydicom.uid.UID(names.uid("1.2.3")).is_valid
    assert Pseudonyms(b"another").uid("1.2.3") != names.uid("1.2.3")
    assert "key" not in repr(names)


def item_of(value_type: str, code: str, **values: str) -> Dataset:
    concept, item = Dataset(), Dataset()
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = code, "DCM", "meaning"
    item.ValueType, item.ConceptNameCodeSequence = value_type, [concept]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def test_content_of_a_report_stays_but_for_what_names_somebody() -> None:
    ds = Dataset()
    ds.file_meta, ds.Manufacturer, ds.DeviceSerialNumber = FileMetaDataset(), "saliscope", "0.1.0"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.3"
    inner = item_of("TEXT", "121029", TextValue=CANARY)
    kept = item_of("TEXT", "121106", TextValue="share 0.5")
    outer = item_of("CONTAINER", "126010")
    outer.ContentSequence = [inner, kept, item_of("UIDREF", "112040", UID="1.2.9")]
    ds.ContentSequence = [
        outer,
        item_of("PNAME", "121008", PersonName=CANARY),
        item_of("TEXT", "121022", TextValue="A"),
    ]
    ds = Pseudonyms(KEY)(ds)
    assert [i.ValueType for i in ds.ContentSequence] == ["CONTAINER"]
    left = ds.ContentSequence[0].ContentSequence
    assert [i.ValueType for i in left] == ["TEXT", "UIDREF"]
    assert left[0].TextValue == "share 0.5"
    assert Pseudonyms(KEY).uid("1.2.9") == str(left[1].UID)
    assert ds.DeviceSerialNumber == "0.1.0"


def test_codes_of_a_site_go_and_those_of_standards_and_ours_stay() -> None:
    ds = Dataset()
    ds.file_meta, ds.SOPInstanceUID = FileMetaDataset(), "1.2.3"
    codes = []
    for scheme in ("SCT", "99SALISCOPE", "99CLINIC", "L", "DCM"):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", scheme, "words"
        codes.append(code)
    ds.AnatomicRegionSequence = codes
    left = Pseudonyms(KEY)(ds).AnatomicRegionSequence
    assert [c.CodingSchemeDesignator for c in left] == ["SCT", "99SALISCOPE", "DCM"]


def referenced(ds: Dataset) -> set[str]:
    return {str(e.value) for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID"}


@pytest.mark.parametrize("source", ["ct-oblique", "mr", "dx", "cr", "cr-unspaced", "us"])
def test_objects_of_a_result_fit_each_other_and_stay_legal(source: str, tmp_path: Path) -> None:
    result, images = case_of(write_source(tmp_path / "in", source))
    named = replace(stamp(), after=Pseudonyms(KEY))
    plain = dicom_files(result, images, MADE, stamp()).files
    files = dicom_files(result, images, MADE, named).files
    assert files.keys() == plain.keys()
    if source != "mr":  # it has the most planes, and takes long
        assert files == dicom_files(result, images, MADE, named).files
    read = {name: pydicom.dcmread(BytesIO(data)) for name, data in files.items()}
    before = {name: pydicom.dcmread(BytesIO(data)) for name, data in plain.items()}
    names = Pseudonyms(KEY)
    for name, ds in read.items():
        for word in ("Müller", "Änne", "ID-4711", "19500102", "ACC-1", "20251231", "235959", "House"):
            assert word.encode() not in files[name], (name, word)
        for uid in (images.first.StudyInstanceUID, images.first.SOPInstanceUID, before[name].SOPInstanceUID):
            assert str(uid).encode() not in files[name], (name, uid)
        assert ds.PatientID == names.patient(images.first)
        assert ds.StudyInstanceUID == names.uid(images.first.StudyInstanceUID)
        assert ds.SOPInstanceUID == names.uid(before[name].SOPInstanceUID)
        assert referenced(ds) == {names.uid(u) for u in referenced(before[name])}
        if images.frame_of_reference and "FrameOfReferenceUID" in before[name]:
            assert ds.FrameOfReferenceUID == names.uid(before[name].FrameOfReferenceUID)
        # Empty by the profile (Z), and legal so: only whoever builds a DICOMDIR would have to fill them.
        new = set(complaints(files[name])) - set(complaints(plain[name]))
        new = {c for c in new if "would be needed to build DICOMDIR - Study" not in c}
        assert not new, (name, new)


@pytest.mark.parametrize(
    ("kind", "tags", "why"),
    [
        ("us", {}, "does not say that its pixels are free of text"),
        ("us", {"BurnedInAnnotation": "NO"}, ""),
        ("cr", {"BurnedInAnnotation": "YES"}, "text is burnt"),
        ("cr", {"BurnedInAnnotation": ""}, ""),
        ("cr", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "free of text"),
        ("cr", {"Modality": "OT"}, "free of text"),
        ("ct", {"BodyPartExamined": "HEAD"}, "a face may be recognised"),
        ("ct", {"BodyPartExamined": "CHEST"}, ""),
        ("ct", {"BodyPartExamined": ""}, "no face can be recognised"),
        ("ct", {"BodyPartExamined": "", "RecognizableVisualFeatures": "NO"}, ""),
        ("cr", {"RecognizableVisualFeatures": "YES"}, "a face may be recognised"),
    ],
)
def test_pictures_of_what_may_name_the_patient(kind: str, tags: dict[str, str], why: str, tmp_path: Path) -> None:
    _, images = case_of(write_source(tmp_path / "in", kind))
    for header in images.headers[-1:] if "BurnedInAnnotation" in tags else images.headers:
        if "BurnedInAnnotation" in header:
            header.BurnedInAnnotation = ""
        for keyword, value in tags.items():
            setattr(header, keyword, value)
    said = pixels_may_name(images)
    assert why in said if why else said == ""


def test_the_dictionary_knows_most_of_the_table() -> None:
    known = [t for t, _, _ in listed() if t in DicomDictionary]
    assert len(known) > 550
