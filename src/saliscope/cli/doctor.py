"""Whether this machine has what is needed."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from saliscope.cli.show import as_json, line


def doctor(json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False) -> None:
    """Check codecs, the torch build, the GPU, optional libraries, write rights.

    Exit code 1 if something needed is missing, or something installed cannot be imported.
    """
    from saliscope.study.doctor import findings

    found = findings()
    if json:
        as_json([{"what": f.what, "state": f.state, "detail": f.detail, "do": f.do} for f in found])
    else:
        for f in found:
            line(f"{f.state:<8} {f.what}: {f.detail}")
            if f.do:
                line(f"{'':<8} -> {f.do}")
    if any(f.state in ("missing", "broken") for f in found):
        sys.exit(1)
