"""The cards that come with the package, as words: enough to list them, without numpy or torch."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from saliscope.core.errors import CardError


def shipped() -> dict[str, Path]:
    """Return the cards that the package brings: name and path, in alphabetical order."""
    zoo = Path(str(files("saliscope.model") / "zoo"))
    cards = (card for card in sorted(zoo.rglob("card.toml")) if not card.parent.name.startswith("."))
    return {card.parent.name: card for card in cards}


def words_of(path: Path) -> dict[str, Any]:
    """Return what a card's TOML file says, unchecked; raises CardError for a file that is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(
            f"card {path}: {error}", expected="a readable text file", do="Check the path and its rights."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"card {path}: {error}", expected="TOML", do="Correct it at that place.") from error
