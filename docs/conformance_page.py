"""The DICOM conformance statement, in the order of PS3.2: every fact is asked of the code that makes it true."""

from __future__ import annotations

import contextlib
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import conformance_objects
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes, UID_dictionary

from saliscope.pacs import bounded, intake, web
from saliscope.pacs.association import WAITS
from saliscope.pacs.config import Config, example
from saliscope.pacs.find import CRITERIA
from saliscope.pacs.receive import image_classes
from saliscope.pacs.web import FetchLimits
from saliscope.read import Limits
from saliscope.read.header import refused_object
from saliscope.write.dicom.confidential import actions
from saliscope.write.dicom.kinds import KINDS, PROFILES, VIEWERS
from saliscope.write.dicom.secondary_capture import PLAIN_BYTES
from saliscope.write.dicom.stamp import FACES, Stamp
from saliscope.write.dicom.stamp import PER_MAP as PLACES

ALLOWED = Path(__file__).resolve().parents[1] / "tests" / "write" / "dicom" / "allowed.toml"
#: The transactions that saliscope.pacs.web makes, each by the function there that makes it.
DICOMWEB = (
    ("Search (QIDO-RS), studies", "GET {s}/studies", "application/dicom+json", "find_studies"),
    ("Search (QIDO-RS), one object", "GET {s}/studies/{study}/series/{series}/instances", "application/dicom+json",
     "holds"),
    ("Retrieve (WADO-RS), study", "GET {s}/studies/{study}", "multipart/related; type=application/dicom",
     "fetch_study"),
    ("Store (STOW-RS)", "POST {s}/studies", "multipart/related; type=application/dicom, one object each", "store"),
)  # fmt: skip


def conformance() -> str:
    """Return the page."""
    parts = (_overview(), _networking(), _web(), _security(), _written(), _codes(), _read(), _configuration(), _known())
    lines = [
        "# DICOM conformance statement",
        "Written by `make docs` from the code, in the order of PS3.2.",
        "",
    ]
    return "\n".join([*lines, *(line for part in parts for line in (*part, ""))])


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return a table in Markdown."""
    body = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *body]


def _said(*parts: str) -> str:
    return " ".join(parts)


def _overview() -> list[str]:
    rows = [
        ("C-ECHO", "yes", "yes"),
        ("C-STORE", "results, and any file", f"{len(image_classes())} image classes"),
        ("C-FIND, Study Root", "yes", "no"),
        ("C-MOVE, C-GET", "no", "no"),
        ("DICOMweb: QIDO, WADO, STOW", "yes", "no"),
        ("Media (DICOMDIR)", "no", "no"),
    ]
    about = _said(
        "saliscope reads images, explains what a network answered to them, and writes the explanation as DICOM objects",
        f"of the same patient and study. Every object says Content Qualification {Stamp.qualification}: it is for",
        "research, and no diagnosis.",
    )
    return ["## 1 Overview", about, "", *table(("Service", "as user (SCU)", "as provider (SCP)"), rows)]


def _networking() -> list[str]:
    node = Config.read(_example()).node
    about = _said(
        f"One application entity, by default `{node.ae_title}` on `{node.host}:{node.port}`. What it acknowledges lies",
        f"on the disk and in the queue. A study is complete when {node.quiet_s:g} s passed without a new object; then",
        "the first rule that fits each series is carried out, and the results are sent.",
    )
    asked = _said(
        "As user: Verification; Study Root C-FIND; for C-STORE the SOP class of each file in the transfer syntax in",
        f"which it is stored; nothing is converted. C-FIND asks at study level by {', '.join(CRITERIA)}, and at image",
        "level whether an object is held already.",
    )
    syntaxes = "; ".join(UID(u).name for u in intake.SYNTAXES)
    classes = "; ".join(UID(u).name for u in image_classes())
    lines = ["## 2 Networking", about, "", "### 2.1 Associations", *_associations(node.max_associations), ""]
    lines += ["### 2.2 Presentation contexts", asked, ""]
    lines += [f"As provider: Verification, and {classes}.", "", f"Each of these in {syntaxes}.", ""]
    return [*lines, "### 2.3 Status of C-STORE, as provider", *table(("Status", "Meaning"), _statuses())]


def _associations(most: int) -> list[str]:
    size = _said(
        f"- largest data unit announced {bounded.UNIT_BYTES} bytes, taken {bounded.UNIT_LIMIT}; a data unit must be",
        f"complete in {bounded.UNIT_S:g} s, an association asked for in {bounded.ASK_S:g} s",
    )
    waits = _said(
        f"- as user: {WAITS.connect_s:g} s for a connection, {WAITS.associate_s:g} s for an association,",
        f"{WAITS.answer_s:g} s for an answer",
    )
    rejected = _said(
        "- rejected, permanently: another called AE title; a calling AE title, or an address, that is not allowed.",
        "Rejected, transiently: one caller too many",
    )
    none = "- no asynchronous operations, no extended negotiation, no user identity"
    return [f"- at most {most} callers at one time (`max_associations`)", size, waits, rejected, none]


def _statuses() -> list[tuple[str, str]]:
    return [
        (f"{intake.SUCCESS:04X}", "stored and recorded, or held already with the same bytes"),
        (f"{intake.DUPLICATE:04X}", "this SOP instance is held with other bytes, which stay"),
        (f"{intake.OUT_OF_RESOURCES:04X}", "larger than `max_object_mb`, or no room on the disk"),
        (f"{intake.MISMATCH:04X}", "the data set is of another class or instance than the request"),
        (f"{intake.NOT_UNDERSTOOD:04X}", "no data set, or none that can be identified"),
    ]


def _web() -> list[str]:
    limits = FetchLimits()
    assert all(hasattr(web, function) for *_, function in DICOMWEB)
    about = _said(
        f"A fetch brings at most {limits.objects} objects, {limits.size // 2**20} MiB and lasts {limits.seconds:g} s.",
        "Redirects are not followed; proxies and logins of the environment are not used.",
    )
    rows = [row[:3] for row in DICOMWEB]
    return ["## 3 DICOMweb (PS3.18), as user", *table(("Transaction", "Request", "Media type"), rows), "", about]


def _security() -> list[str]:
    pseudonyms = _said(
        f"- `--pseudonymise`: the Basic Application Level Confidentiality Profile (PS3.15 E.2, {len(actions())}",
        "entries of its table) with pseudonyms that hang on a key of the site; objects that show source pixels are",
        "left out where these may hold text or a face",
    )
    return [
        "## 4 Security",
        "- loopback unless TLS or `plain_on_network` is configured; callers by AE title and address, others rejected",
        "- TLS 1.2 or newer on both sides, each shows a certificate that the other checks (PS3.15 B.12)",
        "- DICOMweb: bearer token or basic, read from environment variables, over https beyond this machine",
        "- the health endpoint tells counts and kinds of errors, no identifier",
        pseudonyms,
        "- every file has an empty preamble; UIDs of sources are checked before they stand anywhere",
    ]


def _written() -> list[str]:
    hidden = conformance_objects.hidden()
    lines = ["## 5 Objects that are written", *_every(), ""]
    for kind in KINDS.values():
        one = conformance_objects.found()[kind.name]
        classes = ", ".join(f"{UID(u).name} `{u}`" for u in kind.sop_classes)
        lines += [f"### {kind.title}", f"`{kind.name}`: {kind.holds}.", "", f"- {classes}"]
        lines += [f"- modality {', '.join(sorted(one.modality))}; series number {min(one.series)}"]
        lines += [f"- pixels: {'; '.join(sorted(one.pixels))}"] if one.pixels else []
        lines += [f"- transfer syntax: {', '.join(sorted(one.syntaxes))}"]
        if kind.name == "secondary-capture":
            lines[-1] += f"; RLE Lossless from {PLAIN_BYTES // 2**20} MiB on"
        lines += [f"- left out of {', '.join(names)}: {why}" for why, names in one.missing.items()]
        lines += [] if kind.title in hidden else ["- left out where the card hides the map"]
        lines += [""]
    profiles = [(f"`{p.name}`", p.about, ", ".join(p.dimensions), ", ".join(p.kinds)) for p in PROFILES.values()]
    lines += ["### Profiles", *table(("Profile", "For", "Images", "Objects"), profiles), ""]
    shown = [(k.title, *(k.shown[v] for v in VIEWERS)) for k in KINDS.values()]
    return [*lines, "### What shows where", *table(("Object", *VIEWERS), shown)]


def _every() -> list[str]:
    whose = _said(
        "Patient and study are copied from the source; series and instance are new, their UIDs under 2.25 drawn from",
        f"source, network, method, target and time; series numbers of each further map of a case are {PLACES} higher.",
        "Source images are referred to one by one.",
    )
    filled = _said(
        f"Always filled: {', '.join(conformance_objects.everywhere())}. Character set: ISO_IR 192 (UTF-8).",
        f"Recognizable Visual Features follows the source, or the body part ({', '.join(FACES)}).",
    )
    return [whose, "", filled]


def _codes() -> list[str]:
    users: dict[conformance_objects.Code, list[str]] = defaultdict(list)
    for name, one in conformance_objects.found().items():
        for code in one.codes:
            users[code].append(name)
    groups: dict[str, list[str]] = defaultdict(list)
    for value, scheme, meaning in sorted(users, key=lambda code: (code[1], code[0])):
        groups[", ".join(users[value, scheme, meaning])].append(f"({value}, {scheme}) {meaning}")
    about = _said(
        "Those found in the objects of drawn cases explained by Grad-CAM; other methods have 130401, 130402 or 130404",
        "of CID 217, other answers other words.",
    )
    return ["## 6 Codes", about, "", *(f"- {names}: {'; '.join(codes)}" for names, codes in groups.items())]


def _read() -> list[str]:
    refused: dict[str, list[str]] = defaultdict(list)
    for uid, (name, kind, _, retired, _) in UID_dictionary.items():
        if kind == "SOP Class" and name.endswith("Storage") and not retired:
            ds = Dataset()
            ds.SOPClassUID, ds.file_meta = uid, FileMetaDataset()
            what = refused_object(ds)
            if what:
                refused[what].append(name)
    about = _said(
        "Any storage class with pixels of 1 or 3 samples, but those below; a header that promises more pixels than the",
        "file holds is refused. Character sets: all that pydicom decodes.",
    )
    syntaxes = _said(
        f"Transfer syntaxes: {'; '.join(_decoded())}. Compressed ones are read where a codec is",
        "installed, and else refused clearly. Deflated files are inflated within the limits.",
    )
    limits = ", ".join(f"`{f.name}` {getattr(Limits(), f.name):,}" for f in fields(Limits))
    rows = [(what, _few(sorted(names))) for what, names in sorted(refused.items())]
    lines = ["## 7 What is read", about, "", *table(("Refused as", "SOP classes"), rows), "", syntaxes, ""]
    return [*lines, f"Limits, each of which can be set: {limits}."]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 4 else f"{len(names)} classes, such as {names[0]}"


def _decoded() -> list[str]:
    names = []
    for uid in AllTransferSyntaxes:
        with contextlib.suppress(NotImplementedError):
            get_decoder(uid)
            names.append(uid.name)
    return names


def _example() -> Path:
    return Path(str(files("saliscope.pacs") / "example.toml"))


def _configuration() -> list[str]:
    about = "One TOML file, every key of which is checked; `saliscope pacs config` prints this:"
    return ["## 8 Configuration", about, "", "```toml", example().rstrip(), "```"]


def _known() -> list[str]:
    about = _said(
        "The tests judge every kind of object of every kind of source by dciodvfy (dicom3tools of 2022). It is to say",
        "nothing but this:",
    )
    lines = ["## 9 Known complaints of dciodvfy", about, ""]
    for row in tomllib.loads(ALLOWED.read_text(encoding="utf-8"))["allowed"]:
        why = " ".join(row["reason"].split())
        lines += [f"- `{row.get('line') or row['pattern']}` ({', '.join(row['kinds'])}): {why}"]
    absent = _said(
        "Storage Commitment, Modality Worklist, MPPS, Query/Retrieve as provider, media, printing, DICOMweb as",
        "provider, lossy results, and any use for diagnosis.",
    )
    return [*lines, "", "## 10 Not supported", absent]
