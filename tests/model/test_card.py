"""A card is checked before anything else happens, and says what is wrong with it."""

import json
from pathlib import Path

import pytest

from saliscope.core.errors import CardError, WeightsError
from saliscope.model.card import Card, find
from saliscope.model.shipped import shipped
from saliscope.model.steps import Resize, Scale

CARD = """
schema = 1
name = "toy"
title = "A toy"
description = "For tests."
architecture = "residual-net"
labels = ["no", "yes"]
output = "binary"
modalities = ["CT"]
dimensions = 2
licence = "MIT"
attribution = "Nobody."
intended = "Tests."
limits = ["Everything else."]
view = [{ step = "resize", shape = [8, 8] }, { step = "scale" }]
"""


def written(folder: Path, text: str = CARD) -> Path:
    path = folder / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_is_read_with_its_steps_and_defaults(tmp_path):
    card = Card.read(written(tmp_path))
    assert card.view.steps == (Resize((8, 8)), Scale())
    assert (card.labels, card.output, card.layer, card.view.source) == (("no", "yes"), "binary", "auto", "values")
    assert card.weights_path() is None


def test_every_shipped_card_is_valid_named_as_its_folder_and_honest():
    assert {"breast-ultrasound", "chest-pneumonia-28", "brain-extraction", "spot-finder"} <= set(shipped())
    for name, path in shipped().items():
        card = find(name)
        assert card.name == name == path.parent.name
        assert card.limits
        assert "esearch" in card.intended or card.architecture == "spot-finder"
        assert set(card.thresholds) <= set(card.labels)


def test_a_card_describes_itself_in_plain_values():
    for name in shipped():
        words = json.loads(json.dumps(find(name).describe()))
        assert words["name"] == name
        assert words["view"]
        assert words["schema"] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 2", "schema 2"),
        ("schema = 1", "", "(none)"),
        ("labels =", "lables =", "'labels'"),
        ('title = "A toy"', "title = 3", "expected text"),
        ("dimensions = 2", "dimensions = true", "a whole number"),
        ("dimensions = 2", "dimensions = 4", "2 or 3"),
        ('title = "A toy"', "", "without 'title'"),
        ('"binary"', '"binery"', "'binary'"),
        ('["no", "yes"]', '["no", "no"]', "different labels"),
        ('["no", "yes"]', '["yes"]', "two for a binary"),
        ('["no", "yes"]', '["no", 1]', "a list of words"),
        ('step = "scale"', 'step = "scael"', "'scale'"),
        ("shape = [8, 8]", "shpae = [8, 8]", "'shape'"),
        ('{ step = "scale" }', "3", "[[view]]"),
        ("schema = 1", 'schema = 1\ndigest = "md5:00"', "64 hexadecimal"),
        ("schema = 1", f'schema = 1\ndigest = "sha256:{"0" * 64}"', "no weights"),
        ("schema = 1", 'schema = 1\nsource = "pixels"', "'values' or 'display'"),
        ("schema = 1", "schema = 1\nthresholds = { yse = 0.5 }", "'yes'"),
        ("schema = 1", "schema = 1\nthresholds = { yes = 1.5 }", "from 0 to 1"),
        ("schema = 1", "schema = = 1", "TOML"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, said):
    assert old in CARD
    with pytest.raises(CardError) as caught:
        Card.read(written(tmp_path, CARD.replace(old, new, 1)))
    assert said in str(caught.value)
    assert "toy.toml" in str(caught.value)


def test_a_file_that_is_no_text_and_one_that_is_not_there(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("x.toml", "absent.toml"):
        with pytest.raises(CardError, match="readable text file"):
            find(tmp_path / name)


def test_an_unknown_name_gets_advice():
    with pytest.raises(CardError, match="breast-ultrasound"):
        find("brest-ultrasound")


def test_a_folder_with_a_card_is_found(tmp_path):
    written(tmp_path).rename(tmp_path / "card.toml")
    assert find(tmp_path).name == "toy"


def test_weights_lie_beside_the_card_or_in_the_data_folder(tmp_path, monkeypatch):
    beside = Card.read(written(tmp_path, CARD + 'weights = "w.pt"\n'))
    assert beside.weights_path() == tmp_path / "w.pt"
    there = Card.read(written(tmp_path, CARD + 'weights = "$SALISCOPE_DATA/a/w.pt"\n'))
    monkeypatch.setenv("SALISCOPE_DATA", "/somewhere")
    assert there.weights_path() == Path("/somewhere/a/w.pt")
    monkeypatch.delenv("SALISCOPE_DATA")
    with pytest.raises(WeightsError, match="Set the environment variable SALISCOPE_DATA"):
        there.weights_path()
