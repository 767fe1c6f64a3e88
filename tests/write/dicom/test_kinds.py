"""The table of kinds and profiles: everything named is there, and a choice is refused or ordered in words."""

from __future__ import annotations

import importlib
import inspect

import pytest

from saliscope.core.errors import WriteError
from saliscope.write.dicom.kinds import KINDS, PROFILES, VIEWERS, chosen, refuse_unfit, what_shows_where
from saliscope.write.dicom.stamp import PER_MAP as PLACES


def test_every_kind_has_a_maker_with_the_signature_of_all() -> None:
    for kind in KINDS.values():
        module, _, name = kind.made_by.partition(":")
        maker = getattr(importlib.import_module(f"saliscope.write.dicom.{module}"), name)
        words = [word.lstrip("_") for word in inspect.signature(maker).parameters]
        assert words == ["result", "source", "stamp", "made"], kind.name


def test_every_kind_has_a_place_of_its_own_and_comes_after_what_it_refers_to() -> None:
    order = list(KINDS)
    assert sorted(k.place for k in KINDS.values()) == list(range(len(KINDS)))
    assert len(KINDS) <= PLACES
    for kind in KINDS.values():
        assert all(order.index(needed) < order.index(kind.name) for needed in kind.needs)
        assert set(kind.shown) == set(VIEWERS)


def test_profiles_choose_kinds_that_exist_and_each_is_chosen_by_some_profile_or_by_name() -> None:
    for profile in PROFILES.values():
        assert set(profile.kinds) <= set(KINDS)
        assert [k.name for k in chosen(profile.name)] == sorted(profile.kinds, key=list(KINDS).index)
    for name in KINDS:
        assert [k.name for k in chosen(name)] == [name]
    assert [k.name for k in chosen("pdf+pacs-basic+pdf")] == [
        "secondary-capture", "presentation-state", "pdf", "structured-report",
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["pacs-basik", "", "pacs-basic,pdf", "archive+", "structured_report"])
def test_an_unknown_word_is_refused(words: str) -> None:
    with pytest.raises(WriteError, match="DICOM profile"):
        chosen(words)


def test_a_profile_for_other_images_is_refused_and_the_fitting_are_named() -> None:
    with pytest.raises(WriteError, match="ohif-volume for a single image") as refused:
        refuse_unfit("ohif-volume", "2D")
    assert "ohif-2d" in refused.value.do
    with pytest.raises(WriteError, match="ohif-2d for a volume"):
        refuse_unfit("archive+ohif-2d", "volume")
    refuse_unfit("pacs-basic+structured-report", "volume")


def test_what_shows_where_is_said_of_every_kind_chosen() -> None:
    rows = what_shows_where(chosen("pacs-basic"))
    assert [row["object"] for row in rows] == [k.title for k in chosen("pacs-basic")]
    assert all(all(row[viewer] for viewer in VIEWERS) for row in rows)
