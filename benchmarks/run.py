"""Run all comparisons, each file in a process of its own, and write results.json and RESULTS.md beside this file.

Every file below has `rows()`; the keys of a row are in measure.py. A file that fails is a row that says why.
Run: make bench, or python benchmarks/run.py [--quick] [--only FILE]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FILES = {
    "cams": "Grad-CAM family",
    "gradients": "Gradients at the input",
    "integrated_gradients": "Integrated gradients",
    "occlusion": "Occlusion",
    "perturbation_cams": "Perturbation CAMs",
    "masks": "Mask streams",
    "imputation": "ROAD and its imputation",
    "metrics": "Metrics",
    "dicom": "DICOM objects",
    "start": "Start",
}
SECONDS = 900
MARK = "rows of saliscope's benchmark: "
COLUMNS = ("what", "beside", "ours", "peer", "ratio", "goal", "met", "error", "remarks")


def run_file(name: str, *, quick: bool) -> dict[str, object]:
    """Return the rows of one file, or why there are none, and the seconds it took."""
    start = time.monotonic()
    single = {"OMP_NUM_THREADS": "1", **({"SALISCOPE_BENCH_QUICK": "1"} if quick else {})}
    command = [sys.executable, "-W", "ignore", __file__, "--rows", name]
    rows, fault = [], ""
    try:
        ran = subprocess.run(
            command, env={**os.environ, **single}, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        printed = [line for line in ran.stdout.splitlines() if line.startswith(MARK)]
        if printed:
            rows = json.loads(printed[-1].removeprefix(MARK))
        else:
            from measure import reason

            fault = reason(ran.stderr)
    except subprocess.TimeoutExpired:
        fault = f"not done within {SECONDS} s"
    return {"rows": [judged(r) for r in rows], "fault": fault, "seconds": round(time.monotonic() - start)}


def judged(row: dict[str, object]) -> dict[str, object]:
    """Return a row with `met`: yes, no, or nothing where there is no goal."""
    ratio, goal = row.get("ratio"), row.get("goal")
    if isinstance(row.get("met"), bool):
        row["met"] = "yes" if row["met"] else "no"
    elif not row.get("met") and isinstance(ratio, int | float) and isinstance(goal, int | float):
        reached = ratio <= goal if row.get("at_most") else ratio >= goal
        row["met"] = "yes" if reached else "no"
    return row


def machine() -> dict[str, object]:
    """Return what kind of machine this is, and nothing that names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "threads": 1,
    }


def markdown(results: dict[str, object]) -> str:
    """Return the page."""
    about, versions = results["machine"], results["versions"]
    lines = [
        "# Side by side with the peers",
        "",
        "Written by `make bench`. Ratios of processor time on one thread, interleaved in one process, the order turned",
        "every round: the median of the rounds' ratios [least, largest]. Above 1 saliscope needs less, unless the goal",
        'says "at most". An error is the largest difference from the peer or from the full computation, as a share of',
        "the largest value, unless the remark says otherwise.",
        "",
        f"{about['cpu']}, {about['cores']} cores; Python {about['python']}; "
        + ", ".join(f"{name} {v}" for name, v in versions.items())
        + ("; one round only, to see that it runs: no measurement" if results["quick"] else ""),
    ]
    for name, found in results["files"].items():
        lines += ["", f"## {FILES[name]}", f"`benchmarks/{name}.py`, {found['seconds']} s", ""]
        if found["fault"]:
            lines += [f"Not measured: {found['fault']}"]
            continue
        lines += [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in found["rows"]]
    return "\n".join(lines) + "\n"


def cells(row: dict[str, object]) -> list[str]:
    """Return a row of the page."""
    unit, goal = str(row.get("unit") or "s"), row.get("goal")
    ratio = number(row.get("ratio"))
    if row.get("low") is not None and row.get("high") is not None:
        ratio += f" [{number(row['low'])}, {number(row['high'])}]"
    found = [
        str(row["what"]),
        str(row.get("peer_version") or ""),
        *(f"{number(row.get(who))} {unit}" if row.get(who) is not None else "" for who in ("ours", "peer")),
        ratio,
        f"{'at most ' if row.get('at_most') else ''}{number(goal)}" if goal is not None else "",
        str(row.get("met") or ""),
        f"{row['error']:.1e}" if isinstance(row.get("error"), int | float) else str(row.get("error") or ""),
        str(row.get("note") or ""),
    ]
    return [cell.replace("|", "\\|").replace("\n", " ") for cell in found]


def number(value: object) -> str:
    """Return three significant digits."""
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> int:
    """Write both files and print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round, nothing kept")
    parser.add_argument("--only", action="append", choices=FILES)
    parser.add_argument("--rows", metavar="FILE", help="print the rows of one file and end")
    given = parser.parse_args()
    if given.rows:
        found = importlib.import_module(given.rows).rows()
        print("\n" + MARK + json.dumps(found, default=float))
        return 0
    from peers import versions

    files = {}
    for name in given.only or FILES:
        files[name] = run_file(name, quick=given.quick)
        print(f"{name}: {len(files[name]['rows'])} rows, {files[name]['seconds']} s {files[name]['fault']}", flush=True)
    kept = HERE / "results.json"
    if given.only and not given.quick and kept.is_file():  # the other files' rows stay
        files = {**json.loads(kept.read_text())["files"], **files}
    files = {name: files[name] for name in FILES if name in files}
    results = {"machine": machine(), "versions": versions(), "quick": given.quick, "files": files}
    page = markdown(results)
    print(page)
    if not given.quick:
        kept.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        (HERE / "RESULTS.md").write_text(page)
    return int(any(found["fault"] for found in files.values()))


if __name__ == "__main__":
    sys.exit(main())
