"""What a weights file tells of its network: its architecture, its input, and what its last layer computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, ModelError, WeightsError
from saliscope.model.checkpoint import Checkpoint, read_checkpoint
from saliscope.model.file_kind import WORDS, FileKind, init_command
from saliscope.study.card_text import Line
from saliscope.study.card_view import IMAGENET, Seen, Spread

if TYPE_CHECKING:
    from saliscope.model.adapters.wired import Carried
    from saliscope.model.architecture_fit import Fit
    from saliscope.study.card_draft import Told

_SHOWN = 4


@dataclass(frozen=True, eq=False)
class Source:
    """What a file tells: `what` it is, the `lines` of the card that follow from it, and its input.

    `activation` is the softmax or sigmoid that is taken off its end; `weighted` says that its loss weighs positives.
    """

    what: str
    architecture: str
    lines: tuple[Line, ...]
    seen: Seen
    activation: str = ""
    weighted: bool = False
    notes: tuple[str, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)


def source_of(weights: Path, kind: FileKind, told: Told) -> Source:
    """Return what a weights file tells; raises ModelError where the user has to say more."""
    if kind == "keras":
        raise WeightsError(
            f"{weights.name} is {WORDS[kind]}, which is not read",
            expected="the same model as HDF5",
            do=f"Save it where you trust it: keras.models.load_model({weights.name!r})"
            f".save({weights.with_suffix('.h5').name!r}); then {init_command(weights.with_suffix('.h5'))}",
        )
    if kind in ("onnx", "hdf5"):
        _refuse_architecture(weights, kind, told)
        return _carried(weights, kind)
    checkpoint = read_checkpoint(weights)
    if not checkpoint.state:
        raise WeightsError(f"{weights.name} holds no weights", expected="tensors by name", do="Take another file")
    try:
        fit = _fit(checkpoint, told)
    except ModelError as error:
        if kind != "script" or told.architecture:
            raise
        return _program(weights, checkpoint, told, error)
    return _weights(checkpoint, fit, told)


def _refuse_architecture(weights: Path, kind: FileKind, told: Told) -> None:
    own = "onnx" if kind == "onnx" else "keras"
    if told.architecture not in ("", own):
        raise CardError(
            f"--architecture {told.architecture} for {WORDS[kind]}",
            expected="none: the file brings its own",
            do=f"Leave it out: {init_command(weights)}",
        )


def _carried(weights: Path, kind: FileKind) -> Source:
    """Return what an ONNX or Keras file tells."""
    from saliscope.model.adapters.keras_net import load_keras
    from saliscope.model.adapters.onnx_net import load_onnx

    load = load_onnx if kind == "onnx" else load_keras
    carried = load(weights, "regression")
    shape: tuple[int | None, ...] = getattr(carried.module, "shape", ())
    if len(shape) not in (3, 4) or shape[0] is None:
        raise ModelError(
            f"{weights.name} does not say how many channels its input has",
            expected="an input of (N, C, row, column) or (N, C, plane, row, column)",
            do="Export it with that number fixed",
        )
    name = "onnx" if kind == "onnx" else "keras"
    spread = _imagenet(int(shape[0]), "torchvision") if kind == "onnx" else Spread()
    seen = Seen(len(shape) - 1, int(shape[0]), tuple(shape), spread=spread)
    line = Line("architecture", name)
    return Source(WORDS[kind], name, (line,), seen, _activation(load, weights), notes=carried.notes)


def _activation(load: Callable[..., Carried], weights: Path) -> str:
    """Return the softmax or sigmoid at the end of a file's network, or nothing."""
    for name, kind in (("softmax", "multi-class"), ("sigmoid", "multi-label")):
        try:
            if any(note.startswith(f"The final {name}") for note in load(weights, kind).notes):
                return name
        except CardError:
            # It ends in the other one.
            continue
    return ""


def _fit(checkpoint: Checkpoint, told: Told) -> Fit:
    from saliscope.model.architecture_fit import fitted, full_name
    from saliscope.model.architecture_guess import guessed

    if told.architecture and told.architecture != "torchscript":
        name = full_name(told.architecture)
        return fitted(name, told.arguments, checkpoint.state, told.ignore, allow_code=told.allow_code)
    if told.arguments:
        raise CardError("--argument without --architecture", expected="both", do="Say --architecture too")
    if told.architecture:
        raise ModelError("a program that is run as it is", do="Say --allow-code")
    return guessed(checkpoint.state, told.ignore)


def _weights(checkpoint: Checkpoint, fit: Fit, told: Told) -> Source:
    """Return what a state dict and the architecture that it fits tell."""
    from torch.nn.modules.conv import _ConvNd

    named = told.architecture != ""
    first = next((m for m in fit.network.modules() if isinstance(m, _ConvNd)), None) if fit.network else None
    if first is None:
        raise ModelError(
            f"{fit.architecture} has no convolution, so that nothing says what its input is",
            expected="a network for images",
            do="Write its card by hand (docs/how-to/loading-a-network.md)",
        )
    read = ", ".join(fit.guessed)
    lines = [
        Line("architecture", fit.architecture, "" if named else "the names and shapes of the weights fit it"),
        Line("arguments", dict(fit.arguments), f"{read}, from the shapes of the weights" if read else ""),
    ]
    if checkpoint.place:
        others = f"; also there: {', '.join(checkpoint.others[:_SHOWN])}" if checkpoint.others else ""
        lines.append(Line("state_key", checkpoint.place, f"where the weights lie in the file{others}"))
    if fit.prefix:
        lines.append(Line("prefix", fit.prefix, "the weights bear it before the network's own names"))
    if fit.rename:
        lines.append(Line("rename", dict(fit.rename), "the only layer that can be the last one"))
    if fit.ignore:
        why = "" if set(fit.ignore) == set(told.ignore) else "losses, metrics or copies, and no part of the network"
        lines.append(Line("ignore", list(fit.ignore), why))
    channels = int(first.in_channels)
    seen = Seen(len(first.kernel_size), channels, (), checkpoint.beside, _spread(fit, channels))
    weighted = any(key.endswith("pos_weight") for key in checkpoint.state)
    notes = _not_built(checkpoint)
    return Source(_what(checkpoint), fit.architecture, tuple(lines), seen, "", weighted, notes, checkpoint.beside)


def _program(weights: Path, checkpoint: Checkpoint, told: Told, error: ModelError) -> Source:
    """Return what a TorchScript program tells whose architecture is not known: it has to be run as it is."""
    if not told.allow_code:
        raise ModelError(
            f"{weights.name} is a TorchScript program: {error.got}",
            expected=error.expected,
            do=f"{error.do}; or, where you trust the program, run it as it is, without a look at its layers: "
            f"{init_command(weights)} --allow-code",
        ) from error
    first = next((v for v in checkpoint.state.values() if v.ndim in (4, 5)), None)
    if first is None:
        raise error
    seen = Seen(first.ndim - 2, int(first.shape[1]))
    line = Line("architecture", "torchscript", "its layers fit no known network; it runs with --allow-code only")
    note = "every command that takes this card needs --allow-code; CAM methods cannot look into the program"
    return Source(WORDS["script"], "torchscript", (line,), seen, notes=(note,))


def _what(checkpoint: Checkpoint) -> str:
    if "pytorch-lightning_version" in checkpoint.beside:
        return "a Lightning checkpoint"
    if checkpoint.place:
        return f"{WORDS[checkpoint.kind]}, its weights under {checkpoint.place!r}"
    return "a state dict" if checkpoint.kind in ("archive", "pickle") else WORDS[checkpoint.kind]


def _not_built(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what to say of the objects in a checkpoint that were left as names."""
    names = [n for n in checkpoint.foreign if checkpoint.kind != "script"]
    if not names:
        return ()
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return (f"beside the weights lie objects that were not built and not run: {listed}",)


def _spread(fit: Fit, channels: int) -> Spread:
    """Return what the library says of the network's input."""
    own = getattr(fit.network, "pretrained_cfg", None)
    if fit.architecture.startswith("timm.") and isinstance(own, Mapping) and own.get("input_size"):
        mean, std = (tuple(float(n) for n in own.get(k) or ()) for k in ("mean", "std"))
        return Spread(tuple(int(n) for n in own["input_size"][1:]), mean, std, "timm")
    if fit.architecture.startswith("torchvision."):
        size = 299 if "inception" in fit.architecture else int(getattr(fit.network, "image_size", 224))
        return Spread((size, size), *_imagenet_numbers(channels), "torchvision")
    return Spread()


def _imagenet(channels: int, who: str) -> Spread:
    return Spread((), *_imagenet_numbers(channels), who)


def _imagenet_numbers(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return IMAGENET if channels == len(IMAGENET[0]) else ((), ())
