"""Masks, segments and the fill of windows: what is taken away, and what stands there."""

import itertools

import numpy as np
import pytest
import torch

from saliscope.core.errors import MethodError
from saliscope.perturb.inpaint import inpainted
from saliscope.perturb.masks import ShiftedMasks, blended, enlarged, repeated
from saliscope.perturb.segments import assembled, check_segments, painted, segmented


def volume(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 23, 17), (2, 9, 11, 7)])
def test_masks_do_not_depend_on_how_they_are_batched(shape):
    before = torch.get_rng_state()
    masks = ShiftedMasks.drawn(volume(*shape), [4, 3, 2][: len(shape) - 1], 0.5, 9, 1)
    whole = masks(range(9))
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.shape == (9, *shape[1:])
    assert whole.min() >= 0
    assert whole.max() <= 1
    torch.testing.assert_close(torch.cat([masks(range(i, i + 1)) for i in range(9)]), whole, rtol=0, atol=1e-14)
    assert not torch.equal(whole[0], whole[1])


def test_masks_keep_the_share_of_cells_that_was_asked_for():
    masks = ShiftedMasks.drawn(volume(1, 30, 30), [6, 6], 0.3, 3000, 0)
    mean = masks(range(3000)).mean(dim=0)
    np.testing.assert_allclose(mean, 0.3, atol=0.04)


def test_enlarged_and_repeated_keep_a_constant_and_lie_edge_to_edge():
    cells = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]], dtype=torch.float64)
    assert (repeated(cells, (4, 6))[0, :2, :3] == 0).all()
    assert (repeated(cells, (4, 6))[0, 2:, 3:] == 3).all()
    large = enlarged(cells, (4, 4))[0]
    np.testing.assert_allclose(large[0], [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(large[:, 0], [0, 0.5, 1.5, 2])
    assert (enlarged(torch.full((1, 2, 3, 2), 7.0), (5, 4, 6)) - 7).abs().max() < 1e-5


def test_blended_is_the_image_where_the_mask_is_one():
    image, without = volume(2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.float64)
    masks = torch.zeros(2, 3, 4, dtype=torch.float64)
    masks[1] = 1
    assert torch.equal(blended(image, without, masks)[0], without)
    assert torch.equal(blended(image, without, masks)[1], image)


def halves(*shape):
    """A dark half and a bright half, along the last axis."""
    image = torch.zeros(1, *shape, dtype=torch.float64)
    image[..., shape[-1] // 2 :] = 1
    return image


@pytest.mark.parametrize("shape", [(24, 20), (12, 10, 14)])
@pytest.mark.parametrize("partition", ["slic", "grid"])
def test_segments_have_labels_without_a_gap_and_about_the_number_asked_for(partition, shape):
    labels = segmented(halves(*shape), 12, partition)
    assert labels.shape == shape
    found = labels.unique()
    assert found.tolist() == list(range(len(found)))
    assert 6 <= len(found) <= 24


def test_supervoxels_keep_to_the_borders_of_the_image():
    image = halves(30, 40)
    labels = segmented(image, 10)
    for label in labels.unique():
        assert image[0][labels == label].unique().numel() == 1
    boxes = segmented(image, 9, "grid")
    assert any(image[0][boxes == label].unique().numel() == 2 for label in boxes.unique())


def test_noise_is_parted_too():
    assert segmented(volume(1, 60, 60), 30).max() + 1 >= 15


@pytest.mark.parametrize("partition", ["slic", "grid"])
def test_spacing_makes_segments_as_long_in_millimetres_along_every_axis(partition):
    image = volume(1, 12, 48, 48) * 1e-3
    labels = segmented(image, 24, partition, spacing=(4.0, 1.0, 1.0))
    lengths = []
    for label in labels.unique():
        at = (labels == label).nonzero().double()
        lengths.append((at.amax(0) - at.amin(0) + 1) * torch.tensor([4.0, 1.0, 1.0], dtype=torch.float64))
    mean = torch.stack(lengths).mean(0)
    assert mean.max() / mean.min() < 1.8
    plain = segmented(image, 24, "grid")
    assert (
        len({tuple(plain[i, 0].tolist()) for i in range(12)})
        < len({tuple(labels[i, 0].tolist()) for i in range(12)}) + 3
    )
    with pytest.raises(MethodError, match="one positive step for each"):
        segmented(image, 24, partition, spacing=(1.0, 1.0))


def test_a_segment_is_the_image_or_what_stands_for_it():
    image, without = volume(2, 6, 4), volume(2, 6, 4) + 9
    labels = segmented(image, 4, "grid")
    for kept in itertools.product([False, True], repeat=4):
        copy = assembled(image, without, labels, torch.tensor([kept]))[0]
        for label in range(4):
            assert torch.equal(copy[:, labels == label], (image if kept[label] else without)[:, labels == label])
    assert torch.equal(painted(torch.arange(4.0)[None], labels)[0], labels.float())


@pytest.mark.parametrize("fields", [(1, "slic"), (9, "voronoi")])
def test_a_partition_that_is_none_is_refused(fields):
    with pytest.raises(MethodError, match="two or more, by slic or grid"):
        check_segments(*fields)


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((9, 8), (slice(3, 6), slice(2, 6))),
        ((9, 8), (slice(0, 4), slice(0, 8))),
        ((9, 8), (slice(5, 9), slice(6, 8))),
        ((5, 6, 7), (slice(1, 4), slice(2, 5), slice(0, 3))),
        ((5, 6, 7), (slice(1, 2), slice(5, 6), slice(3, 4))),
    ],
)
def test_every_element_of_the_fill_is_the_mean_of_its_neighbours(shape, box):
    image = volume(2, *shape)
    filled = image.clone()
    filled[(slice(None), *box)] = inpainted(image, box)
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[box] = True
    for place in inside.nonzero().tolist():
        around = []
        for axis, step in itertools.product(range(len(shape)), (-1, 1)):
            near = list(place)
            near[axis] += step
            if 0 <= near[axis] < shape[axis]:
                around.append(filled[(slice(None), *near)])
        torch.testing.assert_close(filled[(slice(None), *place)], torch.stack(around).mean(0), rtol=0, atol=1e-12)
    assert torch.equal(filled[:, ~inside], image[:, ~inside])


def test_a_plane_is_filled_as_it_was():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    plane = (2 * rows - 3 * columns + 1)[None].double()
    box = (slice(3, 9), slice(2, 8))
    torch.testing.assert_close(inpainted(plane, box), plane[(slice(None), *box)])
    with pytest.raises(MethodError, match="whole image"):
        inpainted(plane, (slice(0, 12), slice(0, 10)))
