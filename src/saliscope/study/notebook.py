"""Explanations as a notebook shows them: rows of images and targets, columns of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from saliscope.core.explanation import Explanation
from saliscope.figures.gallery import Tile, gallery
from saliscope.study.present import Showing
from saliscope.study.reopening import Reopened

#: Longest side of a small picture, the least that it is shrunk to, and the width that a row may take, in pixels.
MOST, LEAST, WIDTH = 320, 160, 950
#: So many pictures are shown at most.
PICTURES = 60


def gallery_of(explanations: Sequence[Explanation], states: Sequence[str] = ()) -> str:
    """Return explanations as HTML: small pictures by image, target and method.

    `states` are what their cards say, one for each or none; a map that its card hides is not drawn.
    """
    shown = explanations[:PICTURES]
    columns = list(dict.fromkeys(map(_column, shown)))
    rows: dict[tuple[str, str, str], dict[tuple[str, str, str], list[int]]] = {}
    for n, e in enumerate(shown):
        row = rows.setdefault((e.provenance.image, e.image_name, e.target), {})
        row.setdefault(_column(e), []).append(n)
    most = max(LEAST, min(MOST, WIDTH // len(columns)))
    tiles = [tile_of(e, most) for e in shown] if not states else []
    for e, state in zip(shown, states, strict=False):
        tiles.append(stated(e, state, most))
    told = []
    for row in rows.values():
        first = shown[next(iter(row.values()))[0]]
        lines = [first.image_name, first.prediction.sentence(first.target)]
        told.append((lines, [[tiles[n] for n in row.get(column, ())] for column in columns]))
    return gallery(_headings(columns), told, len(explanations) - len(shown))


def tile_of(e: Explanation, most: int) -> Tile:
    """Return a small picture of an explanation; a sentence in its place where nobody can show it."""
    if isinstance(e.presenter, Showing | Reopened):
        return e.presenter.tile(e, most)
    return Tile(None, "Its image is not at hand.")


def stated(e: Explanation, state: str, most: int) -> Tile:
    """Return a small picture with what its card says below it; none of a map that is hidden."""
    from dataclasses import replace

    if state == HIDDEN:
        return Tile(None, f"{state}: the map is hidden.")
    plain = tile_of(e, most)
    return replace(plain, said=f"{state}. {plain.said}".strip())


#: The name of the state that hides a map.
HIDDEN = "DO NOT READ"


def _column(e: Explanation) -> tuple[str, str, str]:
    """Return what has a column of its own: a method with its fields, on its layer."""
    p = e.provenance
    return p.method, p.layer or "", repr(sorted(_words(p.fields)))


def _words(fields: Mapping[str, object]) -> list[str]:
    # The layer that "auto" took may differ between images, and stands beside.
    return [f"{name}={value}" for name, value in fields.items() if name != "layer"]


def _headings(columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return the method of each column, with its layer, or its fields, where methods alone would be the same."""
    found = []
    for method, layer, fields in columns:
        same = [c for c in columns if c[0] == method]
        layers = len({c[1] for c in same}) > 1
        others = len({c[2] for c in same}) > 1
        inner = fields[1:-1].replace("'", "") if others else ""
        found.append(" ".join(part for part in (method, f"at {layer}" if layers and layer else "", inner) if part))
    return found
