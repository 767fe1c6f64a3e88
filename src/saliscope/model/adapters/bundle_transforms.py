"""MONAI's transforms as steps of ours; one that is not known is refused by name, never skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from saliscope.core.errors import CardError
from saliscope.model.frame import Step
from saliscope.model.intensity import Channels, Clip, Normalise, Scale, Window
from saliscope.model.library_steps import Affine, Divisible, NormaliseNonzero, Transpose
from saliscope.model.steps import Crop, Orient, Pad, Resample, Resize

Words = Mapping[str, Any]
#: They change types, names and the place of the channel axis, which here is always first.
SILENT = frozenset({"EnsureChannelFirst", "AsChannelFirst", "AddChannel", "EnsureType", "ToTensor", "CastToType"})


def steps_of(transforms: Sequence[Words], dimensions: int, channels: int, key: str = "image") -> tuple[Step, ...]:
    """Return the steps of a bundle's preprocessing of `key`; raises CardError for a transform that is not known."""
    found: list[Step] = []
    for transform in transforms:
        name = _name(transform)
        keys = transform.get("keys", key)
        if key not in ([keys] if isinstance(keys, str) else keys) or transform.get("_disabled_") is True:
            continue
        if name == "LoadImage":
            found += [Transpose(), *([Channels(channels)] if dimensions == 2 else [])]
        elif name not in SILENT:
            if name not in KNOWN:
                raise CardError(
                    f"the bundle prepares its images by {name!r}, which is not known here",
                    expected=f"LoadImage, {', '.join(sorted({*KNOWN, *SILENT}))} (or their dictionary forms)",
                    do="Write a card of your own with the steps that stand for it (see docs/how-to)",
                )
            found += _steps(name, transform, channels)
    if any(isinstance(step, Orient) for step in found):
        # The order of the axes that a file was read in does not matter to what is turned towards the patient after.
        found = [step for step in found if not isinstance(step, Transpose)]
    return tuple(found)


def _steps(name: str, words: Words, channels: int) -> Sequence[Step]:
    try:
        return KNOWN[name](words, channels)
    except (KeyError, TypeError, ValueError) as error:
        raise CardError(
            f"the bundle's {name} with {dict(words)} ({type(error).__name__}: {error})", do="Correct the bundle"
        ) from error


def _name(transform: Any) -> str:
    target = transform.get("_target_") if isinstance(transform, Mapping) else None
    if not isinstance(target, str):
        raise CardError(f"a transform {transform!r}", expected="a table with _target_", do="Correct the bundle")
    name = target.removeprefix("monai.transforms.")
    known = {"LoadImage", *SILENT, *KNOWN}
    endings = ("", "Dict", "d", "D")
    return next((name.removesuffix(e) for e in endings if name.endswith(e) and name.removesuffix(e) in known), name)


def _refused(name: str, what: str) -> CardError:
    return CardError(
        f"the bundle's {name} with {what}, which is not known here",
        expected="its plain form",
        do="Write a card of your own with the steps that stand for it (see docs/how-to)",
    )


def _orientation(words: Words, _channels: int) -> Sequence[Step]:
    return [Orient("RAS" if words.get("as_closest_canonical") else str(words["axcodes"]))]


def _spacing(words: Words, _channels: int) -> Sequence[Step]:
    spacing = tuple(float(s) for s in words["pixdim"])
    if min(spacing) <= 0 or words.get("diagonal"):
        raise _refused("Spacing", f"pixdim {list(spacing)}")
    return [Resample(spacing)]


def _range(words: Words, _channels: int) -> Sequence[Step]:
    low, high = float(words["a_min"]), float(words["a_max"])
    to_low, to_high = words.get("b_min"), words.get("b_max")
    if to_low is None or to_high is None:
        raise _refused("ScaleIntensityRange", "no b_min or b_max")
    if not words.get("clip", False):
        return [Affine(low, high, float(to_low), float(to_high))]
    return [Window(low, high), *_from_unit(float(to_low), float(to_high))]


def _percentiles(words: Words, channels: int) -> Sequence[Step]:
    if not words.get("clip", False) or words.get("relative") or (words.get("channel_wise") and channels > 1):
        raise _refused("ScaleIntensityRangePercentiles", "no clip, relative, or channel_wise")
    clip = Clip(float(words["lower"]), float(words["upper"]))
    return [clip, Scale(), *_from_unit(float(words["b_min"]), float(words["b_max"]))]


def _scaled(words: Words, channels: int) -> Sequence[Step]:
    if words.get("factor") is not None or (words.get("channel_wise") and channels > 1):
        raise _refused("ScaleIntensity", "a factor or channel_wise")
    return [Scale(), *_from_unit(float(words.get("minv", 0.0)), float(words.get("maxv", 1.0)))]


def _normalised(words: Words, channels: int) -> Sequence[Step]:
    mean, std = words.get("subtrahend"), words.get("divisor")
    each, nonzero = bool(words.get("channel_wise")) or channels == 1, bool(words.get("nonzero"))
    if mean is None and std is None:
        if nonzero and each:
            return [NormaliseNonzero()]
        if not nonzero and (channels == 1 or not words.get("channel_wise")):
            return [Normalise()]
    elif mean is not None and std is not None and not nonzero:
        return [Normalise(_floats(mean), _floats(std))]
    raise _refused("NormalizeIntensity", "nonzero or channel_wise on several channels, or half of its numbers")


def _resized(words: Words, _channels: int) -> Sequence[Step]:
    if words.get("size_mode", "all") != "all":
        raise _refused("Resize", f"size_mode {words['size_mode']!r}")
    return [Resize(_sizes(words["spatial_size"]))]


def _padded(words: Words, _channels: int) -> Sequence[Step]:
    mode = str(words.get("mode", "constant"))
    if words.get("method", "symmetric") != "symmetric" or mode not in ("constant", "edge"):
        raise _refused("SpatialPad", f"method or mode {mode!r}")
    return [Pad(_sizes(words["spatial_size"]), "edge" if mode == "edge" else float(words.get("value", 0.0)))]


def _divisible(words: Words, _channels: int) -> Sequence[Step]:
    by = words["k"]
    several = set(by) if isinstance(by, list) else {by}
    if len(several) != 1 or words.get("mode", "constant") != "constant":
        raise _refused("DivisiblePad", f"k {by}")
    return [Divisible(int(several.pop()))]


KNOWN: Mapping[str, Callable[[Words, int], Sequence[Step]]] = {
    "Orientation": _orientation,
    "Spacing": _spacing,
    "ScaleIntensityRange": _range,
    "ScaleIntensityRangePercentiles": _percentiles,
    "ScaleIntensity": _scaled,
    "NormalizeIntensity": _normalised,
    "Resize": _resized,
    "SpatialPad": _padded,
    "DivisiblePad": _divisible,
    "CenterSpatialCrop": lambda words, _channels: [Crop(_sizes(words["roi_size"]))],
    "RepeatChannel": lambda words, _channels: [Channels(int(words["repeats"]))],
}


def _from_unit(low: float, high: float) -> list[Step]:
    return [] if (low, high) == (0.0, 1.0) else [Affine(0.0, 1.0, low, high)]


def _floats(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in (value if isinstance(value, list) else [value]))


def _sizes(value: Any) -> tuple[int, ...]:
    sizes = tuple(int(v) for v in value)
    if min(sizes) < 1:
        raise ValueError(f"sizes {sizes}")
    return sizes
