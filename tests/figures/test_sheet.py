"""The contact sheet: the right plane of a volume, outlines around what they name and not over it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.region import Region
from saliscope.figures.sheet import COLOURS, EM, SIDE, Tile, contact_sheet


def image(geometry: Geometry) -> MedicalImage:
    values = np.zeros((1, *geometry.shape), np.float32)
    return MedicalImage(values, values.astype(np.uint8), geometry, "OT", "", "d", "n")


def drawn(tiles: list[Tile]) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(contact_sheet(tiles, "a title"))))


def of_colour(sheet: np.ndarray, kind: str) -> np.ndarray:
    """Return where on the first tile a colour is, the captions left out: (n, 2) of row and column, 0 to 1."""
    tile = sheet[3 * EM : 3 * EM + SIDE, 4 : 4 + SIDE]
    return np.argwhere((tile == COLOURS[kind]).all(axis=-1)) / SIDE


def test_an_outline_runs_just_outside_of_what_it_names() -> None:
    geometry = Geometry.of_picture((64, 64), (1.0, 1.0))
    mask = np.zeros((64, 64), bool)
    mask[16:32, 24:40] = True
    region = Region(mask, geometry, "nodule", "phantom")
    at = of_colour(drawn([Tile(image(geometry), "t", ((region, "finding"),))]), "finding")
    assert len(at)
    inside = (at[:, 0] >= 0.25) & (at[:, 0] < 0.5) & (at[:, 1] >= 0.375) & (at[:, 1] < 0.625)
    assert not inside.any(), "what lies in the region is hidden"
    low, high = at.min(axis=0), at.max(axis=0)
    assert np.allclose(low, [0.25, 0.375], atol=0.03)
    assert np.allclose(high, [0.5, 0.625], atol=0.03)


def test_a_picture_whose_pixels_are_not_square_is_shown_in_millimetres() -> None:
    geometry = Geometry.of_picture((64, 64), (2.0, 1.0))
    mask = np.ones((64, 64), bool)
    mask[:, :20] = mask[:, -20:] = mask[:20] = mask[-20:] = False
    at = of_colour(
        drawn([Tile(image(geometry), "t", ((Region(mask, geometry, "n", "phantom"), "shortcut"),))]), "shortcut"
    )
    height, width = np.ptp(at, axis=0)
    assert height > 1.7 * width


def test_of_a_volume_the_axial_plane_with_most_of_the_finding() -> None:
    geometry = Geometry.of_affine((9, 20, 20), [[0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]])
    one = image(geometry)
    shown = np.zeros((1, 9, 20, 20), np.uint8)
    shown[0, 6] = 200
    one = MedicalImage(one.values, shown, geometry, "CT", "", "d", "n")
    finding, tag = np.zeros((2, 9, 20, 20), bool)
    finding[6, 5:9, 5:9] = True
    finding[5, 6:8, 6:8] = True
    tag[1:4] = True
    regions = tuple((Region(m, geometry, n, "phantom"), n) for m, n in ((tag, "shortcut"), (finding, "finding")))
    sheet = drawn([Tile(one, "t", regions)])
    assert (sheet[3 * EM + SIDE // 2, 4 + SIDE // 2] == 200).all()
    assert len(of_colour(sheet, "finding"))
    assert not len(of_colour(sheet, "shortcut"))


def test_a_sheet_of_many_has_rows() -> None:
    geometry = Geometry.of_picture((16, 16))
    few, many = (drawn([Tile(image(geometry), str(i)) for i in range(n)]).shape for n in (3, 12))
    assert many[0] > 2 * few[0]
    assert many[1] > few[1]
