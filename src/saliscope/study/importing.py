"""Whether installed libraries import: tried in a process of its own, so that one that crashes takes nothing along."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

#: Far more than the slowest takes; one that hangs is told from one that is slow.
SECONDS = 120
#: Each name is announced before it is imported, so that a process that dies says at which.
_PROGRAM = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    print(json.dumps([name, None]), file=answers, flush=True)
    try:
        importlib.import_module(name)
        reason = ""
    except BaseException as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
    print(json.dumps([name, reason]), file=answers, flush=True)
os._exit(0)
"""


def failures(names: Sequence[str], *, seconds: float = SECONDS) -> dict[str, str]:
    """Return which of these modules do not import, each with the first line of its error."""
    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        answers, end = _tried(waiting, seconds)
        found.update({name: reason for name, reason in answers.items() if reason})
        last = next((name for name, reason in answers.items() if reason is None), None)
        # A process that ends before it announced anything is the interpreter's fault: blame the first, and go on.
        blamed = last or (waiting[0] if not answers else None)
        if blamed is not None:
            found[blamed] = end
        waiting = [name for name in waiting if name not in answers and name != blamed]
    return found


def _tried(names: Sequence[str], seconds: float) -> tuple[dict[str, str | None], str]:
    """Return the answer to each name that was reached, None where the process ended in it, and how it ended."""
    try:
        run = subprocess.run(  # noqa: S603 - this interpreter, with a program of ours and names of ours
            [sys.executable, "-P", "-c", _PROGRAM, *names],  # -P: no folder here stands in for a library
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        said, end = run.stdout, _ending(run.returncode)
    except subprocess.TimeoutExpired as late:
        given = late.stdout or b""
        said = given.decode(errors="replace") if isinstance(given, bytes) else given
        end = f"its import takes more than {seconds:g} s"
    answers: dict[str, str | None] = {}
    for line in said.splitlines():
        name, reason = json.loads(line)
        answers[name] = reason
    return answers, end


def _ending(code: int) -> str:
    if code >= 0:
        return f"its import ends the process with code {code}"
    try:
        return f"its import crashes the process ({signal.Signals(-code).name})"
    except ValueError:
        return f"its import crashes the process (signal {-code})"
