"""Seconds of processor time until help and the catalogues are on the screen: the least of ten starts each."""

from __future__ import annotations

import resource
import subprocess
import sys

WORDS = (["--help"], ["explain", "--help"], ["methods"], ["models"])
STARTS = 10


def seconds(words: list[str]) -> float:
    """Return the processor time of one start, which on an idle machine is the time that one waits."""
    start = spent()
    subprocess.run([sys.executable, "-m", "saliscope", *words], check=True, capture_output=True)
    return spent() - start


def spent() -> float:
    """Return the processor time of all processes that were started here and ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows() -> list[dict[str, object]]:
    """Return one row for each command; the aim is below 0.3 s."""
    found = [(" ".join(words), min(seconds(words) for _ in range(STARTS))) for words in WORDS]
    return [
        {
            "what": f"saliscope {words}",
            "ours": s,
            "ratio": s,
            "goal": 0.3,
            "at_most": True,
            "note": "seconds by the wall",
        }
        for words, s in found
    ]


def main() -> None:
    """Print one line for each command."""
    for words in WORDS:
        print(f"saliscope {' '.join(words):<16} {min(seconds(words) for _ in range(STARTS)):.3f} s")


if __name__ == "__main__":
    main()
