"""C-ECHO: whether a peer answers, under the names that both sides use (PS3.4 Annex A)."""

from __future__ import annotations

import time

from saliscope.core.errors import PacsError
from saliscope.pacs.association import WAITS, Waits, associated
from saliscope.pacs.libraries import pynetdicom
from saliscope.pacs.node import Node
from saliscope.pacs.peers import DicomPeer
from saliscope.pacs.status import meaning

_VERIFICATION = "1.2.840.10008.1.1"


def echo(node: Node, peer: DicomPeer, waits: Waits = WAITS) -> float:
    """Return the seconds in which a peer answered, association included; raises PacsError with the reason if not."""
    library = pynetdicom()
    began = time.monotonic()
    with associated(node, peer, [library.build_context(_VERIFICATION)], waits) as association:
        answer = association.send_c_echo()
        if "Status" not in answer:
            raise PacsError(f"the peer {peer.name} did not answer C-ECHO", do="Look into its log")
        if answer.Status != 0:
            raise PacsError(
                f"the peer {peer.name} answered C-ECHO with {meaning(answer.Status)}", do="Look into its log"
            )
    return time.monotonic() - began
