"""`saliscope demo`: see it work without data of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saliscope.cli.show import as_json, line


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path("saliscope-demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demonstration.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the page's path as JSON to stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only failures.")] = False,
) -> None:
    """Explain what the package and pip bring: real CT and MR slices, and an image drawn in code."""
    from saliscope.cli.progress import Progress
    from saliscope.study.demo import demonstrate

    with Progress(quiet=quiet) as progress:
        page = demonstrate(out, watch=progress, overwrite=overwrite)
    if json:
        as_json({"page": str(page)})
    else:
        line(f"Open {page.resolve()}")
