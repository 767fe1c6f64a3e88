"""Which known architecture a state dict belongs to, by the names and shapes of its weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, ModelError
from saliscope.model.adapters.library import imported
from saliscope.model.architecture_fit import Fit, Misfit, dimensions_of, fit_of
from saliscope.model.load import MONAI

if TYPE_CHECKING:
    from torch import Tensor

Arguments = Mapping[str, Any]
#: A candidate: its name in a card, and arguments beside classes, channels and dimensions.
Candidate = tuple[str, Arguments]


@dataclass(frozen=True)
class Family:
    """Networks whose weights bear names of one kind: `mark` is found in one of them.

    `torchvision` and `timm` are patterns of names there, in the order in which they are tried; `ours` and `monai` name
    single architectures. `unsaid` is what no weight tells, so that the user has to say it.
    """

    what: str
    mark: str
    torchvision: tuple[str, ...] = ()
    timm: tuple[str, ...] = ()
    monai: str = ""
    ours: str = ""
    unsaid: str = ""


#: In the order in which they are tried.
FAMILIES = (
    Family("a U-Net of saliscope's", r"encoder\.0\.conv1\.weight$", ours="u-net"),
    Family("saliscope's residual-net", r"stages\.0\.norm1\.weight$", ours="residual-net", unsaid="strides=[2, 2, 2]"),
    Family("saliscope's plain-net", r"blocks\.0\.0\.weight$", ours="plain-net", unsaid="strides=[2, 1, 1, 1]"),
    Family("a VGG or AlexNet", r"features\.0\.weight$", ("vgg*", "alexnet"), ("vgg*",)),
    Family(
        "a segmentation network of torchvision",
        r"classifier\.(0\.convs|4\.weight|low_classifier)",
        ("segmentation.*",),
    ),
    Family("an SE-ResNet of timm", r"layer1\.0\.se\.", timm=("seresnet[0-9]*", "seresnext[0-9]*")),
    Family(
        "a ResNet",
        r"layer1\.0\.conv1\.weight$",
        ("resnet*", "resnext*", "wide_resnet*"),
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet*[0-9]d", "resnet[0-9]*", "resnext*", "wide_resnet*"),
        "ResNet",
    ),
    Family("a DenseNet", r"features\.denseblock1\.denselayer1\.(norm1|conv1)\.weight$", ("densenet*",), ("densenet*",)),
    Family("a DenseNet of MONAI", r"features\.denseblock1\.denselayer1\.layers\.norm1\.", monai="DenseNet"),
    Family("an EfficientNet of MONAI", r"_conv_stem\.weight$", monai="EfficientNetBN"),
    Family("a BasicUNet of MONAI", r"conv_0\.conv_0\.conv\.weight$", monai="BasicUNet"),
    Family("a SegResNet of MONAI", r"convInit\.conv\.weight$", monai="SegResNet"),
    Family("a SwinUNETR of MONAI", r"swinViT\.patch_embed\.proj\.weight$", monai="SwinUNETR"),
    Family(
        "a UNet of MONAI",
        r"model\.0\.conv\.(unit0\.)?(conv\.)?weight$",
        monai="UNet",
        unsaid="channels=[16, 32, 64, 128] --argument strides=[2, 2, 2]",
    ),
    Family("an EfficientNet of torchvision", r"features\.1\.0\.block\.0\.0\.weight$", ("efficientnet_*",)),
    Family("a MobileNet of torchvision", r"features\.1\.(block|conv)\.0\.0\.weight$", ("mobilenet_*",)),
    Family("a ConvNeXt of torchvision", r"features\.1\.0\.layer_scale$", ("convnext_*",)),
    Family("a Swin of torchvision", r"features\.1\.0\.attn\.qkv\.weight$", ("swin_*",)),
    Family("a SqueezeNet", r"features\.\d+\.squeeze\.weight$", ("squeezenet*",)),
    Family("a ShuffleNet", r"stage2\.0\.branch1\.0\.weight$", ("shufflenet*",)),
    Family("an MNASNet", r"layers\.8\.0\.layers\.0\.weight$", ("mnasnet*",)),
    Family("a RegNet", r"trunk_output\.block1\.", ("regnet_*",)),
    Family("an Inception", r"Conv2d_1a_3x3\.conv\.weight$", ("inception_v3",), ("inception_v3",)),
    Family("a GoogLeNet", r"inception3a\.branch1\.conv\.weight$", ("googlenet",)),
    Family("a vision transformer of torchvision", r"encoder\.layers\.encoder_layer_0\.ln_1\.weight$", ("vit_*",)),
    Family("a MaxVit", r"blocks\.0\.layers\.0\.layers\.MBconv\.", ("maxvit_t",)),
    Family(
        "an EfficientNet or MobileNet of timm",
        r"conv_stem\.weight$",
        timm=(
            *("efficientnet_b[0-7]", "mobilenetv2_100", "mobilenetv3_*_100", "efficientnetv2_*", "efficientnet_lite0"),
            *("tf_efficientnetv2_[smlb]*", "mnasnet_100"),
        ),
    ),
    Family(
        "a ConvNeXt of timm",
        r"stages\.0\.blocks\.0\.conv_dw\.weight$",
        timm=("convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "convnext_*", "convnextv2_*"),
    ),
    Family(
        "a vision transformer of timm",
        r"blocks\.0\.attn\.qkv\.weight$",
        timm=(
            "vit_tiny_patch16_224",
            "vit_small_patch16_224",
            "vit_base_patch16_224",
            "vit_*_patch[0-9][0-9]_[0-9][0-9][0-9]",
            "deit_*",
        ),
    ),
    Family(
        "a Swin of timm",
        r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table$",
        timm=("swin_*_patch4_window7_224", "swin_*_patch4_window12_384"),
    ),
)
#: So few names in the way of one network mean that it is the one, changed: no other library's fits better.
_NEAR = 4
#: MONAI's DenseNets, and how many layers their third block has.
_DENSE = {"DenseNet121": 24, "DenseNet169": 32, "DenseNet201": 48, "DenseNet264": 64}


def guessed(state: Mapping[str, Tensor], ignore: Sequence[str] = ()) -> Fit:
    """Return the architecture that a state dict fits, the first library's that has it.

    Raises ModelError that says which to give: where the names are not known, where the weights do not tell all,
    where two networks that compute differently fit, and where the library is not installed.
    """
    met = [f for f in FAMILIES if any(re.search(rf"(^|\.){f.mark}", key) for key in state)]
    misfits: list[Misfit] = []
    absent: dict[str, None] = {}
    for family in met:
        if family.unsaid:
            raise _unsaid(family)
        for tried in (_of_torchvision, _of_timm, _of_monai, _of_ours):
            if any(m.distance <= _NEAR for m in misfits):
                break
            try:
                for name, arguments in tried(family, state):
                    found = fit_of(name, arguments, state, ignore)
                    if isinstance(found, Fit):
                        return _alone(found, state, ignore)
                    misfits.append(found)
            except CardError as error:
                absent[str(error)] = None
    looks = f"look like those of {met[0].what}, but none of these fits" if met else "have names that are not known"
    why = [min(misfits, key=lambda m: m.distance).got] if misfits else []
    raise ModelError(
        f"the weights {looks}{''.join(f' ({reason})' for reason in (*why, *absent))}",
        expected="an architecture for them",
        do="Say it: --architecture torchvision:NAME, timm:NAME, monai:NAME, or module:function --allow-code for code "
        "of your own; leave out what is no part of the network by --ignore BEGINNING",
    )


def _alone(found: Fit, state: Mapping[str, Tensor], ignore: Sequence[str]) -> Fit:
    """Return what was found, or refuse it where its twin of TensorFlow, which pads otherwise, takes the weights too."""
    name = found.architecture
    library, _, own = name.partition(".")
    if library != "timm" or own.startswith("tf_") or f"tf_{own}" not in imported("timm", "timm", name).list_models():
        return found
    twin = f"timm.tf_{own}"
    if isinstance(fit_of(twin, {}, state, ignore), Misfit):
        return found
    raise ModelError(
        f"the weights fit {name} and {twin}, which compute differently",
        expected="the one that they were trained with",
        do=f"Say it: --architecture {name} or --architecture {twin}",
    )


def _unsaid(family: Family) -> ModelError:
    name = family.ours or f"monai:{family.monai}"
    return ModelError(
        f"the weights look like those of {family.what}, and what it needs beside them is not in the file",
        expected="arguments that no weight tells",
        do=f"Say them as you trained it, such as --architecture {name} --argument {family.unsaid}".replace(
            "=[", "='["
        ).replace("]", "]'"),
    )


def _of_torchvision(family: Family, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    """Give the networks of a family, those first whose size is nearest to that of the weights."""
    if not family.torchvision or dimensions_of(state) != 2:
        return
    models = imported("torchvision.models", "torchvision", f"the architecture of {family.what}")
    segmenting = family.torchvision[0].startswith("segmentation.")
    begin = "segmentation." if segmenting else ""
    names = models.list_models(module=models.segmentation if segmenting else models)
    chosen = [n for n in names if any(fnmatchcase(begin + n, pattern) for pattern in family.torchvision)]
    size = sum(v.numel() for v in state.values())
    aux = any("aux" in key.lower() for key in state)
    for name in sorted(chosen, key=lambda n: abs(models.get_model_weights(n).DEFAULT.meta["num_params"] - size)):
        more = {"aux_logits": aux} if name in ("inception_v3", "googlenet") else {}
        yield f"torchvision.models.{begin}{name}", {"aux_loss": True} if segmenting and aux else more


def _of_timm(family: Family, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    if not family.timm or dimensions_of(state) != 2:
        return
    known = imported("timm", "timm", f"the architecture of {family.what}").list_models()
    listed = [n for pattern in family.timm for n in sorted(known, key=len) if fnmatchcase(n, pattern)]
    yield from ((f"timm.{name}", {}) for name in dict.fromkeys(listed))


def _of_monai(family: Family, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    if not family.monai:
        return
    name = f"{MONAI}.{family.monai}"
    if family.monai == "DenseNet":
        # The third block's length tells them apart.
        third = {m[1] for k in state if (m := re.search(r"denseblock3\.denselayer(\d+)\.", k))}
        yield from ((f"{MONAI}.{n}", {}) for n, depth in _DENSE.items() if depth == len(third))
    elif family.monai == "EfficientNetBN":
        yield from ((name, {"model_name": f"efficientnet-b{n}", "pretrained": False}) for n in range(8))
    elif family.monai == "ResNet":
        yield name, _residual(state)
    elif family.monai == "BasicUNet":
        steps = ["conv_0", *(f"down_{n}.convs" for n in range(1, 5)), "upcat_1.convs"]
        yield name, {"features": [_width(state, f"{step}.conv_0.conv.weight") for step in steps]}
    elif family.monai == "SegResNet":
        yield name, {"init_filters": _width(state, "convInit.conv.weight")}
    else:
        yield name, {"feature_size": _width(state, "swinViT.patch_embed.proj.weight")}


def _width(state: Mapping[str, Tensor], end: str) -> int:
    """Return how many channels the layer gives whose weight's name ends so; 1 where there is none."""
    return next((int(v.shape[0]) for k, v in state.items() if k == end or k.endswith(f".{end}")), 1)


def _residual(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of MONAI's ResNet: its blocks are counted."""
    layers = [len({m[1] for k in state if (m := re.search(rf"(?:^|\.)layer{n}\.(\d+)\.", k))}) for n in range(1, 5)]
    deep = any(re.search(r"(^|\.)layer1\.0\.conv3\.weight$", k) for k in state)
    biased = any(k.endswith("downsample.0.bias") for k in state)
    return {
        "block": "bottleneck" if deep else "basic",
        "layers": layers,
        "block_inplanes": [64, 128, 256, 512],
        "bias_downsample": biased,
    }


def _of_ours(family: Family, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    if not family.ours:
        return
    widths = {m[1]: v.shape[0] for k, v in state.items() if (m := re.search(r"encoder\.(\d+)\.conv1\.weight$", k))}
    counted = any(k.endswith("running_mean") for k in state)
    yield family.ours, {"widths": [int(n) for n in widths.values()], "norm": "batch" if counted else "instance"}
