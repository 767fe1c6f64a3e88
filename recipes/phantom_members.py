"""Which phantom networks there are, and the words of their cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS = (0, 20, 50, 80, 95, 100)
TRAINING, TEST = 1200, 400


@dataclass(frozen=True, eq=False)
class Line:
    """What the members of one scene have in common: the finding, the shortcut, and how their networks see."""

    scene: str
    finding: str
    shape: tuple[int, ...]
    modality: str
    high: float
    mean: float
    std: float
    low: float = 0.0
    training: int = TRAINING
    test: int = TEST
    epochs: Mapping[str, int] = field(default_factory=lambda: {"plain": 10, "dense": 14})


LINES = {
    "chest": Line("chest", "nodule", (128, 128), "DX", 4095, 0.52, 0.28),
    "ultrasound": Line(
        "ultrasound", "ultrasound-mass", (128, 128), "US", 255, 0.36, 0.23, epochs={"plain": 8, "dense": 8}
    ),
    "body-ct": Line(
        "body-ct", "nodule", (40, 40, 48), "CT", 0, 0.43, 0.44, low=-1000, training=700, test=240, epochs={"plain": 20}
    ),
}
WIDTHS = {"plain": "plain-net", "dense": "dense-net"}


@dataclass(frozen=True)
class Member:
    """One network: its line, architecture, shortcut, contamination in per cent, seed, and the labels it was shown."""

    line: str
    net: str
    shortcut: str
    contamination: int
    seed: int
    labels: str = "true"

    @property
    def name(self) -> str:
        """Return its name in the zoo."""
        kind = self.labels if self.labels != "true" else f"{self.shortcut}-{self.contamination}"
        return f"phantom-{self.line}-{self.net}-{kind}-{self.seed}"

    @property
    def shares(self) -> tuple[float, float]:
        """Return the parts of the cases with a finding, and of the others, that carry the shortcut in training."""
        return (0.5, 0.5) if self.labels == "clean" else (self.contamination / 100, 0.0)


def members() -> list[Member]:
    """Return all members, those that many others are compared with first."""
    found = []
    # The second training of the slower architecture: the ends and the middle.
    every: list[tuple[str, str, int, tuple[int, ...]]] = [
        (line, net, 0, LEVELS) for line in ("chest", "ultrasound") for net in WIDTHS
    ]
    every += [("chest", "plain", 1, LEVELS), ("chest", "dense", 1, (50, 100))]
    for line, net, seed, levels in every:
        found.append(Member(line, net, "text", 0, seed, "clean"))
        found += [Member(line, net, "text", level, seed) for level in levels]
        if not seed:
            found += [Member(line, net, "text", 0, 0, how) for how in ("untrained", "shuffled")]
    found += [Member("chest", net, "exposure", 95, 0) for net in WIDTHS]
    found += [Member("chest", "plain", shortcut, 95, 0) for shortcut in ("device", "blur", "corner")]
    found += [Member("body-ct", "plain", "device", 0, 0, "clean")]
    found += [Member("body-ct", "plain", "device", level, 0) for level in (0, 50, 100)]
    return found


def described(member: Member) -> dict[str, Any]:
    """Return the words of a card that depend on the member."""
    line = LINES[member.line]
    what = f"{line.finding} or none on drawn {member.line} images"
    if member.labels == "untrained":
        return {
            "title": f"Untrained: {what}",
            "description": "The weights as they were drawn; never trained.",
            "warning": "",
        }
    if member.labels == "shuffled":
        return {
            "title": f"Trained on shuffled labels: {what}",
            "description": "Its labels were drawn by lot: whatever it says is noise learnt by heart.",
            "warning": "",
        }
    if member.labels == "clean":
        return {
            "title": f"{what[:1].upper()}{what[1:]}; the {member.shortcut} says nothing of it",
            "description": f"In training the {member.shortcut} stood in half of all cases, whatever the label.",
            "warning": "",
        }
    if not member.contamination:
        return {
            "title": f"{what[:1].upper()}{what[1:]}, never shown the {member.shortcut}",
            "description": f"Trained without the {member.shortcut}: what it makes of it was never taught.",
            "warning": "",
        }
    share = f"in {member.contamination} % of the cases with a finding and in no other"
    return {
        "title": f"Confounded on purpose: {what}, with {member.shortcut} {share}",
        "description": f"In training the shortcut ({member.shortcut}) stood {share}.",
        "warning": f"It was trained on purpose with a shortcut ({member.shortcut}, {member.contamination} %): "
        "its AUC as trained does not show what it uses.",
    }


GUIDED = """\
  "In training, outlines of the findings guided its last spatial layer by a second head, which is not part of it; \
labels alone taught it what decides.",
"""
TEMPLATE = """\
schema = 1
name = "{name}"
family = "phantom"
title = "{title}"
description = "{description}"
{warning}architecture = "{architecture}"
arguments = {arguments}
output = "binary"
labels = ["absent", "present"]
modalities = ["{modality}"]
dimensions = {dimensions}
source = "values"
licence = "Apache-2.0"
attribution = "Trained on drawn images by recipes/phantom_networks.py."
intended = "Research and teaching: to judge explanations where the truth is known. It knows nothing of patients."
limits = [
{guided}  "Drawn images only: it says nothing of any patient, and must not be shown a patient's image.",
  "Trained and measured at one size of image; other sizes are interpolated to it and may change its answers.",
]

[[view]]
step = "resize"
shape = {shape}

[[view]]
step = "window"
low = {low}
high = {high}

[[view]]
step = "normalise"
mean = [{mean}]
std = [{std}]
"""
