"""The catalogue says everything about the methods without torch, and every citation can be looked up."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from saliscope.core.protocols import Diagnosing, Kernel, Method
from saliscope.methods import METHODS

BIBLIOGRAPHY = Path(__file__).resolve().parents[2] / "docs" / "references.bib"

LIST_EVERYTHING = """
import sys
from dataclasses import fields
from saliscope.methods import METHODS
for name in METHODS.names():
    made = METHODS.make(name)
    print(name, [(f.name, f.type, f.default) for f in fields(made)], made.traits)
heavy = [m for m in ("torch", "numpy", "scipy") if m in sys.modules]
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def test_catalogue_lists_names_fields_and_traits_without_torch():
    ran = subprocess.run([sys.executable, "-c", LIST_EVERYTHING], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) >= 13


@pytest.mark.parametrize("name", METHODS.table)
def test_every_method_cites_its_paper_first_and_the_paper_is_in_the_bibliography(name):
    cls = METHODS.get(name)
    keys = re.findall(r"^@\w+\{([^,]+),", BIBLIOGRAPHY.read_text(), re.MULTILINE)
    assert cls.traits.citation in keys
    assert sys.modules[cls.__module__].__doc__.startswith(cls.traits.citation)


@pytest.mark.parametrize("name", METHODS.table)
def test_every_field_is_a_plain_value(name):
    for field in fields(METHODS.get(name)):
        plain = field.default if isinstance(field.default, tuple) else (field.default,)
        assert all(isinstance(value, int | float | str | None) for value in plain)
        assert field.name in METHODS.get(name).__doc__ or field.name in ("layer", "seed", "samples", "steps", "relu")


def test_methods_are_of_the_kinds_that_study_asks_for():
    made = {name: METHODS.make(name) for name in METHODS.table}
    assert all(isinstance(m, Method) for m in made.values())
    kernels = {name for name, m in made.items() if isinstance(m, Kernel)}
    cams = {"grad-cam", "hirescam", "layercam", "grad-cam++", "xgrad-cam", "eigen-cam", "eigen-grad-cam"}
    assert kernels == {"gradient", "input-x-gradient", *cams, "seg-grad-cam", "seg-hirescam", "seg-xres-cam"}
    measuring = {name for name, m in made.items() if isinstance(m, Diagnosing)}
    assert measuring >= {"integrated-gradients", "full-grad"}
