"""Our maps against frozen outputs of torchcam 0.5 and pytorch-grad-cam 1.5.7, made by make_frozen_suffix_cams.py.

Tolerances are shares of the largest value of the frozen map: 1e-10 in float64; 1e-6 where the peer adds an epsilon to
the range of a mask or holds weights in float32.
"""

from pathlib import Path

import frozen_suffix_nets as nets
import numpy as np
import pytest
from frozen_nets import SMALL_SHAPE

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

FROZEN = np.load(Path(__file__).with_name("frozen_suffix_cams.npz"))
LABELS = ("a", "b", "c")


def ours(name, net, axes, **fields):
    x = nets.picture(SMALL_SHAPE[axes], seed=300 + axes)
    with Network(net, LABELS).opened() as model:
        found = METHODS.make(name, layer="watched", **fields).attribute(model, x, LogitTarget((0, 1, 2), LABELS))
    return found[0].numpy(), net(x)[0].detach().numpy()


def agree(found, right, tolerance):
    assert np.abs(right).max() > 1e-3
    np.testing.assert_allclose(found, right, rtol=0, atol=tolerance * np.abs(right).max())


@pytest.mark.parametrize("axes", [2, 3])
def test_score_cam_by_softmax_is_torchcams(axes):
    found, _ = ours("score-cam", nets.full(axes), axes, weights="softmax", relu=True)
    agree(found, FROZEN[f"score-cam-{axes}d"], 1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_finer_cam_is_torchcams(axes):
    found, _ = ours("finer-cam", nets.small(axes, "residual"), axes, references=1, relu=True)
    agree(found, FROZEN[f"finer-cam-{axes}d"], 1e-10)


@pytest.mark.parametrize("axes", [2, 3])
def test_shapley_cam_is_pytorch_grad_cams(axes):
    found, _ = ours("shapley-cam", nets.small(axes, "residual"), axes)
    agree(found, FROZEN[f"shapley-cam-{axes}d"], 1e-10)


def test_ablation_cam_is_pytorch_grad_cams_times_the_score():
    found, logits = ours("ablation-cam", nets.rectified(2), 2)
    agree(found / logits[:, None, None], FROZEN["ablation-cam-2d"], 1e-5)
