"""Probabilities, contrasts, opposites, regions, components, points, and several of them together, 2D and 3D."""

from __future__ import annotations

import itertools

import pytest
import torch

from saliscope.core.errors import OutputError, TargetError
from saliscope.core.target import (
    AnchoredTarget,
    CallableTarget,
    ComponentTarget,
    ContrastTarget,
    Holding,
    Indexed,
    LogitTarget,
    Opposite,
    PerImage,
    PointTarget,
    ProbabilityTarget,
    RegionTarget,
    Together,
)

LABELS = ("background", "kidney", "tumour")


def logits(n=2, classes=3):
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def volume(axes, n=2, classes=3):
    shape = (6, 5) if axes == 2 else (4, 6, 5)
    return torch.randn(n, classes, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def blobs(axes):
    """Return the logits of kidney in two parts, of 4 and of 3 elements, the second with the higher logits."""
    out = torch.zeros(1, 3, 6, 7, dtype=torch.float64)
    out[:, 0] = 1
    out[0, 1, 0, 0:4] = torch.tensor([2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    out[0, 1, 3, 4:7] = 20
    # Touches the second part only at a corner.
    out[0, 1, 4, 3] = 100
    quiet = torch.zeros_like(out)
    quiet[:, 0] = 1
    return out if axes == 2 else torch.stack([quiet, out, quiet], dim=2)


def close(found, right):
    torch.testing.assert_close(found, torch.as_tensor(right, dtype=found.dtype), rtol=0, atol=1e-12)


def test_probabilities_by_kind():
    out = logits()
    soft = out.exp() / out.exp().sum(1, keepdim=True)
    target = ProbabilityTarget((2, 0), ("tumour", "background"))
    close(target.scores(out), soft[:, [2, 0]])
    assert target.labels == ("probability of tumour", "probability of background")
    close(ProbabilityTarget((1,), ("kidney",), "multi-label").scores(out), 1 / (1 + (-out[:, 1:2]).exp()))
    one = 1 / (1 + (-out[:, :1]).exp())
    both = ProbabilityTarget((0, 1), ("no", "yes"), "binary").scores(out[:, :1])
    close(both, torch.cat([1 - one, one], 1))
    with pytest.raises(TargetError, match="value itself"):
        ProbabilityTarget((0,), ("age",), "regression").scores(out[:, :1])
    with pytest.raises(TargetError, match="0 to 2"):
        ProbabilityTarget((3,), ("none",)).scores(out)
    with pytest.raises(OutputError, match="segmentation"):
        ProbabilityTarget((0,), ("background",)).scores(volume(2))


@pytest.mark.parametrize("axes", [2, 3])
def test_the_probability_of_a_segmentation_is_its_mean_where_the_class_is_predicted(axes):
    out = volume(axes)
    target = ProbabilityTarget((1, 2), LABELS[1:], "segmentation")
    soft, winner = out.softmax(1), out.argmax(1)
    right = torch.stack([torch.stack([soft[n, c][winner[n] == c].mean() for c in (1, 2)]) for n in range(2)])
    close(target.scores(out), right)
    single = ProbabilityTarget((0,), ("kidney",), "segmentation").scores(out[:, :1])
    close(single, torch.stack([o[o > 0].sigmoid().mean() for o in out[:, :1]])[:, None])


def test_a_contrast_is_a_difference_of_logits():
    out = logits()
    close(ContrastTarget(1, (0,), "kidney", "background").scores(out), out[:, 1:2] - out[:, :1])
    others = ContrastTarget(1, (0, 2), "kidney", "the mean of the others")
    close(others.scores(out), (out[:, 1] - (out[:, 0] + out[:, 2]) / 2)[:, None])
    assert others.labels == ("kidney against the mean of the others",)
    for against in ((), (1,)):
        with pytest.raises(TargetError, match="one class, and one or more others"):
            ContrastTarget(1, against, "kidney", "kidney")


def test_the_contrast_of_a_single_logit_is_that_logit_once():
    out = logits(classes=1)
    close(ContrastTarget(1, (0,), "yes", "no", "binary").scores(out), out)
    close(ContrastTarget(0, (1,), "no", "yes", "binary").scores(out), -out)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_contrast_of_a_segmentation_is_over_the_region_of_the_first_class(axes):
    out = volume(axes)
    found = ContrastTarget(2, (0,), "tumour", "background", "segmentation").scores(out)
    close(found, torch.stack([(o[2] - o[0])[o.argmax(0) == 2].mean() for o in out])[:, None])


@pytest.mark.parametrize("axes", [2, 3])
def test_a_given_mask(axes):
    out, mask = volume(axes), volume(axes, n=1, classes=1) > 0
    close(
        RegionTarget((2,), ("tumour",), mask).scores(out), torch.stack([o[2][mask[0, 0]].mean() for o in out])[:, None]
    )
    own = volume(axes) > 0.3
    several = RegionTarget((1, 2), LABELS[1:], own[:, 1:])
    right = torch.stack([torch.stack([out[n, c][own[n, c]].mean() for c in (1, 2)]) for n in range(2)])
    close(several.scores(out), right)
    for n in range(2):
        close(several.of(n).scores(out[n : n + 1]), right[n : n + 1])
    assert len(several.of(1).of(5).mask) == 1
    with pytest.raises(TargetError, match="grid of the network's output"):
        RegionTarget((1,), ("kidney",), mask[..., :-1]).scores(out)
    with pytest.raises(TargetError, match="True and False"):
        RegionTarget((1,), ("kidney",), mask.double())


def test_half_precision_over_a_large_region_does_not_overflow():
    out = torch.full((1, 2, 300, 300), 8.0, dtype=torch.float16)
    assert RegionTarget((1,), ("kidney",), torch.ones(1, 1, 300, 300, dtype=torch.bool)).scores(out).item() == 8


@pytest.mark.parametrize("axes", [2, 3])
def test_components_are_connected_by_faces_and_held_fixed(axes):
    out = blobs(axes)
    middle = () if axes == 2 else (1,)
    close(ComponentTarget(1, "kidney").scores(out), [[3.5]])
    close(ComponentTarget(1, "kidney").scores(out.flip(-2)), [[3.5]])
    close(ComponentTarget(1, "kidney", (*middle, 3, 5)).scores(out), [[20.0]])
    close(ComponentTarget(1, "kidney", (*middle, 4, 3)).scores(out), [[100.0]])
    close(LogitTarget((1,), ("kidney",), "segmentation").scores(out), [[(14 + 60 + 100) / 8]])
    held = ComponentTarget(1, "kidney").held(lambda: out)
    moved = out.clone()
    moved[(0, 1, *middle, 0)] = -50
    close(held.scores(moved), [[-50.0]])
    assert held.labels == ComponentTarget(1, "kidney").labels == ("largest component of kidney",)
    with pytest.raises(TargetError, match="not predicted"):
        ComponentTarget(1, "kidney", (*middle, 5, 0)).scores(out)
    with pytest.raises(TargetError, match=f"{axes} numbers"):
        ComponentTarget(1, "kidney", (9,) * axes).scores(out)
    with pytest.raises(OutputError, match="network that segments"):
        ComponentTarget(1, "kidney").scores(logits())


def test_each_image_has_its_own_component_and_none_means_everywhere():
    out = torch.cat([blobs(2), blobs(2).flip(3), torch.zeros(1, 3, 6, 7).double()])
    out[2, 0] = 4
    found = ComponentTarget(1, "kidney").scores(out)
    close(found, [[3.5], [3.5], [0.0]])


@pytest.mark.parametrize("axes", [2, 3])
def test_a_point(axes):
    out, at = volume(axes), (3, 2, 4)[-axes:]
    target = PointTarget(2, "tumour", at)
    close(target.scores(out), out[(slice(None), slice(2, 3), *at)])
    assert target.labels == (f"tumour at {'/'.join(map(str, at))}",)
    for wrong in ((0,), (-1,) * axes, (40,) * axes):
        with pytest.raises(TargetError, match=f"{axes} numbers"):
            PointTarget(2, "tumour", wrong).scores(out)


@pytest.mark.parametrize("axes", [2, 3])
def test_what_depends_on_the_unchanged_image_is_held(axes):
    out = volume(axes, n=1)
    changed = out.roll(2, -1) * 3 - 1
    ones = [
        LogitTarget((1, 2), LABELS[1:], "segmentation"),
        ProbabilityTarget((1,), ("kidney",), "segmentation"),
        ContrastTarget(1, (0, 2), "kidney", "the mean of the others", "segmentation"),
        ComponentTarget(1, "kidney"),
        Opposite(ComponentTarget(2, "tumour")),
        AnchoredTarget(lambda o, first: (o[:, 1] * (first[:, 1] > 0)).flatten(1).sum(1)),
    ]
    for target in ones:
        assert isinstance(target, Holding)
        held = target.held(lambda: out)
        close(held.scores(out), target.scores(out))
        assert held.labels == target.labels
        assert (held.scores(changed) - target.scores(changed)).abs().min() > 1e-3, target
    runs = []
    together = Together(tuple(ones)).held(lambda: runs.append(1) or out)
    close(together.scores(changed), torch.cat([t.held(lambda: out).scores(changed) for t in ones], 1))
    assert len(runs) == 1
    # Several copies of the image at once.
    close(together.scores(torch.cat([changed, out])), torch.cat([together.scores(v) for v in (changed, out)]))


def test_holding_costs_no_run_where_nothing_is_to_be_held():
    def never():
        raise AssertionError

    for target in (
        LogitTarget((1,), ("kidney",)),
        ProbabilityTarget((1,), ("kidney",)),
        ContrastTarget(1, (0,), "kidney", "background"),
        Opposite(CallableTarget(lambda o: o[:, 0])),
        Together((LogitTarget((0,), ("background",)), CallableTarget(lambda o: o[:, 0]))),
        AnchoredTarget(lambda o, first: o[:, 0], anchor=torch.zeros(1, 3)),
    ):
        close(target.held(never).scores(logits()), target.scores(logits()))


def test_the_opposite_of_a_value():
    out = logits(classes=1)
    target = Opposite(LogitTarget((0,), ("age",), "regression"))
    close(target.scores(out), -out)
    assert target.labels == ("minus age",)
    assert Opposite(PerImage((target, target))).of(1) == Opposite(target)


def test_several_kinds_at_once():
    out = logits()
    target = Together((LogitTarget((2, 0), ("tumour", "background")), ProbabilityTarget((1,), ("kidney",))))
    close(target.scores(out), torch.cat([out[:, [2, 0]], out.softmax(1)[:, 1:2]], 1))
    assert target.labels == ("tumour", "background", "probability of kidney")


def test_each_image_its_own_question():
    out = logits()
    target = PerImage((LogitTarget((2,), ("tumour",)), Opposite(LogitTarget((0,), ("background",)))))
    close(target.scores(out), torch.stack([out[0, 2], -out[1, 0]])[:, None])
    assert target.labels == ("tumour, minus background",)
    assert isinstance(target, Indexed)
    assert target.of(1).labels == ("minus background",)
    with pytest.raises(TargetError, match="2 targets for 3 images"):
        target.scores(logits(3))
    with pytest.raises(TargetError, match="image 2"):
        target.of(2)
    with pytest.raises(TargetError, match="columns"):
        PerImage((LogitTarget((0, 1), ("a", "b")), LogitTarget((0,), ("a",))))
    with pytest.raises(TargetError, match="words become targets"):
        PerImage(("tumour", "kidney")).of(0)


def test_functions_are_checked():
    with pytest.raises(TargetError, match="returned shape"):
        AnchoredTarget(lambda o, first: o.sum()).scores(logits())
    with pytest.raises(TargetError, match="for 2 images and 1 labels"):
        CallableTarget(lambda o: o[:1, 0]).scores(logits())


@pytest.mark.parametrize("axes", [2, 3])
def test_the_parts_of_windows_add_up_to_the_whole(axes):
    out = volume(axes, n=1)
    shape = out.shape[2:]
    halves = [(slice(0, n // 2), slice(n // 2, n)) for n in shape]
    boxes = list(itertools.product(*halves))
    at = tuple(n - 1 for n in shape)
    region = LogitTarget((1, 2), LABELS[1:], "segmentation").held(lambda: out)
    point = PointTarget(1, "kidney", at)
    for target in (region, point, Opposite(region), Together((region, point))):
        parts = [(box, target.cropped(box, shape)) for box in boxes]
        sums = sum(part.scores(out[(slice(None), slice(None), *box)]) for box, part in parts if part is not None)
        close(sums, target.scores(out))
        assert all(part.labels == target.labels for _, part in parts if part is not None)
    assert sum(point.cropped(box, shape) is None for box in boxes) == len(boxes) - 1
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[(0, 0, *at)] = True
    corner = RegionTarget((1,), ("kidney",), mask)
    assert corner.cropped(boxes[0], shape) is None
    with pytest.raises(TargetError, match="grid of its input"):
        corner.cropped(boxes[0], [2 * n for n in shape])


def test_a_window_of_a_window_keeps_the_units_of_the_whole():
    out = volume(2, n=1)
    whole = RegionTarget((1,), ("kidney",), torch.ones(1, 1, 6, 5, dtype=torch.bool))
    part = whole.cropped((slice(0, 4), slice(0, 4)), (6, 5)).cropped((slice(1, 3), slice(0, 2)), (4, 4))
    close(part.scores(out[:, :, 1:3, 0:2]), out[:, 1:2, 1:3, 0:2].sum((2, 3)) / 30)
    anchored = AnchoredTarget(lambda o, first: (o * first)[:, 0].flatten(1).sum(1)).held(lambda: out)
    box = (slice(1, 3), slice(0, 2))
    close(anchored.cropped(box, (6, 5)).scores(out[:, :, 1:3, 0:2]), (out[:, 0, 1:3, 0:2] ** 2).sum((1, 2))[:, None])
