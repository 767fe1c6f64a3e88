"""Every method that draws tells its sampling error, the error is right, and a tolerance stops the draws."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from saliscope import explain
from saliscope.core.errors import MethodError
from saliscope.core.protocols import Beside
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.sampling import MEASURES, Running, Sampling, jackknife
from saliscope.model.network import Network
from saliscope.perturb.reference import References

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)


class Curved(nn.Module):
    """Two smooth layers, (N, C, *S) -> (N, 3), so that no two copies have one gradient and segments work together."""

    def __init__(self, axes):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        shape = (5, 1, *[3] * axes)
        self.watched = nn.Conv2d(1, 5, 3, padding=1) if axes == 2 else nn.Conv3d(1, 5, 3, padding=1)
        self.watched.weight = nn.Parameter(torch.randn(shape, generator=generator) / 3)
        self.watched.bias = nn.Parameter(torch.randn(5, generator=generator) / 3)
        self.inner = nn.Parameter(torch.randn(5 * 8**axes, 6, generator=generator) / 8 ** (axes / 2))
        # So that the denominator of Grad-CAM++, which has the score times the sum of activations, keeps away from zero.
        self.outer = nn.Parameter(torch.randn(6, 3, generator=generator) / (20 * 64 ** (axes - 2)))
        self.double()

    def forward(self, x):
        return torch.tanh(torch.tanh(self.watched(x)).flatten(1) @ self.inner) @ self.outer


def picture(axes):
    return torch.randn(1, 1, *[8] * axes, generator=torch.Generator().manual_seed(2)).double() + 1


def others(axes, count=4):
    return References.of(torch.randn(count, 1, *[8] * axes, generator=torch.Generator().manual_seed(5)).double())


#: Name, fields, the field that says how much is drawn, and a number of it at which the error is tried.
SAMPLED = [
    ("smoothgrad", {}, "samples", 16),
    ("smoothgrad-squared", {}, "samples", 24),
    ("vargrad", {}, "samples", 24),
    ("smooth-grad-cam++", {"layer": "watched"}, "samples", 24),
    ("smoothed", {"method": "input-x-gradient"}, "samples", 16),
    ("expected-gradients", {}, "samples", 32),
    ("rise", {"cells": 3}, "samples", 200),
    ("lime", {"segments": 9, "partition": "grid"}, "samples", 80),
    ("kernel-shap", {"segments": 16, "partition": "grid"}, "samples", 120),
    ("sobol", {"cells": 3}, "designs", 48),
    ("hsic", {"cells": 3}, "samples", 120),
]
NAMES = [name for name, *_ in SAMPLED]
EACH = pytest.mark.parametrize(("name", "more", "field", "count"), SAMPLED, ids=NAMES)


def made(name, axes=2, **values):
    extra = {"references": others(axes)} if name == "expected-gradients" else {}
    return METHODS.make(name, **{"tolerance": None, **extra, **values})


def run(method, axes=2, target=TARGET):
    """Return the maps, the notes, the forward samples, and what is measured."""
    x = picture(axes)
    with Network(Curved(axes), LABELS).opened() as model:
        maps = dict(method.attribute_with(model, x, target))
        measured = {name: maps.pop(name) for name in method.measures}
        return maps, list(model.notes), model.counts.forward_samples, measured


def test_every_method_that_draws_is_tried_here():
    seeded = {n for n in METHODS.names() if any(f.name == "seed" for f in fields(METHODS.get(n)))}
    assert seeded - {"random"} == set(NAMES)
    for name in NAMES:
        method = made(name)
        assert isinstance(method, Beside)
        assert "error" in method.beside
        assert method.measures == MEASURES
        assert any(f.name == "tolerance" for f in fields(method))


def ratio_over_seeds(name, more, field, count, seeds, axes=2):
    """Return for each target the spread of the map over seeds by the stated error, both root mean square."""
    x = picture(axes)
    maps, errors = [], []
    with Network(Curved(axes), LABELS).opened() as model:
        for seed in range(seeds):
            found = made(name, axes, seed=seed, **more, **{field: count}).attribute_with(model, x, TARGET)
            maps.append(found["map"][0].flatten(1))
            errors.append(found["error"][0].flatten(1))
    spread = torch.stack(maps).var(dim=0).mean(dim=1).sqrt()
    return spread / torch.stack(errors).square().mean(dim=(0, 2)).sqrt()


@EACH
def test_the_error_is_the_spread_over_seeds(name, more, field, count):
    """200 seeds know a standard deviation to 5 %, and elements vary together: 0.8 to 1.25 is four times that."""
    ratio = ratio_over_seeds(name, more, field, count, 200)
    assert ((ratio > 0.8) & (ratio < 1.25)).all(), ratio


@pytest.mark.long
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("times", [1, 4])
@EACH
def test_the_error_is_the_spread_over_many_seeds(name, more, field, count, times, axes):
    ratio = ratio_over_seeds(name, more, field, times * count, 500, axes)
    assert ((ratio > 0.8) & (ratio < 1.25)).all(), ratio


@pytest.mark.parametrize(
    ("references", "samples", "least"), [(1, 32, 0.8), (4, 33, 0.8), (8, 256, 0.8), (20, 64, 0.8), (64, 64, 0.2)]
)
def test_the_error_of_expected_gradients_holds_for_other_references(references, samples, least):
    """With as many references as samples it is too large, as the docstring says, but never too small."""
    chosen = {"references": others(2, references)}
    ratio = ratio_over_seeds("expected-gradients", chosen, "samples", samples, 100)
    assert ((ratio > least) & (ratio < 1.25)).all(), ratio


def test_the_error_of_hsic_knows_that_the_median_of_few_scores_jumps():
    """Four cells give sixteen scores: without the width's part the spread was 4.5 times the error."""
    ratio = ratio_over_seeds("hsic", {"cells": 2}, "samples", 120, 200)
    assert ((ratio > 0.6) & (ratio < 1.25)).all(), ratio


@EACH
def test_the_error_falls_with_the_root_of_the_draws(name, more, field, count):
    few, many = (run(made(name, **more, **{field: n}))[0]["error"].square().mean().sqrt() for n in (count, 4 * count))
    assert (0.1 if name == "sobol" else 0.3) < many / few < 0.75, "scrambled sequences gain more than the root"


@EACH
def test_no_tolerance_draws_all_and_says_nothing(name, more, field, count):
    maps, notes, _, found = run(made(name, **more, **{field: count}))
    assert (found["samples_drawn"] == count).all()
    assert not any("standard error" in n for n in notes)
    size = maps["map"].flatten(2).abs().amax(2)
    torch.testing.assert_close(found["sampling_relative_error"], maps["error"].flatten(2).amax(2) / size)


#: A tolerance that is reached before the ceiling, and the draws after which it may be.
STOPS = {
    **dict.fromkeys(("smoothgrad", "smoothgrad-squared", "vargrad", "smooth-grad-cam++", "smoothed"), (16, 4096)),
    "expected-gradients": (16, 2048),
    "rise": (256, 8192),
    "lime": (256, 8192),
    "kernel-shap": (256, 4000),
    "sobol": (32, 512),
    "hsic": (256, 4096),
}


@EACH
def test_a_tolerance_stops_the_draws_at_a_doubling(name, more, field, count):
    first, ceiling = STOPS[name]
    loose, *_ = run(made(name, **more, **{field: first}))
    # Half of the error after the first look: reached after about four times as many draws.
    aim = 0.5 * float((loose["error"].flatten(2).amax(2) / loose["map"].flatten(2).abs().amax(2)).max())
    maps, notes, _, found = run(made(name, tolerance=aim, **more, **{field: ceiling}))
    for drawn in found["samples_drawn"].flatten().tolist():
        assert drawn in [first * 2**i for i in range(12)]
        assert first <= drawn < ceiling
    assert found["samples_drawn"].max() > first
    assert (maps["error"].flatten(2).amax(2) < aim * maps["map"].flatten(2).abs().amax(2)).all()
    most = int(found["samples_drawn"].max())
    assert any(f"{most:,} of at most {ceiling:,}" in n and "not reached" not in n for n in notes)


@EACH
def test_a_ceiling_that_comes_first_is_noted(name, more, field, count):
    maps, notes, _, found = run(made(name, tolerance=1e-6, **more, **{field: count}))
    assert (found["samples_drawn"] == count).all()
    assert any(f"{count:,} of at most {count:,}" in n and "was not reached" in n for n in notes)
    assert maps["error"].max() > 0


@EACH
def test_a_target_stops_by_itself_and_memory_changes_nothing(name, more, field, count):
    first, ceiling = STOPS[name]
    loose, *_ = run(made(name, **more, **{field: first}))
    shares = (loose["error"].flatten(2).amax(2) / loose["map"].flatten(2).abs().amax(2))[0]
    # One target is done at the first look, another is not.
    aim = 0.5 * float(shares.min() + shares.max())
    values = {"tolerance": aim, **more, field: ceiling}
    together, _, _, counts = run(made(name, **values))
    tight, *_ = run(made(name, memory_mb=1e-6, **values))
    for k in range(3):
        alone, _, _, drawn = run(made(name, **values), target=LogitTarget((k,), LABELS[k : k + 1]))
        assert int(drawn["samples_drawn"][0, 0]) == int(counts["samples_drawn"][0, k])
        for found in (alone["map"][:, 0], tight["map"][:, k]):
            scale = float(together["map"].abs().max())
            np.testing.assert_allclose(found, together["map"][:, k], rtol=0, atol=1e-9 * scale)
        scale = float(together["error"].abs().max())
        np.testing.assert_allclose(tight["error"][:, k], together["error"][:, k], rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("name", ["smoothgrad", "lime", "hsic"])
def test_an_explanation_holds_the_error_and_its_record_the_numbers(name):
    network = Network(Curved(2), LABELS)
    method = made(name, samples=20, tolerance=1e-6)
    found = explain(picture(2).float(), network, method, "second")
    told = found.provenance.diagnostics
    assert told["samples_drawn"] == 20
    share = found.beside["error"].max() / abs(found.values).max()
    assert told["sampling_relative_error"] == pytest.approx(float(share), rel=1e-5)
    assert any("was not reached" in note for note in found.provenance.notes)


def test_all_coalitions_leave_no_error():
    for tolerance in (None, 1e-9):
        maps, _, cost, found = run(made("kernel-shap", segments=6, partition="grid", tolerance=tolerance))
        assert (maps["error"] == 0).all()
        assert (found["sampling_relative_error"] == 0).all()
        assert cost == 2 + int(found["samples_drawn"][0, 0])


@pytest.mark.parametrize("name", ["smoothgrad", "smoothgrad-squared", "vargrad", "smooth-grad-cam++", "smoothed"])
def test_one_draw_does_not_show_its_own_error(name):
    more = {"layer": "watched"} if name == "smooth-grad-cam++" else {}
    maps, notes, _, found = run(made(name, samples=1, **more))
    assert maps["error"].isfinite().all()
    if maps["map"].any():
        assert (found["sampling_relative_error"] == 1).all()
    assert any("one draw" in n for n in notes)


def test_too_few_draws_for_a_fit_or_a_sequence_do_not_look_certain():
    for name, values in (
        ("lime", {"samples": 4, "segments": 9, "ridge": 0.0}),
        ("kernel-shap", {"samples": 6, "segments": 12}),
        ("sobol", {"designs": 2, "cells": 2}),
        ("hsic", {"samples": 2, "cells": 2}),
        ("expected-gradients", {"samples": 2}),
    ):
        maps, *_ = run(made(name, **({"partition": "grid"} if "segments" in values else {}), **values))
        assert maps["error"].isfinite().all()
        assert maps["error"].max() > 0.05 * maps["map"].abs().max(), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_share_is_refused(name, tolerance):
    with pytest.raises(MethodError, match=r"such as 0\.05"):
        made(name, tolerance=tolerance)


@EACH
def test_what_was_measured_is_given_by_name_and_the_map_carries_nothing(name, more, field, count):
    maps, _, _, measured = run(made(name, **more, **{field: count}))
    assert set(maps) == {"map", *METHODS.get(name).beside}
    assert {n: tuple(v.shape) for n, v in measured.items()} == dict.fromkeys(MEASURES, (1, 3))
    assert not any(vars(v) for v in (*maps.values(), *measured.values()))


def test_stages_double_and_end_at_the_ceiling():
    assert list(Sampling(100, 0.1, 16, "x").stages()) == [range(16), range(16, 32), range(32, 64), range(64, 100)]
    assert list(Sampling(10, 0.1, 16, "x").stages()) == [range(10)]
    for none in (None, 0):
        assert list(Sampling(100, none, 16, "x").stages()) == [range(100)]


def test_the_jackknife_of_a_mean_is_its_standard_error():
    draws = torch.randn(13, 2, 4, generator=torch.Generator().manual_seed(0)).double()
    sums = Running()
    sums.add(list(draws.movedim(1, 0)))
    plain = jackknife(draws.mean(0), [torch.cat([draws[:i], draws[i + 1 :]]).mean(0) for i in range(13)], [1] * 13)
    torch.testing.assert_close(plain, sums.maps()["error"])
