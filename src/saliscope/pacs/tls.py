"""TLS for both sides of a connection: 1.2 or newer, and each side shows a certificate that the other checks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from saliscope.core.errors import PacsError
from saliscope.pacs.node import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a server that lets in only who shows a certificate of its authority (PS3.15 B.12)."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a client that shows its certificate, and checks the peer's and the host named in it."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    context.check_hostname = True
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(protocol: int, tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _tried("node.tls.ca", tls.ca, lambda: context.load_verify_locations(tls.ca))
    # A key with a password is refused here: asked for at a terminal, it would stop a server that nobody watches.
    _tried(
        "node.tls.certificate or key", tls.certificate, lambda: context.load_cert_chain(tls.certificate, tls.key, _no)
    )
    return context


def _no() -> str:
    raise ValueError("a key with a password")


def _tried(key: str, path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:
        raise PacsError(
            f"{key} = {path.name} ({error})", expected="PEM files that belong together, the key without a password",
            do="Correct this key",
        ) from error  # fmt: skip
