"""`saliscope export`: the maps of an earlier run as DICOM objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saliscope.cli.explain import LimitWords, Overwrite, Pseudonyms, Quiet, dicom_plan
from saliscope.cli.show import as_json, line, table
from saliscope.core.errors import InputError

Folder = Annotated[
    Path | None, typer.Argument(help="The folder of saliscope explain or check, of one of its cases, or of a map.")
]
Images = Annotated[list[str] | None, typer.Argument(help="The DICOM images that were explained there.")]
Profile = Annotated[
    str, typer.Option("--dicom", metavar="PROFILE", help="A profile, or kinds of object, joined by + (see --list).")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write: one folder for each case and map.")]
Listed = Annotated[bool, typer.Option("--list", help="List the profiles, the kinds of object and who shows them.")]
Json = Annotated[bool, typer.Option("--json", help="Write what came of it as JSON to stdout.")]


def export(
    folder: Folder = None,
    images: Images = None,
    dicom: Profile = "pacs-basic",
    out: Out = Path("saliscope-dicom"),
    limit: LimitWords = [],  # noqa: B006 - typer reads the default and never changes it
    pseudonymise: Pseudonyms = False,
    overwrite: Overwrite = False,
    listed: Listed = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the maps of an earlier run as DICOM objects; nothing is computed anew.

    Map and image find each other by the digest of the image. Only these objects name the patient; with --pseudonymise
    not even they do. Exit code 0: all done. 2: nothing could be done. 3: some failed.
    """
    if listed:
        _list()
        return
    if folder is None or not images:
        raise InputError(
            "an export without a run, or without its images",
            expected="the folder of a run, and behind it the images that were explained",
            do="For example: saliscope export saliscope-out scans/ --dicom pacs-basic; or --list",
        )
    from saliscope.cli.progress import Progress
    from saliscope.study.export import export as exported
    from saliscope.study.plan import limits_of

    plan = dicom_plan(dicom, pseudonymise=pseudonymise, quiet=quiet)
    assert plan is not None
    with Progress(quiet=quiet) as progress:
        outcome = exported(folder, images, plan, out, watch=progress, limits=limits_of(limit), overwrite=overwrite)
    if json:
        as_json(outcome.described())
    else:
        for one in outcome.maps:
            line(f"{one.case}, {one.folder.name}: {one.sentence}")
        line(outcome.sentence())
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _list() -> None:
    from saliscope.write.dicom.kinds import KINDS, PROFILES, what_shows_where

    table([{"profile": p.name, "for": p.about, "objects": ", ".join(p.kinds)} for p in PROFILES.values()])
    line()
    table([{"kind": k.name, "holds": k.holds} for k in KINDS.values()])
    line()
    table(what_shows_where(tuple(KINDS.values())))
    line("\nPDF, parametric maps and states are shown by newer versions only; what yours shows is best tried.")
