"""Documents say what the code does: the reference is written from it, the README's code runs, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_the_reference_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for name, write in maker.PAGES.items():
        kept = (ROOT / "docs" / "reference" / name).read_text()
        assert kept == write().rstrip() + "\n", f"{name} is old: make docs"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not link.startswith("http"):
            assert (path.parent / link).exists(), link


def test_the_readmes_five_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from saliscope.study.drawing import lesion_in_speckle

    monkeypatch.chdir(tmp_path)
    Image.fromarray(lesion_in_speckle()).save("breast.png")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "out" / "page.html").is_file()


def test_the_page_on_a_network_of_ones_own_runs() -> None:
    text = (ROOT / "docs/how-to/a-network-in-python.md").read_text(encoding="utf-8")
    space: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, space)
    assert space["e"].values.shape == (62, 62)


def test_the_readmes_commands_are_commands() -> None:
    from saliscope.cli.main import main

    blocks = (ROOT / "README.md").read_text().split("```")[1::2]
    found = re.findall(r"^saliscope ([\w-]+)", "\n".join(blocks), re.M)
    assert found
    for words in found:
        with pytest.raises(SystemExit) as end:
            main([words, "--help"])
        assert not end.value.code


def test_the_readme_lists_every_method() -> None:
    from saliscope.methods import METHODS

    (count, table) = re.findall(r"^## (\d+) methods\n(.*?)\n\n", (ROOT / "README.md").read_text(), re.M | re.S)[0]
    listed = [name for row in table.splitlines()[2:] for name in row.split("|")[2].strip().split(", ")]
    assert listed == METHODS.names()
    assert int(count) == len(listed)


def test_the_guides_options_are_fields_of_methods() -> None:
    from saliscope.methods import METHODS
    from saliscope.study.plan import options_of

    words = re.findall(r"--option (\S+)", (ROOT / "docs" / "explanation" / "choosing-a-method.md").read_text())
    found = options_of([word for word in words if not word.startswith("NAME")])
    assert found
    for name, told in found.items():
        METHODS.make(name, **told)


def test_the_readmes_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w[\w-]*)", (ROOT / "README.md").read_text()):
        if target != "make":
            assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_method_that_contributing_shows_keeps_the_contract() -> None:
    from saliscope.testing import check_method

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    module = types.ModuleType("contributed")
    sys.modules["contributed"] = module  # dataclasses look their module up
    exec(compile(textwrap.dedent(code), "CONTRIBUTING.md", "exec"), vars(module))
    check_method(module.SquareCAM())
