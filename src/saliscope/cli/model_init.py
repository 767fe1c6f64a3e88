"""A card for weights that have none: one command from a file to `explain`."""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saliscope.cli.show import as_json, line, paragraph
from saliscope.core.errors import CardError, did_you_mean

if TYPE_CHECKING:
    from saliscope.study.card_draft import Draft

EMPTY = "Warning: licence, attribution, intended use and limits are empty: fill them in before others use it.\n"
Weights = Annotated[
    Path, typer.Argument(help="A state dict, a checkpoint (Lightning too), safetensors, TorchScript, ONNX, Keras .h5.")
]
Architecture = Annotated[
    str,
    typer.Option(
        help="torchvision:NAME, timm:NAME, monai:NAME, one of saliscope's, or module:function; guessed where left out."
    ),
]
Arguments = Annotated[
    list[str], typer.Option("--argument", help="NAME=VALUE for the architecture, such as strides='[2, 2]'; repeatable.")
]
Labels = Annotated[str, typer.Option(help="The classes in the order of the outputs, with commas.")]
Kind = Annotated[str, typer.Option(help="multi-class, multi-label, binary, regression, segmentation.")]
Size = Annotated[str, typer.Option(help="The size of the input: 256, or rows,columns, or planes,rows,columns.")]
Example = Annotated[Path | None, typer.Option(help="An image to run it on once.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The card to write; WEIGHTS with .toml where left out.")]
Ignore = Annotated[
    list[str], typer.Option("--ignore", help="Beginning of names in the file that are no part of the network.")
]


def model_init(
    weights: Weights,
    architecture: Architecture = "",
    example: Example = None,
    labels: Labels = "",
    kind: Kind = "",
    size: Size = "",
    argument: Arguments = [],  # noqa: B006 - typer reads the default and never changes it
    ignore: Ignore = [],  # noqa: B006
    out: Out = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a card that is there.")] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let module:function or a program run.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Write a card for a weights file, tried and ready for `explain`; what was guessed is marked in it.

    Nothing in the file is run: objects beside the weights are left as names. A card that is there stays.
    """
    from saliscope.study.card_draft import Told, card_path, drafted
    from saliscope.write.atomic import write_file

    told = Told(
        architecture,
        dict(_argument(word) for word in argument),
        tuple(part.strip() for part in labels.split(",") if part.strip()),
        _kind(kind),
        _sizes(size),
        tuple(ignore),
        allow_code,
    )
    path = card_path(weights, out, overwrite=overwrite)
    if not json:
        sys.stderr.write(f"Looking at {weights}{'' if allow_code else '; nothing in it is run'}.\n")
    image = None
    if example is not None:
        from saliscope.read import read

        image = read(example)
    draft = drafted(weights, path, told, image)
    write_file(path, draft.text.encode())
    if json:
        said = draft.network.predictions(draft.output)[0] if image is not None else None
        facts = [list(fact) for fact in draft.facts]
        shares = None if said is None else dict(zip(said.labels, said.probabilities or said.logits, strict=True))
        as_json({"card": str(path), "facts": facts, "guesses": draft.guesses, "example": shares})
        return
    _say(draft, example)


def _say(draft: Draft, example: Path | None) -> None:
    for label, text in draft.facts:
        paragraph(label, text)
    if example is not None:
        said = draft.network.predictions(draft.output)[0]
        paragraph("the example", "; ".join(said.sentence(label) for label in said.labels[:6]))
    line(f"\n{draft.path}: {len(draft.guesses)} of its lines are guesses, each marked; correct them there:")
    for text in draft.guesses:
        line(f"  {text}")
    sys.stderr.write(EMPTY)
    line(f"\nNext: {_next(draft, example)}")


def _next(draft: Draft, example: Path | None) -> str:
    """Return the command that explains an image by the card."""
    from saliscope.model.load import PROGRAMS

    command = f"saliscope explain {shlex.quote(str(example or 'IMAGE'))} --model {shlex.quote(str(draft.path))}"
    architecture = draft.network.card.architecture if draft.network.card is not None else ""
    if architecture in PROGRAMS:
        return f"{command} --allow-code --method gradient"
    return f"{command} --allow-code" if ":" in architecture else command


def _argument(word: str) -> tuple[str, Any]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        raise CardError(f"--argument {word!r}", expected="NAME=VALUE", do="Such as --argument strides='[2, 2]'")
    try:
        return name, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A word without quotes.
        return name, text


def _kind(word: str) -> Any:
    from typing import get_args

    from saliscope.core.target_contract import OutputKind

    if word and word not in get_args(OutputKind):
        raise CardError(f"--kind {word!r}", expected="a kind of output", do=did_you_mean(word, get_args(OutputKind)))
    return word or None


def _sizes(word: str) -> tuple[int, ...]:
    parts = [part.strip() for part in word.lower().replace("x", ",").split(",") if part.strip()]
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 3:
        raise CardError(f"--size {word!r}", expected="one to three positive numbers", do="Such as --size 256")
    return tuple(int(part) for part in parts)
