"""`saliscope explain`: images in, a folder of explanations out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliscope.cli.show import as_json, line, table
from saliscope.core.errors import WriteError

if TYPE_CHECKING:
    from saliscope.study.dicom import DicomPlan
    from saliscope.study.run import Examiner, Outcome

Inputs = Annotated[
    list[str], typer.Argument(help="Files, folders, zips, globs, or @list.txt: DICOM, NIfTI, PNG, JPEG, TIFF.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="A shipped model (see `saliscope models`) or a card.toml.")]
Methods = Annotated[
    list[str], typer.Option("--method", help="Methods, with commas or repeated (see `saliscope methods`).")
]
Targets = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        help="Labels or indices, 'top' (what the model calls), 'called' (all that it calls) or 'all'; or "
        "probability:LABEL, contrast:LABEL (against the others), "
        "contrast:LABEL/OTHER, minus:LABEL; of a segmentation also component:LABEL (the largest), "
        "component:LABEL@ROW/COLUMN, point:LABEL@ROW/COLUMN, of a volume PLANE/ROW/COLUMN, in elements of the view.",
    ),
]
Layer = Annotated[str, typer.Option("--layer", help="A dotted layer name for the CAM methods, or 'auto'.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write; that of an earlier run grows.")]
Options = Annotated[
    list[str], typer.Option("--option", help="METHOD.FIELD=VALUE, such as smoothgrad.samples=50; repeatable.")
]
LimitWords = Annotated[list[str], typer.Option("--limit", help="NAME=VALUE, a size above which a file is refused.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1 ...")]
Code = Annotated[bool, typer.Option("--allow-code", help="Let a card import its architecture from module:function.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another run left in the folder.")]
Json = Annotated[bool, typer.Option("--json", help="Write what came of it as JSON to stdout.")]
Check = Annotated[bool, typer.Option("--check", help="Give each map a card that says whether it may be read.")]
Audits = Annotated[
    list[Path], typer.Option("--card", help="Model cards of explanations (audit.json of `saliscope audit-model`).")
]
Tiers = Annotated[str, typer.Option("--tier", help="quick: about 70 forward samples for each map; full: every check.")]
Dicom = Annotated[
    str,
    typer.Option(
        "--dicom",
        metavar="PROFILE",
        help="Write DICOM objects too: pacs-basic, ohif-2d, ohif-volume, weasis, slicer, archive, or kinds of object, "
        "joined by + (`saliscope export --list`).",
    ),
]
Pseudonyms = Annotated[
    bool, typer.Option("--pseudonymise", help="Let the DICOM objects bear pseudonyms in place of the patient's names.")
]
Written = Annotated[
    str,
    typer.Option(
        "--write",
        metavar="table|maps|pages",
        help="How much: one row for each map (maps.csv); its record and NIfTI files too; its pictures and pages too.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only failures.")]


def explain(
    inputs: Inputs,
    model: Model,
    method: Methods = ["grad-cam"],  # noqa: B006 - typer reads the default and never changes it
    target: Targets = ["top"],  # noqa: B006
    layer: Layer = "auto",
    out: Out = Path("saliscope-out"),
    option: Options = [],  # noqa: B006
    limit: LimitWords = [],  # noqa: B006
    device: Device = "cpu",
    allow_code: Code = False,
    overwrite: Overwrite = False,
    check: Check = False,
    card: Audits = [],  # noqa: B006
    tier: Tiers = "quick",
    dicom: Dicom = "",
    pseudonymise: Pseudonyms = False,
    write: Written = "pages",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain images: a page, an overlay, the map on the image's own grid, and a record, for each case.

    The folder of an earlier run of the same network grows: what is missing of the methods, targets and images is added.

    Exit code 0: all done. 2: nothing could be done. 3: some failed, see failures.csv.
    """
    from saliscope.cli.progress import Progress
    from saliscope.study.case_record import write_of
    from saliscope.study.plan import Plan, limits_of, options_of
    from saliscope.study.run import run

    plan = Plan(model, split(method), split(target), layer, options_of(option), device, allow_code)
    objects = dicom_plan(dicom, pseudonymise=pseudonymise, quiet=quiet)
    with Progress(quiet=quiet) as progress:
        outcome = run(
            inputs,
            plan,
            out,
            limits=limits_of(limit),
            overwrite=overwrite,
            watch=progress,
            examiner=_examiner(card, tier) if check or card else None,
            dicom=objects,
            write=write_of(write),
        )
    _tell(outcome, json=json)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _tell(outcome: Outcome, *, json: bool) -> None:
    """Say what came of a run, and what to open."""
    from saliscope.study.case_record import TABLE

    if json:
        as_json(outcome.described())
    else:
        for case in outcome.cases:
            line(f"{case.name}: {'; '.join((*case.states, case.sentence, *case.dicom))}")
        open_this = outcome.page or (outcome.out / TABLE if outcome.cases else None)
        line(f"{outcome.sentence()} Open {open_this}" if open_this else outcome.sentence())


def dicom_plan(words: str, *, pseudonymise: bool, quiet: bool) -> DicomPlan | None:
    """Return which DICOM objects are asked for, and say on stderr who will show them; None where none are.

    Raises WriteError for what is no profile, and for pseudonyms without objects to bear them.
    """
    if not words:
        if pseudonymise:
            raise WriteError(
                "--pseudonymise without --dicom",
                do="Add --dicom PROFILE; nothing else that is written names a patient",
            )
        return None
    from saliscope.study.dicom import DicomPlan
    from saliscope.write.dicom.kinds import what_shows_where

    plan = DicomPlan(words, pseudonymise)
    if not quiet:
        table(what_shows_where(plan.kinds), sys.stderr)
    return plan


def split(words: list[str]) -> tuple[str, ...]:
    """Return words that were given with commas or one by one, each once."""
    return tuple(dict.fromkeys(part.strip() for word in words for part in word.split(",") if part.strip()))


def _examiner(card: list[Path], tier: str) -> Examiner:
    from saliscope.study.check import Cards, tier_of

    return Cards.of(card, tier_of(tier))
