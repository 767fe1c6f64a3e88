"""An association that we ask a peer for: opened, told clearly where that fails, and ended in every case."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from saliscope.core.errors import PacsError
from saliscope.pacs.libraries import pynetdicom
from saliscope.pacs.node import Node
from saliscope.pacs.peers import DicomPeer
from saliscope.pacs.tls import client_context


@dataclass(frozen=True)
class Waits:
    """How long we wait, in seconds: for a connection, for an association, and for the answer to a message."""

    connect_s: float = 10.0
    associate_s: float = 30.0
    answer_s: float = 60.0


WAITS = Waits()


@contextmanager
def associated(
    node: Node, peer: DicomPeer, contexts: Sequence[Any], waits: Waits = WAITS, *, or_empty: bool = False
) -> Iterator[Any]:
    """Yield an association with a peer, released at the end and aborted on an error.

    `contexts` are at most 128 of pynetdicom's presentation contexts. Raises PacsError where none comes about;
    `or_empty` yields one in which the peer accepted no context, and which has ended for that.
    """
    library = pynetdicom()
    if not peer.receives:
        raise PacsError(f"the peer {peer.name}, which only sends", expected="host and port", do="Add them to [peers]")
    entity = library.AE(ae_title=node.ae_title)
    entity.connection_timeout, entity.acse_timeout = waits.connect_s, waits.associate_s
    entity.dimse_timeout = entity.network_timeout = waits.answer_s
    opened: list[bool] = []

    def on_open(event: Any) -> None:
        opened.append(True)
        wire = event.assoc.dul.socket.socket
        # Command and data set go in two pieces: the second would wait for the peer's delayed acknowledgement.
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that stops reading would else block the sending thread for ever.
        wait = struct.pack("ll", int(waits.answer_s), int(waits.answer_s % 1 * 1e6))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)

    association = entity.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.ae_title,
        tls_args=_tls(node, peer),
        evt_handlers=[(library.evt.EVT_CONN_OPEN, on_open)],
    )
    try:
        empty = association.acceptor.primitive is not None and not association.accepted_contexts
        if not association.is_established and not (or_empty and empty and not association.is_rejected):
            raise _why(peer, association, connected=bool(opened))
        yield association
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()


def _tls(node: Node, peer: DicomPeer) -> tuple[Any, str] | None:
    if not peer.tls:
        return None
    if node.tls is None:
        raise PacsError(f"the peer {peer.name} with tls", expected="[node.tls]", do="Add our certificate")
    return client_context(node.tls), peer.host


def _why(peer: DicomPeer, association: Any, *, connected: bool) -> PacsError:
    where = f"the peer {peer.name}"
    if not connected:
        also = ", and that each side accepts the other's certificate" if peer.tls else ""
        return PacsError(f"no connection to {where}", expected="a node that listens", do=f"Check host and port{also}")
    if association.is_rejected:
        said = association.acceptor.primitive
        reason = f"{said.result_str.lower()}: {said.reason_str.lower()}"
        return PacsError(
            f"{where} rejects the association ({reason})",
            expected="acceptance",
            do="Compare both AE titles and this host with its list of nodes",
        )
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return PacsError(
            f"{where} accepts none of the SOP classes and transfer syntaxes",
            expected="at least one",
            do="Choose another profile, or allow them there",
        )
    return PacsError(
        f"{where} ended or did not answer the request for an association",
        expected="acceptance",
        do="Check that a DICOM node listens on that port, and whether it expects TLS",
    )
