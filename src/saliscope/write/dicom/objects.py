"""A result as DICOM files: the objects that were chosen, each made, checked and encoded, or why it cannot be."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from saliscope.core.errors import CannotSay, SaliscopeError, WriteError
from saliscope.write.dicom.identity import quiet
from saliscope.write.dicom.kinds import ObjectKind
from saliscope.write.dicom.result import Result
from saliscope.write.dicom.source import DicomSource
from saliscope.write.dicom.stamp import Stamp

if TYPE_CHECKING:
    from pydicom import Dataset

#: Makes an object: of a result, its source, a stamp, and the objects made before it, by kind.
Maker = Callable[[Result, DicomSource, Stamp, Mapping[str, "Dataset"]], "Dataset"]


@dataclass(frozen=True)
class DicomFiles:
    """The files of a result by name, and why kinds that were chosen are not among them."""

    files: Mapping[str, bytes] = field(repr=False)
    left_out: Mapping[str, str]


def dicom_files(result: Result, source: DicomSource, kinds: Sequence[ObjectKind], stamp: Stamp) -> DicomFiles:
    """Return the chosen objects as files named by their kind; raises WriteError when none can be made.

    A map that its card hides is left out of every object that a viewer draws.
    """
    made: dict[str, Dataset] = {}
    left_out: dict[str, str] = {}
    for kind in kinds:
        if result.hidden and kind.draws_map:
            left_out[kind.name] = "the card says DO NOT READ: the map is in no object that a viewer draws"
            continue
        try:
            with quiet():
                made[kind.name] = _maker(kind)(result, source, stamp, made)
        except CannotSay as reason:
            left_out[kind.name] = reason.got
        except SaliscopeError:
            raise
        except Exception as error:  # noqa: BLE001 - what a library says may quote the header: its words are left out
            raise WriteError(
                f"{kind.title} could not be made of this source (a {type(error).__name__})",
                do=f"Choose objects without {kind.name}, and report it",
            ) from None
    if not made:
        raise WriteError(
            f"no object of {', '.join(k.name for k in kinds)} can say this map ({'; '.join(left_out.values())})",
            expected="at least one",
            do="Choose pacs-basic",
        )
    # Applied to all at the end: until then they refer to each other by the identifiers that they were given.
    last = stamp.after or (lambda ds: ds)
    with quiet():
        # Each leaves memory once it is encoded: those of a volume are large.
        return DicomFiles({f"{name}.dcm": encoded(last(made.pop(name))) for name in list(made)}, left_out)


def encoded(ds: Dataset) -> bytes:
    """Return an object as a DICOM file with an empty preamble (PS3.10 7.1)."""
    ds.preamble = b"\0" * 128
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _maker(kind: ObjectKind) -> Maker:
    module, _, name = kind.made_by.partition(":")
    maker: Maker = getattr(importlib.import_module(f"saliscope.write.dicom.{module}"), name)
    return maker
