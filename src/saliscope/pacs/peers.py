"""The peers of a node as its configuration says them: by DICOM's own protocol, or by DICOMweb."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from saliscope.core.errors import PacsError, did_you_mean
from saliscope.pacs.node import PLAIN, Node
from saliscope.pacs.table import NAME, Table, is_loopback

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class DicomPeer:
    """A peer by DICOM's own protocol; `may_send` lets its AE title call us, from `addresses` only if any are given."""

    name: str
    ae_title: str
    host: str
    port: int
    tls: bool
    may_send: bool
    addresses: tuple[str, ...]
    can_find: bool

    @property
    def receives(self) -> bool:
        """Whether it can be called: a peer that only sends needs no host and port."""
        return bool(self.host and self.port)


@dataclass(frozen=True)
class WebPeer:
    """A peer by DICOMweb; the environment variable holds a bearer token (`token`) or user:password (`basic`)."""

    name: str
    url: str
    auth: str
    variable: str
    ca: Path | None
    can_find: bool = True
    receives: bool = True
    may_send: bool = False


Peer = DicomPeer | WebPeer


def peer_of(name: str, table: Table, node: Node) -> Peer:
    """Return the peer that [peers.NAME] says; raises PacsError that names the key."""
    if not NAME.fullmatch(name):
        raise PacsError(f"the peer {name!r}", expected="a name of letters, digits, - and _", do="Rename it")
    kind = table.text("kind")
    if kind not in ("dicom", "dicomweb"):
        raise table.refuse("kind", kind, "dicom or dicomweb", did_you_mean(kind, ("dicom", "dicomweb")))
    return _dicom(name, table, node) if kind == "dicom" else _web(name, table, node)


def _dicom(name: str, table: Table, node: Node) -> DicomPeer:
    called = "host" in table.words or "port" in table.words
    peer = DicomPeer(
        name=name,
        ae_title=table.ae_title("ae_title"),
        host=table.host("host") if called else table.text("host", "", empty=True),
        port=table.port("port") if called else 0,
        tls=table.flag("tls", default=False),
        may_send=table.flag("may_send", default=False),
        addresses=table.texts("addresses", ()),
        can_find=table.flag("can_find", default=False),
    )
    table.asked.add("port")
    table.done()
    if peer.tls and node.tls is None:
        raise table.refuse("tls", "true", "[node.tls] with our own certificate", "Add [node.tls], or leave tls out")
    if called and not peer.tls and not is_loopback(peer.host) and not node.plain_on_network:
        raise table.refuse("host", peer.host, "a loopback address, or tls = true", PLAIN)
    if not called and (peer.can_find or not peer.may_send):
        raise PacsError(f"no {table.key('host')}", expected="host and port of a peer that is called", do="Add both")
    return peer


def _web(name: str, table: Table, node: Node) -> WebPeer:
    url = table.text("url").rstrip("/")
    auth = table.text("auth", "none")
    peer = WebPeer(name, url, auth, table.text("variable", "", empty=True), table.file_or_none("ca"),
                   table.flag("can_find", default=True))  # fmt: skip
    table.done()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise table.refuse("url", "...", "http(s)://host[:port]/path")
    if parts.username is not None or parts.password is not None:
        raise table.refuse("url", "...", "no user and password in it", "Name an environment variable by auth, variable")
    if auth not in ("none", "basic", "token"):
        raise table.refuse("auth", auth, "none, basic or token", did_you_mean(auth, ("none", "basic", "token")))
    if (auth == "none") != (not peer.variable) or (peer.variable and not _VARIABLE.fullmatch(peer.variable)):
        raise table.refuse("variable", "...", "the name of an environment variable, with auth = basic or token only")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        if auth != "none":
            raise table.refuse("url", url, "https: a password never crosses a network in the open")
        if not node.plain_on_network:
            raise table.refuse(
                "url", url, "https, or a loopback host", "Use https, or plain_on_network = true in [node]"
            )
    return peer
