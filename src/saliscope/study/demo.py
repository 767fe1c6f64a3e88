"""A run over what the package and pip bring: real slices of pydicom's, and a picture drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saliscope.study.plan import Plan
from saliscope.study.run import Outcome, Watch, run

SEED = 7


@dataclass(frozen=True)
class Scene:
    """One part of the demonstration: what it shows, what is real in it and what is drawn, and how it is explained."""

    name: str
    title: str
    truth: str
    plan: Plan

    def inputs(self, folder: Path) -> list[str | Path]:
        """Return the images: pydicom's where they lie, drawn ones written into the folder."""
        from pydicom.data import get_testdata_file

        if self.name == "drawn-ultrasound":
            return [drawn_ultrasound(folder)]
        if self.name == "real-slices":
            return [str(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
        slices = ("4467", "4528", "4558", "4588", "4618", "4648", "4678")
        return [str(get_testdata_file(f"dicomdirtests/98892003/MR700/{n}")) for n in slices]


SCENES = (
    Scene(
        "real-slices",
        "A CT slice and an MR slice",
        "Real: two slices that come with pydicom, with identifiers removed by its authors. Drawn: the network, which"
        " answers to bright spots by a formula and has no medical meaning.",
        Plan("spot-finder", ("grad-cam", "integrated-gradients"), ("spot",)),
    ),
    Scene(
        "real-volume",
        "An MR volume",
        "Real: seven MR slices that come with pydicom. Drawn: the network, the same formula in three dimensions.",
        Plan("spot-finder-3d", ("grad-cam",), ("spot",)),
    ),
    Scene(
        "drawn-ultrasound",
        "A breast ultrasound",
        "Drawn: the image, a dark ellipse in speckle with a shadow. Real: the network, trained on 780 breast ultrasound"
        " images. On a drawn image its answer means nothing; the way from answer to map is the real one.",
        Plan("breast-ultrasound", ("grad-cam", "occlusion"), ("malignant", "benign")),
    ),
)


def demonstrate(out: Path, *, watch: Watch, overwrite: bool = False) -> Path:
    """Run every scene into a folder and return the page to open; raises SaliscopeError like any run."""
    outcomes = []
    out.mkdir(parents=True, exist_ok=True)
    for scene in SCENES:
        inputs = scene.inputs(out / "inputs")
        outcomes.append(run(inputs, scene.plan, out / scene.name, watch=watch, overwrite=overwrite))
    return _index(out, outcomes)


def drawn_ultrasound(folder: Path) -> Path:
    """Write a picture of a dark lesion in speckle, drawn with a fixed seed, and return its path."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "drawn-ultrasound.png"
    Image.fromarray(lesion_in_speckle(), "L").save(path)
    return path


def lesion_in_speckle(size: int = 256, seed: int = SEED) -> npt.NDArray[np.uint8]:
    """Return a picture (size, size): layers of tissue, a lesion with an uneven rim, a shadow below it, speckle."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    row, column = np.mgrid[:size, :size] / size
    tissue = 0.30 + 0.10 * np.sin(9 * row + 1.5 * np.sin(5 * column)) + 0.25 * np.exp(-(((row - 0.12) / 0.05) ** 2))
    angle = np.arctan2(row - 0.48, column - 0.60)
    rim = 1 + 0.16 * np.sin(5 * angle + 1) + 0.10 * np.sin(11 * angle)
    distance = np.hypot((row - 0.48) / 0.15, (column - 0.60) / 0.20) / rim
    inside = 1 / (1 + np.exp((distance - 1) * 14))
    shadow = (row > 0.48) * np.exp(-(((column - 0.60) / 0.13) ** 4)) * 0.45
    reflected = tissue * (1 - 0.85 * inside) * (1 - shadow * (1 - inside))
    speckle = gaussian_filter(random.rayleigh(0.8, (size, size)), (0.7, 1.4))
    depth = np.exp(-0.7 * row)
    return np.clip(255 * 1.25 * reflected * speckle * depth, 0, 255).astype(np.uint8)


def _index(out: Path, outcomes: Sequence[Outcome]) -> Path:
    from saliscope.figures.page import CaseLink, index_page
    from saliscope.write.folder import write_file

    links = []
    for scene, outcome in zip(SCENES, outcomes, strict=True):
        for case in outcome.cases:
            place = f"{scene.name}/{case.name}"
            small = (out / place / "thumbnail.png").read_bytes()
            links.append(
                CaseLink(f"{scene.title}: {case.name}", f"{place}/page.html", small, (case.sentence, scene.truth))
            )
    page = out / "index.html"
    lines = [
        "What follows runs on what the package and pip bring along; each line says what is real and what is drawn."
    ]
    write_file(page, index_page(links, "saliscope: a demonstration", lines).encode())
    return page
