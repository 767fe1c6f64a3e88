"""pynetdicom's server with bounds: what a stranger can make it keep in memory, on disk or waiting is limited.

pynetdicom reads a protocol data unit of any declared length into memory, keeps a whole object there, waits for ever for
the rest of a unit, shakes hands for TLS in the thread that accepts callers, and gives two threads to whoever connects.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from saliscope.pacs.intake import Spool

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE

#: What we announce as the largest data unit (PS3.8 D.1), and what is read of any, such as of an association request.
UNIT_BYTES = 2**17
UNIT_LIMIT = 2**20
#: Each data unit begins with its type, one of seven, and its length.
_HEAD, _UNITS = 6, range(1, 8)
#: The command of a message (PS3.7 6.3) is some hundred bytes.
COMMAND_LIMIT = 2**16
#: Requests that wait on one association; nobody who waits for answers has more than one.
WAITING = 8
#: Seconds in which a data unit must be complete, and in which an association must be asked for.
UNIT_S = 30.0
ASK_S = 10.0
_SLOW_S, _FAST_S = 0.05, 0.001


class BoundedMessages(DIMSEServiceProvider):
    """Puts the data sets of C-STORE requests into spools and drops those of all other messages."""

    def __init__(self, assoc: Association, spool: Callable[[C_STORE_RQ, Association], Spool]) -> None:
        super().__init__(assoc)
        self._make, self._commands, self._ended = spool, 0, False
        self._filling: Spool | None = None
        self._full: dict[Path, Spool] = {}
        self._lock = Lock()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a unit of message data apart; one that is wrong, or beyond the bounds, ends the association."""
        if self._ended:
            return
        try:
            for number, data in primitive.presentation_data_value_list:
                self._take(number, data)
        except Exception:  # noqa: BLE001 - raised here, it would end pynetdicom's thread and leave the caller waiting
            self._ended = True
            self.dul.event_queue.put("Evt19")  # an invalid unit, PS3.8 9.2

    def spool_of(self, request: C_STORE) -> Spool | None:
        """Return the spool of a request, which is the caller's from now on."""
        with self._lock:
            return self._full.pop(cast("Path", request._dataset_path), None)  # noqa: SLF001

    def discard(self) -> None:
        """Remove what a caller that is gone left half sent or unanswered."""
        with self._lock:
            left, self._full = [*self._full.values()], {}
        for spool in left:
            spool.discard()

    def _take(self, number: int, data: bytes) -> None:
        """Take one value of a unit: a piece of a command, or of a data set (PS3.8 E.2)."""
        command = bool(data[0] & 1)
        if command:
            self._commands += len(data)
            if self._commands > COMMAND_LIMIT or self.msg_queue.qsize() >= WAITING:
                raise ValueError("a command beyond the bounds")
        else:
            self._keep(data[1:])
        one = P_DATA()
        one.presentation_data_value_list = cast("Any", [[number, data if command else data[:1]]])
        super().receive_primitive(one)
        if self.message is None:
            self._commands, self._filling = 0, None

    def _keep(self, data: bytes) -> None:
        message = self.message
        if not isinstance(message, C_STORE_RQ):
            return
        if self._filling is None:
            self._filling = self._make(message, self.assoc)
            message._data_set_path = self._filling.path  # noqa: SLF001 - pynetdicom's own way to name a file of a request
            with self._lock:
                self._full[self._filling.path] = self._filling
        self._filling.add(data)


class BoundedSocket(AssociationSocket):
    """Reads at most so many bytes in at most so many seconds."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Return so many bytes, or fewer where the caller is gone; raises OSError beyond the bounds."""
        end, found = time.monotonic() + UNIT_S, bytearray()
        if nr_bytes > UNIT_LIMIT:
            self._shutdown_socket()
            raise OSError("a data unit beyond the limit")
        while len(found) < nr_bytes:
            left = end - time.monotonic()
            if self.socket is None or left <= 0:
                self._shutdown_socket()
                raise TimeoutError("a data unit that did not come to its end")
            self.socket.settimeout(left)
            piece = self.socket.recv(min(nr_bytes - len(found), 2**16))
            if not piece:
                break
            found += piece
        if nr_bytes == _HEAD and len(found) == _HEAD and found[0] not in _UNITS:
            self._shutdown_socket()  # pynetdicom would go on reading what is no DICOM until a timer ends
            raise OSError("no data unit of DICOM")
        if self.socket is not None:
            self.socket.settimeout(UNIT_S)  # for what is sent
        return found


class _Caller(RequestHandler):
    """Gives each caller a bounded socket and bounded messages."""

    def handle(self) -> None:
        """Begin an association."""
        server = cast("BoundedServer", self.server)
        assoc = self._create_association()
        # The socket that pynetdicom made is given our reading; made anew, it would announce the connection twice.
        cast("Any", assoc.dul.socket).__class__ = BoundedSocket
        assoc.dimse = BoundedMessages(assoc, server.spool)
        # Else each caller wakes a thread a thousand times a second before he has asked for anything.
        assoc.dul._run_loop_delay = _SLOW_S  # noqa: SLF001
        assoc.bind(evt.EVT_ESTABLISHED, _hurry)
        server.callers.append(assoc)
        assoc.start()


class BoundedServer(ThreadedAssociationServer):
    """A server of so many callers; when all places are taken, whoever has asked for nothing yet loses his."""

    request_queue_size = 128  # with fewer, a crowd makes the system drop whoever calls next

    def __init__(
        self, *words: Any, places: int, spool: Callable[[C_STORE_RQ, Association], Spool], **more: Any
    ) -> None:
        self.places, self.spool = places, spool
        self.callers: list[Association] = []
        super().__init__(*words, **{**more, "request_handler": _Caller})

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a caller; the handshake of TLS is left to his own thread, where it may wait."""
        client, address = cast("socket.socket", self.socket).accept()
        client.settimeout(UNIT_S)
        if self.ssl_context:
            client = self.ssl_context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Return whether there is a place for a caller."""
        self.callers = [c for c in self.callers if c.is_alive() or not c.ident]
        if len(self.callers) < self.places:
            return True
        for caller in self.callers:
            if caller.requestor.primitive is None:
                self.callers.remove(caller)
                drop(caller)
                return True
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin in the thread that accepts: associations have threads of their own, and places are counted here."""
        self.process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a traceback may hold what the caller sent."""


def _hurry(event: evt.Event) -> None:
    event.assoc.dul._run_loop_delay = _FAST_S  # noqa: SLF001


def drop(caller: Association) -> None:
    """Close the connection of a caller and wake whoever waits for him."""
    held = caller.dul.socket
    if held is not None:
        held._shutdown_socket()  # noqa: SLF001
    caller.dul.to_user_queue.put(cast("Any", None))
