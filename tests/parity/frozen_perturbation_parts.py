"""The segments and coalitions of the frozen outputs of perturbation methods, which ours are run with too."""

import torch

SHAPLEY = {"segments": 5, "partition": "grid"}
LIME = {"segments": 8, "partition": "grid", "samples": 60, "ridge": 1.0, "width": 0.25, "seed": 4}


def parts(image: torch.Tensor, segments: int) -> torch.Tensor:
    """Return labels (*S): boxes that are about as long as they are wide, cut here by hand."""
    shape = image.shape[1:]
    edge = (float(torch.tensor(shape).prod()) / segments) ** (1 / len(shape))
    labels = torch.zeros(shape, dtype=torch.int64)
    for axis, size in enumerate(shape):
        count = max(1, round(size / edge))
        steps = torch.tensor([i * count // size for i in range(size)])
        labels = labels * count + steps.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return labels


def drawn(count: int) -> torch.Tensor:
    """Return the coalitions (1 + samples, count) that LIME draws: all, then each segment with probability one half."""
    generator = torch.Generator().manual_seed(LIME["seed"])
    kept = torch.rand(1 + LIME["samples"], count, generator=generator) < 0.5
    kept[0] = True
    return kept
