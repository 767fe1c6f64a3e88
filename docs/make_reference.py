"""Write docs/reference/ anew from the code; a test fails when what is written there differs from the code."""

from __future__ import annotations

import contextlib
import io
from dataclasses import fields
from pathlib import Path

from saliscope.cli.main import main as command
from saliscope.cli.show import plain
from saliscope.methods import METHODS
from saliscope.model.card import Card
from saliscope.model.shipped import shipped

HERE = Path(__file__).resolve().parent / "reference"
COMMANDS = (
    ["explain"],
    ["demo"],
    ["methods"],
    ["models"],
    ["model", "show"],
    ["model", "check"],
    ["model", "fetch"],
    ["doctor"],
)


def methods() -> str:
    """Return the page of the methods."""
    lines = ["# Methods", "Written by `make docs` from the methods' own traits and fields.", ""]
    for name in METHODS.names():
        cls = METHODS.get(name)
        traits = cls.traits
        about = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        listed = ", ".join(f"`{f.name}={f.default!r}`" for f in fields(cls))  # type: ignore[arg-type]
        signed = "signed" if traits.signed else "unsigned"
        aims = "class-discriminative" if traits.class_discriminative else "not class-discriminative"
        lines += [f"## {name}", about, ""]
        lines += [f"- family {traits.family}, {signed}, on the {traits.grid} grid, {aims}; source `{traits.citation}`"]
        if traits.fails_randomisation:
            lines += ["- its map was shown to change little when the network's weights are drawn anew (`adebayo2018`)"]
        lines += [f"- cost: {traits.cost}", f"- cannot see: {traits.blind}", f"- fields: {listed or 'none'}", ""]
    return "\n".join(lines)


def networks() -> str:
    """Return the page of the networks that come with the package."""
    lines = ["# Networks", "Written by `make docs` from the model cards. All are for research use only.", ""]
    for path in shipped().values():
        card = Card.read(path)
        lines += [f"## {card.name}", card.title + ".", "", card.description.strip(), ""]
        lines += [f"- {key}: {plain(value)}" for key, value in card.performance.items()]
        lines += [f"- limit: {limit}" for limit in card.limits]
        lines += [f"- licence: {card.licence}", f"- attribution: {card.attribution}", ""]
    return "\n".join(lines)


def commands() -> str:
    """Return the page of the command line: the help of every command."""
    lines = ["# Command line", "Written by `make docs` from the commands' own help.", ""]
    for words in COMMANDS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            command([*words, "--help"])
        lines += [f"## saliscope {' '.join(words)}", "```", out.getvalue().rstrip(), "```", ""]
    return "\n".join(lines)


PAGES = {"methods.md": methods, "networks.md": networks, "command-line.md": commands}


def picture() -> bytes:
    """Return the README's picture: a CT slice that comes with pydicom, explained for the network drawn by hand."""
    from pydicom.data import get_testdata_file

    import saliscope
    from saliscope.figures import interpret, overlay_png

    image = saliscope.read_image(str(get_testdata_file("CT_small.dcm")))
    found = saliscope.explain(image, "spot-finder", target="spot")
    assert isinstance(found, saliscope.Explanation)
    return overlay_png(image, interpret(found, image))


def main() -> None:
    """Write every page, and the README's picture."""
    HERE.mkdir(exist_ok=True)
    (HERE.parent / "picture.png").write_bytes(picture())
    for name, write in PAGES.items():
        (HERE / name).write_text(write().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
