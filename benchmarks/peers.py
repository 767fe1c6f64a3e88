"""The peers, importable beside a CPU build of torch. Import this before any of them: `from peers import captum`."""

from __future__ import annotations

import warnings
from importlib.metadata import version

import torchvision_operators  # noqa: F401 - before torchvision

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import captum.attr
    import monai.visualize
    import pytorch_grad_cam
    import quantus
    import torchcam.methods
    import torchvision
    import zennit.attribution

#: What is compared, by the names of the package index.
PACKAGES = ("torch", "captum", "grad-cam", "torchcam", "monai", "zennit", "quantus", "torchvision", "saliscope")

__all__ = [
    "PACKAGES",
    "captum",
    "monai",
    "pytorch_grad_cam",
    "quantus",
    "torchcam",
    "torchvision",
    "versions",
    "zennit",
]


def versions() -> dict[str, str]:
    """Return the version of each package."""
    return {name: version(name) for name in PACKAGES}
