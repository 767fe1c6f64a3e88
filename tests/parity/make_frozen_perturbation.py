"""Make frozen_perturbation.npz anew with captum 0.9 and scikit-learn (extras dev, parity, recipes): run this file.

captum's ShapleyValues goes over all orders of the segments, so it is exact; its KernelShap draws. Its LIME is given
the very coalitions that ours draws, and the weights that the authors' code gives them; it fits in float32.
"""

from pathlib import Path

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import LimeBase, ShapleyValues
from frozen_nets import SMALL_SHAPE, picture, small
from frozen_perturbation_parts import LIME, SHAPLEY, drawn, parts


def shapley(net, x, labels):
    """Return captum's exact Shapley values (K, *S), painted over the segments."""
    without = x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    values = ShapleyValues(net)
    mask = labels[None, None].expand_as(x).contiguous()
    found = [values.attribute(x, without, k, feature_mask=mask, perturbations_per_eval=64)[0, 0] for k in range(3)]
    return torch.stack(found).numpy()


def lime(net, x, labels):
    """Return captum's LIME weights (K, *S) for our own coalitions."""
    without = x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    kept = drawn(int(labels.max()) + 1)
    found = []
    for k in range(3):

        def one_after_another(_inputs, **_):
            for row in kept:
                yield row[None].double()

        def weight(_inputs, _copy, row, **_):
            cosine = row.sum() / (row.square().sum().sqrt() * len(row[0]) ** 0.5) if row.any() else row.sum()
            return torch.exp(-((1 - cosine) ** 2) / LIME["width"] ** 2)

        def copied(row, inputs, **_):
            return torch.where(row[0].bool()[labels], inputs, without)

        fit = LimeBase(net, SkLearnRidge(alpha=LIME["ridge"]), weight, one_after_another, True, copied, None)
        weights = fit.attribute(x, target=k, n_samples=len(kept), perturbations_per_eval=16)
        found.append(weights.flatten()[labels])
    return torch.stack(found).numpy()


def main() -> None:
    """Write the file beside this one."""
    frozen = {}
    for axes in (2, 3):
        net, x = small(axes, "residual").eval(), picture(SMALL_SHAPE[axes], seed=100 + axes)
        frozen[f"{axes}/kernel-shap"] = shapley(net, x, parts(x[0], SHAPLEY["segments"]))
        frozen[f"{axes}/lime"] = lime(net, x, parts(x[0], LIME["segments"]))
    np.savez_compressed(Path(__file__).with_name("frozen_perturbation.npz"), **frozen)


if __name__ == "__main__":
    main()
