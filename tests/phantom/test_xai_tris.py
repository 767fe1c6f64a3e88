"""XAI-TRIS: the authors' formula, literally; what a linear reader can and cannot tell; and the suppressor."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from saliscope.core.errors import InputError
from saliscope.phantom.case import Case
from saliscope.phantom.scenes.field import Field
from saliscope.phantom.sets import STRIDE
from saliscope.phantom.xai_tris import Tetromino, TrisField, XaiTris

SCENARIOS = ("LIN", "MULT", "RIGID", "XOR")
SETTINGS = [(s, b, n) for s in SCENARIOS for b in ("WHITE", "CORR") for n in (8, 64)]


def pictures(tris):
    """Return the signals (N, D) without the stored offset, and the labels."""
    cases = list(tris)
    x = np.stack([c.render().values[0].ravel() for c in cases]).astype(float) - float(tris.scene.middle)
    return x / tris.scene.step, np.array([c.label for c in cases])


def literally(tris):
    """Return signals and backgrounds (N, D) as the authors' generator makes them, with this set's own chance."""
    size, scale = tris.size, tris.scene.scale
    square = {"t": np.array([[1, 0], [1, 1], [1, 0]]), "l": np.array([[1, 0], [1, 0], [1, 1]])}
    square = {k: np.kron(v, np.ones((scale, scale))) for k, v in square.items()}
    where = {"t": (1, 1), "l": (4, 5)} if size == 8 else {"t": (8, 8), "l": (32, 40)}
    signals, backgrounds = [], []
    for i, case in enumerate(tris):
        drawn = np.zeros((size, size))
        for e in case.elements:
            k = e.letter.lower()
            if tris.scenario == "RIGID":
                rows, columns = np.nonzero(case.regions[e.name].mask)
                seen = [
                    (turn, y, x)
                    for turn in range(4)
                    for y in range(rows.min(), rows.max() + 1)
                    for x in range(columns.min(), columns.max() + 1)
                    if np.array_equal(placed(square[k], turn, y, x, size, scale) >= 0.05, case.regions[e.name].mask)
                ]
                assert len(seen) == 1
                drawn += placed(square[k], *seen[0], size, scale)
            else:
                drawn += e.sign * placed(square[k], 0, *where[k], size, scale)
        noise = np.random.default_rng(tris.seed * STRIDE + i).normal(0, 0.5, (size, size))
        if tris.background == "CORR":
            noise = gaussian_filter(noise, 3 if size == 8 else 10)
        signals.append(drawn.ravel())
        backgrounds.append(noise.ravel())
    return np.array(signals), np.array(backgrounds)


def placed(square, turn, y, x, size, scale):
    out = np.zeros((size, size))
    turned = np.rot90(square, turn)
    if y + turned.shape[0] > size or x + turned.shape[1] > size:
        return out
    out[y : y + turned.shape[0], x : x + turned.shape[1]] = turned
    return gaussian_filter(out, 1.5) if scale > 3 else out


@pytest.mark.parametrize(("scenario", "background", "size"), SETTINGS)
def test_the_authors_formula(scenario, background, size):
    if (scenario, size) == ("RIGID", 64):
        tris = XaiTris(scenario, background, size, 8, seed=3)
    else:
        tris = XaiTris(scenario, background, size, 400 if size == 8 else 60, seed=3)
    x, _ = pictures(tris)
    signal, noise = literally(tris)
    alpha = tris.scene.alpha
    if scenario == "MULT":
        wanted = (1 - alpha * signal) * noise
        factor = (x * wanted).sum() / (wanted**2).sum()
        assert_allclose(x, factor * wanted, atol=3e-4 * np.abs(x).max())
        return
    # One weight of signal and one of background in the whole set, in the authors' ratio.
    weights, *_ = np.linalg.lstsq(np.stack([signal.ravel(), noise.ravel()], 1), x.ravel(), rcond=None)
    assert_allclose(x, weights[0] * signal + weights[1] * noise, atol=3e-4 * np.abs(x).max())
    frobenius = np.linalg.norm(noise) / np.linalg.norm(signal)
    chance = 0.35 if size == 64 and background == "CORR" else 0.12  # the set's own norm strays from the expected one
    assert_allclose(weights[0] / weights[1], alpha / (1 - alpha) * frobenius, rtol=chance)


@pytest.mark.parametrize(("background", "size", "count"), [("WHITE", 8, 2000), ("CORR", 8, 4000), ("CORR", 64, 2000)])
def test_the_expected_norm_is_that_of_many_backgrounds(background, size, count):
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.5, (count, size, size))
    if background == "CORR":
        noise = gaussian_filter(noise, (0, *(2 * (3.0 if size == 8 else 10.0,))))
    tris = XaiTris("LIN", background, size)
    drawn = np.stack([tris.scene.draw(i).signal for i in range(300)])
    share = tris.scene.share
    expected = np.sqrt((noise**2).sum() / count)
    assert_allclose(np.sqrt((drawn**2).sum() / 300), share, rtol=0.08)
    one = tris.scene.draw(0).signal
    raw = np.random.default_rng(0).normal(0, 0.5, (size, size))
    raw = gaussian_filter(raw, 3.0 if size == 8 else 10.0) if background == "CORR" else raw
    assert_allclose(np.linalg.norm(raw) / np.linalg.norm(one) * share, expected, rtol=0.03)


def test_the_expected_norm_of_a_tetromino_anywhere():
    from saliscope.phantom.xai_tris import _strength

    squares = []
    for letter in ([[1, 0], [1, 1], [1, 0]], [[1, 0], [1, 0], [1, 1]]):
        square = np.kron(np.array(letter), np.ones((4, 4)))
        squares += [(placed(square, 0, y, x, 64, 4) ** 2).sum() for y in range(53) for x in range(57)]
    assert_allclose(_strength("RIGID", 4) ** 2, np.mean(squares), rtol=0.005)


def correct(x, y, folds=2):
    """Return the share that a ridge reader of the pixels tells rightly, each half read by the other."""
    x = (x - x.mean(0)) / x.std()
    x = np.hstack([x, np.ones((len(x), 1))])
    rights = []
    for k in range(folds):
        test = np.arange(len(x)) % folds == k
        a = x[~test]
        weights = np.linalg.solve(a.T @ a + 1e-3 * len(a) * np.eye(a.shape[1]), a.T @ (2 * y[~test] - 1))
        rights.append(((x[test] @ weights > 0) == y[test]).mean())
    return np.mean(rights)


def test_a_linear_reader_tells_the_fixed_shapes_and_nothing_else():
    told = {s: correct(*pictures(XaiTris(s, "WHITE", 8, 900, seed=1))) for s in SCENARIOS}
    assert told["LIN"] > 0.8
    for scenario in ("MULT", "XOR"):
        assert 0.42 < told[scenario] < 0.58
    assert told["RIGID"] < told["LIN"]


def test_what_is_not_linear_is_told_by_the_products_of_xor_and_the_energy_of_mult():
    x, y = pictures(XaiTris("XOR", "WHITE", 8, 1200, seed=1))
    squares = x.reshape(-1, 8, 8)
    t = squares[:, 1:4, 1].sum(1) + squares[:, 2, 2]
    el = squares[:, 4:7, 5].sum(1) + squares[:, 6, 6]
    assert ((t * el < 0) == y).mean() > 0.75
    x, y = pictures(XaiTris("MULT", "WHITE", 8, 1200, seed=1))
    assert correct(np.log(np.abs(x) + 1e-9), y) > 0.75


def test_correlated_background_makes_suppressors():
    tris = XaiTris("LIN", "CORR", 8, 2500, seed=2)
    x, y = pictures(tris)
    x = (x - x.mean(0)) / x.std()
    outside = ~tris.truth(tris[0]).mask.ravel()
    # alone, an element outside the tetrominoes says nothing of the label ...
    alone = np.array([np.corrcoef(c, y)[0, 1] for c in x.T])
    assert np.abs(alone[outside]).max() < 0.07
    # ... and yet the best linear reader leans on it, and loses where it may not look there.
    pooled = np.cov((x - np.array([x[y == 0].mean(0), x[y == 1].mean(0)])[y]).T)
    weights = np.linalg.solve(pooled + 1e-7 * np.eye(64), x[y == 1].mean(0) - x[y == 0].mean(0))
    assert np.abs(weights[outside]).max() > 0.3 * np.abs(weights).max()
    assert _distance(x, y, np.ones(64, bool)) > 1.5 * _distance(x, y, ~outside)


def _distance(x, y, kept):
    a, b = x[y == 0][:, kept], x[y == 1][:, kept]
    pooled = (np.cov(a.T) + np.cov(b.T)) / 2 + 1e-7 * np.eye(kept.sum())
    gap = b.mean(0) - a.mean(0)
    return np.sqrt(gap @ np.linalg.solve(pooled, gap))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_elements_can_be_switched_and_change_nothing_beside_them(scenario):
    for case in XaiTris(scenario, "CORR", 64, 3, seed=4):
        full, none = case.render().values[0], case.render(on=()).values[0]
        changed = full != none
        assert changed.any()
        near = np.zeros((64, 64), bool)
        for region in case.regions.values():
            near |= gaussian_filter(region.mask.astype(float), 3.0) > 0
        assert not (changed & ~near).any()
        assert_array_equal(full, case.render().values[0])
        assert case.regions.keys() == {e.name for e in case.elements}


def test_xor_stands_for_the_product_of_the_signs():
    seen = set()
    for case in XaiTris("XOR", "WHITE", 8, 60, seed=6):
        signs = tuple(e.sign for e in case.elements)
        assert case.label == (signs[0] != signs[1])
        seen.add(signs)
    assert len(seen) == 4


def test_truth_is_both_places_save_for_rigid():
    for scenario, cells in (("LIN", 8), ("XOR", 8), ("RIGID", 4)):
        for case in XaiTris(scenario, "WHITE", 8, 4):
            assert XaiTris(scenario, "WHITE", 8).truth(case).mask.sum() == cells


def test_case_i_is_the_same_however_many_there_are():
    few, many = XaiTris(count=3, seed=9), XaiTris(count=30, seed=9)
    assert_array_equal(few[2].render().values, many[2].render().values)
    with pytest.raises(IndexError):
        few[3]


@pytest.mark.parametrize("fields", [{"size": 16}, {"scenario": "NONE"}, {"background": "PINK"}])
def test_what_is_not_in_the_paper_is_refused(fields):
    with pytest.raises(InputError):
        TrisField(**fields)


def test_a_tetromino_elsewhere_is_refused():
    with pytest.raises(InputError):
        Case(Field(), 0, (Tetromino(),)).render()
