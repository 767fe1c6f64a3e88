"""From a card to a network: build the architecture, check the weights, fill it. Nothing in the files is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, ModelError, WeightsError, did_you_mean
from saliscope.model.adapters.libraries import LIBRARIES
from saliscope.model.adapters.library import parameters_of, without_download
from saliscope.model.adapters.xrv import keep_columns, split_arguments, without_thresholds
from saliscope.model.card import Card, find
from saliscope.model.weights import file_digest, fill, named, read_state
from saliscope.model.zoo import ARCHITECTURES

if TYPE_CHECKING:
    from torch import nn

    from saliscope.model.network import Network

MONAI = "monai.networks.nets"
#: Architectures that the weights file brings itself: "module:function" that takes it apart.
FILES: Mapping[str, str] = {
    "keras": "saliscope.model.adapters.keras_net:load_keras",
    "onnx": "saliscope.model.adapters.onnx_net:load_onnx",
    "torchscript": "saliscope.model.adapters.script:load_script",
}
#: Those of them that run what the file says, and not layers that were read from it.
PROGRAMS = ("torchscript",)


def load(card: Card | str | Path, *, allow_code: bool = False, device: str = "cpu") -> Network:
    """Return the network of a card, of a shipped card's name, or of a card's path, in evaluation mode.

    `allow_code` permits an architecture "module:function", which runs that function. Raises CardError for a card
    that is wrong, WeightsError for weights that are missing, changed, unsafe or do not fit, ModelError for a device.
    """
    from saliscope.model.network import Network

    chosen = card if isinstance(card, Card) else find(card)
    # The weights are checked before the architecture is built: a changed file stops everything.
    path = chosen.weights_path()
    digest = "" if path is None else _checked_digest(chosen, path)
    module, notes = _filled(chosen, path, allow_code=allow_code)
    if chosen.unsaid:
        notes = (*notes, f"The card of this network leaves empty: {', '.join(chosen.unsaid)}.")
    try:
        module = module.eval().to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} ({error})", expected="a device of this machine", do="Use 'cpu'") from error
    return Network(
        module=module,
        labels=chosen.labels,
        kind=chosen.output,
        name=chosen.name,
        viewing=chosen.view,
        thresholds=tuple(chosen.thresholds.get(label) for label in chosen.labels),
        layer=chosen.layer,
        digest=digest,
        output=chosen.output_key,
        card=chosen,
        rescaled=chosen.scale == "operating-point",
        notes=notes,
    )


def _filled(card: Card, path: Path | None, *, allow_code: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module of a card with its weights in it, and what is to be said of it."""
    if card.architecture in FILES:
        if path is None:
            raise CardError(
                f"card {card.path} with architecture {card.architecture!r} and no weights",
                expected="weights = the file that carries the network",
                do="Name it",
            )
        if card.architecture in PROGRAMS and not allow_code:
            raise _needs_permission(card.architecture)
        carried = _imported(FILES[card.architecture], card.architecture)(path, card.output, card.output_key)
        return carried.module, carried.notes
    module = build(card.architecture, card.arguments, allow_code=allow_code)
    chest = card.architecture.startswith("torchxrayvision.")
    if path is not None:
        state, source = read_state(path, card.state_key), f"weights {path.name} of {card.name!r}"
        state = named(state, card.prefix, source, rename=card.rename, ignore=card.ignore)
        fill(module, without_thresholds(state) if chest else state, source)
    outputs = split_arguments(card.arguments)[0] if chest else []
    return (keep_columns(module, outputs, card.labels) if outputs else module), ()


def build(architecture: str, arguments: Mapping[str, Any], *, allow_code: bool = False) -> nn.Module:
    """Return the untrained module of an architecture: ours by name, MONAI's, or "module:function" where allowed.

    Raises CardError for an architecture or an argument that is not there.
    """
    return _made(architecture, *_maker(architecture, arguments, allow_code=allow_code))


def architecture_parameters(architecture: str, *, allow_code: bool = False) -> frozenset[str]:
    """Return the names of the arguments that an architecture takes; raises CardError for one that is not there."""
    names = set(parameters_of(_maker(architecture, {}, allow_code=allow_code)[0]))
    # These two libraries take theirs as keywords that their signatures do not name.
    begins = {"torchvision.models.": {"num_classes", "in_channels"}, "timm.": {"num_classes", "in_chans"}}
    return frozenset(names.union(*(more for begin, more in begins.items() if architecture.startswith(begin))))


def _maker(
    architecture: str, arguments: Mapping[str, Any], *, allow_code: bool
) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """Return what builds an architecture, and the arguments with which it fetches nothing."""
    if architecture in ARCHITECTURES:
        return _imported(ARCHITECTURES[architecture], architecture), arguments
    if architecture.startswith(f"{MONAI}."):
        maker = _monai_class(architecture)
        return maker, _without_download(architecture, maker, arguments)
    if ":" in architecture:
        if not allow_code:
            raise _needs_permission(architecture)
        return _imported(architecture, architecture), arguments
    if library := next((find for begin, find in LIBRARIES.items() if architecture.startswith(begin)), None):
        return library(architecture, arguments)
    raise CardError(
        f"architecture {architecture!r}",
        expected=f"one of ours, {MONAI}.Name, torchvision.models.name, timm.name, a file's, or module:function",
        do=did_you_mean(architecture, {**ARCHITECTURES, **FILES}),
    )


def _needs_permission(architecture: str) -> CardError:
    return CardError(
        f"architecture {architecture!r}, which runs code of its own",
        expected="permission to run it",
        do="If you trust that code, say --allow-code (in Python: allow_code=True)",
    )


def _checked_digest(card: Card, path: Path) -> str:
    got = file_digest(path)
    if card.digest and card.digest != f"sha256:{got}":
        raise WeightsError(
            f"weights {path} have the digest sha256:{got}",
            expected=card.digest,
            do=f"Fetch the weights of {card.name!r} again; if you changed them, write the new digest into the card",
        )
    return got


def _imported(address: str, architecture: str) -> Callable[..., Any]:
    module, _, name = address.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CardError(
            f"architecture {architecture!r} does not import ({error})",
            expected="module:function that can be imported",
            do="Install the module, or put its folder on PYTHONPATH",
        ) from error
    return _callable(architecture, found)


def _monai_class(architecture: str) -> Callable[..., Any]:
    from torch import nn

    name = architecture[len(MONAI) + 1 :]
    try:
        nets = import_module(MONAI)
    except (ImportError, RuntimeError) as error:
        raise CardError(
            f"architecture {architecture!r} needs MONAI, which does not import ({error})",
            do="Install it: pip install 'saliscope[monai]'",
        ) from error
    known = {k for k, v in vars(nets).items() if isinstance(v, type) and issubclass(v, nn.Module)}
    if name not in known:
        raise CardError(f"architecture {architecture!r}", expected="a class there", do=did_you_mean(name, known))
    return _callable(architecture, getattr(nets, name))


def _without_download(architecture: str, maker: Callable[..., Any], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse and switch off `pretrained...`: it would fetch a file and unpickle it."""
    without_download(architecture, arguments)
    known = parameters_of(maker)
    off = {k: False for k, p in known.items() if k.startswith("pretrained") and p.default is True}
    return {**off, **arguments}


def _callable(architecture: str, found: object) -> Callable[..., Any]:
    if not callable(found):
        raise CardError(
            f"architecture {architecture!r} is {type(found).__name__}",
            expected="a class or function",
            do="Name what makes the module",
        )
    return found


def _made(architecture: str, maker: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    from torch import nn

    parameters = parameters_of(maker)
    open_ended = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if key not in parameters and not open_ended:
            raise CardError(f"argument {key!r} of architecture {architecture!r}", do=did_you_mean(key, parameters))
    try:
        module = maker(**arguments)
    except Exception as error:
        raise CardError(
            f"architecture {architecture!r} with {dict(arguments)} ({type(error).__name__}: {error})",
            do="Correct the card's arguments",
        ) from error
    if not isinstance(module, nn.Module):
        raise CardError(
            f"architecture {architecture!r} made {type(module).__name__}",
            expected="a torch.nn.Module",
            do="Name what makes the module",
        )
    return module
