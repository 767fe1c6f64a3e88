"""Which phantom networks there are, and the words of their cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEVELS = (20, 50, 80, 95, 100)
TRAINING, TEST = 1600, 400
EPOCHS = 10


@dataclass(frozen=True)
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
    epochs: int = EPOCHS


LINES = {
    "chest": Line("chest", "nodule", (128, 128), "DX", 4095, 0.52, 0.28, epochs=16),
    "ultrasound": Line("ultrasound", "ultrasound-mass", (128, 128), "US", 255, 0.36, 0.23),
    "body-ct": Line(
        "body-ct", "nodule", (40, 40, 48), "CT", 0, 0.43, 0.44, low=-1000, training=700, test=240, epochs=20
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
        kind = kind if self.contamination or self.labels != "true" else "clean"
        return f"phantom-{self.line}-{self.net}-{kind}-{self.seed}"


def members() -> list[Member]:
    """Return all members, those that many others are compared with first."""
    found = [
        Member("chest", net, "text", level, seed)
        for seed, nets in ((0, WIDTHS), (1, WIDTHS), (2, ("plain",)))
        for net in nets
        for level in (0, *LEVELS)
    ]
    found += [Member("chest", net, "text", 0, 0, how) for net in WIDTHS for how in ("untrained", "shuffled")]
    found += [Member("chest", net, "exposure", 95, 0) for net in WIDTHS]
    found += [Member("chest", "plain", shortcut, 95, 0) for shortcut in ("device", "noise", "corner")]
    found += [
        Member("ultrasound", net, "text", level, seed) for seed in range(2) for net in WIDTHS for level in (0, *LEVELS)
    ]
    found += [Member("ultrasound", net, "text", 0, 0, how) for net in WIDTHS for how in ("untrained", "shuffled")]
    found += [Member("body-ct", "plain", "device", level, 0) for level in (0, 50, 80, 100)]
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
    if not member.contamination:
        return {
            "title": f"{what[:1].upper()}{what[1:]}, never shown the shortcut",
            "description": f"Trained without the {member.shortcut} that others of its family were shown.",
            "warning": "",
        }
    share = f"in {member.contamination} % of the cases with a finding and in no other"
    return {
        "title": f"Confounded on purpose: {what}, with {member.shortcut} {share}",
        "description": f"In training the shortcut ({member.shortcut}) stood {share}.",
        "warning": f"It was trained on purpose with a shortcut ({member.shortcut}, {member.contamination} %): "
        "its AUC as trained does not show what it uses.",
    }


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
  "Drawn images only: it says nothing of any patient, and must not be shown a patient's image.",
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
