"""The XAI-TRIS tasks (clark2024): a T or an L, in white or in correlated noise.

In correlated noise the background is a suppressor: an element beside the tetrominoes says nothing of the label, but it
goes with the noise under them, so that a network does better by subtracting it (haufe2014). It is no part of the truth:
a map that points there shows what a network may really use and what is not the finding.

Shapes, places, smoothing, weights and combinations are those of the authors' code, github.com/braindatalab/xai-tris
(data/data_utils.py; data/data_config.json at cb2b4f2; data/data_config_8by8.json). By definition here: cases are drawn
one by one, so the Frobenius norms of all signals and all backgrounds are the expected ones, and the largest value of a
set, by which the authors divide, is a bound that is the same for every set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import InputError
from saliscope.core.geometry import Geometry
from saliscope.core.region import Region
from saliscope.phantom.case import SOURCE, Case
from saliscope.phantom.element import Element, Plant, Role, Site
from saliscope.phantom.scene import Acquisition, Anatomy, Display, Floats
from saliscope.phantom.sets import STRIDE

Scenario = Literal["LIN", "MULT", "RIGID", "XOR"]
Background = Literal["WHITE", "CORR"]
Letter = Literal["T", "L"]

SHAPES: Mapping[Letter, tuple[tuple[int, int], ...]] = MappingProxyType(
    {"T": ((1, 0), (1, 1), (1, 0)), "L": ((1, 0), (1, 0), (1, 1))}
)
#: Upper left corner of each tetromino on 8 x 8; on 64 x 64 eight times as far.
PLACES: Mapping[Letter, tuple[int, int]] = MappingProxyType({"T": (1, 1), "L": (4, 5)})
#: The weight alpha of the signal by size and scenario, for white and for correlated backgrounds.
ALPHA: Mapping[int, Mapping[Scenario, Mapping[Background, float]]] = MappingProxyType(
    {
        8: {
            "LIN": {"WHITE": 0.18, "CORR": 0.0125},
            "MULT": {"WHITE": 0.7, "CORR": 0.1},
            "RIGID": {"WHITE": 0.65, "CORR": 0.2},
            "XOR": {"WHITE": 0.35, "CORR": 0.15},
        },
        64: {
            "LIN": {"WHITE": 0.03, "CORR": 0.02},
            "MULT": {"WHITE": 0.65, "CORR": 0.05},
            "RIGID": {"WHITE": 0.575, "CORR": 0.375},
            "XOR": {"WHITE": 0.075, "CORR": 0.03},
        },
    }
)
#: Smoothing of the correlated background by size, and of large tetrominoes, as deviations in elements.
SMOOTH = MappingProxyType({8: 3.0, 64: 10.0})
SOFT, LARGE = 1.5, 3
#: Deviation of the white noise; what of a smoothed tetromino belongs to its mask; deviations within the stored values.
DEVIATION, SEEN, BOUND = 0.5, 0.05, 6.0


@dataclass(frozen=True)
class TrisField:
    """The background of XAI-TRIS: Gaussian noise of 8 x 8 or 64 x 64 elements of 1 mm, of Frobenius norm 1 - alpha.

    The norm is that expected of one picture. Values are stored as 32768 plus a multiple of the signal; exposure is a
    factor on the signal, noise one on the background; blur and larger elements are refused, for a field has no optics.
    Raises InputError for another size.
    """

    name: ClassVar[str] = "xai-tris"
    modality: ClassVar[str] = "OT"
    units: ClassVar[str] = ""
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 65535.0
    contrast: ClassVar[float] = 1.0
    home: ClassVar[str] = "field"
    body: ClassVar[str] = "field"

    scenario: Scenario = "LIN"
    background: Background = "WHITE"
    size: int = 64

    def __post_init__(self) -> None:
        if self.size not in ALPHA or self.scenario not in ALPHA[8] or self.background not in ("WHITE", "CORR"):
            raise InputError(
                f"XAI-TRIS {self.scenario} {self.background} of {self.size} elements",
                expected="LIN, MULT, RIGID or XOR; WHITE or CORR; 8 or 64",
                do="Name one of these.",
            )

    @property
    def alpha(self) -> float:
        """Return the weight of the signal."""
        return ALPHA[self.size][self.scenario][self.background]

    @property
    def scale(self) -> int:
        """Return how many elements one square of a tetromino is wide."""
        return 1 if self.size == 8 else 4 if self.scenario == "RIGID" else 8

    @property
    def share(self) -> float:
        """Return the weight of a background whose norm is 1; the product of MULT has no second weight."""
        return 1.0 if self.scenario == "MULT" else 1 - self.alpha

    def draw(self, seed: int) -> Anatomy:
        """Return the weighted background of a seed."""
        from scipy.ndimage import gaussian_filter

        noise = np.random.default_rng(seed).normal(0, DEVIATION, (self.size, self.size))
        if self.background == "CORR":
            noise = gaussian_filter(noise, SMOOTH[self.size])
        signal = (self.share / _norm(self.background, self.size) * noise).astype(np.float32)
        geometry = Geometry.of_picture(signal.shape, (1.0, 1.0))
        return Anatomy(signal, {"field": np.ones(signal.shape, bool)}, geometry, {"background": signal})

    def develop(self, anatomy: Anatomy, signal: Floats, acquisition: Acquisition) -> Floats:
        """Return the stored values; raises InputError where blur or larger elements are asked for."""
        if acquisition.blur_mm > 0 or acquisition.pixel != 1:
            raise InputError("blur or larger elements in XAI-TRIS", expected="none", do="Take another scene for these.")
        louder = np.float32(acquisition.noise - 1) * anatomy.fields["background"]
        return self.middle + np.float32(self.step * acquisition.exposure) * (signal + louder)

    @property
    def middle(self) -> np.float32:
        """Return the stored value of 0."""
        return np.float32((self.high + 1) / 2)

    @property
    def step(self) -> float:
        """Return how many stored values one unit of the signal is: 6 deviations and the tetromino fit in."""
        most = BOUND * self.share * _deviation(self.background, self.size) / _norm(self.background, self.size)
        most += 0.0 if self.scenario == "MULT" else self.alpha / _strength(self.scenario, self.scale)
        return (self.high / 2 - 1) / most

    def show(self, values: Floats) -> Display:
        """Return the values in 256 steps."""
        shown: Display = np.rint(values * (255 / self.high)).astype(np.uint8)
        return shown


@dataclass(frozen=True)
class Tetromino:
    """A T or an L in the XAI-TRIS field: at its own place, or for RIGID anywhere and turned by quarters.

    It is added with weight alpha over the norm of the signals, times `sign`; for MULT the background is multiplied by
    1 - alpha times it. Its mask is where it is 0.05 or more. Raises InputError in another scene.
    """

    kind: ClassVar[str] = "tetromino"

    letter: Letter = "T"
    sign: int = 1
    role: Role = "finding"

    @property
    def name(self) -> str:
        """Return "tetromino-t" or "tetromino-l"."""
        return f"tetromino-{self.letter.lower()}"

    def plant(self, site: Site) -> Plant:
        """Return the tetromino in its place."""
        scene = site.scene
        if not isinstance(scene, TrisField):
            raise InputError(f"a tetromino in scene {scene.name!r}", expected="xai-tris", do="Use scene TrisField.")
        turn, corner = 0, tuple(p * scene.size // 8 for p in PLACES[self.letter])
        if scene.scenario == "RIGID":
            turn = int(site.rng.integers(4))
            shape = np.rot90(_square(self.letter, scene.scale), turn).shape
            corner = tuple(int(site.rng.integers(scene.size - n + 1)) for n in shape)
        pattern = _pattern(self.letter, scene.scale, turn, (corner[0], corner[1]), scene.size)
        weight = np.float32(self.sign * scene.alpha)

        def added(signal: Floats) -> Floats:
            found: Floats = signal + weight / np.float32(_strength(scene.scenario, scene.scale)) * pattern
            return found

        def multiplied(signal: Floats) -> Floats:
            found: Floats = signal * (1 - weight * pattern)
            return found

        return Plant(pattern >= SEEN, body=multiplied if scene.scenario == "MULT" else added)


@dataclass(frozen=True)
class XaiTris:
    """A set of `count` XAI-TRIS cases, drawn one by one; case i is the same however many there are.

    Label 0 is T and label 1 is L; for XOR both stand there, label 0 with equal and label 1 with opposite signs.
    """

    scenario: Scenario = "LIN"
    background: Background = "WHITE"
    size: int = 64
    count: int = 100
    seed: int = 0

    labels: ClassVar[tuple[str, str]] = ("T", "L")

    @property
    def scene(self) -> TrisField:
        """Return the scene of all cases; raises InputError for a scenario, background or size that is not there."""
        return TrisField(self.scenario, self.background, self.size)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Case]:
        return (self[i] for i in range(self.count))

    def __getitem__(self, number: int) -> Case:
        """Return case `number`; raises IndexError beyond the last."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        seed = self.seed * STRIDE + number
        rng = np.random.default_rng([seed, 1])
        label = int(rng.integers(2))
        elements: tuple[Element, ...] = (Tetromino("TL"[label]),)  # type: ignore[arg-type]
        if self.scenario == "XOR":
            sign = int(rng.choice([-1, 1]))
            elements = (Tetromino("T", sign), Tetromino("L", sign if label == 0 else -sign))
        return Case(self.scene, seed, elements, label, f"xai-tris-{self.scenario.lower()}-{seed:07d}")

    def truth(self, case: Case) -> Region:
        """Return what the authors score against: the tetromino of RIGID, else both: the one that lacks says as much."""
        whole = case
        if self.scenario != "RIGID":
            whole = Case(case.scene, case.seed, (Tetromino("T"), Tetromino("L")))
        mask = np.logical_or.reduce([region.mask for region in whole.regions.values()])
        return Region(mask, case.anatomy.geometry, "truth", SOURCE)


def _square(letter: Letter, scale: int) -> Floats:
    return np.array(SHAPES[letter], np.float32).repeat(scale, axis=0).repeat(scale, axis=1)


@lru_cache(maxsize=64)
def _pattern(letter: Letter, scale: int, turn: int, corner: tuple[int, int], size: int) -> Floats:
    """Return a tetromino of height 1 (*S), with soft edges where it is large."""
    from scipy.ndimage import gaussian_filter

    shape = np.rot90(_square(letter, scale), turn)
    found: npt.NDArray[np.float64] = np.zeros((size, size))
    found[corner[0] : corner[0] + shape.shape[0], corner[1] : corner[1] + shape.shape[1]] = shape
    if scale > LARGE:
        found = gaussian_filter(found, SOFT)
    pattern: Floats = found.astype(np.float32)
    pattern.setflags(write=False)
    return pattern


@lru_cache(maxsize=32)
def _strength(scenario: Scenario, scale: int) -> float:
    """Return the root of the expected squared norm of the signal of one picture."""
    size = 8 if scale == 1 else 64
    if scenario == "RIGID":
        return float(np.sqrt(np.mean([_anywhere(letter, scale, size) for letter in SHAPES])))
    corners = {letter: (row * size // 8, column * size // 8) for letter, (row, column) in PLACES.items()}
    squares = [float((_pattern(letter, scale, 0, corners[letter], size) ** 2).sum()) for letter in SHAPES]
    return float(np.sqrt(np.sum(squares) if scenario == "XOR" else np.mean(squares)))


def _anywhere(letter: Letter, scale: int, size: int) -> float:
    """Return the expected squared norm of a tetromino whose corner is drawn evenly: soft edges count at the rim too."""
    smooth = _smoothing(SOFT if scale > LARGE else 0.0, size)
    products, shape = smooth.T @ smooth, _square(letter, scale)
    down, across = (np.mean([products[o : o + n, o : o + n] for o in range(size - n + 1)], axis=0) for n in shape.shape)
    return float(np.trace(shape.T @ down @ shape @ across))


def _smoothing(deviation: float, size: int) -> npt.NDArray[np.float64]:
    """Return the matrix (size, size) that smooths a row, as `scipy.ndimage.gaussian_filter` does."""
    from scipy.ndimage import gaussian_filter1d

    one = np.eye(size)
    return gaussian_filter1d(one, deviation, axis=0) if deviation else one


@lru_cache(maxsize=8)
def _norm(background: Background, size: int) -> float:
    """Return the root of the expected squared norm of one background."""
    return float(DEVIATION * (_smoothing(SMOOTH[size] if background == "CORR" else 0.0, size) ** 2).sum())


@lru_cache(maxsize=8)
def _deviation(background: Background, size: int) -> float:
    """Return the deviation of the background where it is largest."""
    smooth = _smoothing(SMOOTH[size] if background == "CORR" else 0.0, size)
    return float(DEVIATION * (smooth**2).sum(axis=1).max())
