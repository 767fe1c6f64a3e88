"""What a peer says to an object that it was sent, by C-STORE or by STOW, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["sent", "warned", "held", "retry", "unsure", "failed", "stopped"]

#: First and last status, and its meaning: PS3.4 Table B.2-1, PS3.7 Annex C, PS3.18 Table 10.5.3-2 and CP-1777.
_MEANINGS = (
    (0x0000, 0x0000, "success"),
    (0x0001, 0x0001, "requested optional attributes are not supported"),
    (0x0107, 0x0107, "attribute list error"),
    (0x0110, 0x0110, "processing failure"),
    (0x0111, 0x0111, "duplicate SOP instance"),
    (0x0112, 0x0112, "no such SOP instance"),
    (0x0116, 0x0116, "attribute value out of range"),
    (0x0117, 0x0117, "invalid SOP instance"),
    (0x0118, 0x0118, "no such SOP class"),
    (0x0122, 0x0122, "SOP class not supported"),
    (0x0124, 0x0124, "not authorised"),
    (0x0210, 0x0210, "duplicate invocation"),
    (0x0211, 0x0211, "unrecognised operation"),
    (0x0212, 0x0212, "mistyped argument"),
    (0x0213, 0x0213, "resource limitation"),
    (0xA700, 0xA7FF, "refused: out of resources"),
    (0xA900, 0xA9FF, "the data set does not match its SOP class"),
    (0xB000, 0xB000, "elements were coerced"),
    (0xB006, 0xB006, "elements were discarded"),
    (0xB007, 0xB007, "the data set does not match its SOP class"),
    (0xC000, 0xCFFF, "cannot understand"),
)
_DUPLICATE = 0x0111
_PASSING = {0x0110, 0x0213, *range(0xA700, 0xA800)}
_WARNING = {0x0001, 0x0107, 0x0116, *range(0xB000, 0xC000)}


@dataclass(frozen=True)
class Outcome:
    """What became of an object: `why` holds no identifier; `status` is the peer's, -1 where it gave none.

    sent; warned (sent, with a note); held (the peer had it); retry (it did not arrive, and may later);
    unsure (it may have arrived); failed (it will never arrive); stopped (we ended before its turn).
    """

    state: State
    why: str = ""
    status: int = -1

    @property
    def arrived(self) -> bool:
        """Whether the peer has it."""
        return self.state in ("sent", "warned", "held")


def meaning(status: int) -> str:
    """Return a status in hex with its meaning."""
    said = next((text for first, last, text in _MEANINGS if first <= status <= last), "unknown status")
    return f"0x{status:04X}, {said}"


def outcome(status: int) -> Outcome:
    """Return what follows from the status of a C-STORE response, or from the failure reason of STOW."""
    state: State = "failed"
    if status == 0:
        return Outcome("sent", "", 0)
    if status in _WARNING:
        state = "warned"
    elif status in _PASSING:
        state = "retry"
    elif status == _DUPLICATE:
        state = "held"
    return Outcome(state, meaning(status), status)
