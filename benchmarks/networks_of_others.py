"""Networks that nobody here drew: is each left as it was, which layer is chosen, and is the gradient torch's own.

    python benchmarks/networks_of_others.py [part of a name ...]

Needs timm, torchvision and MONAI. Each network has random weights, and saliscope is the first to run it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from model.module_state import Snapshot

#: timm's architectures, small, many of which keep something while they run.
OF_TIMM = (
    "resnet10t", "densenet121", "convnext_atto", "convnextv2_atto", "test_efficientnet", "efficientnetv2_rw_t",
    "mobilenetv3_small_050", "seresnet50", "resnest14d", "regnety_002", "vit_tiny_patch16_224", "test_vit",
    "deit3_small_patch16_224",
    "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "levit_128s", "convit_tiny", "tiny_vit_5m_224",
    "efficientformer_l1", "efficientformerv2_s0", "mixer_s32_224", "maxvit_rmlp_pico_rw_256", "coatnet_pico_rw_224",
    "edgenext_xx_small", "mobilevitv2_050", "poolformer_s12", "caformer_s18", "gcvit_xxtiny", "davit_tiny",
    "focalnet_tiny_srf", "xcit_nano_12_p16_224", "crossvit_tiny_240", "pit_ti_224", "inception_v3", "nfnet_l0",
    "rdnet_tiny", "hgnetv2_b0", "fastvit_t8", "repvit_m0_9", "mambaout_femto",
    "eva02_tiny_patch14_224", "beit_base_patch16_224",
)  # fmt: skip
OF_TORCHVISION = (
    "alexnet", "vgg11_bn", "resnet18", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
    "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf",
    "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t", "maxvit_t",
)  # fmt: skip


def of_timm(name: str) -> tuple[nn.Module, Tensor]:
    import timm

    net = timm.create_model(name, num_classes=3).eval()
    size = net.pretrained_cfg.get("input_size", (3, 224, 224))[1:]
    return net, drawn(3, *size)


def of_torchvision(name: str) -> tuple[nn.Module, Tensor]:
    import torchvision

    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=3, **extra).eval()
    return net, drawn(3, *[299 if name == "inception_v3" else 224] * 2)


def of_monai() -> dict[str, Callable[[], tuple[nn.Module, Tensor]]]:
    from monai.networks import nets

    def pair(net: nn.Module, *shape: int) -> tuple[nn.Module, Tensor]:
        return net.eval(), drawn(*shape)

    cube = (1, 32, 32, 32)
    return {
        "DenseNet121 3D": lambda: pair(nets.DenseNet121(3, 1, 3), *cube),
        "resnet18 3D": lambda: pair(nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=3), *cube),
        "SEResNet50": lambda: pair(nets.SEResNet50(spatial_dims=2, in_channels=3, num_classes=3), 3, 96, 96),
        "EfficientNetBN": lambda: pair(
            nets.EfficientNetBN("efficientnet-b0", pretrained=False, num_classes=3), 3, 96, 96
        ),
        "ViT 3D": lambda: pair(
            Classes(nets.ViT(1, (32,) * 3, (8,) * 3, 48, 96, 2, 4, classification=True, num_classes=3)), *cube
        ),
        "UNet 3D": lambda: pair(Mean(nets.UNet(3, 1, 3, (4, 8, 16), (2, 2))), *cube),
        "DynUNet 3D": lambda: pair(Mean(nets.DynUNet(3, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 8, 16])), *cube),
        "SegResNet 3D": lambda: pair(Mean(nets.SegResNet(3, init_filters=8, out_channels=3)), *cube),
        "SwinUNETR 3D": lambda: pair(Mean(nets.SwinUNETR(1, 3, feature_size=12, spatial_dims=3)), *cube),
        "UNETR 3D": lambda: pair(Mean(nets.UNETR(1, 3, (32,) * 3, 8, 48, 96, 4)), *cube),
        "AttentionUnet 3D": lambda: pair(Mean(nets.AttentionUnet(3, 1, 3, (4, 8, 16), (2, 2))), *cube),
    }  # fmt: skip


class Mean(nn.Module):
    """A network of segmentations, asked for the mean of each class."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).flatten(2).mean(2)


class Classes(Mean):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


def drawn(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def asked(x: Tensor, net: nn.Module, method: str) -> Explanation | str:
    try:
        found = saliscope.explain(x, net, method, 1)
    except SaliscopeError as refusal:
        return f"refused: {str(refusal)[:60]}"
    except Exception as error:  # noqa: BLE001 - that is what is counted
        return f"CRASH {type(error).__name__}: {str(error)[:60]}"
    assert isinstance(found, Explanation)
    return found


def reported(name: str, make: Callable[[], tuple[nn.Module, Tensor]]) -> str:
    """Return a line of the table for one network."""

    def fresh() -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        return make()

    (net, x), (other, _) = fresh(), fresh()
    began, before = time.process_time(), Snapshot(net)
    found, cam = asked(x, net, "gradient"), asked(x, net, "grad-cam")
    spent = time.process_time() - began
    changed = before.differences(Snapshot(net))
    wanting = x.clone().requires_grad_()
    logits = other(wanting)
    logits[0, 1].backward()
    right = wanting.grad.sum(1)[0].numpy()
    error = found if isinstance(found, str) else f"{np.abs(found.values - right).max() / np.abs(right).max():.0e}"
    with torch.no_grad():
        output = net(x)
    same = type(output) is type(logits) and torch.allclose(output, logits.detach(), atol=1e-5)
    left = "as it was" if not changed else f"{len(changed)} changes, {changed[0][:60]}"
    layer = cam if isinstance(cam, str) else f"{cam.provenance.layer} {cam.values.shape} {depth(other, x, cam):.2f}"
    return f"| {name} | {error} | {layer} | {left}{'' if same else ', ANOTHER OUTPUT'} | {spent:.1f} |"


def depth(net: nn.Module, x: Tensor, cam: Explanation) -> float:
    """Return how much of the runs of modules lies before the end of the chosen layer's."""
    ended: list[str] = []
    for name, module in net.named_modules():
        module.register_forward_hook(lambda *_, name=name: ended.append(name))
    with torch.no_grad():
        net(x)
    name = str(cam.provenance.layer).partition("#")[0]
    return (len(ended) - ended[::-1].index(name)) / len(ended)


def main(parts: list[str]) -> None:
    warnings.simplefilter("ignore")
    made: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {}
    made |= {f"timm {n}": lambda n=n: of_timm(n) for n in OF_TIMM}
    made |= {f"torchvision {n}": lambda n=n: of_torchvision(n) for n in OF_TORCHVISION}
    made |= {f"MONAI {n}": make for n, make in of_monai().items()}
    print("| network | gradient off by | auto layer, grid, depth | left | CPU s |\n|---|---|---|---|--:|")
    for name, make in made.items():
        if not parts or any(p in name for p in parts):
            try:
                print(reported(name, make), flush=True)
            except Exception as error:  # noqa: BLE001 - the table goes on
                print(f"| {name} | the script failed: {type(error).__name__}: {str(error)[:100]} | | | |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
