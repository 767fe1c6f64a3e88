"""The command `saliscope`: words to a plan, and what came of it to the terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import typer

from saliscope.cli.audit import audit_model
from saliscope.cli.catalogue import methods, metrics, model_app, models
from saliscope.cli.check import check
from saliscope.cli.demo import demo
from saliscope.cli.doctor import doctor
from saliscope.cli.explain import explain
from saliscope.cli.export import export
from saliscope.cli.pacs import pacs_app
from saliscope.cli.phantom import phantom
from saliscope.core.errors import SaliscopeError

app = typer.Typer(
    name="saliscope",
    help="Where in a medical image a network's answer came from. Research use only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(explain)
app.command()(check)
app.command()(export)
app.command("audit-model")(audit_model)
app.command()(demo)
app.command()(methods)
app.command()(metrics)
app.command()(models)
app.add_typer(model_app, name="model")
app.command()(phantom)
app.add_typer(pacs_app, name="pacs")
app.command()(doctor)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line; a refusal is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal cannot show, or a name in another encoding, must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=list(sys.argv[1:] if words is None else words), prog_name="saliscope")
    except SaliscopeError as error:
        if os.environ.get("SALISCOPE_DEBUG"):
            raise
        sys.stderr.write(f"saliscope: {error}\n")
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
