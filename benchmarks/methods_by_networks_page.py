"""The page of methods_by_networks.py: its results as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

Networks = Mapping[str, Mapping[str, Any]]

LETTERS = """\
**W** works · **L** watches a layer in the first fifth of the run · **R** is refused in one sentence · **C** a raw
exception · **F** every map is flat · **T** reached the limit of CPU time, the first image then asked for alone. k/n: of
n maps handed out, k peak within one cell (or S/8) of the spot; n is below the images where those maps were refused
whose sum was not kept; *trough* counts signed maps whose least value lies there, where these are more. % is the largest
gap of a sum that a map was handed out with, where the method promises one."""
ABOUT = """\
Made by `make table` ({versions}). Each network learnt from a fixed seed whether noise with a dark spot holds a bright
one as well; each method then explained the answer "bright" for the same {images} images that hold one. A run is one
method on all these images and may take {limit:.0f} CPU seconds. Networks changed by a run: {changed} of {runs}. Where a
map peaks tells of the network as well as of the method: `edges`, which knows no network, peaks on one of both spots."""


def page(networks: Networks, options: Mapping[str, Mapping[str, Any]], limit: float) -> str:
    """Return the page."""
    versions = ", ".join(f"{n} {__import__(n).__version__}" for n in ("torch", "timm", "torchvision", "monai"))
    results = [r for n in networks.values() for r in n["results"]]
    about = ABOUT.format(
        versions=versions,
        images=results[0]["images"],
        limit=limit,
        changed=sum(bool(r["changes"]) for r in results),
        runs=len(results),
    )
    broken = [(name, r) for name, n in networks.items() for r in n["results"] if r["broken"]]
    lines = [
        "# Every method on networks that nobody here drew",
        "",
        about,
        "",
        *of_networks(networks),
        "",
        LETTERS,
        "",
        *of_methods(networks),
        "",
        *of_stages(networks),
        "## Broken promises",
        "",
        *([f"- {r['method']} on {name}: {r['broken']}" for name, r in broken] or ["None."]),
        "",
        "## What the refusals say",
        "",
        *of_refusals(networks),
        "",
        "## Fields",
        "",
        "All methods run with their defaults, but for: "
        + "; ".join(f"{m} ({', '.join(f'{k}={v!r}' for k, v in own.items())})" for m, own in options.items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def of_networks(networks: Networks) -> list[str]:
    """Return the table of the networks, with what a peak that falls anywhere would hit."""
    lines = [
        "| network | | image | accuracy | auto layer of Grad-CAM | its grid | hits by chance, layer | input |",
        "|---|---|---|--:|---|---|--:|--:|",
    ]
    for name, n in networks.items():
        layer, whole = n["layer"], n["input"]
        grid = " x ".join(map(str, layer["grid"])) if layer else ""
        lines.append(
            f"| {name} | {n['what']} | {' x '.join(map(str, n['shape']))} | {n['accuracy']:.3f} "
            f"| {'`' + layer['name'] + '`' if layer else 'refused'} | {grid} "
            f"| {format(layer['chance'], '.1f') if layer else ''} | {format(whole['chance'], '.1f') if whole else ''} |"
        )
    return lines


def of_methods(networks: Networks) -> list[str]:
    """Return the table of methods by networks with its sums."""
    columns = {name: {r["method"]: r for r in n["results"]} for name, n in networks.items()}
    methods = list(dict.fromkeys(m for column in columns.values() for m in column))
    sums = [Counter(r["letter"] for r in column.values()) for column in columns.values()]
    return [
        f"| method | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(f"| {m} | {' | '.join(cell(column.get(m)) for column in columns.values())} |" for m in methods),
        f"| **sum** | {' | '.join(' '.join(f'{letter}{n}' for letter, n in sorted(s.items())) for s in sums)} |",
    ]


def cell(r: Mapping[str, Any] | None) -> str:
    """Return what came of one run."""
    if r is None:
        return ""
    over = "T, one image: " if r["over"] else ""
    if r["letter"] in "RCT":
        return over + r["letter"]
    gap = "" if r["gap"] is None else f" ({r['gap']:.1%})"
    trough = f", trough {r['troughs']}" if r["troughs"] > r["hits"] else ""
    flat = f", {r['flat']} flat" if r["flat"] and r["letter"] != "F" else ""
    return f"{over}{r['letter']} {r['hits']}/{r['maps']}{trough}{gap}{flat}"


def of_stages(networks: Networks) -> list[str]:
    """Return the table of the trained ConvNeXt's layers, where that network was asked for."""
    stages = networks.get("convnext", {}).get("stages")
    if not stages:
        return []
    names = list(stages["auto"]["hits"])
    return [
        "## The trained ConvNeXt at each of its stages",
        "",
        "Peaks within one cell (or S/8) of the spot, of 16 images.",
        "",
        f"| layer | grid | {' | '.join(names)} | by chance |",
        f"|---|---|{'--:|' * (len(names) + 1)}",
        *(
            f"| {name if name == s['layer'] else f'{name}: `' + s['layer'] + '`'} | {' x '.join(map(str, s['grid']))} "
            f"| {' | '.join(str(s['hits'][m]) for m in names)} | {s['chance']:.1f} |"
            for name, s in stages.items()
        ),
        "",
    ]


def of_refusals(networks: Networks) -> list[str]:
    """Return each sentence once, with who got it."""
    sentences: dict[str, list[str]] = {}
    for name, n in networks.items():
        for r in n["results"]:
            if r["letter"] == "R":
                sentences.setdefault(r["words"], []).append(f"{r['method']} on {name}")
    return [f"- {', '.join(who)}: {words}" for words, who in sentences.items()] or ["None."]
