"""Where the maps of the breast network fall against the experts' outlines, beside controls that know nothing.

For every lesion of the test part: does the map's peak lie in the outline, and how dense is positive attribution in it
against the whole image (1 = no better than chance). One line lays Grad-CAM edge to edge over the view, as others do, in
place of the measured grid of its layer. Localisation is not fidelity: a network may rightly look
elsewhere. Run: python benchmarks/where_maps_fall.py DATA/breast-ultrasound-busi
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))

from breast_ultrasound import ALIKE, LABELS, SHARES, SPLIT_SEED
from near_duplicates import groups
from training import split_by_group

from saliscope import load, read_image
from saliscope.figures import placed
from saliscope.study.api import explain

STRETCHED = "grad-cam, stretched"
METHODS = ["grad-cam", "layercam", "grad-cam++", "integrated-gradients", "centre", "edges", "random"]
DRAWS = 2000


def interval(values: np.ndarray, group: np.ndarray, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % interval of a mean by a bootstrap over groups."""
    random, own = np.random.default_rng(0), [np.flatnonzero(group == g) for g in np.unique(group)]
    means = [
        values[np.concatenate([own[i] for i in random.integers(len(own), size=len(own))])].mean() for _ in range(draws)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main(folder: Path) -> None:
    """Print one line for each method."""
    paths = [(k, p) for k, label in enumerate(LABELS) for p in sorted((folder / label / "images").glob("*.jpg"))]
    images = [read_image(p) for _, p in paths]
    labels = np.array([k for k, _ in paths])
    own = groups([i.display[0] for i in images], ALIKE)
    test = [i for i in split_by_group(labels, own, SHARES, SPLIT_SEED)[2] if labels[i] > 0]
    network = load("breast-ultrasound")
    rows: dict[str, list[tuple[bool, float]]] = {m: [] for m in [*METHODS, STRETCHED]}
    areas = []
    for i in test:
        label, path = paths[i]
        mask = read_image(folder / LABELS[label] / "masks" / f"{path.stem}.png").display[0] > 0
        areas.append(mask.mean())
        found = explain(images[i], network, METHODS, [LABELS[label]])
        maps = [(e.provenance.method, e, e.geometry) for e in found]
        maps += [(STRETCHED, found[0], found[0].seen.on_grid(found[0].values.shape))]
        for name, e, grid in maps:
            heat = np.maximum(placed(e.values, grid, images[i].geometry, e.seen), 0)
            peak = np.unravel_index(int(heat.argmax()), heat.shape)
            density = heat[mask].mean() / heat.mean() if heat.any() else 0.0
            rows[name].append((bool(heat.any() and mask[peak]), float(density)))
    area = np.mean(areas)
    print(f"{len(test)} lesions in {len(np.unique(own[test]))} groups; the outlines cover {area:.1%} of the images")
    for method, found in rows.items():
        hit, lift = (np.array(column, dtype=float) for column in zip(*found, strict=True))
        (a, b), (c, d) = interval(hit, own[test]), interval(lift, own[test])
        said = f"peak inside {hit.mean():.2f} [{a:.2f}, {b:.2f}]   density {lift.mean():.2f} [{c:.2f}, {d:.2f}]"
        print(f"{method:<22} {said}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
