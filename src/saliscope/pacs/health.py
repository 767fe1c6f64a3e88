"""The health of a node by HTTP on loopback: whether it is up, counts and kinds of errors; no identifiers, no UIDs."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from saliscope.core.errors import PacsError
from saliscope.pacs.node import Health
from saliscope.pacs.queue import Noted, Queue
from saliscope.pacs.table import is_loopback

_MOST_ERRORS = 5
_STALE_S = 86400


@dataclass(frozen=True)
class Told:
    """What the endpoint tells: whether all is well, and why not; counts by name; the newest errors."""

    up: bool
    reasons: tuple[str, ...]
    counts: Mapping[str, int]
    errors: tuple[Noted, ...]


def of_queue(queue: Queue, alive: Callable[[], bool] = lambda: True) -> Told:
    """Return the health of a node: not up where its threads are not alive, or its queue cannot be read."""
    reasons = [] if alive() else ["a part of the node has stopped"]
    try:
        counts = queue.counts()
        errors = tuple(queue.errors(_MOST_ERRORS))
    except PacsError:
        return Told(up=False, reasons=(*reasons, "the queue cannot be read"), counts={}, errors=())
    if counts["oldest_s"] > _STALE_S:
        reasons.append("something has waited for more than a day")
    return Told(up=not reasons, reasons=tuple(reasons), counts=counts, errors=errors)


@contextmanager
def endpoint(health: Health, tell: Callable[[], Told]) -> Iterator[tuple[str, int]]:
    """Serve GET /health and GET /metrics while the block runs, and yield the address; raises PacsError if it cannot.

    Port 0 takes any free one. Only requests whose Host is this machine's loopback, or the configured host, are heard.
    """
    handler = type("Handler", (_Handler,), {"tell": staticmethod(tell), "host": health.host})
    try:
        server = _Server((health.host, health.port), handler)
    except OSError as error:
        raise PacsError(
            f"health.port = {health.port} ({error.strerror})", expected="a port that is free", do="Choose another"
        ) from error
    thread = Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True)
    thread.start()
    try:
        yield str(server.server_address[0]), int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def metrics(told: Told) -> str:
    """Return what is told in the text format of Prometheus, version 0.0.4."""
    lines = [
        "# HELP saliscope_up Whether the node is well.",
        "# TYPE saliscope_up gauge",
        f"saliscope_up {int(told.up)}",
    ]
    for name, number in told.counts.items():
        total = name.startswith("total_")
        label = f"saliscope_{name.removeprefix('total_')}_total" if total else f"saliscope_{name}"
        lines += [f"# TYPE {label} {'counter' if total else 'gauge'}", f"{label} {number}"]
    return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    """One request; every path and method but the two is refused, and nothing is logged."""

    tell: Callable[[], Told]
    host: str
    timeout = 10
    server_version, sys_version = "saliscope", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer GET."""
        told = None
        path = urlsplit(self.path).path
        if not self._meant():
            self._answer(421, {"error": "not this host"})
        elif path not in ("/health", "/metrics"):
            self._answer(404, {"error": "not found"})
        else:
            told = type(self).tell()
            if path == "/metrics":
                self._send(200, metrics(told).encode(), "text/plain; version=0.0.4; charset=utf-8")
            else:
                words = {"up": told.up, "reasons": told.reasons, "counts": told.counts}
                self._answer(
                    200 if told.up else 503,
                    {**words, "errors": [asdict(noted) for noted in told.errors], "at": int(time.time())},
                )

    def _refuse(self) -> None:
        self._answer(405, {"error": "only GET"}, {"Allow": "GET"})

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def _meant(self) -> bool:
        """Whether the request is for this host: a page elsewhere may have pointed its own name at loopback."""
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name == self.host.lower()

    def _answer(self, status: int, words: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(words).encode(), "application/json", headers)

    def _send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        # Of a body that came with the request nothing is read: the next request would begin in it.
        always = {"Content-Type": kind, "Content-Length": str(len(data)), "Connection": "close"}
        safe = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        for name, value in {**always, **safe, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: a path may hold anything."""


class _Server(ThreadingHTTPServer):
    """The server of IPv4 and, for an address with colons, of IPv6."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a caller that went away is no fault, and a trace could say what it asked for."""
