"""The page on real data: it is what the tables say, names nobody, and what fills the tables counts what it should."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def maker():
    """The script and what it is made of; its folders are on the path only as long as the tests run."""
    before = list(sys.path)
    sys.path.insert(0, str(DOCS))
    yield import_module("make_card_real")
    sys.path[:] = before


@pytest.fixture(scope="module")
def tables(maker):
    page, kept = import_module("card_real_page"), maker.kept
    return page.Tables(**{what: kept.rows_of(maker.table(what), kind) for what, kind in maker.TABLES.items()})


def test_the_page_is_what_the_tables_say(maker) -> None:
    assert maker.PAGE.read_text() == maker.page()


def test_nobody_can_be_told_from_the_tables(maker) -> None:
    """File names of the radiographs hold the patient's number: none of them, and no patient's number, is kept."""
    for what in maker.TABLES:
        text = maker.table(what).read_text()
        assert not re.search(r"\d{8}_\d{3}", text), what
        assert "patient_id" not in text
    rows = maker.kept.rows_of(maker.table("lungs"), maker.kept.OrganRow)
    assert min(r.patient for r in rows) == 0
    assert all(r.patient <= r.picture for r in rows)  # numbered as they come


def test_every_network_has_its_audit_and_its_cards(tables) -> None:
    chest = import_module("card_real_chest")
    assert {n for n, _ in tables.audited} == {
        *chest.NETWORKS,
        "breast-ultrasound: benign",
        "breast-ultrasound: malignant",
    }
    assert {r.network for r in tables.cards} == {*chest.NETWORKS, "breast-ultrasound"}
    for name, labels in chest.NETWORKS.items():
        columns = {r.name.partition(" = ")[0] for r in tables.audit(name, labels, "metadata")}
        # All that the table has and the label is not, and nothing that says beforehand which one matters.
        assert {"sex", "age", "follow_up"} <= columns
        assert ("view" in columns) == (labels != chest.VIEW)


def test_flags_follow_from_the_numbers(tables) -> None:
    shortcuts = import_module("saliscope.trust.auditing.shortcuts")
    for r in (r for r in tables.audits if r.section == "metadata"):
        sure = r.low > 0.5 or r.high < 0.5
        assert bool(r.flagged) == (sure and r.adjusted <= 0.05 and abs(r.value - 0.5) >= shortcuts.APART)
    for r in (r for r in tables.audits if r.section == "planted" and r.flagged):
        assert abs(r.value) >= shortcuts.MOVES
        assert r.adjusted <= 0.05


def test_the_goal_is_said_as_the_tables_have_it(tables) -> None:
    """That the view was found stands on the page only where it is flagged, and as the first only where it is."""
    words = import_module("card_real_words")
    rows = tables.audit(words.CONFOUNDED, words.TEXT, "metadata")
    assert words.view_found(tables).startswith("**The view confounder was found unaided and named first.**")
    assert words.flagged(rows)[0].name.startswith("view")
    dataclasses = import_module("dataclasses")
    without = [dataclasses.replace(r, flagged=0) if r.name.startswith("view") else r for r in tables.audits]
    assert words.view_found(dataclasses.replace(tables, audits=without)).startswith("**The view confounder was not")


def test_what_the_words_say_the_tables_bear_out(tables) -> None:
    """Sentences that no number is filled into: each holds only as long as the tables are so."""
    words = import_module("card_real_words")
    controlled = words.flagged(tables.audit(words.OPACITY, words.RSNA, "metadata"))
    assert controlled[0].name.startswith("view")
    assert not words.flagged(tables.audit(words.VIEW, "view", "metadata"))
    rise = {
        n: np.mean([r.hidden - r.score for r in tables.lungs if r.network == n])
        for n in (words.CONFOUNDED, words.OPACITY)
    }
    assert rise[words.OPACITY] > 0 > rise[words.CONFOUNDED]
    shown = {n: sum(r.state != "do-not-read" for r in tables.cards if r.network == n) for n in rise}
    assert shown[words.CONFOUNDED] > shown[words.OPACITY]
    drawn = [r for r in tables.audits if "untrained" in r.network and r.name.startswith("view")]
    assert len(drawn) == import_module("card_real_chest").UNTRAINED
    assert sum(r.flagged for r in drawn) > len(drawn) / 2
    for label in ("benign", "malignant"):
        (hidden,) = tables.audit(f"{words.BREAST}: {label}", "label", "hidden")
        assert hidden.p <= 0.05
        assert not hidden.flagged
    assert np.mean([r.elsewhere - r.effect for r in tables.text if r.label == "benign"]) < 0


def test_columns_hold_the_table_and_no_patient(maker) -> None:
    chest = import_module("card_real_chest")
    told = {"image": "x", "patient_id": "7", "finding_labels": "Edema|Mass", "age": "41", "sex": "F", "view": "AP",
            "follow_up": "3", "rsna_class": "Normal"}  # fmt: skip
    own = chest.columns(told, chest.RSNA)
    assert own["label"] == "Normal"
    assert (own["age"], own["follow_up"], own["view"]) == ("41", "3", "AP")
    assert own[chest.TEXT] == "finding"
    assert not {"image", "patient_id"} & set(own)
    assert chest.columns(told | {"finding_labels": "No Finding"}, chest.TEXT)["label"] == "No Finding"


def test_a_box_covers_its_share_of_the_picture(maker) -> None:
    maps = import_module("card_real_maps")
    mask = maps.painted([(0.25, 0.5, 0.5, 0.25)], (8, 16))
    assert mask.sum() == 2 * 8
    assert mask[4:6, 4:12].all()


def test_a_map_that_is_the_outline_has_everything_on_it(maker) -> None:
    maps, page = import_module("card_real_maps"), import_module("card_real_page_maps")
    mask = np.zeros((16, 16), bool)
    mask[2:6, 3:9] = True
    base = ("net", "trained", "m", 0, 0, "boxed", 1)
    best = maps.measured(base, mask.astype(float), mask)
    assert (best.hit, best.auprc, best.auroc, best.mass, best.iou_area) == (1, 1, 1, 1, 1)
    nothing = maps.measured(base, np.zeros((16, 16)), mask)
    assert np.isnan(nothing.hit)
    assert nothing.why
    # What is undefined is left out and counted, never zero.
    (score,) = page.scores([nothing], "auprc")
    assert not score.defined
    both = page.summary(page.scores([best, nothing], "auprc"), [0, 1])
    assert (both.number, both.n) == (1.0, 1)
    assert sum(both.excluded.values()) == 1


def test_a_gain_is_paired_by_picture(maker, tables) -> None:
    """Of maps beside themselves the gain is zero; pictures without an outline are no part of it."""
    page = import_module("card_real_page_maps")
    network = next(r.network for r in tables.maps)
    zero = page.gain(tables, network, "grad-cam", ("trained", "grad-cam"), "auprc", called=False)
    every = tables.map_rows(network, "trained", "grad-cam", called=False)
    outlined = [r for r in every if r.why != page.EMPTY]
    assert zero.number == 0
    assert zero.n + sum(zero.excluded.values()) == len(outlined) < len(every)
