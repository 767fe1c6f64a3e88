"""Networks that nobody here drew, taught from a fixed seed to say whether noise holds a bright spot.

Each is small, trains in a minute of one CPU, and knows one thing only, so that where its maps should peak is known.
Every image holds a dark spot as well, elsewhere, and the labels are smoothed. Both were chosen after trials of the
ConvNeXt, whose maps at its true last stage otherwise peaked no more often on the spot than by chance. That is a choice,
not a law: with other smoothing the same ViT's HiResCAM peaks on every spot instead of on none. So hits tell of how a
network was taught as well as of a method, and no promise is judged by them.
Needs timm, torchvision and MONAI.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
import torchvision_operators  # noqa: F401 - before torchvision

from saliscope.core.target import OutputKind

NOISE, BRIGHT = 0.5, 3.0
#: Label smoothing of the loss: the best logits are finite.
DOUBT = 0.2
#: A network is used from this accuracy on, and learns until it has the second one twice running, or its time is over.
LEAST, ENOUGH = 0.95, 0.995
SECONDS = 60.0


@dataclass(frozen=True)
class Spots:
    """Images (N, C, *S), in half of which lies a bright spot; its centre (N, D) in elements, and its mask (N, *S)."""

    images: Tensor
    present: Tensor
    centres: Tensor
    masks: Tensor

    def with_spot(self, most: int) -> Spots:
        """Return the first images that hold a spot."""
        n = self.present.nonzero()[:most, 0]
        return Spots(self.images[n], self.present[n], self.centres[n], self.masks[n])


@dataclass(frozen=True)
class Subject:
    """A network to be, the shape (C, *S) of its images, how fast it learns, and what its output is."""

    name: str
    what: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    rate: float = 2e-3
    kind: OutputKind = "multi-class"


@dataclass(frozen=True)
class Trained:
    """A network that has learnt, its accuracy on images it never saw, and the CPU seconds that took."""

    net: nn.Module
    accuracy: float
    seconds: float


def drawn(shape: tuple[int, ...], n: int, generator: Generator) -> Spots:
    """Return n images (n, C, *S) of noise and a dark spot; in every second one lies a bright spot as well.

    A spot is a Gaussian as wide as S / 20, at least two widths from the border. The dark one is a quarter of the room
    or more from the bright one along each axis.
    """
    size = torch.tensor(shape[1:], dtype=torch.float32)
    width = (size / 20).clamp(min=1)
    room = size - 1 - 4 * width
    place = torch.rand(n, len(size), generator=generator)
    away = (place + 0.25 + 0.5 * torch.rand(n, len(size), generator=generator)) % 1
    centres = 2 * width + place * room
    bright, dark = (gaussians(c, width, shape[1:]) for c in (centres, 2 * width + away * room))
    present = torch.arange(n) % 2
    seen = bright * present.reshape(-1, *[1] * len(size))
    images = NOISE * torch.randn(n, *shape, generator=generator) + BRIGHT * (seen - dark)[:, None]
    return Spots(images, present, centres, seen > 0.5)


def gaussians(centres: Tensor, width: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return (N, *S), one for each of the centres (N, D)."""
    axes = [torch.arange(s, dtype=torch.float32) for s in shape]
    each = [(-0.5 * ((a - centres[:, d, None]) / width[d]).square()).exp() for d, a in enumerate(axes)]
    letters = "abc"[: len(axes)]
    return torch.einsum(",".join(f"n{i}" for i in letters) + f"->n{letters}", *each)


def trained(subject: Subject, seconds: float = SECONDS) -> Trained:
    """Return the network after at most so many CPU seconds of AdamW on fresh images."""
    torch.manual_seed(0)
    net, began = subject.make(), time.process_time()
    generator = Generator().manual_seed(1)
    tried = drawn(subject.shape, 200, Generator().manual_seed(2))
    optimiser = torch.optim.AdamW(net.parameters(), subject.rate)
    accuracy, before, step = 0.0, 0.0, 0
    while min(accuracy, before) < ENOUGH and time.process_time() - began < seconds:
        for group in optimiser.param_groups:
            group["lr"] = subject.rate * min(1.0, (step + 1) / 20)
        for _ in range(20):
            step += 1
            batch = drawn(subject.shape, 16, generator)
            wanted = batch.masks.long() if subject.kind == "segmentation" else batch.present
            loss = nn.functional.cross_entropy(net.train()(batch.images), wanted, label_smoothing=DOUBT)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
        before, accuracy = accuracy, right(net.eval(), tried)
    for parameter in net.parameters():
        parameter.grad = None
    return Trained(net.eval(), accuracy, time.process_time() - began)


def right(net: nn.Module, spots: Spots) -> float:
    """Return the share of images about which a network is right; of a segmentation, whether its region is empty."""
    with torch.no_grad():
        output = torch.cat([net(x) for x in spots.images.split(20)]).argmax(1)
    answer = output.flatten(1).any(1).long() if output.ndim > 1 else output
    return float((answer == spots.present).float().mean())


class Mean(nn.Module):
    """A network of segmentations, asked for the mean of each class."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).flatten(2).mean(2)


class Slices(nn.Module):
    """2.5D: convolutions on each slice, which are folded into the batch, then an LSTM over the slices."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
        )  # fmt: skip
        self.over = nn.LSTM(16, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        each = self.each(x.transpose(1, 2).flatten(0, 1)).amax((2, 3))
        return self.head(self.over(each.unflatten(0, (len(x), -1)))[0][:, -1])


def timm_named(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=2)


def vision_transformer() -> nn.Module:
    from timm.models import VisionTransformer

    return VisionTransformer(img_size=48, patch_size=8, embed_dim=32, depth=4, num_heads=4, num_classes=2)


def swin() -> nn.Module:
    from timm.models import SwinTransformer

    return SwinTransformer(
        img_size=64, patch_size=4, embed_dim=32, depths=(2, 2), num_heads=(2, 4), window_size=4, num_classes=2
    )


def u_net() -> nn.Module:
    from monai.networks.nets import UNet

    return Mean(UNet(3, 1, 2, (4, 8, 16), (2, 2)))


def attention_u_net() -> nn.Module:
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 1, 2, (8, 16, 32), (2, 2))


def dense_net() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2, 2), 16, num_classes=2)


SUBJECTS = (
    Subject("convnext", "timm test_convnext", lambda: timm_named("test_convnext"), (3, 128, 128), 1e-3),
    Subject("vit", "timm VisionTransformer, 4 blocks of 32", vision_transformer, (3, 48, 48)),
    Subject("unet3d", "MONAI UNet 3D, mean of each class", u_net, (1, 24, 24, 24), 1e-2),
    Subject("effnet", "timm test_efficientnet (SE, SiLU)", lambda: timm_named("test_efficientnet"), (3, 128, 128)),
    Subject("lstm", "convolutions on each slice, LSTM over slices", Slices, (1, 8, 24, 24), 5e-3),
    Subject("swin", "timm SwinTransformer, 32 wide, depths 2, 2", swin, (3, 64, 64)),
    Subject("densenet", "torchvision DenseNet, blocks of 2, 2, 2", dense_net, (3, 64, 64)),
    Subject("attunet", "MONAI AttentionUnet, segmentation", attention_u_net, (1, 48, 48), 5e-3, "segmentation"),
)
