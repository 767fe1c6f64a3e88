"""`saliscope phantom`: images whose truth is known, with that truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliscope.cli.show import as_json, line, table

if TYPE_CHECKING:
    from saliscope.phantom.effects.counterfactual import CohortEffects
    from saliscope.study.phantom import PhantomPlan

Scene = Annotated[str | None, typer.Argument(help="What to draw; without it, what there is is listed.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
Count = Annotated[int, typer.Option(help="How many cases.", min=1)]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal sets; another one gives other patients.", min=0)]
Finding = Annotated[str | None, typer.Option(help="What decides the label; the scene's first if not named.")]
Shortcut = Annotated[str | None, typer.Option(help="What goes with the label and is no part of the disease.")]
Percent = Annotated[float, typer.Option(help="Per cent of the positive cases that have the shortcut.", min=0, max=100)]
Background = Annotated[float, typer.Option(help="Per cent of the other cases that have it.", min=0, max=100)]
Size = Annotated[int | None, typer.Option(help="Columns of the image, over the same millimetres.", min=16)]
Kind = Annotated[str | None, typer.Option("--format", help="png, nifti, dicom; png for pictures, nifti for volumes.")]
Distractors = Annotated[bool, typer.Option(help="Also plant what says nothing of the label.")]
Suppressor = Annotated[bool, typer.Option("--suppressor", help="Vary the exposure, and plant a wedge that shows it.")]
Without = Annotated[bool, typer.Option("--counterfactuals", help="Write each case also without each of its elements.")]
Compartments = Annotated[bool, typer.Option("--anatomy", help="Write the masks of the anatomy too.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Measure what this network uses of them.")]
Targets = Annotated[
    list[str], typer.Option("--target", "-t", help="Which of its scores, as in `saliscope explain`; all if not named.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1 ...")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier set of phantoms.")]
Json = Annotated[bool, typer.Option("--json", help="Write what came of it as JSON to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only failures.")]


def phantom(
    scene: Scene = None,
    out: Out = Path("saliscope-phantoms"),
    count: Count = 20,
    seed: Seed = 0,
    finding: Finding = None,
    shortcut: Shortcut = None,
    contamination: Percent = 80,
    background: Background = 0,
    size: Size = None,
    kind: Kind = None,
    distractors: Distractors = True,
    suppressor: Suppressor = False,
    counterfactuals: Without = False,
    anatomy: Compartments = False,
    model: Model = None,
    target: Targets = [],  # noqa: B006 - typer reads the default and never changes it
    device: Device = "cpu",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw medical-looking images whose truth is known: where each finding and shortcut lies, as masks and tables.

    With --model also what that network really uses: each case is drawn again with every choice of its elements.
    """
    if scene is None:
        _catalogue(json)
        return
    from saliscope.study.phantom import PhantomPlan

    plan = PhantomPlan(
        scene, finding, shortcut, contamination / 100 if shortcut else 0.0, background / 100, count, seed, size,
        distractors, suppressor, kind, counterfactuals, anatomy, model, tuple(target), device,
    )  # fmt: skip
    _write(plan, out, overwrite=overwrite, json=json, quiet=quiet)


def _write(plan: PhantomPlan, out: Path, *, overwrite: bool, json: bool, quiet: bool) -> None:
    from saliscope.cli.progress import Progress
    from saliscope.study.phantom import write_phantoms

    with Progress(quiet=quiet) as progress:
        try:
            written = write_phantoms(plan, out, watch=progress, overwrite=overwrite)
        except KeyboardInterrupt:
            sys.stderr.write("saliscope: interrupted; nothing was written.\n")
            raise SystemExit(130) from None
    if json:
        as_json({"out": str(out), "cases": written.cases, "sheet": str(written.sheet)})
        return
    if written.effects is not None:
        _relied_on(written.effects)
    line(f"{written.sentence()} Look at {written.sheet}")


def _relied_on(effects: CohortEffects) -> None:
    """Say what a network uses: the share of its score that each element makes up where it stands."""

    def ends(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{low:.0%} to {high:.0%}"

    table([
        {
            "score": r.label,
            "element": r.name,
            "share of the effect": f"{r.share.mean:.0%}",
            "95 % interval": ends(r.share.low, r.share.high),
            "mean effect": f"{r.effect.mean:+.3g}",
            "cases": str(r.share.cases),
        }
        for r in effects.elements
    ])  # fmt: skip
    for label, count in effects.still.items():
        if count:
            line(f"{label}: no element moved it in {count} case(s), which are left out.")


def _catalogue(json: bool) -> None:
    from saliscope.phantom.catalogue import FINDINGS, SCENES, SHORTCUTS

    scenes = [
        {"scene": n, "about": s.about, "findings": s.findings, "shortcuts": s.shortcuts} for n, s in SCENES.items()
    ]
    if json:
        findings, shortcuts = ({n: one.about for n, one in several.items()} for several in (FINDINGS, SHORTCUTS))
        as_json({"scenes": scenes, "findings": findings, "shortcuts": shortcuts})
        return
    table([{"scene": n, "": s.about, "findings": ", ".join(s.findings)} for n, s in SCENES.items()])
    line()
    table([{"finding": name, "": f.about} for name, f in FINDINGS.items()])
    line()
    where = {name: [n for n, s in SCENES.items() if name in s.shortcuts] for name in SHORTCUTS}
    table([{"shortcut": n, "": s.about, "in": ", ".join(where[n]) or "any"} for n, s in SHORTCUTS.items()])
    line("\n`saliscope phantom chest --finding nodule --shortcut marker --contamination 80` draws a set.")
