"""The catalogue says everything about the metrics without torch, and every citation can be looked up."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from saliscope.cli.main import main
from saliscope.core.metric import OfMap, OfMethod, OfPair, OfPlace, Planned
from saliscope.metrics import METRICS

BIBLIOGRAPHY = Path(__file__).resolve().parents[2] / "docs" / "references.bib"

LIST_EVERYTHING = """
import sys
from saliscope.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
heavy = [m for m in ("torch", "numpy", "scipy", "skimage", "matplotlib") if m in sys.modules]
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def run(*words):
    try:
        main(list(words))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("words", [["metrics"], ["metrics", "--json"], ["metrics", "iou"]], ids=" ".join)
def test_the_catalogue_is_listed_without_torch(words):
    ran = subprocess.run(
        [sys.executable, "-c", LIST_EVERYTHING, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", METRICS.table)
def test_every_metric_cites_its_paper_first_and_the_paper_is_in_the_bibliography(name):
    cls = METRICS.get(name)
    keys = re.findall(r"^@\w+\{([^,]+),", BIBLIOGRAPHY.read_text(), re.MULTILINE)
    assert cls.traits.citation in keys
    assert sys.modules[cls.__module__].__doc__.startswith(cls.traits.citation)


@pytest.mark.parametrize("name", METRICS.table)
def test_every_field_has_a_default(name):
    assert METRICS.make(name) == METRICS.get(name)()


@pytest.mark.parametrize("name", METRICS.table)
def test_every_field_is_explained_where_no_network_is_asked(name):
    cls = METRICS.get(name)
    if cls.traits.category in ("localisation", "complexity", "agreement"):
        assert all(field.name in cls.__doc__ for field in fields(cls))


def test_the_kinds_of_metrics_are_told_apart():
    kinds = {OfMap: "gini", OfPlace: "iou", OfPair: "spearman"}
    for kind, name in kinds.items():
        metric = METRICS.make(name)
        assert [isinstance(metric, k) for k in (OfMap, OfPlace, OfPair, Planned, OfMethod)].count(True) == 1
        assert isinstance(metric, kind)


def test_the_command_lists_every_metric_in_order_of_category(capsys):
    assert run("metrics") == 0
    said = capsys.readouterr().out
    assert all(re.search(rf"^{re.escape(name)} ", said, re.MULTILINE) for name in METRICS.names())
    assert run("metrics", "--json") == 0
    every = json.loads(capsys.readouterr().out)
    assert {m["name"] for m in every} == set(METRICS.names())
    assert all(m["looks_at"] and m["null"] and m["blind"] and m["range"] for m in every)
    found = [m["category"] for m in every]
    assert [c for i, c in enumerate(found) if c not in found[:i]] == list(dict.fromkeys(found))


def test_the_command_shows_one_metric_with_what_it_cannot_see(capsys):
    assert run("metrics", "region-distance") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "of = peak" in said
    assert "0 to without end" in said
    assert "a map and a mask" in said
    assert "centre of mass of two foci" in said


def test_the_command_refuses_what_is_not_there_in_one_line(capsys):
    assert run("metrics", "--category", "agreement") == 0
    assert "gini" not in capsys.readouterr().out
    for words in (("metrics", "--category", "agrement"), ("metrics", "pointing-gam")):
        assert run(*words) == 2
        assert "Did you mean" in capsys.readouterr().err
