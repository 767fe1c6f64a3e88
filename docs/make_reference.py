"""Write docs/reference/ anew from the code; a test fails when what is written there differs from the code."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from saliscope.cli.catalogue import metric_words
from saliscope.cli.main import main as command
from saliscope.cli.show import plain
from saliscope.methods import METHODS
from saliscope.metrics import METRICS
from saliscope.model.card import Card
from saliscope.model.shipped import shipped

HERE = Path(__file__).resolve().parent / "reference"
COMMANDS = (
    ["explain"],
    ["check"],
    ["export"],
    ["audit-model"],
    ["demo"],
    ["methods"],
    ["metrics"],
    ["models"],
    ["phantom"],
    ["model", "show"],
    ["model", "check"],
    ["model", "fetch"],
    ["doctor"],
    *(
        ["pacs", name]
        for name in ("config", "echo", "send", "find", "fetch", "serve", "status", "retry", "orthanc-script")
    ),
)
PHANTOMS = """Trained on drawn images by `recipes/phantom_networks.py`; `saliscope model show NAME` shows one in full.
AUC as trained; AUC where the shortcut stands in half of all cases; true share of the score that the finding and the
shortcut have where both stand. In brackets: 95 % intervals."""


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
        lines += [f"- shows nothing finer than: {finest_of(cls)}"]
        lines += [f"- cost: {traits.cost}", f"- cannot see: {traits.blind}", f"- fields: {listed or 'none'}", ""]
    return "\n".join(lines)


def finest_of(cls: type) -> str:
    """Return in words what bounds the resolution of a method's maps, as its own docstring has it."""
    words = inspect.getdoc(cls.resolution) or ""  # type: ignore[attr-defined]
    return re.sub(r",? (for|of)( one image)? x \(1, C, \*S\)", "", words.removeprefix("Return ")).removesuffix(".")


def metrics() -> str:
    """Return the page of the metrics, by category."""
    lines = ["# Metrics", "Written by `make docs` from the metrics' own traits and fields.", ""]
    every = [metric_words(name, METRICS.get(name)) for name in METRICS.names()]
    for category in dict.fromkeys(m["category"] for m in every):
        lines += [f"## {category.capitalize()}", ""]
        for one in (m for m in every if m["category"] == category):
            listed = ", ".join(f"`{key}={value!r}`" for key, value in one["fields"].items())
            lines += [f"### {one['name']}", " ".join(one["about"].split()), ""]
            lines += [f"- looks at {one['looks_at']}; better: {one['direction']}; {one['range']}; `{one['citation']}`"]
            lines += [f"- knowing nothing: {one['null']}", f"- cost: {one['cost']}"]
            lines += [f"- cannot see: {one['blind']}", f"- fields: {listed or 'none'}", ""]
    return "\n".join(lines)


def networks() -> str:
    """Return the page of the networks that come with the package."""
    lines = ["# Networks", "Written by `make docs` from the model cards. All are for research use only.", ""]
    cards = [Card.read(path) for path in shipped().values()]
    for card in (c for c in cards if not c.family):
        lines += [f"## {card.name}", card.title + ".", "", card.description.strip(), ""]
        lines += [f"- {key}: {plain(value)}" for key, value in card.performance.items()]
        lines += [f"- limit: {limit}" for limit in card.limits]
        lines += [f"- licence: {card.licence}", f"- attribution: {card.attribution}", ""]
    lines += [*phantoms([c for c in cards if c.family == "phantom"]), ""]
    return "\n".join(lines)


def phantoms(cards: Sequence[Card]) -> list[str]:
    """Return a table of the phantom networks."""
    heads = ("auc_as_trained", "auc_shortcut_decorrelated", "share_finding", "share_shortcut")
    lines = [
        "## Phantom networks",
        PHANTOMS,
        "",
        "| network | AUC as trained | AUC, shortcut taken apart | share of the finding | share of the shortcut |",
        "|---|---|---|---|---|",
    ]
    for card in cards:
        cells = [card.performance.get(head) for head in heads]
        said = ["–" if c is None else f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]" for c in cells]
        lines.append(f"| `{card.name}` | {' | '.join(said)} |")
    return lines


def commands() -> str:
    """Return the page of the command line: the help of every command."""
    lines = ["# Command line", "Written by `make docs` from the commands' own help.", ""]
    for words in COMMANDS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            command([*words, "--help"])
        lines += [f"## saliscope {' '.join(words)}", "```", out.getvalue().rstrip(), "```", ""]
    return "\n".join(lines)


def conformance() -> str:
    """Return the DICOM conformance statement."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from conformance_page import conformance as page

    return page()


PAGES = {
    "methods.md": methods,
    "metrics.md": metrics,
    "networks.md": networks,
    "command-line.md": commands,
    "conformance.md": conformance,
}


def picture() -> bytes:
    """Return the README's picture: a CT slice that comes with pydicom, explained for the network drawn by hand."""
    from pydicom.data import get_testdata_file

    import saliscope
    from saliscope.figures import interpret, overlay_png

    image = saliscope.read_image(str(get_testdata_file("CT_small.dcm")))
    found = saliscope.explain(image, "spot-finder", target="spot")
    assert isinstance(found, saliscope.Explanation)
    return overlay_png(image, interpret(found, image))


def sheet() -> bytes:
    """Return the picture of the page on phantoms: of each scene one, without and with what is planted, outlined."""
    from saliscope.figures.sheet import Tile, contact_sheet
    from saliscope.phantom.catalogue import SCENES, phantom_set

    tiles = []
    for scene, shortcut in (("chest", "text"), ("ultrasound", "calipers"), ("brain", None), ("body-ct", "device")):
        share = 1.0 if shortcut else 0.0
        every = phantom_set(scene, shortcut=shortcut, contamination=share, seed=5, distractors=False)
        case = [case for case in every if case.label][1]
        kinds = tuple((e.name, str(e.role)) for e in case.elements)
        regions = tuple((case.regions[name], kind) for name, kind in kinds)
        tiles += [Tile(case.render(()), SCENES[scene].about), Tile(case.render(), "the same", regions, kinds)]
    return contact_sheet(tiles, "Drawn by saliscope phantom. No patients.", columns=4)


def main() -> None:
    """Write every page, the README's picture and that of the phantoms."""
    HERE.mkdir(exist_ok=True)
    (HERE.parent / "picture.png").write_bytes(picture())
    (HERE.parent / "phantoms.png").write_bytes(sheet())
    for name, write in PAGES.items():
        (HERE / name).write_text(write().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
