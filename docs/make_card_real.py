"""What audits and cards say on real pictures: docs/explanation/card-real-data.md and its tables.

    .venv/bin/python docs/make_card_real.py measure --data DATA [--only REGEX]  # goes on where it stopped
    .venv/bin/python docs/make_card_real.py page                                # from the tables alone

DATA is the folder that holds `chest-xray-nih` and `breast-ultrasound-busi`. All pictures are of parts that no network
was trained on. Questions: does an audit find the view confounder of `chest-opacity-confounded` without being told;
what does it say of the burnt-in text of BUSI; where do maps lie beside masks and boxes.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "recipes")]

import card_real_rows as kept  # noqa: E402

from saliscope.core.errors import NetworkWarning  # noqa: E402

PARTS = ROOT / "out" / "card-real"
PAGE = ROOT / "docs" / "explanation" / "card-real-data.md"
#: The tables by what they hold: their row, and their file beside the page.
TABLES: Mapping[str, Any] = {
    "audits": kept.AuditRow,
    "smaller": kept.PowerRow,
    "cards": kept.CardRow,
    "lungs": kept.OrganRow,
    "text": kept.TextRow,
    "maps": kept.MapRow,
}
Rows = Mapping[str, Iterable[Any]]


def table(what: str) -> Path:
    """Return the file of a table."""
    return PAGE.with_name(f"{PAGE.stem}-{what}.csv")


def parts(data: Path) -> Mapping[str, Callable[[], Rows]]:
    """Return what is measured, part by part: each gives rows of one table or more."""
    import card_real_breast as breast
    import card_real_chest as chest
    import card_real_maps as maps
    from card_real_audits import JUDGED

    def audit(of: Any, what: str, method: str) -> Rows:
        audits, cards = of.audited_of(data, what, method)
        return {"audits": audits, "cards": cards}

    def lungs(name: str) -> Rows:
        return {"lungs": chest.lungs_hidden(data, name)}

    found: dict[str, Callable[[], Rows]] = {}
    for method in JUDGED:
        found |= {f"chest-{n}-{method}": partial(audit, chest, n, method) for n in chest.NETWORKS}
        found |= {f"breast-{label}-{method}": partial(audit, breast, label, method) for label in breast.LABELS}
    found |= {f"lungs-{n}": partial(lungs, n) for n in chest.NETWORKS}
    found["breast-text"] = lambda: {"text": breast.text_hidden(data)}
    found["maps-chest"] = lambda: {"maps": maps.of_chest(data)}
    found["maps-breast"] = lambda: {"maps": maps.of_breast(data)}
    found["columns"] = lambda: {"audits": chest.other_columns(data)}
    found["smaller"] = lambda: {"smaller": chest.power(data)}
    return found


def measure(data: Path, only: str) -> None:
    """Measure what is not measured yet, then join the parts to the tables."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", NetworkWarning)
    PARTS.mkdir(parents=True, exist_ok=True)
    every = parts(data)
    for name, make in every.items():
        done = PARTS / f"{name}.done"
        if done.is_file() or not re.search(only, name):
            continue
        start = time.process_time()
        for what, rows in make().items():
            kept.write(PARTS / f"{name}.{what}.csv", list(rows))
        done.write_text(f"{time.process_time() - start:.0f} s\n", encoding="utf-8")
        sys.stderr.write(f"{name}: {done.read_text(encoding='utf-8')}")
    for what, kind in TABLES.items():
        files = [PARTS / f"{name}.{what}.csv" for name in every]
        rows = [r for file in files if file.is_file() for r in kept.rows_of(file, kind)]
        if rows:
            kept.write(table(what), rows)


def page() -> str:
    """Return the page from the tables."""
    from card_real_page import Tables
    from card_real_page import page as told

    return told(Tables(**{what: kept.rows_of(table(what), kind) for what, kind in TABLES.items()}))


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "page"))
    parser.add_argument("--data", type=Path, help="the folder of both data sets, for measuring")
    parser.add_argument("--only", default="", help="parts whose name this pattern is found in")
    asked = parser.parse_args()
    if asked.what == "page":
        PAGE.write_text(page(), encoding="utf-8")
    elif asked.data is None:
        parser.error("--data is needed")
    else:
        measure(asked.data, asked.only)


if __name__ == "__main__":
    main()
