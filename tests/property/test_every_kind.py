"""Every kind of block by itself: behind it the places of the image are still known, and the maps are torch's own."""

from __future__ import annotations

from functools import partial

import pytest

from model.kind_nets import cases, net_of_kind
from property import network_checks
from property.network_checks import EQUAL, Subject, worst

CHECKS = ("auto", "cells", "cams", "gradient", "suffix")


@pytest.mark.parametrize(("kind", "around"), cases())
def test_behind_a_block_of_any_kind_the_last_stage_has_its_grid_and_map(kind: str, around: str) -> None:
    checks = [c for c in CHECKS if c != "suffix" or around != "slices"]
    subject = Subject(0, partial(net_of_kind, kind, around))
    outcomes = {check: getattr(network_checks, check)(subject) for check in checks}
    assert worst(list(outcomes.values())) == EQUAL, outcomes
