"""The notebook of a newcomer, cell by cell: what each cell ends with is shown as a notebook shows it."""

from __future__ import annotations

import ast
import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saliscope

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "in-a-notebook.md"


def run(cell: str, space: dict[str, object]) -> object:
    """Run a cell, and return the value of the expression that it ends with."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), space)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space) if isinstance(last, ast.Expr) else None


def test_the_notebook_of_a_newcomer_runs_and_shows_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    shown = [run(cell, space) for cell in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    maps, again, checked = (space[name] for name in ("maps", "again", "checked"))
    assert isinstance(maps, saliscope.Explanations)
    assert isinstance(again, saliscope.Explanations)
    assert isinstance(checked, saliscope.CheckedExplanation)
    assert any(one is maps for one in shown)
    html = maps._repr_html_() or ""
    pictures = [base64.b64decode(data) for data in re.findall(r"data:image/jpeg;base64,([^\"]+)", html)]
    assert len(pictures) == 5
    assert len(html) < 600_000
    for data in pictures:
        picture = Image.open(BytesIO(data))
        assert max(picture.size) <= 320
        # The spot lies right of the middle, above it: somewhere there the picture has colour.
        colour = np.ptp(np.asarray(picture).astype(int), axis=2)
        assert colour.max() > 10
    assert shown[2] == ((24, 32), (96, 128), (24, 32))
    assert (tmp_path / "figure.png").is_file()
    by_method = {e.provenance.method: e for e in maps}
    for e in again:
        np.testing.assert_array_equal(e, by_method[e.provenance.method])
    assert sorted(e.provenance.method for e in again) == sorted(by_method)
    assert (tmp_path / "spot" / "page.html").is_file()
    assert "spot by grad-cam" in checked._repr_html_()
