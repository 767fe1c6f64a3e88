"""How things are measured here: processor time, interleaved, as ratios of one round; and memory in fresh processes.

Wall time means nothing on a shared machine. One process and one thread; the order is turned every round, garbage is
collected between; a ratio is the median of the rounds' own ratios, with the least and the largest beside it.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

#: Set by `run.py --quick`: one round of everything, to see that it runs.
QUICK = bool(os.environ.get("SALISCOPE_BENCH_QUICK"))
Run = Callable[[], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class Times:
    """Seconds of processor time of each competitor in every round."""

    seconds: Mapping[str, list[float]]

    def median(self, who: str) -> float:
        """Return the median over rounds."""
        return statistics.median(self.seconds[who])

    def ratio(self, above: str, below: str) -> dict[str, float]:
        """Return the ratio of two competitors, and its range over the rounds."""
        ratios = [a / b for a, b in zip(self.seconds[above], self.seconds[below], strict=True)]
        return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def interleaved(runs: Mapping[str, Run], rounds: int = 7) -> Times:
    """Run all competitors in every round, after one round that is not counted."""
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {who: [] for who in runs}
    for run in runs.values():
        run()
    for i in range(1 if QUICK else rounds):
        for who in list(runs)[:: -1 if i % 2 else 1]:
            gc.collect()
            start = time.process_time()
            runs[who]()
            seconds[who].append(time.process_time() - start)
    return Times(seconds)


def row(what: str, ours: float | None = None, peer: float | None = None, **more: Any) -> Row:
    """Return a row of the table; `more` are ratio, low, high, error, goal, at_most, unit, peer_version, note, met.

    `goal` is what the ratio must reach, or with `at_most` what it must not exceed.
    """
    return {"what": what, "ours": ours, "peer": peer, **more}


def relative(found: Tensor, right: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((found - right).abs().max() / right.abs().max())


def correlation(found: Tensor, right: Tensor) -> float:
    """Return Pearson's correlation of two maps."""
    return float(torch.corrcoef(torch.stack([found.flatten(), right.flatten()]).double())[0, 1])


def calibrated(net: nn.Module, x: Tensor) -> nn.Module:
    """Return the network in evaluation mode, the statistics of its norms being those of x, as after training."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    with torch.no_grad():
        net.train()(x)
    return net.eval()


def allocated(run: Run) -> float:
    """Return MiB of tensors that live at the peak while something runs, as torch's allocator counts them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most / 2**20


def peak_added(run: Run) -> float:
    """Return MiB by which the resident memory of this process peaks above where it stood, while something runs."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    start = _status("VmRSS")
    run()
    return (_status("VmHWM") - start) / 1024


def peak_status() -> float:
    """Return MiB of resident memory of this process at its peak."""
    return _status("VmHWM") / 1024


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"{key} is not told by this system")


def fresh(file: str, *words: str) -> Any:
    """Return what a script prints as JSON on its last line, run in a process of its own."""
    command = [sys.executable, "-W", "ignore", file, *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(reason(run.stderr))
    return json.loads(run.stdout.strip().splitlines()[-1])


def reason(text: str) -> str:
    """Return the last line of a traceback, cut, and without the folders of this machine."""
    lines = text.strip().splitlines() or ["no reason given"]
    return " ".join(w.rpartition("/")[2] if w.count("/") > 1 else w for w in lines[-1].split())[:160]
