"""Draw every method of the catalogue on one picture and one volume: gallery-out/index.html, to be looked at.

The picture is a malignant lesion of the real breast ultrasound images where they are (SALISCOPE_DATA or
../shared/data), else the one drawn in code; the volume is the drawn one with two bright balls, so its right answer is
known. Each method runs in a process of its own, and one that fails shows its error. Run: make gallery; some methods
only, which renews their part of the page: .venv/bin/python docs/make_gallery.py grad-cam rise
"""

from __future__ import annotations

import base64
import html
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageFilter

from saliscope import explain, load
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.methods import METHODS
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork
from saliscope.perturb.reference import References
from saliscope.read import read
from saliscope.study.drawing import write_ultrasound, write_volume

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "gallery-out"
PARTS = OUT / "parts"
DATA = Path(os.environ.get("SALISCOPE_DATA", ROOT.parent / "shared" / "data"))
SECONDS = 120
LESION = "malignant-001"
#: Fields with which slow methods are drawn in seconds; the page says so.
QUICK: dict[str, dict[str, Any]] = {
    "rise": {"samples": 1000},
    "lime": {"samples": 400},
    "kernel-shap": {"samples": 400},
    "sobol": {"designs": 8},
    "hsic": {"samples": 400},
    "meaningful-perturbation": {"steps": 60},
    "extremal-perturbation": {"steps": 60},
    "smoothed": {"samples": 16},
    "smoothgrad": {"samples": 16},
    "vargrad": {"samples": 16},
    "smoothgrad-squared": {"samples": 16},
    "expected-gradients": {"samples": 16},
    "tiled": {"tile": 96, "margin": 16},
}
#: In a volume each forward run of the drawn network takes half a second.
COARSE = {"window": 16, "stride": 16}
QUICK_3D: dict[str, dict[str, Any]] = {
    "occlusion": COARSE,
    "rise": {"samples": 96, "cells": 4},
    "lime": {"samples": 96},
    "kernel-shap": {"samples": 96},
    "sobol": {"designs": 3, "cells": 3},
    "hsic": {"samples": 96, "cells": 4},
    "meaningful-perturbation": {"steps": 40},
    "extremal-perturbation": {"areas": (0.05,), "steps": 60},
    "tiled": {"tile": 48, "margin": 8},
    "consensus": {"methods": (METHODS.make("grad-cam"), METHODS.make("lrp"), METHODS.make("occlusion", **COARSE))},
}
STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1500px;color:#222;background:#fff}
article{border-top:1px solid #ccc;padding:1em 0} .pair{display:flex;gap:1em;align-items:flex-start;flex-wrap:wrap}
figure{margin:0;flex:1 1 600px;min-width:0} img{max-width:100%} .fault{color:#a00;white-space:pre-wrap}
.beside{width:60%} small,figcaption{color:#555} h2{margin:.2em 0} ul{margin:.3em 0;padding-left:1.2em}"""


class Counted(Network):
    """A network that keeps hold of what was last opened, for its counts."""

    last: OpenNetwork

    @contextmanager
    def opened(self) -> Iterator[OpenNetwork]:
        """Give the opened network, as ever."""
        with super().opened() as model:
            Counted.last = model
            yield model


def counted(name: str) -> Counted:
    """Return a shipped network that keeps its counts."""
    network = load(name)
    return Counted(**{f.name: getattr(network, f.name) for f in fields(network)})


def subjects() -> dict[str, tuple[MedicalImage, Counted, str]]:
    """Return the picture and the volume, the network of each, and the label that is asked for."""
    inputs = OUT / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    found = sorted((DATA / "breast-ultrasound-busi" / "malignant" / "images").glob(f"{LESION}.*"))
    picture = found[0] if found else write_ultrasound(inputs)
    volume = write_volume(inputs)
    return {
        "2D": (read(picture), counted("breast-ultrasound"), "malignant"),
        "3D": (read(volume), counted("spot-finder-3d"), "spot"),
    }


def shown(picture: Image.Image, width: int = 900) -> str:
    """Return a picture as the source of an HTML image."""
    small = (
        picture if picture.width <= width else picture.resize((width, round(picture.height * width / picture.width)))
    )
    out = io.BytesIO()
    small.convert("RGB").save(out, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def outlined() -> str:
    """Return the picture with the experts' outline, or nothing where the real images are not."""
    folder = DATA / "breast-ultrasound-busi" / "malignant"
    images, masks = (sorted((folder / part).glob(f"{LESION}.*")) for part in ("images", "masks"))
    if not images or not masks:
        return ""
    image, mask = Image.open(images[0]).convert("RGB"), Image.open(masks[0]).convert("L").point(lambda v: 255 * (v > 0))
    mask = mask.resize(image.size, Image.Resampling.NEAREST)
    edge = mask.filter(ImageFilter.MaxFilter(5)).point(lambda v: v)
    ring = Image.composite(Image.new("L", mask.size, 0), edge, mask)
    image.paste((80, 255, 120), mask=ring)
    return f'<figure><img src="{shown(image)}"><figcaption>The experts\' outline of the lesion.</figcaption></figure>'


def caption(found: Explanation, axes: str, told: dict[str, Any], took: float) -> str:
    """Return the HTML of what is known of a map: cost, place, range, diagnostics, notes, and the maps beside it."""
    counts, values, record = Counted.last.counts, found.values, found.provenance
    runs = [(counts.forward_samples, "forward"), (counts.suffix_samples, "after the layer")]
    runs += [(counts.incremental_windows, "windows by their regions"), (counts.backward_passes, "backward")]
    cost = ", ".join(f"{n:,} {what}" for n, what in runs if n) or "the network was not run"
    size = " × ".join(map(str, values.shape))
    layer = f"layer {record.layer}" if record.layer else ""
    lies = f"on {layer}" if found.traits.grid == "layer" else f"on the input{layer and ', by ' + layer}"
    lines = [f"{axes}: {took:.1f} s; {cost}; {size} cells {lies}; from {values.min():.3g} to {values.max():.3g}."]
    measured = [f"{k.replace('_', ' ')} {v:.3g}" for k, v in record.diagnostics.items()]
    lines += ["; ".join(measured).capitalize() + "."] if measured else []
    lines += ["Drawn with " + ", ".join(f"{k}={worded(v)}" for k, v in told.items()) + "."] if told else []
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in record.notes)
    beside = ""
    for name, other in found.beside.items():
        traits = replace(found.traits, signed=False, quantity="attribution")
        picture = shown(replace(found, values=other, traits=traits, beside={}).overlay(), 640)
        beside += f'<br><img class="beside" src="{picture}"><br>Beside it: {name}, to {other.max():.3g}.'
    return f"{'<br>'.join(map(html.escape, lines))}{f'<ul>{notes}</ul>' if notes else ''}{beside}"


def worded(value: Any) -> str:
    """Return a field's value as a reader would write it."""
    if isinstance(value, References):
        return "mirror images of this one"
    if isinstance(value, tuple):
        return " + ".join(map(worded, value))
    if hasattr(value, "traits"):
        own = {f.name: getattr(value, f.name) for f in fields(value)}
        changed = {k: v for k, v in own.items() if v != getattr(type(value)(), k)}
        name = next(n for n in METHODS.names() if METHODS.get(n) is type(value))
        return f"{name}({', '.join(f'{k}={v}' for k, v in changed.items())})" if changed else name
    return str(value)


def drawn(name: str, axes: str, subject: tuple[MedicalImage, Counted, str], answer: Any) -> None:
    """Send the HTML of one method on one subject."""
    image, network, label = subject
    told = {**QUICK.get(name, {}), **(QUICK_3D.get(name, {}) if axes == "3D" else {})}
    if name == "expected-gradients":  # stand-ins for other patients: mirror images of this one
        view = network.viewing(image).tensor
        told["references"] = References.of(torch.cat([view.flip(2), view.flip(3), view.flip(2, 3)]))
    start = time.perf_counter()
    try:
        found = explain(image, network, METHODS.make(name, **told), label)
        took = time.perf_counter() - start
        pictures = f'<img src="{shown(found.overlay())}">'
        answer.send(f"<figure>{pictures}<figcaption>{caption(found, axes, told, took)}</figcaption></figure>")
    except SaliscopeError as error:
        answer.send(f"<figure><figcaption>{axes} refuses: {html.escape(str(error))}</figcaption></figure>")
    except Exception as error:  # noqa: BLE001 - a fault is shown, not hidden
        answer.send(
            f'<figure class="fault">{axes} FAULT {type(error).__name__}: {html.escape(str(error)[:600])}</figure>'
        )


def apart(name: str, axes: str, subject: tuple[MedicalImage, Counted, str]) -> str:
    """Return the HTML of one method on one subject, made in a process of its own."""
    context = multiprocessing.get_context("fork")
    inner, outer = context.Pipe(duplex=False)
    process = context.Process(target=drawn, args=(name, axes, subject, outer))
    process.start()
    outer.close()
    try:
        text = inner.recv() if inner.poll(SECONDS) else f'<figure class="fault">{axes}: over {SECONDS} s</figure>'
    except EOFError:
        text = f'<figure class="fault">{axes}: the process died</figure>'
    process.terminate()
    process.join()
    return str(text)


def article(name: str, subject: dict[str, tuple[MedicalImage, Counted, str]]) -> str:
    """Return the part of the page for one method."""
    cls = METHODS.get(name)
    traits = cls.traits
    about = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
    marks = [traits.family, "signed" if traits.signed else "unsigned", f"on the {traits.grid} grid"]
    marks += ["class-discriminative" if traits.class_discriminative else "not class-discriminative"]
    marks += ["fails randomisation tests"] if traits.fails_randomisation else []
    pictures = "".join(apart(name, axes, subject[axes]) for axes in ("2D", "3D"))
    return (
        f'<article id="{name}"><h2>{html.escape(name)}</h2><p>{html.escape(about)}<br><small>{", ".join(marks)}; '
        f"{traits.citation}; cost: {html.escape(traits.cost)}; cannot see: {html.escape(traits.blind)}</small></p>"
        f'<div class="pair">{pictures}</div></article>'
    )


def page() -> str:
    """Return the page of all parts that were made, in the order of the catalogue."""
    made = [part.read_text() for name in METHODS.names() if (part := PARTS / f"{name}.html").exists()]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>saliscope: every method</title><style>{STYLE}'
    return f"{head}</style><h1>Every method on one picture and one volume</h1>{outlined()}{''.join(made)}</html>"


def main(names: list[str]) -> None:
    """Write the page, with these methods drawn anew, or all."""
    torch.set_num_threads(1)
    PARTS.mkdir(parents=True, exist_ok=True)
    given = subjects()
    for name in names or METHODS.names():
        (PARTS / f"{name}.html").write_text(article(name, given))
        (OUT / "index.html").write_text(page())
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
    sys.stdout.write(f"Open {OUT.relative_to(ROOT) / 'index.html'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
