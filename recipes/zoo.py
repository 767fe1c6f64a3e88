"""Make the shipped networks again, and say how far their numbers are from the published ones.

    python recipes/zoo.py [STAGE ...] [--data DATA] [--out DIR] [--only REGEX] [--compare-only]

STAGE is the name of a recipe, all by default. Exit code 1 when a number is further from the card's than TOLERANCE.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from saliscope.model.card import Card
from saliscope.model.shipped import shipped

HERE = Path(__file__).parent
#: Another processor rounds otherwise, and training carries that far: a number made again lies within this of the
#: published one, or within half the width of its published interval, whichever is more.
TOLERANCE = 0.02

#: Of each recipe: the part of the data folder that it reads ("" for none) and the networks that it makes.
STAGES = {
    "breast_ultrasound": ("breast-ultrasound-busi", "breast-ultrasound"),
    "chest_pneumonia_28": ("pneumoniamnist/pneumoniamnist.npz", "chest-pneumonia-28"),
    "hippocampus_segmentation": ("hippocampus-mr", "hippocampus-segmentation"),
    "chest_view": ("chest-xray-nih", "chest-view"),
    "chest_opacity_confounded": ("chest-xray-nih", "chest-opacity-confounded"),
    "chest_opacity": ("chest-xray-nih", "chest-opacity"),
    "phantom_networks": ("", "phantom-"),
}


def differences(made: Card, published: Card) -> Iterator[tuple[str, float, float, float]]:
    """Give each number of both cards: its name, what was made, what was published, and what is tolerated."""
    for key, old in published.performance.items():
        new = made.performance.get(key)
        if not (isinstance(old, dict) and isinstance(new, dict) and "value" in old and "value" in new):
            continue
        low, high = (float(old[end]) if end in old else float(old["value"]) for end in ("low", "high"))
        half = (high - low) / 2
        yield key, new["value"], old["value"], max(TOLERANCE, half)


def compared(out: Path, only: str) -> int:
    """Print every number of the cards in a folder beside the published one; return how many are too far."""
    far = seen = 0
    for path in sorted(out.rglob("card.toml")):
        made = Card.read(path)
        if made.name not in shipped() or not re.search(only, made.name) or path.parent.name.startswith("."):
            continue
        for key, new, old, tolerated in differences(made, Card.read(shipped()[made.name])):
            off = abs(new - old) > tolerated
            far, seen = far + off, seen + 1
            print(
                f"{'FAR ' if off else 'fine'} {made.name} {key}: {new:.4f}, published {old:.4f}, within {tolerated:.4f}"
            )
    print(f"{seen} numbers compared, {far} too far")
    return far


def main() -> int:
    """Run the stages that were asked for, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SALISCOPE_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--only", default="", help="networks whose name this pattern is found in")
    parser.add_argument("--compare-only", action="store_true")
    asked = parser.parse_args()
    if unknown := set(asked.stages) - set(STAGES):
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    for stage in () if asked.compare_only else asked.stages or STAGES:
        part, name = STAGES[stage]
        where = ["--data", str(asked.data / part)] if part else ["--only", asked.only]
        out = asked.out / (name if part else "phantom")
        print(f"== {stage}", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{stage}.py"), *where, "--out", str(out)], check=True)  # noqa: S603
    return 1 if compared(asked.out, asked.only) else 0


if __name__ == "__main__":
    sys.exit(main())
