"""Where the real data lie that tests read and never copy."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path | None:
    """Return the folder of real data, or None where there is none."""
    named = os.environ.get("SALISCOPE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None
