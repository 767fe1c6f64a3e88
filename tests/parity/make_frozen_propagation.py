"""Make frozen_propagation.npz anew with zennit 0.5 and captum 0.9, both installed beside saliscope's tests.

zennit sees modules only, and sums only as its own module, so its networks here are made of those; ours run the same
functions. Its flat and squared-weight rules count biases, which the papers' do not: they are set to zero there.
"""

from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import Deconvolution, DeepLift, GuidedBackprop
from frozen_nets import picture
from frozen_propagation_nets import HIGH, LOW, SHAPE, pooled, shortcuts, stacked
from torch import nn

from saliscope.perturb.baseline import absent

# zennit imports torchvision, whose compiled operations need not be there for that.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from zennit import composites, rules, types  # noqa: E402
from zennit.attribution import Gradient  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.layer import Sum  # noqa: E402


class Added(nn.Module):
    """A sum that zennit knows."""

    def __init__(self):
        super().__init__()
        self.sum = Sum()

    def forward(self, one, other):
        """Return the sum."""
        return self.sum(torch.stack([one, other], -1))


PASSED = [(types.Activation, rules.Pass()), (types.AvgPool, rules.Norm()), (Sum, rules.Norm())]


def special(every, dense, first):
    """Return a composite of a rule for convolutions, one for dense layers and one for the first layer."""
    return composites.SpecialFirstLayerMapComposite(
        layer_map=[*PASSED, (types.Convolution, every), (nn.Linear, dense)],
        first_map=[(types.Convolution, first)] if first else [],
        canonizers=[SequentialMergeBatchNorm()],
    )


def made():
    """Return zennit's composites under our names."""
    canonizers = [SequentialMergeBatchNorm()]
    return {
        "epsilon": special(rules.Epsilon(), rules.Epsilon(), None),
        "epsilon-plus": composites.EpsilonPlus(canonizers=canonizers),
        "epsilon-plus-flat": special(rules.ZPlus(), rules.Epsilon(), rules.Flat(zero_params=["bias"])),
        "epsilon-gamma-box": composites.EpsilonGammaBox(LOW, HIGH, canonizers=canonizers),
        "epsilon-alpha-beta": composites.EpsilonAlpha2Beta1(canonizers=canonizers),
        "z-plus": special(rules.ZPlus(), rules.ZPlus(), None),
        "z-plus-w-square": special(rules.ZPlus(), rules.ZPlus(), rules.WSquare(zero_params=["bias"])),
    }


def relevance(net, composite, x):
    """Return zennit's relevance (K, *S)."""
    rows = []
    for k in range(3):
        with Gradient(net, composite) as attributor:
            _, found = attributor(x.clone(), lambda y, k=k: y * torch.eye(3, dtype=y.dtype)[k])
        rows.append(found[0].sum(0).detach().numpy())
    return np.stack(rows)


def slopes(net, x):
    """Return captum's rectified gradients (K, *S), summed over channels."""
    methods = {"guided-backprop": GuidedBackprop(net), "deconvnet": Deconvolution(net)}
    return {name: each(lambda k, m=m: m.attribute(x.clone(), target=k)) for name, m in methods.items()}


def contributions(net, x):
    """Return captum's DeepLIFT (K, *S); a plain baseline would tie in a max pool, where captum follows the rounding."""
    start = absent(x, "blur")
    return {"deeplift": each(lambda k: DeepLift(net).attribute(x.clone(), start, k))}


def each(attribute):
    """Return a call for each class, summed over channels."""
    return torch.stack([attribute(k)[0].sum(0) for k in range(3)]).detach().numpy()


def main():
    """Write frozen_propagation.npz beside this script."""
    torch.set_num_threads(1)
    found = {}
    for axes in (2, 3):
        x = picture(SHAPE[axes], seed=300 + axes)
        nets = {"stacked": stacked(axes), "shortcuts": shortcuts(axes, Added)}
        for kind, net in nets.items():
            found |= {f"{kind}-{axes}d/{name}": relevance(net, c, x) for name, c in made().items()}
        maps = {"stacked": slopes(stacked(axes), x)}
        maps |= {"shortcuts": contributions(nets["shortcuts"], x), "pooled": contributions(pooled(axes), x)}
        found |= {f"{kind}-{axes}d/{name}": v for kind, several in maps.items() for name, v in several.items()}
    path = Path(__file__).with_name("frozen_propagation.npz")
    np.savez_compressed(path, **found)
    size = path.stat().st_size / 1000
    print(f"{path.name}: {len(found)} maps, {size:.0f} kB, captum {captum.__version__}")  # noqa: T201


if __name__ == "__main__":
    main()
