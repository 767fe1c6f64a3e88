"""What the Basic Application Level Confidentiality Profile asks of each attribute (PS3.15 Table E.1-1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_PRIVATE = "ggggeeee"


@cache
def actions() -> Mapping[str, str]:
    """Return the action of the profile by tag: eight hexadecimal digits, x for any digit, ggggeeee for private ones.

    X removes, Z empties, D puts a dummy, U another UID; X/Z, X/D, Z/D, X/Z/D and X/Z/U* leave it to the attribute's
    type in its object.
    """
    table = json.loads(files("saliscope.write.dicom").joinpath("confidential.json").read_text(encoding="utf-8"))
    return {
        group + element: action
        for action, groups in table["actions"].items()
        for group, elements in groups.items()
        for element in elements.split()
    }


def action_of(tag: int) -> str:
    """Return the action for an attribute, "" for one that the table does not list."""
    group, element = f"{tag >> 16:04x}", f"{tag & 0xFFFF:04x}"
    if (tag >> 16) % 2:
        return actions()[_PRIVATE]
    known = actions()
    if group[:2] in ("50", "60"):  # repeating groups
        found = known.get(f"{group[:2]}xxxxxx") or known.get(f"{group[:2]}xx{element}")
        if found:
            return found
    return known.get(group + element, "")
