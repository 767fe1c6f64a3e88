"""A run over what the package and pip bring: real slices of pydicom's, and a picture drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saliscope.study.drawing import write_ultrasound, write_volume
from saliscope.study.plan import Plan
from saliscope.study.run import Outcome, run
from saliscope.study.watch import Watch


@dataclass(frozen=True)
class Scene:
    """One part of the demonstration: what it shows, what is real in it and what is drawn, and how it is explained."""

    name: str
    title: str
    truth: str
    plan: Plan

    def inputs(self, folder: Path) -> list[str | Path]:
        """Return the images: pydicom's where they lie, drawn ones written into the folder."""
        if self.name == "drawn-ultrasound":
            return [write_ultrasound(folder)]
        if self.name == "drawn-volume":
            return [write_volume(folder)]
        from pydicom.data import get_testdata_file

        return [str(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]


SCENES = (
    Scene(
        "real-slices",
        "A CT slice and an MR slice",
        "Real: the two slices, which come with pydicom. Drawn: the network, which answers to bright spots by a formula"
        " and has no medical meaning.",
        Plan("spot-finder", ("grad-cam", "integrated-gradients"), ("spot",)),
    ),
    Scene(
        "drawn-volume",
        "A volume with two spots",
        "Drawn: the volume, an ellipsoid with two bright balls in it, tilted, with thick slices; and the network, the"
        " same formula in three dimensions. So the right answer is known: the balls.",
        Plan("spot-finder-3d", ("grad-cam",), ("spot",)),
    ),
    Scene(
        "drawn-ultrasound",
        "A breast ultrasound",
        "Drawn: the image, a dark ellipse in speckle with a shadow. Real: the network, trained on breast ultrasound"
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


def _index(out: Path, outcomes: Sequence[Outcome]) -> Path:
    from saliscope.figures.page import CaseLink, index_page
    from saliscope.write import write_file

    links = []
    for scene, outcome in zip(SCENES, outcomes, strict=True):
        for case in outcome.cases:
            place = f"{scene.name}/{case.name}"
            said = (case.sentence, scene.truth)
            links.append(CaseLink(f"{scene.title}: {case.name}", f"{place}/page.html", f"{place}/thumbnail.png", said))
    page = out / "index.html"
    lines = [
        "What follows runs on what the package and pip bring along; each line says what is real and what is drawn."
    ]
    write_file(page, index_page(links, "saliscope: a demonstration", lines).encode())
    return page
