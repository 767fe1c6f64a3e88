"""`saliscope audit-model`: what is known of a method's maps for one model, over a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saliscope.cli.explain import (
    Code,
    Device,
    Inputs,
    Layer,
    LimitWords,
    Methods,
    Options,
    Overwrite,
    Quiet,
    Targets,
    split,
)
from saliscope.cli.show import as_json, line

Model = Annotated[str, typer.Argument(help="A shipped model (see `saliscope models`) or a card.toml.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write: one folder for each target and method.")]
Table = Annotated[
    Path | None,
    typer.Option("--table", help="A CSV: 'image' (file name); 'patient', 'label' and metadata if they are known."),
]
Masks = Annotated[Path | None, typer.Option("--masks", help="A folder of masks named like their images.")]
Json = Annotated[
    bool, typer.Option("--json", help="Write the document as JSON to stdout; of several a list under 'cards'.")
]


def audit_model(
    model: Model,
    inputs: Inputs,
    method: Methods = ["grad-cam"],  # noqa: B006 - typer reads the default and never changes it
    target: Targets = ["all"],  # noqa: B006
    layer: Layer = "auto",
    table: Table = None,
    masks: Masks = None,
    out: Out = Path("saliscope-audit"),
    option: Options = [],  # noqa: B006
    limit: LimitWords = [],  # noqa: B006
    device: Device = "cpu",
    allow_code: Code = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the model card of explanations that `saliscope check --card` refers to: audit.json and audit.html.

    One for each method and target, for this model, its view and layer. Exit code 0: all audited, whatever was found.
    2: nothing could be. 3: some failed.
    """
    from saliscope.cli.progress import Progress
    from saliscope.study.audit import audit
    from saliscope.study.plan import Plan, limits_of, options_of

    plan = Plan(model, split(method), split(target), layer, options_of(option), device, allow_code)
    with Progress(quiet=quiet) as progress:
        outcome = audit(
            inputs,
            plan,
            out,
            table=table,
            masks=masks,
            watch=progress,
            limits=limits_of(limit),
            overwrite=overwrite,
        )
    if json:
        as_json(outcome.described())
    else:
        for sentence in outcome.sentences():
            line(sentence)
        for page in outcome.pages:
            line(f"Open {page}")
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)
