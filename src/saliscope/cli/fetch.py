"""Networks that are not in the package: fetch their weights, check that they load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from saliscope.cli.show import as_json, line, paragraph

Card = Annotated[str, typer.Argument(help="The name of a shipped model, or the path of a card or a MONAI bundle.")]


def model_fetch(card: Card) -> None:
    """Fetch the weights that a card names by their address; the only command that uses the network."""
    from saliscope.core.errors import CardError
    from saliscope.model.adapters.hub import fetch, is_address
    from saliscope.model.card import find

    found = find(card)
    if not is_address(found.weights):
        raise CardError(
            f"the weights of {found.name!r} are at {found.weights or 'no place: they are computed'}",
            expected="weights = 'https://...' in the card",
            do="There is nothing to fetch",
        )
    fetch(found.weights, found.digest, found.name, said=line)


def model_check(
    card: Card,
    image: Annotated[Path | None, typer.Option(help="Run it on this image, and say what can be explained.")] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Let the card import module:function.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Load a network as `explain` would, its digest held to the card; with an image, look at how it runs."""
    from saliscope.model.load import load

    network = load(card, allow_code=allow_code)
    facts = {
        "name": network.name,
        "parameters": sum(p.numel() for p in network.module.parameters()),
        "output": network.kind,
        "labels": list(network.labels),
        "weights": f"sha256:{network.weights_digest()}",
        "layer": network.layer,
        "notes": list(network.notes),
        "warning": network.warning,
    }
    report = None
    if image is not None:
        from saliscope.study.api import inspect

        report = inspect(network, image)
        facts |= {"inspection": asdict(report)}
    if json:
        as_json(facts)
        return
    facts.pop("inspection", None)
    for key, value in facts.items():
        for number, text in enumerate(value if isinstance(value, list) else [value] if value != "" else []):
            paragraph("" if number else key, f"{text:,}" if isinstance(text, int) else str(text))
    if report is not None:
        line(f"\n{report}")
    line(f"\nIt loads{' and runs' if report else ''}. For research use only, not for diagnosis.")
