"""A card for weights that have none: what the file tells, what is guessed and from what, tried before it is written."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, ModelError, SaliscopeError, WeightsError, WriteError
from saliscope.core.target import OutputKind
from saliscope.model.card import Card
from saliscope.model.file_kind import NOT_WHOLE, OF_WEIGHTS, WORDS, file_kind
from saliscope.study.card_text import Line, written
from saliscope.study.card_view import Input, input_of
from saliscope.study.card_words import said_labels

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.core.image import MedicalImage
    from saliscope.model.network import Network

WARNING = (
    "The lines marked 'guessed' in the card of this network were not told by its owner: preprocessing, labels and kind "
    "of output may be other than those that it was trained with."
)
KINDS: Mapping[str, tuple[OutputKind, ...]] = {
    "one": ("binary", "regression"),
    "several": ("multi-class", "multi-label"),
    "map": ("segmentation",),
}


@dataclass(frozen=True, eq=False)
class Told:
    """What the user said of the weights; empty where nothing was said."""

    architecture: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    kind: OutputKind | None = None
    size: tuple[int, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_code: bool = False


@dataclass(frozen=True, eq=False)
class Draft:
    """A card that was tried: its text and path, the network that it loads, one output, and what to tell the user."""

    path: Path
    text: str
    network: Network
    output: Tensor
    facts: tuple[tuple[str, str], ...]

    @property
    def guesses(self) -> list[str]:
        """Return the lines that are guesses."""
        return [line for line in self.text.splitlines() if "# guessed:" in line]


def card_path(weights: Path, out: Path | None, *, overwrite: bool) -> Path:
    """Return where the card is written: beside the weights unless said otherwise; raises WriteError for one there."""
    path = weights.with_suffix(".toml") if out is None else out
    if path.is_dir():
        raise WriteError(f"{path} is a folder", expected="the path of a card", do=f"Say --out {path / 'card.toml'}")
    if path.exists() and not overwrite:
        raise WriteError(
            f"{path} is there already", expected="no file", do="Give another name by --out, or allow --overwrite"
        )
    return path


def drafted(weights: Path, path: Path, told: Told | None = None, example: MedicalImage | None = None) -> Draft:
    """Return a card for a weights file, built, filled and run once, on the example where there is one.

    Nothing is written. Raises WeightsError for a file that cannot be read without running it, and ModelError that says
    what to tell where the architecture cannot be guessed or does not fit.
    """
    from saliscope.study.card_source import source_of

    told = told or Told()
    kind = file_kind(weights)
    if kind not in OF_WEIGHTS:
        raise WeightsError(
            f"weights {weights.name} are {WORDS[kind]}",
            expected="a state dict, a checkpoint, safetensors, TorchScript, ONNX or Keras HDF5",
            do="Fetch or write it again" if kind in NOT_WHOLE else "Take the file that holds the network's weights",
        )
    source = source_of(weights, kind, told)
    lines = [*_opening(weights, path), *source.lines]
    view = input_of(source.seen, told.size)
    closing = _closing(example, view)
    # Any network gives a number or several: so it is run before the kind of its output is known.
    trial = [*lines, Line("labels", ["a"]), Line("output", "regression"), *closing]
    output = _output_of(_network(_card(path, trial, view), told), view, example)
    answers, kind_said = _answers(output, source.activation, source.beside, told, weighted=source.weighted)
    lines += [*answers, *closing]
    network = _network(_card(path, lines, view), told)
    text = written(_head(weights), lines, view.steps)
    facts = [
        ("file", source.what),
        ("architecture", source.architecture),
        ("parameters", f"{sum(p.numel() for p in network.module.parameters()):,}"),
        ("input", view.words),
        ("output", f"(N, {', '.join(map(str, output.shape[1:]))}): {kind_said}"),
        *(("note", note) for note in (*source.notes, *_doubts(output, network))),
    ]
    return Draft(path, text, network, output, tuple(facts))


def _head(weights: Path) -> str:
    return (
        f"Written by `saliscope model init` for {weights.name}.\n"
        "A line with 'guessed' was read from names and shapes, and nobody said it: correct it where it is wrong."
    )


def _opening(weights: Path, path: Path) -> list[Line]:
    from saliscope.model.weights import file_digest

    try:
        place = os.path.relpath(weights.resolve(), path.resolve().parent)
    except ValueError:  # another drive
        place = str(weights.resolve())
    return [
        Line("schema", 1),
        Line("name", weights.stem),
        Line("title", weights.stem, note="the file's name: say what the network tells apart, and on what images"),
        Line("description", "", note="what it is, and how it was trained"),
        Line("weights", Path(place).as_posix()),
        Line("digest", f"sha256:{file_digest(weights)}"),
    ]


def _closing(example: MedicalImage | None, view: Input) -> list[Line]:
    modality = example.modality if example is not None else ""
    why = "the example's" if modality else "nothing in the file says it; such as CT, MR, US, DX"
    return [
        Line("modalities", [modality or "unknown"], why),
        *view.lines,
        Line("licence", "", note="not known: under what the weights may be used"),
        Line("attribution", "", note="not known: who trained it, and on whose data"),
        Line("intended", "", note="not known: what it may be used for"),
        Line("limits", [], note="not known: what it must not be used for"),
        Line("warning", WARNING, note="delete this line when every guess is checked"),
    ]


def _card(path: Path, lines: Sequence[Line], view: Input) -> Card:
    return Card.of(tomllib.loads(written("", lines, view.steps)), path)


def _network(card: Card, told: Told) -> Network:
    from saliscope.model.load import load

    return load(card, allow_code=told.allow_code)


def _output_of(network: Network, view: Input, example: MedicalImage | None) -> Tensor:
    """Return what the network gives for the example, else for noise of the guessed size."""
    import torch

    from saliscope.model.output import selected

    if example is not None:
        if example.geometry.ndim != view.dimensions:
            raise ModelError(
                f"a network for {view.dimensions} dimensions and an example of {example.geometry.ndim}",
                expected="an image such as it was trained on",
                do="Give another --example",
            )
        x = network.viewing(example).tensor
    else:
        x = torch.rand(1, view.channels, *view.size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            output = selected(network.module(x.to(network.dtype)), None)
    except SaliscopeError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the network does not run on an input of {tuple(x.shape)} ({first[:200]})",
            expected="the size that it was trained with",
            do="Say it by --size, such as --size 256 or --size 96,96,96",
        ) from error
    if not bool(output.isfinite().all()):
        raise ModelError(
            "the network gives values that are not finite", do="Take the weights of another epoch, or another --size"
        )
    return output


def _answers(
    output: Tensor, activation: str, beside: Mapping[str, Any], told: Told, *, weighted: bool
) -> tuple[list[Line], str]:
    """Return the lines of labels and kind of output, and the kind in words."""
    columns = output.shape[1] if output.ndim > 1 else 1
    form = "map" if output.ndim > 2 else "one" if columns == 1 else "several"
    kind = told.kind or KINDS[form][0]
    why = ""
    if told.kind is None:
        kind, why = _guessed_kind(form, activation, weighted=weighted)
    count = 2 if kind == "binary" else columns
    labels, place = told.labels, ""
    if not labels:
        labels, place = said_labels(beside, count)
        place = place and f"{place!r} in the file"
    if not labels:
        labels = ("negative", "positive") if kind == "binary" else tuple(f"class {i}" for i in range(count))
        place = "the last layer's outputs are counted; name them in their order, or by --labels A,B"
    if len(labels) != count:
        raise CardError(
            f"{len(labels)} labels for an output of {columns} columns and kind {kind!r}",
            expected=f"{count} labels",
            do="Give both classes of a single logit, the negative one first"
            if kind == "binary"
            else "Correct --labels",
        )
    said = f"{kind}{' (guessed)' if why else ''}, {', '.join(labels[:6])}{', ...' if len(labels) > 6 else ''}"
    return [Line("labels", list(labels), "" if told.labels else place), Line("output", kind, why)], said


def _guessed_kind(form: str, activation: str, *, weighted: bool) -> tuple[OutputKind, str]:
    """Return a kind of output and from what it is guessed; no reason where the file says it."""
    if form == "map":
        return "segmentation", "one score for each class and element"
    if activation == "softmax":
        return "multi-class", ""
    if form == "one":
        said = "" if activation == "sigmoid" else "one logit; 'regression' if it is a number that is predicted"
        return "binary", said
    if activation == "sigmoid":
        return "multi-label", ""
    if weighted:
        return "multi-label", "its loss has pos_weight; 'multi-class' if the classes exclude each other"
    return "multi-class", "several logits; 'multi-label' if several classes can be there at once"


def _doubts(output: Tensor, network: Network) -> list[str]:
    from saliscope.study.inspection import ending

    ends = ending(output, network.kind)
    if not ends:
        return []
    return [f"the outputs look like {ends} and not like logits: maps of saturated values fade"]
