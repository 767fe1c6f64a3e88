"""What a DICOM node is, who its peers are, and what it explains: one TOML file, read strictly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

from saliscope.core.errors import PacsError, did_you_mean
from saliscope.pacs.node import Health, Node, Tls, health_of, node_of
from saliscope.pacs.peers import DicomPeer, Peer, WebPeer, peer_of
from saliscope.pacs.table import NAME, Table

__all__ = ["Config", "DicomPeer", "Health", "Node", "Peer", "Rule", "Tls", "WebPeer", "callers", "example"]
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")


@dataclass(frozen=True)
class Rule:
    """Which series are explained, how, and who is sent the results."""

    name: str
    modality: tuple[str, ...]
    body_part: tuple[str, ...]
    series_description: str
    model: str
    method: tuple[str, ...]
    target: tuple[str, ...]
    profile: str
    card: Path | None
    check: bool
    send_to: tuple[str, ...]

    def fits(self, modality: str, body_part: str = "", series_description: str = "") -> bool:
        """Return whether a series of these attributes is meant; an empty condition lets everything pass."""
        return (
            modality in self.modality
            and (not self.body_part or body_part.upper() in self.body_part)
            and (not self.series_description or re.search(self.series_description, series_description) is not None)
        )


@dataclass(frozen=True)
class Config:
    """A node, its health endpoint, its peers by name, and its rules in the order in which they are tried."""

    node: Node
    health: Health
    peers: Mapping[str, Peer]
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what a TOML file says; raises PacsError that names the key for anything unknown or wrong."""
        try:
            words = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise PacsError(f"{path}: {error}", expected="a readable TOML file", do="Check the path") from error
        except tomllib.TOMLDecodeError as error:
            raise PacsError(f"{path}: {error}", expected="TOML", do="Correct it at that place") from error
        top = Table("", words, path.resolve().parent)
        node = node_of(top.table("node") or Table("node", {}, top.folder))
        health = health_of(top.table("health") or Table("health", {}, top.folder), node)
        peers = {name: peer_of(name, table, node) for name, table in top.tables("peers").items()}
        rules = tuple(_rule(table, peers) for table in top.listed("rules"))
        top.done()
        _each_once("rules", [rule.name for rule in rules])
        _each_once("peers that may send", [f"AE title {p.ae_title}" for p in callers(peers)])
        return cls(node, health, peers, rules)

    def peer(self, name: str) -> Peer:
        """Return a peer by name; raises PacsError for one that is not there."""
        if name not in self.peers:
            raise PacsError(f"the peer {name!r}, which is not in [peers]", do=did_you_mean(name, self.peers))
        return self.peers[name]

    def may_call(self, ae_title: str, address: str) -> DicomPeer | None:
        """Return the peer that may send under this AE title from this address, or None."""
        for peer in callers(self.peers):
            if peer.ae_title == ae_title.strip() and (not peer.addresses or address in peer.addresses):
                return peer
        return None


def callers(peers: Mapping[str, Peer]) -> tuple[DicomPeer, ...]:
    """Return the peers that may send to us by C-STORE."""
    return tuple(p for p in peers.values() if isinstance(p, DicomPeer) and p.may_send)


def example() -> str:
    """Return a commented configuration that may be read as it is."""
    return (files("saliscope.pacs") / "example.toml").read_text(encoding="utf-8")


def _each_once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PacsError(f"{what}: {name} twice", expected="each once", do="Rename or remove one of them")


def _rule(table: Table, peers: Mapping[str, Peer]) -> Rule:
    rule = Rule(
        name=table.text("name"),
        modality=table.texts("modality"),
        body_part=tuple(part.upper() for part in table.texts("body_part", ())),
        series_description=table.text("series_description", "", empty=True),
        model=table.text("model"),
        method=table.texts("method"),
        target=table.texts("target"),
        profile=table.text("profile", "pacs-basic"),
        card=table.file_or_none("card"),
        check=table.flag("check", default=False),
        send_to=table.texts("send_to"),
    )
    table.done()
    for key in ("name", "modality", "method", "target", "send_to"):
        if not getattr(rule, key) or (key == "name" and not NAME.fullmatch(rule.name)):
            raise table.refuse(key, getattr(rule, key), "letters, digits, - and _" if key == "name" else "at least one")
    for code in rule.modality:
        if not _CODE.fullmatch(code):
            raise table.refuse("modality", code, "a modality of DICOM, such as CT, MR, CR, DX or US")
    try:
        re.compile(rule.series_description)
    except re.error as error:
        raise table.refuse("series_description", rule.series_description, f"a regular expression ({error})") from error
    for peer in rule.send_to:
        if peer not in peers:
            raise table.refuse(
                "send_to", peer, "peers that are in [peers]", did_you_mean(peer, peers or ["(no peers)"])
            )
        if not peers[peer].receives:
            raise table.refuse("send_to", peer, "a peer with host and port", f"Add them to [peers.{peer}]")
    return rule
