"""Seconds until help and the catalogues are on the screen: the least of ten starts each. Run: make bench"""

from __future__ import annotations

import subprocess
import sys
import time

WORDS = (["--help"], ["explain", "--help"], ["methods"], ["models"])
STARTS = 10


def seconds(words: list[str]) -> float:
    """Return the wall time of one start."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "saliscope", *words], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print one line for each command; the aim is below 0.3 s."""
    for words in WORDS:
        print(f"saliscope {' '.join(words):<16} {min(seconds(words) for _ in range(STARTS)):.3f} s")


if __name__ == "__main__":
    main()
