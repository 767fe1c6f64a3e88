"""Whose a result is: patient and study as the source says them, put right where the source breaks the rules of PS3.5.

Real headers hold dates with dots, sexes of one's own and texts in the character set of the site. What has one legal
reading is written that way, what has none is left empty, and what names the patient or the order stays as it is, even
where it is too long: a shortened identifier would be another patient's.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import WriteError

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

UTF_8 = "ISO_IR 192"
#: What results are filed by: never cut.
_FILED_BY = ("PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID")
#: Large, read where they are needed, and copied into no result.
_LEFT = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
#: The longest text of a kind (PS3.5 6.2).
_LONGEST = {"LO": 64, "SH": 16, "ST": 1024, "LT": 10240, "CS": 16, "AE": 16, "UI": 64}
_DATE = re.compile(r"(\d{4})[-./ ]?(\d{2})[-./ ]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d{1,6})?")
_SHAPES = {
    "DT": re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?([+-]\d{4})?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "UI": re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
    "CS": re.compile(r"[A-Z0-9 _]*"),
    "IS": re.compile(r"[+-]?\d{1,11}"),
}
#: PS3.3 C.12.1.1.8: an offset from UTC.
ZONE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_SEXES = ("M", "F", "O")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and highdicom from warning: they quote the values that they warn of, and these name patients."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def put_right(header: Dataset) -> None:
    """Turn a header into Unicode and put its illegal values right, in place.

    Raises WriteError for a name in letters that its character set cannot say.
    """
    with quiet():
        _legal(header)
        _sole(header)
    if "\ufffd" in str(header.get("PatientName", "") or ""):
        raise WriteError(
            "a source whose patient's name is not in the character set that it declares",
            expected="a Specific Character Set that fits its texts",
            do="Export the image again from the system that it comes from",
        )


def _sole(header: Dataset) -> None:
    """Put right what depends on the attribute, not on its kind of value."""
    sex = str(header.get("PatientSex", "") or "").strip().upper()
    header.PatientSex = sex if sex in _SEXES else ""
    zone = str(header.get("TimezoneOffsetFromUTC", "") or "").strip()
    if "TimezoneOffsetFromUTC" in header and not ZONE.fullmatch(zone):
        del header.TimezoneOffsetFromUTC


def _legal(item: Dataset) -> None:
    for tag in list(item.keys()):
        try:
            element = item[tag]
        except Exception:  # noqa: BLE001 - whatever pydicom raises: a value that cannot be read is no value
            del item[tag]
            continue
        if element.keyword in _LEFT or element.tag.is_private:
            continue
        if element.VR == "SQ":
            for part in element.value:
                _legal(part)
        elif element.VR == "PN" or not element.is_empty:
            element.value = _value(element)
    if "SpecificCharacterSet" in item:
        item.SpecificCharacterSet = UTF_8


def _value(element: DataElement) -> Any:
    """Return an element's value, legal for its kind; a single one where several are not allowed stays as it is."""
    many = element.VM > 1
    values = list(element.value) if many else [element.value]
    if element.VR == "PN":
        # A backslash parts values: a name with one arrives in pieces. As text it forgets its first encoding.
        return " ".join(str(v) for v in values if v)
    found = [_one(element.VR, v) for v in values]
    if any(v is None for v in found):
        return None
    if element.keyword not in _FILED_BY:
        found = [v[: _LONGEST.get(element.VR)] if isinstance(v, str) else v for v in found]
    return found if many else found[0]


def _one(vr: str, value: Any) -> Any:
    if vr not in ("DA", "TM", "DS", "LT", "ST", "UT", "UC", "LO", "SH", *_SHAPES):
        return value
    said = str(value).strip()
    if not said:
        return ""
    if vr == "DA":
        return _date(said)
    if vr == "TM":
        return _time(said)
    if vr == "DS":
        return _decimal(said)
    if vr in _SHAPES:
        said = said.upper() if vr == "CS" else said
        short = len(said) <= _LONGEST.get(vr, 26)
        return said if short and _SHAPES[vr].fullmatch(said) else None
    lines = "\n\r\t\f" if vr in ("ST", "LT", "UT") else ""
    return "".join(c if c.isprintable() or c in lines else " " for c in said)


def _date(said: str) -> str | None:
    found = _DATE.fullmatch(said)
    try:
        return None if found is None else date(*(int(part) for part in found.groups())).strftime("%Y%m%d")
    except ValueError:
        return None


def _time(said: str) -> str | None:
    found = _TIME.fullmatch(said)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    whole = minute is not None and second is not None
    inside = int(hour) < 24 and int(minute or 0) < 60 and int(second or 0) < 60
    return f"{hour}{minute or ''}{second or ''}{fraction or ''}" if inside and (whole or not fraction) else None


def _decimal(said: str) -> str | None:
    try:
        number = float(said)
    except ValueError:
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return None
    return said if len(said) <= 16 else f"{number:.9g}"
