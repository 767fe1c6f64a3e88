"""Whether an architecture fits a state dict: under which prefix, with how many classes and channels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, WeightsError
from saliscope.model.load import MONAI, architecture_parameters, build
from saliscope.model.weights import named

if TYPE_CHECKING:
    from torch import Tensor, nn

#: What makers of networks call these three.
CLASSES = ("num_classes", "out_channels", "classes", "n_classes", "num_outputs", "out_features")
CHANNELS = ("in_channels", "in_chans", "n_input_channels", "input_channels", "n_channels", "channels")
DIMENSIONS = ("spatial_dims", "dimensions")
#: Sizes that stand for a number that is not known yet: no network has them.
_CLASSES, _CHANNELS = 1013, 1019
#: Entries beside a network that losses, metrics and averaged copies leave in a checkpoint.
BESIDE = re.compile(
    r"(^|[._])(loss|criteri|metric|acc|auroc|f1|confmat|dice|ema|averag|teacher|discriminator|swa)", re.I
)
#: The short names of the libraries on the command line.
SHORT: Mapping[str, str] = {
    "torchvision": "torchvision.models.",
    "timm": "timm.",
    "monai": f"{MONAI}.",
    "torchxrayvision": "torchxrayvision.",
}


@dataclass(frozen=True, eq=False)
class Fit:
    """An architecture with the arguments under which it takes a state dict, and how the names are translated.

    `guessed` are the arguments that were read from the shapes; `network` is the module, built without memory.
    """

    architecture: str
    arguments: Mapping[str, Any]
    prefix: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    network: nn.Module | None = None


def full_name(architecture: str) -> str:
    """Return the name that a card uses: "torchvision:resnet18" stands for "torchvision.models.resnet18"."""
    library, colon, name = architecture.partition(":")
    return SHORT[library] + name if colon and library in SHORT else architecture


@dataclass(frozen=True)
class Misfit:
    """Why an architecture does not take a state dict, and how many names or shapes are in the way."""

    distance: int
    got: str


def fitted(
    architecture: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    ignore: Sequence[str] = (),
    *,
    allow_code: bool = False,
) -> Fit:
    """Return how an architecture takes a state dict: classes, channels and dimensions are read from the shapes.

    Raises CardError for what cannot be built, WeightsError that names what does not fit.
    """
    found = fit_of(architecture, arguments, state, ignore, allow_code=allow_code)
    if isinstance(found, Fit):
        return found
    raise WeightsError(
        found.got,
        expected="the names and shapes that this architecture gives its weights",
        do="Name another --architecture or its --argument NAME=VALUE; leave out what is no part of the network by "
        "--ignore BEGINNING; a network of your own code is --architecture module:function --allow-code",
    )


def fit_of(
    architecture: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    ignore: Sequence[str] = (),
    *,
    allow_code: bool = False,
) -> Fit | Misfit:
    """Return how an architecture takes a state dict, or why not; raises CardError for what cannot be built."""
    open_ones = _open(architecture, arguments, state, allow_code=allow_code)
    trial = _built(architecture, {**arguments, **{k: v for k, (v, _) in open_ones.items()}}, allow_code=allow_code)
    own = {k: tuple(v.shape) for k, v in trial.state_dict().items()}
    all_given = named(state, ignore=ignore)
    translated = _translated(own, all_given)
    if isinstance(translated, Misfit):
        return Misfit(translated.distance, f"the weights do not fit {architecture}: {translated.got}")
    prefix, rename, left = translated
    given = named({k: v for k, v in all_given.items() if k not in left}, prefix, rename=rename)
    read, doubt = _read_sizes(own, {k: tuple(v.shape) for k, v in given.items()}, open_ones)
    # torchvision's networks take three channels unless a card says otherwise.
    if architecture.startswith("torchvision.") and read.get("in_channels") == 3:
        del read["in_channels"]
    chosen = {**arguments, **read}
    network = trial if not read else _built(architecture, chosen, allow_code=allow_code)
    wrong = doubt or _wrong(network, given)
    if wrong:
        return Misfit(len(wrong), f"the weights do not fit {architecture}: other shapes: {_few(wrong)}")
    kept = [k for k in all_given if k not in left]
    begins = tuple(dict.fromkeys(_beginning(key, kept) for key in left))
    return Fit(architecture, chosen, prefix, rename, (*ignore, *begins), tuple(read), network)


def _beginning(key: str, kept: Sequence[str]) -> str:
    """Return the shortest dotted beginning of a key that is left out with which no key begins that is kept."""
    parts = key.split(".")
    begins = (".".join(parts[:n]) + "." for n in range(1, len(parts)))
    return next((b for b in begins if not any(k.startswith(b) for k in kept)), key)


def _open(
    architecture: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], *, allow_code: bool
) -> dict[str, tuple[int, str]]:
    """Return the arguments to be read from the shapes, each with what stands for it and what it means."""
    known = architecture_parameters(architecture, allow_code=allow_code)
    found: dict[str, tuple[int, str]] = {}
    for names, stands, means in (
        (CLASSES, _CLASSES, "classes"),
        (CHANNELS, _CHANNELS, "channels"),
        (DIMENSIONS, dimensions_of(state), "dimensions"),
    ):
        name = next((n for n in names if n in known), None)
        if name is not None and not any(n in arguments for n in names):
            found[name] = (stands, means)
    return found


def dimensions_of(state: Mapping[str, Tensor]) -> int:
    """Return for how many dimensions the first convolution is; 2 where there is none."""
    return next((v.ndim - 2 for v in state.values() if v.ndim in (4, 5) and v.is_floating_point()), 2)


def _built(architecture: str, arguments: Mapping[str, Any], *, allow_code: bool) -> nn.Module:
    """Return the module without memory for its weights, where its maker lets itself be called so."""
    import torch

    try:
        with torch.device("meta"):
            return build(architecture, arguments, allow_code=allow_code)
    except CardError as error:
        if not isinstance(error.__cause__, NotImplementedError | RuntimeError):
            raise
        return build(architecture, arguments, allow_code=allow_code)


def _translated(
    own: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor]
) -> tuple[str, dict[str, str], tuple[str, ...]] | Misfit:
    """Return the prefix, the beginnings that are renamed, and the keys that are left out; or what is in the way."""
    nearest = Misfit(len(own) + 1, f"none of its names, such as {next(iter(own), 'a weight')}")
    for prefix in _prefixes(own, given):
        inside = {k[len(prefix) :] for k in given if k.startswith(prefix)}
        missing = [k for k in own if k not in inside and not k.endswith("num_batches_tracked")]
        left = [k for k in given if not k.startswith(prefix) or k[len(prefix) :] not in own]
        rename, left = _renamed_head(own, given, missing, left) if missing else ({}, left)
        more = [k for k in left if not _beside(k, given[k])]
        if missing and not rename:
            misfit = Misfit(len(missing) + len(more), f"{len(missing)} missing ({_few(missing)})")
            nearest = min(nearest, misfit, key=lambda m: m.distance)
        elif more:
            misfit = Misfit(len(more), f"{len(more)} more than it has ({_few(more)})")
            nearest = min(nearest, misfit, key=lambda m: m.distance)
        else:
            return prefix, rename, tuple(left)
    return nearest


def _prefixes(own: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor]) -> Iterator[str]:
    """Give the beginnings under which the first weight of an architecture is there, the shortest first."""
    found: dict[str, None] = {}
    for first in list(own)[:3]:
        found.update({k[: -len(first)]: None for k in given if k == first or k.endswith(f".{first}")})
    # What is named for a loss, an average or a teacher comes last.
    yield from sorted(found, key=lambda p: (bool(BESIDE.search(p)), len(p)))


def _renamed_head(
    own: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor], missing: Sequence[str], left: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return how the one last layer is called, where it lies one step aside: "fc.1." in place of "fc."."""
    heads = {k.rpartition(".")[0] for k in missing}
    head = heads.pop() if len(heads) == 1 else ""
    wanted = own.get(f"{head}.weight", ())
    layers = {k.rpartition(".")[0] for k in left if not _beside(k, given[k]) or given[k].ndim == 2}
    layers = {n for n in layers if f"{n}.weight" in given and given[f"{n}.weight"].ndim == len(wanted)}
    if not head or len(layers) != 1 or wanted[:1] != (_CLASSES,):
        return {}, list(left)
    name = layers.pop()
    if tuple(given[f"{name}.weight"].shape[1:]) != wanted[1:]:
        return {}, list(left)
    return {f"{name}.": f"{head}."}, [k for k in left if not k.startswith(f"{name}.")]


def _beside(key: str, value: Tensor) -> bool:
    """Return whether an entry may be left out unasked: a loss's, a metric's, an average's, or a few numbers."""
    return bool(BESIDE.search(key)) or not value.is_floating_point() or value.ndim == 0


def _read_sizes(
    own: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    open_ones: Mapping[str, tuple[int, str]],
) -> tuple[dict[str, int], list[str]]:
    """Return the numbers that stand where the trial has its stand-ins, and what speaks against there being one."""
    found = {name: stands for name, (stands, means) in open_ones.items() if means == "dimensions"}
    for name, (stands, means) in open_ones.items():
        sizes = [
            given[k][axis]
            for k, shape in own.items()
            if means != "dimensions" and k in given and len(given[k]) == len(shape)
            for axis, size in enumerate(shape)
            if size == stands
        ]
        if len(set(sizes)) > 1 and means == "classes":
            return found, [f"its last layers have {', '.join(map(str, sorted(set(sizes))))} outputs"]
        if sizes:
            found[name] = sizes[0]
    return found, []


def _wrong(network: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
    own = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    wrong = [f"{k} {tuple(v.shape)}, not {own[k]}" for k, v in given.items() if k in own and tuple(v.shape) != own[k]]
    return wrong + [f"{k}, which is not known" for k in given if k not in own]


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
