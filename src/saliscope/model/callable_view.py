"""A caller's own preprocessing as a view: any function of an image, whose places are learnt and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import FunctionType, MethodType
from typing import Any, Self
from weakref import WeakKeyDictionary

import numpy as np

from saliscope.core.errors import GeometryError, InputError, Misplaced, did_you_mean
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.affine_fit import Affine
from saliscope.model.call_forms import Form, Store, forms
from saliscope.model.disc_views import TOLERANCE
from saliscope.model.discs import Array
from saliscope.model.frame import Step
from saliscope.model.places import Places, check, learn
from saliscope.model.reachable import chances, random_state, silent, told
from saliscope.model.view import Source, View

#: Calls with one image that must agree: of a function that draws nothing, and of one that draws.
REPEATS, REPEATS_OF_DRAWS = 2, 12
#: Longest that a function's own words may be in a record.
LONGEST = 160
#: What was learnt of a function stays as long as the function does.
_LEARNT: WeakKeyDictionary[Any, dict[Any, _Known]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Known:
    """What was learnt of a function for images of one shape and type."""

    form: str
    shape: tuple[int, ...]
    affine: Affine


@dataclass(frozen=True, eq=False)
class CallableViewing:
    """A deterministic function from an image to what a network takes, which may move elements by an affine map.

    Which form of the image it takes is tried: a PIL image, a NumPy array (*S) or (*S, C), a tensor (C, *S), a MONAI
    MetaTensor with its affine, `image=`, a dict, a path; `form` sets it, by the name that the record gives. It returns
    a tensor or an array (C, *S), (*S) or (1, C, *S), or a dict that holds one as "image". Where it puts each element of
    the image is learnt by some calls with discs painted into the image, and checked by two calls on every image.
    `store` writes images to files for functions that take a path; `channels` repeats the one channel that it returns.

        >>> import numpy as np
        >>> from saliscope.core.geometry import Geometry
        >>> values = np.random.default_rng(0).uniform(0, 9, (1, 40, 40)).astype("float32")
        >>> shown = np.zeros((1, 40, 40), np.uint8)
        >>> image = MedicalImage(values, shown, Geometry.of_picture((40, 40)), "", "", "", "a case")
        >>> CallableViewing(lambda array: array[10:30, 5:35]).places(image)[0].affine.offset.tolist()
        [10.0, 5.0]
    """

    function: Callable[..., Any]
    form: str = ""
    store: Store | None = field(default=None, repr=False)
    channels: int = 0

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return no steps: what the function does is not known, and is said by the view of each image."""
        return ()

    @property
    def source(self) -> Source:
        """Return where the function begins as far as is known before there is an image."""
        return "display" if self.form.startswith("pil") else "values"

    @property
    def name(self) -> str:
        """Return what the function is called, on one line, with its module."""
        named = self.function if isinstance(self.function, FunctionType | MethodType | type) else type(self.function)
        where = ".".join(part for part in (named.__module__, named.__qualname__) if part)
        if named is self.function:
            return where
        own = told(self.function)
        # MONAI's Compose says nothing of itself: what it composes is a better name than its own attributes.
        parts = getattr(self.function, "transforms", None)
        if isinstance(parts, list | tuple) and silent(self.function):
            own = ", ".join(type(one).__name__ for one in parts)
        return f"{where}: {own if len(own) <= LONGEST else own[: LONGEST - 3] + '...'}"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of what is known of the function before there is an image."""
        return hashlib.sha256(json.dumps([self.name, self.form, told(self.function)]).encode()).hexdigest()

    def described(self) -> tuple[str, ...]:
        """Return what is known of the function before there is an image, in words."""
        return (f"by {self.name}",)

    def record(self) -> Mapping[str, Any]:
        """Return nothing: a function cannot be made again from a record."""
        return {}

    def repeated(self, count: int) -> Self:
        """Return the same with its one channel given so many times."""
        return replace(self, channels=count)

    def __call__(self, image: MedicalImage) -> View:
        """Return the view of an image; raises GeometryError with the reason where its places cannot be known."""
        import torch

        places, form, output = self.places(image)
        affine = places.affine
        words = (
            f"from the image's {form.source}, given as {form.words}",
            *self.described(),
            f"learnt: {_in_words(affine)}; discs painted into the image lay {places.residual:.2f} elements from there",
        )
        if self.channels and len(output) == 1:
            output = output.repeat(self.channels, axis=0)
            words = (*words, f"channels count={self.channels}")
        learnt = [
            self.digest,
            self.channels,
            form.name,
            np.round(affine.matrix, 6).tolist(),
            np.round(affine.offset, 6).tolist(),
        ]
        digest = hashlib.sha256(json.dumps(learnt).encode()).hexdigest()
        return View(torch.from_numpy(output)[None], _moved(image.geometry, affine, output.shape[1:]), words, digest)

    def places(self, image: MedicalImage) -> tuple[Places, Form, Array]:
        """Return where elements of the view come from, the form in which the image was given, and the output.

        The output is (C', *S'). Raises GeometryError where the function takes the image in no form, draws at random,
        or puts elements where no affine map puts them.
        """
        known = self._known()
        key = (image.values.shape, image.display.shape, np.array_equal(image.values, image.display))
        first: Exception | None = None
        refused: dict[str, Exception] = {}
        for form in self._forms(image, known.get(key)):
            try:
                output, carried = form(self.function, _array(image, form), image)
            except Exception as error:  # noqa: BLE001 - whatever a function raises for what it does not take
                refused[form.words] = error
                continue
            self._check_repeats(form, image, output)
            try:
                found = self._learnt(form, image, output, known.get(key))
            except Misplaced as error:
                first = first or error
                continue
            known[key] = _Known(form.name, output.shape, found.affine)
            return _preferred(found, carried, image.geometry, output.shape[1:]), form, output
        if isinstance(first, Misplaced):
            raise GeometryError(f"view={self.name}: {first.got}", expected=first.expected, do=first.do) from first
        raise _takes_none(self.name, refused)

    def _known(self) -> dict[Any, _Known]:
        try:
            return _LEARNT.setdefault(self.function, {})
        except TypeError:  # neither hashable nor weakly referable
            return {}

    def _forms(self, image: MedicalImage, known: _Known | None) -> list[Form]:
        listed = forms(self.function, image, self.store)
        if self.form:
            chosen = [f for f in listed if f.name == self.form]
            if not chosen:
                raise InputError(f"form {self.form!r}", do=did_you_mean(self.form, [f.name for f in listed]))
            return chosen
        return sorted(listed, key=lambda f: known is None or f.name != known.form)

    def _check_repeats(self, form: Form, image: MedicalImage, output: Array) -> None:
        """Raise GeometryError where the function gives another output for the same image."""
        before = random_state(self.function)
        draws, repeats, number = False, REPEATS, 1
        while number < repeats:
            again, _ = form(self.function, _array(image, form), image)
            draws = draws or random_state(self.function) != before
            repeats = REPEATS_OF_DRAWS if draws else REPEATS
            number += 1
            scale = float(np.abs(output).max()) + 1e-30
            same = again.shape == output.shape and float(np.abs(again - output).max()) <= 1e-5 * scale
            if not same or (draws and chances(self.function)):
                raise GeometryError(
                    f"view={self.name}: a function that draws at random, so that one image has several views",
                    expected="the same output for the same image",
                    do="Give the transform of the validation set",
                )

    def _learnt(self, form: Form, image: MedicalImage, output: Array, known: _Known | None) -> Places:
        carrier = np.asarray(_array(image, form), dtype=np.float32)

        def send(values: Array) -> Array:
            try:
                found, _ = form(self.function, values.astype(_array(image, form).dtype), image)
            except Exception as error:
                raise LookupError(f"it failed with {type(error).__name__}: {error}") from error
            if found.shape != output.shape:
                raise LookupError(f"{output.shape}, then {found.shape}")
            return found

        if known is not None and (known.form, known.shape) == (form.name, output.shape):
            found = check(send, carrier, output, known.affine)
            if found is not None:
                return found
        return learn(send, carrier, output)


def _array(image: MedicalImage, form: Form) -> Any:
    return image.values if form.source == "values" else image.display


def _moved(geometry: Geometry, affine: Affine, shape: tuple[int, ...]) -> Geometry:
    """Return the grid of a view whose elements come from these places of an image's grid."""
    own = geometry.affine[:3]
    columns = own[:, :-1] @ affine.matrix
    start = own[:, :-1] @ affine.offset + own[:, -1]
    return replace(Geometry.of_affine(shape, np.column_stack([columns, start]), geometry.unit), frame=geometry.frame)


def _preferred(found: Places, carried: Any, geometry: Geometry, shape: tuple[int, ...]) -> Places:
    """Return places by the affine (4, 4) that a volume carries, as MONAI's do, where it agrees with what was learnt."""
    world = None if carried is None else np.asarray(carried, dtype=np.float64)
    if geometry.ndim != 3 or world is None or world.shape != (4, 4) or not np.isfinite(world).all():
        return found
    start = geometry.to_index(world[:3, 3])
    told = Affine(np.stack([geometry.to_index(world[:3, 3] + world[:3, a]) - start for a in range(3)], axis=1), start)
    corners = np.stack(np.meshgrid(*[(0.0, n - 1.0) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    agrees = np.abs(told(corners) - found.affine(corners)).max() < TOLERANCE
    return replace(found, affine=told) if agrees else found


def _in_words(affine: Affine) -> str:
    """Return where element (i, j, ...) of a view lies in the image."""
    names = "ijk"[: len(affine.offset)]
    rows = []
    for row, start in zip(affine.matrix, affine.offset, strict=True):
        terms = [f"{value:.5g} {name}" for name, value in zip(names, row, strict=True) if abs(value) > 1e-9]
        rows.append(" + ".join([*terms, f"{start:.5g}"]).replace("+ -", "- "))
    return f"element ({', '.join(names)}) of the view lies at ({', '.join(rows)}) in the image"


def _takes_none(name: str, refused: dict[str, Exception]) -> GeometryError:
    """Return the refusal of a function that made an image of no form, with what it said to each."""
    answers: dict[str, list[str]] = {}
    for form, error in refused.items():
        answers.setdefault(_line(error), []).append(form)
    listed = [f"{' and '.join(forms[:2])}{', ...' if len(forms) > 2 else ''}: {a}" for a, forms in answers.items()]
    said = "; ".join([*listed[:3], *(["..."] if len(listed) > 3 else [])])
    return GeometryError(
        f"view={name}, which made no image of any form of this one ({said})",
        expected="a tensor or an array (C, *S), (*S) or (1, C, *S), or a dict with one as 'image'",
        do="Wrap it in a function that takes one of these and returns that",
    )


def _line(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 90 else text[:87] + "..."
