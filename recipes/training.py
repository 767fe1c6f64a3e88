"""What both recipes share: a split by groups, a training loop, honest numbers, and the card that carries them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from saliscope.model.card import Card, find
from saliscope.model.shipped import shipped
from saliscope.model.weights import file_digest

DRAWS = 2000
MARK = "# Everything below, and the digest, is written by the recipe.\n"

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What a recipe was asked: where the data lie, where results go, on what, and whether to train at all."""

    data: Path
    out: Path
    device: str
    evaluate_only: bool


def options(name: str, text: str | None) -> Options:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data set: see the top of the script")
    parser.add_argument("--out", type=Path, default=Path("out") / name, help="folder for card and weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--evaluate-only", action="store_true", help="recompute the numbers of the shipped weights")
    given = parser.parse_args()
    # Sums over several threads are rounded in another order, and training carries that far: one thread repeats.
    torch.set_num_threads(1)
    return Options(given.data, given.out, given.device, given.evaluate_only)


def split_by_group(labels: Ints, groups: Ints, shares: tuple[float, ...], seed: int) -> list[Ints]:
    """Return the image numbers of each part: whole groups, drawn class by class (a group's commonest label)."""
    rng = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in shares]
    majority = {g: int(np.bincount(labels[groups == g]).argmax()) for g in np.unique(groups)}
    for label in np.unique(labels):
        own = rng.permutation([g for g, m in majority.items() if m == label])
        cuts = np.round(np.cumsum(shares[:-1]) * len(own)).astype(int)
        for part, drawn in zip(parts, np.split(own, cuts), strict=True):
            part.extend(int(i) for i in np.flatnonzero(np.isin(groups, drawn)))
    return [np.array(sorted(part), np.int64) for part in parts]


def batches(numbers: Ints, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield one shuffled epoch of image numbers in full batches."""
    order = rng.permutation(numbers)
    for start in range(0, len(order) - size + 1, size):
        yield torch.from_numpy(order[start : start + size])


def train(
    net: nn.Module,
    numbers: Ints,
    loss: Callable[[nn.Module, Tensor], Tensor],
    *,
    epochs: int,
    size: int,
    rate: float,
    seed: int,
) -> nn.Module:
    """Return the running mean of the weights at the last epoch; `loss` takes the net and `size` image numbers.

    The last epoch is taken, whatever it is: nothing is selected by looking at a held-out part.
    """
    rng = np.random.default_rng(seed)
    mean = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.05)
    steps = epochs * (len(numbers) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for batch in batches(numbers, size, rng):
            value = loss(net, batch)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            mean.update_parameters(net)
            total += value.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} of {epochs}: mean loss {total / (len(numbers) // size):.3f}", flush=True)
    averaged: nn.Module = mean.module.eval()
    return averaged


def moved(x: Tensor, *, turn: float, zoom: float, shift: float, flip: bool) -> Callable[[Tensor], Tensor]:
    """Return a function that moves every image (N, C, row, column) by its own turn (radians), zoom, shift and flip."""
    n = len(x)
    angle = (torch.rand(n) * 2 - 1) * turn
    scale = 1 + (torch.rand(n) * 2 - 1) * zoom
    side = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * angle.cos() * side, -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * angle.sin() * side, scale * angle.cos()
    theta[:, :, 2] = (torch.rand(n, 2) * 2 - 1) * shift
    grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False).to(x.device)
    return lambda a: nn.functional.grid_sample(a, grid, align_corners=False, padding_mode="border")


def auc(truth: npt.NDArray[np.bool_], score: Floats) -> float:
    """Return the area under the ROC curve, ties counted half."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    ranks = rankdata(score)[truth].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(truth) - positive)))


def interval(statistic: Callable[[Ints], float], groups: Ints, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic of image numbers, whole groups drawn."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    values = []
    for _ in range(DRAWS):
        drawn = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[d] for d in drawn])))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def measured(statistic: Callable[[Ints], float], groups: Ints) -> dict[str, float]:
    """Return the value of a statistic on all images and its interval."""
    low, high = interval(statistic, groups)
    value = statistic(np.arange(len(groups)))
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def write_card(name: str, net: nn.Module, out: Path, thresholds: Mapping[str, float]) -> Card:
    """Write weights and a card without numbers into `out`, and return it."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    weights = out / "weights.safetensors"
    save_file({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}, weights)
    weights.chmod(0o644)  # safetensors writes for the owner alone
    text = shipped()[name].read_text(encoding="utf-8").partition(MARK)[0]
    text = re.sub(r'^digest = ".*"$', f'digest = "sha256:{file_digest(weights)}"', text, flags=re.MULTILINE)
    limits = "".join(f"{label} = {limit:.4f}\n" for label, limit in thresholds.items())
    (out / "card.toml").write_text(f"{text}{MARK}\n[thresholds]\n{limits}", encoding="utf-8")
    return find(out / "card.toml")


def add_numbers(card: Card, numbers: Mapping[str, Any]) -> None:
    """Append what was measured to a card."""
    lines = [f"{key} = {_toml(value)}\n" for key, value in numbers.items()]
    with card.path.open("a", encoding="utf-8") as file:
        file.write("\n[performance]\n" + "".join(lines))


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else str(value)
