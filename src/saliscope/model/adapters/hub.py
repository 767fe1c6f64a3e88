"""Weights at an address: fetched when somebody says so, held to their digest, and kept; never while explaining."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import platform
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from saliscope.core.errors import CardError, WeightsError

VARIABLE = "SALISCOPE_CACHE"
#: Larger than the weights of any network that this package can explain.
MOST_BYTES = 4 * 2**30
#: Endings of files of weights.
SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".ckpt", ".ts", ".bin", ".h5", ".hdf5", ".keras", ".onnx"})
_CHUNK = 2**20
_SECONDS = 60
_HEXADECIMAL = 64


def is_address(weights: str) -> bool:
    """Return whether a card's weights are at an address and not at a path."""
    return "://" in weights


def check_address(address: str, digest: str, who: str) -> None:
    """Refuse an address that is not HTTPS (plain HTTP only on this machine), holds a password, or has no digest."""
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise CardError(f"{who} with a password in the address of its weights", do="Fetch the file by hand")
    if not (parts.scheme == "https" and parts.hostname) and not (
        parts.scheme == "http" and _is_this_machine(parts.hostname)
    ):
        raise CardError(f"{who} with weights = {address!r}", expected="https://...", do="Name a safe address or a file")
    if len(digest.removeprefix("sha256:")) != _HEXADECIMAL:
        raise CardError(
            f"{who} with weights at an address and no digest",
            expected="digest = 'sha256:...'",
            do="Write what sha256sum says of the file, so that nobody can exchange it",
        )


def folder() -> Path:
    """Return where fetched weights are kept: $SALISCOPE_CACHE, else the system's folder for such things."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given) / "weights"
    home = Path.home()
    places = {"Darwin": home / "Library" / "Caches", "Windows": Path(os.environ.get("LOCALAPPDATA", home))}
    usual = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return places.get(platform.system(), usual) / "saliscope" / "weights"


def place(address: str, digest: str) -> Path:
    """Return where the file of an address is kept: under its digest, with the ending of its kind."""
    ending = PurePosixPath(urlsplit(address).path).suffix.lower()
    return folder() / f"{digest.removeprefix('sha256:')}{ending if ending in SUFFIXES else ''}"


def kept(address: str, digest: str, name: str) -> Path:
    """Return the file of an address; raises WeightsError that says what to fetch and where to put it."""
    path = place(address, digest)
    if not path.is_file():
        raise WeightsError(
            f"the weights of {name!r} are not on this machine: {address} ({digest})",
            do=f"Run `saliscope model fetch` with this card; without a network, put that file at {path}",
        )
    return path


def fetch(address: str, digest: str, name: str, *, most: int = MOST_BYTES, said: Callable[[str], None] = print) -> Path:
    """Fetch the file of an address, hold it to its digest, keep it, and return where; nothing half-fetched is left.

    Raises CardError for an unsafe address, WeightsError where the network, the size or the digest does not fit.
    """
    check_address(address, digest, repr(name))
    path = place(address, digest)
    if path.is_file() and _digest(path) == digest.removeprefix("sha256:"):
        said(f"already here: {path}")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    said(f"fetching {address}")
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".fetching-")
    try:
        with os.fdopen(handle, "wb") as file:
            got = _copied(address, file, most, f"put the file by hand at {path}")
        if got != digest.removeprefix("sha256:"):
            raise WeightsError(
                f"{address} gave a file with the digest sha256:{got}",
                expected=digest,
                do="Nothing was kept. Ask who published it; if the new file is meant, write its digest into the card",
            )
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
    said(f"kept: {path}")
    return path


def _copied(address: str, file: IO[bytes], most: int, by_hand: str) -> str:
    """Copy what an address gives into a file and return its SHA-256."""
    sha, size = hashlib.sha256(), 0
    try:
        with build_opener(_Safe()).open(Request(address), timeout=_SECONDS) as answer:  # noqa: S310 - checked above
            if int(answer.headers.get("Content-Length") or 0) > most:
                raise _too_large(address, most)
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    raise _too_large(address, most)
                sha.update(chunk)
                file.write(chunk)
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{address} cannot be fetched ({reason})", do=f"Check the network, or fetch it elsewhere and {by_hand}"
        ) from error
    return sha.hexdigest()


class _Safe(HTTPRedirectHandler):
    """Follows a redirection only to an address that a card might name itself."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        parts = urlsplit(newurl)
        here = _is_this_machine(urlsplit(req.full_url).hostname) and _is_this_machine(parts.hostname)
        if parts.scheme != "https" and not here:
            raise WeightsError(
                f"{req.full_url} leads on to {newurl}", expected="https://...", do="Name the address of the file itself"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_this_machine(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _too_large(address: str, most: int) -> WeightsError:
    return WeightsError(f"{address} gives more than {most:,} bytes", expected="weights", do="Fetch it by hand")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
