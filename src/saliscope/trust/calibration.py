"""How often each state was wrong on drawn images whose truth is known, as the package's own study found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import get_args

from saliscope.trust.check import State
from saliscope.trust.explanation_card import Reliability

#: Written by docs/make_card_study.py, from the maps of both its parts.
FILE = "calibration.json"


@cache
def reliability() -> Mapping[State, Reliability]:
    """Return what is known of each state; a state that no map of the study got is not there."""
    record = json.loads((files("saliscope.trust") / FILE).read_text(encoding="utf-8"))
    found: dict[State, Reliability] = {}
    for state in get_args(State):
        if state in record["states"]:
            row = record["states"][state]
            found[state] = Reliability(row["misleading"], row["n"], row["upper"], record["source"])
    return found
