"""Our own DICOM node as its configuration says it: who it is, where it listens, its limits, its health."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saliscope.pacs.table import Table, is_loopback

_DAY_S = 86400.0
PLAIN = (
    "DICOM without TLS is readable for everybody on that network. "
    "Add [node.tls] and tls = true, or set plain_on_network = true in [node] where the network itself is protected"
)


@dataclass(frozen=True)
class Tls:
    """Certificate and key of this node, and the authority that must have signed those of its peers (PEM files)."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class Node:
    """Our DICOM node: who it is, where it listens and keeps its spool, and its limits.

    A study is complete when no object came for `quiet_s` seconds; complete studies are removed after `keep_days`.
    """

    ae_title: str
    host: str
    port: int
    folder: Path
    quiet_s: float
    keep_days: int
    max_object_mb: int
    max_associations: int
    plain_on_network: bool
    tls: Tls | None


@dataclass(frozen=True)
class Health:
    """Where the health of the node is told by HTTP."""

    enabled: bool
    host: str
    port: int


def node_of(table: Table) -> Node:
    """Return the node that [node] says; raises PacsError that names the key."""
    below = table.table("tls")
    node = Node(
        ae_title=table.ae_title("ae_title", "SALISCOPE"),
        host=table.host("host", "127.0.0.1"),
        port=table.port("port", 11112),
        folder=table.directory("folder"),
        quiet_s=table.seconds("quiet_s", 30.0, _DAY_S),
        keep_days=table.whole("keep_days", 7, 0, 3650),
        max_object_mb=table.whole("max_object_mb", 512, 1, 4096),
        max_associations=table.whole("max_associations", 10, 1, 100),
        plain_on_network=table.flag("plain_on_network", default=False),
        tls=None if below is None else _tls(below),
    )
    table.done()
    if not is_loopback(node.host) and node.tls is None and not node.plain_on_network:
        raise table.refuse("host", node.host, "a loopback address, or TLS", PLAIN)
    return node


def _tls(table: Table) -> Tls:
    tls = Tls(table.file("certificate"), table.file("key"), table.file("ca"))
    table.done()
    return tls


def health_of(table: Table, node: Node) -> Health:
    """Return what [health] says; raises PacsError that names the key."""
    health = Health(table.flag("enabled", default=True), table.host("host", "127.0.0.1"), table.port("port", 8104))
    table.done()
    if health.enabled and not is_loopback(health.host) and not node.plain_on_network:
        raise table.refuse(
            "host", health.host, "a loopback address", "Set plain_on_network = true in [node] for others"
        )
    if health.enabled and (health.host, health.port) == (node.host, node.port):
        raise table.refuse("port", health.port, "another port than that of [node]")
    return health
