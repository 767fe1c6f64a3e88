"""Follows the changes of an Orthanc by its REST API, and takes the images of each stable study as if they were sent."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from saliscope.core.errors import PacsError
from saliscope.pacs.config import Config
from saliscope.pacs.http import ANSWER_S, CONNECT_S, body
from saliscope.pacs.intake import NOT_UNDERSTOOD, Intake, Keeper, Refused, Spool
from saliscope.pacs.libraries import requests
from saliscope.pacs.orthanc_plugin import MODALITIES
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.table import is_loopback

#: Orthanc's own identifiers: five groups of eight hexadecimal digits.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_PAGE = 100
_CHUNK = 2**18
#: A file's head: preamble, "DICM", and meta information of at most so many bytes.
_HEAD = 2**16
_FIRST_OF_OURS = 9000
CALLER = "watch"


@dataclass
class Watcher:
    """Looks at the changes since a position, which is kept in the node's folder: what was seen is not seen again."""

    url: str
    position: Path
    intake: Intake
    known: Callable[[str], bool]
    told: Callable[[str], None]

    @classmethod
    def of(
        cls, url: str, config: Config, queue: Keeper, known: Callable[[str], bool], told: Callable[[str], None]
    ) -> Watcher:
        """Return the watcher of an Orthanc on this machine, or at the host of a peer; raises PacsError for another.

        The first time it begins with what is stable from now on: what an archive holds already is not taken.
        """
        parts = urlsplit(url)
        hosts = {urlsplit(p.url).hostname if isinstance(p, WebPeer) else p.host for p in config.peers.values()}
        host = parts.hostname or ""
        plain = parts.scheme == "http" and (is_loopback(host) or config.node.plain_on_network)
        if parts.username or parts.query or not (plain or parts.scheme == "https"):
            raise PacsError(
                "an address to watch that is not http(s)://host:port", expected="https, or http on this machine",
                do="Without a user and password; see plain_on_network",
            )  # fmt: skip
        if not (is_loopback(host) or host in hosts):
            raise PacsError("a host to watch that is no peer's", expected="one of [peers]", do="Add it to [peers]")
        intake = Intake(config.node.folder, config.node.max_object_mb * 2**20, queue)
        return cls(url.rstrip("/"), config.node.folder / "watched.json", intake, known, told)

    def next(self) -> bool:
        """Take the next changes in; False where there are none. Raises PacsError; what failed is seen again."""
        last = self._last()
        with _session() as opened:
            if last is None:
                self._keep(int(self._json(opened, "/changes?last")["Last"]))
                return True
            page = self._json(opened, f"/changes?since={last}&limit={_PAGE}")
            for change in page["Changes"]:
                if change["ChangeType"] == "StableStudy":
                    self._study(opened, _id(change["ID"]))
                self._keep(int(change["Seq"]))
        return bool(page["Changes"])

    def _study(self, opened: Any, study: str) -> None:
        for series in self._json(opened, f"/studies/{study}/series", gone=[]):
            if not _wanted(series["MainDicomTags"]):
                continue
            for instance in self._json(opened, f"/series/{_id(series['ID'])}/instances", gone=[]):
                tags = instance["MainDicomTags"]
                if not self.known(str(tags.get("SOPInstanceUID", ""))):
                    self._instance(opened, _id(instance["ID"]))

    def _instance(self, opened: Any, instance: str) -> None:
        spool: Spool | None = None
        try:
            with self._answer(opened, f"/instances/{instance}/file") as answer:
                chunks = answer.iter_content(_CHUNK)
                sop_class, sop_uid, syntax, rest = _begun(chunks)
                spool = self.intake.spool(sop_class, sop_uid, syntax)
                spool.add(rest)
                for chunk in chunks:
                    spool.add(chunk)
                    if spool.failure:
                        break
            self.intake.keep(spool, sop_class, sop_uid, CALLER)
        except Refused as refused:
            if refused.passing:
                raise PacsError(f"an object could not be kept: {refused.why}", do="Make room on the disk") from None
            self.told(f"passed over an object of {CALLER}: {refused.why}")
        finally:
            if spool is not None:
                spool.discard()

    def _json(self, opened: Any, path: str, gone: Any = None) -> Any:
        """Return the answer to a GET; `gone` where the resource was deleted in the meantime."""
        with self._answer(opened, path, missing=gone is not None) as answer:
            if answer.status_code == 404:
                return gone
            try:
                return json.loads(body(answer))
            except ValueError:
                raise PacsError("the watched server gives no JSON", do="Give the root of Orthanc's REST API") from None

    @contextmanager
    def _answer(self, opened: Any, path: str, *, missing: bool = False) -> Iterator[Any]:
        library = requests()
        try:
            with opened.get(
                self.url + path, allow_redirects=False, stream=True, timeout=(CONNECT_S, ANSWER_S)
            ) as answer:
                if answer.status_code != 200 and not (missing and answer.status_code == 404):
                    raise PacsError(
                        f"the watched server answers with HTTP status {answer.status_code}",
                        expected="200, without a redirect",
                        do="Give the root of Orthanc's REST API",
                    )
                yield answer
        except library.RequestException as error:
            # Not chained: the text of the cause holds the address that was asked for.
            raise PacsError(
                f"the watched server does not answer ({type(error).__name__})", do="Check the address"
            ) from None

    def _last(self) -> int | None:
        try:
            return int(json.loads(self.position.read_text())["last"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise PacsError(f"{self.position.name}, which is damaged", do="Remove it: it begins anew") from None

    def _keep(self, last: int) -> None:
        part = self.position.with_name(f".{secrets.token_hex(4)}.part")
        with part.open("w") as file:
            file.write(json.dumps({"last": last}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.position)


@contextmanager
def _session() -> Iterator[Any]:
    with requests().Session() as opened:
        opened.trust_env = False
        yield opened


def _wanted(tags: Mapping[str, Any]) -> bool:
    """Return whether a series is of images, and not one of ours."""
    number = str(tags.get("SeriesNumber", "")).strip()
    ours = (
        str(tags.get("Manufacturer", "")).strip() == "saliscope" and number.isdigit() and int(number) >= _FIRST_OF_OURS
    )
    return not ours and str(tags.get("Modality", "")).strip() in MODALITIES


def _id(text: Any) -> str:
    if not _ID.fullmatch(str(text)):
        raise PacsError("an identifier that is none of Orthanc's", do="Watch an Orthanc only")
    return str(text)


def _begun(chunks: Iterator[bytes]) -> tuple[str, str, str, bytes]:
    """Return class, UID and transfer syntax of a file, and the first bytes of its data set; its preamble is dropped."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD:
            break
    file = BytesIO(head)
    try:
        read_preamble(file, force=False)
        meta = _read_file_meta_info(file)
        words = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes do to the parser, they are not understood
        raise Refused(NOT_UNDERSTOOD, "it cannot be read as DICOM") from None
    return *words, head[file.tell() :]
