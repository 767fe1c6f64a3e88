"""A MONAI bundle as a card: its network among MONAI's own, its preprocessing as steps, its labels from its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError
from saliscope.model.adapters.bundle_config import BundleConfig, read_json
from saliscope.model.adapters.bundle_transforms import steps_of
from saliscope.model.library_steps import Divisible
from saliscope.model.view import Viewing

if TYPE_CHECKING:
    from saliscope.core.target import OutputKind
    from saliscope.model.card import Card

NETS = "monai.networks.nets"
_CONTROL = ("_target_", "_requires_", "_disabled_", "_mode_")
#: A window's sizes are multiples of what the network halves; more than this no network halves.
_MOST_HALVED = 64


def card_of(folder: Path) -> Card:
    """Return the card of a bundle: a folder with configs/metadata.json, configs/inference.json and models/model.pt.

    Nothing in it is run. Raises CardError for an expression, for a network that is not MONAI's own, and for a
    transform that is not known.
    """
    from saliscope.model.card import Card

    metadata = read_json(folder / "configs" / "metadata.json")
    config = BundleConfig(folder / "configs" / "inference.json")
    name, arguments = _network(config)
    image = _first(metadata, "inputs")
    dimensions = _dimensions(arguments, image)
    channels = int(image.get("num_channels", 1))
    transforms = config.at("preprocessing::transforms", config.at("preprocessing", []))
    if not isinstance(transforms, list):
        raise CardError(f"{config.path.name} without preprocessing::transforms", do="Write a card of your own")
    steps = steps_of(transforms, dimensions, channels)
    whole, limits = _window(config)
    kind, labels = _output(metadata, config)
    said = str(metadata.get("description") or metadata.get("task") or "A MONAI bundle.")
    return Card(
        path=config.path,
        name=str(metadata.get("name") or folder.name),
        title=str(metadata.get("task") or said).rstrip("."),
        description=said,
        architecture=f"{NETS}.{name}",
        arguments=arguments,
        weights="../models/model.pt",
        labels=labels,
        output=kind,
        modalities=(str(image.get("modality") or "unknown"),),
        dimensions=dimensions,
        view=Viewing((*steps, *whole)),
        licence=str(metadata.get("license") or metadata.get("copyright") or "see the bundle"),
        attribution=str(metadata.get("authors") or "see the bundle"),
        intended=str(metadata.get("intended_use") or "Research; the bundle says nothing more."),
        limits=limits,
    )


def _network(config: BundleConfig) -> tuple[str, dict[str, Any]]:
    words = config.at("network_def")
    if not isinstance(words, Mapping) or not isinstance(words.get("_target_"), str):
        raise CardError(
            f"{config.path.name} without a network_def of plain values",
            expected="network_def with _target_ and its arguments",
            do="Write a card of your own: architecture = 'monai.networks.nets.Name' (see docs/how-to)",
        )
    target = words["_target_"]
    if "." in target and not target.startswith(f"{NETS}."):
        raise CardError(
            f"{config.path.name} with the network {target!r}, which is code of its own",
            expected=f"a class of {NETS}",
            do="If you trust that code, write a card with architecture = 'module:function' and say --allow-code",
        )
    return target.rpartition(".")[2], {k: v for k, v in words.items() if k not in _CONTROL}


def _first(metadata: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    described = metadata.get("network_data_format", {}).get(side, {})
    preferred = described.get("image" if side == "inputs" else "pred")
    found = preferred or next(iter(described.values()), None)
    if not isinstance(found, Mapping) or (side == "inputs" and len(described) > 1):
        raise CardError(
            f"a bundle whose metadata describe {len(described)} {side}",
            expected="network_data_format with one image",
            do="Write a card of your own (see docs/how-to)",
        )
    return found


def _dimensions(arguments: Mapping[str, Any], image: Mapping[str, Any]) -> int:
    found = arguments.get("spatial_dims") or len(image.get("spatial_shape") or ())
    if found not in (2, 3):
        raise CardError(f"a bundle of {found} spatial dimensions", expected="2 or 3", do="Check its metadata")
    return int(found)


def _output(metadata: Mapping[str, Any], config: BundleConfig) -> tuple[OutputKind, tuple[str, ...]]:
    described = _first(metadata, "outputs")
    named = described.get("channel_def") or {}
    count = int(described.get("num_channels") or len(named) or 1)
    labels = tuple(str(named.get(str(i)) or f"class {i}") for i in range(count))
    labels = tuple(n if labels.count(n) == 1 else f"{n} {i}" for i, n in enumerate(labels))
    sigmoid = any(t.get("sigmoid") is True for t in _listed(config) if str(t.get("_target_", "")).startswith("Activ"))
    if described.get("type") == "image" or described.get("format") == "segmentation":
        if sigmoid and count > 1:
            raise CardError(
                "a bundle that segments overlapping classes (a sigmoid of several channels)",
                expected="classes that exclude each other",
                do="Explain its logits in Python with Network(kind='regression') or a target of your own",
            )
        return "segmentation", labels
    if count == 1:
        return "binary", (f"not {labels[0]}", labels[0])
    return ("multi-label" if sigmoid else "multi-class"), labels


def _listed(config: BundleConfig) -> list[Mapping[str, Any]]:
    """Return the transforms after the network as they stand: only plain words in them are looked at."""
    found = config.words.get("postprocessing", {})
    listed = found.get("transforms", []) if isinstance(found, Mapping) else found
    return [t for t in listed if isinstance(t, Mapping)] if isinstance(listed, list) else []


def _window(config: BundleConfig) -> tuple[tuple[Divisible, ...], tuple[str, ...]]:
    """Return the step that makes the whole view fit a network that was slid over it, and what is to be said."""
    limits = ["Read from a MONAI bundle; what it must not be used for stands in the bundle's own documents."]
    limits.append("The bundle pins no digest: the one in each record is that of the file that was found.")
    limits.append("Resampling here smooths before it shrinks; MONAI's does not. Maps may differ by a little.")
    inferer = config.words.get("inferer")
    if not isinstance(inferer, Mapping) or "SlidingWindow" not in str(inferer.get("_target_", "")):
        return (), tuple(limits)
    roi = config.at("inferer::roi_size")
    sizes = [int(n) for n in (roi if isinstance(roi, list) else [roi])]
    by = next(n for n in (64, 32, 16, 8, 4, 2, 1) if all(s % n == 0 for s in sizes) and n <= _MOST_HALVED)
    limits.append(
        f"The bundle slides a window of {' x '.join(map(str, sizes))} over the image and averages; here the whole view "
        f"is run at once, padded to multiples of {by}. Scores differ from the bundle's own, and memory grows with it."
    )
    return (Divisible(by),), tuple(limits)
