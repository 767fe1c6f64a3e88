"""`saliscope check`: may these maps be read, each with a card that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saliscope.cli.explain import (
    Audits,
    Code,
    Device,
    Inputs,
    Layer,
    LimitWords,
    Methods,
    Model,
    Options,
    Out,
    Overwrite,
    Quiet,
    Targets,
    Tiers,
    split,
)
from saliscope.cli.show import as_json, line

Json = Annotated[
    bool, typer.Option("--json", help="Write the card as JSON to stdout; of several maps a list under 'cards'.")
]


def check(
    inputs: Inputs,
    model: Model,
    method: Methods = ["grad-cam"],  # noqa: B006 - typer reads the default and never changes it
    target: Targets = ["top"],  # noqa: B006
    layer: Layer = "auto",
    card: Audits = [],  # noqa: B006
    tier: Tiers = "quick",
    out: Out = Path("saliscope-check"),
    option: Options = [],  # noqa: B006
    limit: LimitWords = [],  # noqa: B006
    device: Device = "cpu",
    allow_code: Code = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain images and say of each map whether it may be read, with the reasons: card.html and card.json.

    The states are read-with-care, doubtful, do-not-read and not-assessed; without a model card of explanations that
    fits, the best is not-assessed. Exit code 0: all checked, whatever was found. 2: nothing could be. 3: some failed.
    """
    from saliscope.cli.progress import Progress
    from saliscope.study.check import check as checked
    from saliscope.study.check import tier_of
    from saliscope.study.plan import Plan, limits_of, options_of

    plan = Plan(model, split(method), split(target), layer, options_of(option), device, allow_code)
    with Progress(quiet=quiet) as progress:
        outcome = checked(
            inputs,
            plan,
            out,
            card=card,
            tier=tier_of(tier),
            watch=progress,
            limits=limits_of(limit),
            overwrite=overwrite,
        )
    if json:
        as_json(outcome.described())
    else:
        for one in outcome.maps:
            line(f"{one.case}: {one.sentence}")
        line(f"{outcome.sentence()} Open {outcome.page}" if outcome.page else outcome.sentence())
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
