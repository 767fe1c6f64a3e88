"""Several explanations in one folder: those of one image on one page, each other image in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saliscope.core.errors import WriteError
from saliscope.core.explanation import Explanation
from saliscope.study.present import Showing


def save_all(explanations: Sequence[Explanation], folder: Path, cards: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write a new folder with all explanations, whole or not at all, and return its path.

    `cards` are their explanation cards as plain data, one for each or none at all.
    Raises WriteError for an explanation whose image is not at hand, and for a folder that cannot be written.
    """
    from saliscope.write import new_folder, safe_name

    images: dict[tuple[str, str], list[int]] = {}
    for n, e in enumerate(explanations):
        images.setdefault((e.provenance.image, e.image_name), []).append(n)
    cases = [_case(explanations, cards, which) for which in images.values()]
    if len(cases) == 1:
        showing, found, own = cases[0]
        showing.write_case(found, folder, cards=own)
        return folder
    with new_folder(folder) as place:
        for showing, found, own in cases:
            name, number = safe_name(showing.name), 2
            while (place / name).exists():
                name, number = f"{safe_name(showing.name)}-{number}", number + 1
            showing.write_case(found, place / name, cards=own)
    return folder


def _case(
    explanations: Sequence[Explanation], cards: Sequence[Mapping[str, Any]], which: Sequence[int]
) -> tuple[Showing, list[Explanation], list[Mapping[str, Any]]]:
    found = [explanations[n] for n in which]
    showing = found[0].presenter
    if not isinstance(showing, Showing):
        raise WriteError(
            f"an explanation of {found[0].image_name!r} without its image",
            expected="map and image together: the folder holds pictures of both",
            do="Load it with its image: saliscope.Explanation.load(folder, image=...)",
        )
    return showing, found, [cards[n] for n in which] if cards else []
