"""Requests to a DICOMweb peer, strictly: no redirects, no proxies or logins of the environment, bounded answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from saliscope.core.errors import PacsError
from saliscope.pacs.libraries import requests
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.table import is_loopback

CONNECT_S, ANSWER_S = 10.0, 60.0
_MOST_JSON = 32 * 2**20
_CHUNK = 2**16


@contextmanager
def session(peer: WebPeer) -> Iterator[Any]:
    """Yield a session with the peer's login and authority; raises PacsError where the login cannot be had."""
    with requests().Session() as opened:
        # Else a proxy of the environment would see it all, and a .netrc would add logins.
        opened.trust_env = False
        opened.verify = str(peer.ca) if peer.ca else True
        opened.headers["Accept-Encoding"] = "identity"
        if peer.auth != "none":
            opened.auth = _Login(_header(peer))
        yield opened


@contextmanager
def asked(opened: Any, method: str, url: str, *, wait_s: float = ANSWER_S, **words: Any) -> Iterator[Any]:
    """Yield the answer to one request, its body unread; a redirect is an answer like any other."""
    with opened.request(
        method, url, allow_redirects=False, stream=True, timeout=(CONNECT_S, wait_s), **words
    ) as answer:
        yield answer


def body(answer: Any, most: int = _MOST_JSON) -> bytes:
    """Return the body of an answer; raises PacsError beyond a number of bytes."""
    found = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        found += chunk
        if len(found) > most:
            raise PacsError("an answer that is too long", expected=f"at most {most} bytes", do="Narrow the question")
    return bytes(found)


def rows(answer: Any) -> list[Mapping[str, Any]]:
    """Return the data sets of an answer in DICOM JSON; raises PacsError for anything else (PS3.18 F.2)."""
    raw = body(answer)
    try:
        found = json.loads(raw) if raw.strip() else []
    except (ValueError, RecursionError) as error:
        raise PacsError("an answer that is not JSON", expected="application/dicom+json", do="Check the url") from error
    listed = found if isinstance(found, list) else [found]
    if any(not isinstance(row, dict) for row in listed):
        raise PacsError("an answer that is no list of objects", expected="DICOM JSON", do="Check the url")
    return listed


def value(row: Mapping[str, Any], tag: str, index: int = 0) -> Any:
    """Return one value of a tag such as 00080018 in DICOM JSON, or None."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[index] if isinstance(values, list) and len(values) > index else None


def refused(peer: WebPeer, status: int) -> PacsError:
    """Return what a status other than success means."""
    do = "Look into its log"
    if 300 <= status < 400:
        do = "Put the address that it redirects to into the url; redirects are not followed"
    elif status in (401, 403):
        do = "Check auth and the environment variable that it names"
    elif status == 404:
        do = "Check the url: that of the DICOMweb root"
    return PacsError(f"the peer {peer.name} answered with HTTP status {status}", do=do)


def unreachable(peer: WebPeer, error: Exception) -> PacsError:
    """Return what a failed request means, without the address that was asked for: it holds UIDs."""
    kind = type(error).__name__
    also = ", and its certificate" if "SSL" in kind else ""
    return PacsError(f"no answer from the peer {peer.name} ({kind})", do=f"Check the url{also}, and that it runs")


class _Login:
    """An authentication of requests that only ever sets one header."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: Any) -> Any:
        """Return the request with the header."""
        request.headers["Authorization"] = self._header
        return request


def _header(peer: WebPeer) -> str:
    parts = urlsplit(peer.url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise PacsError(f"the peer {peer.name} with a login over http", expected="https", do="Use https")
    secret = os.environ.get(peer.variable, "")
    if not secret or not secret.isprintable() or not secret.isascii():
        raise PacsError(f"the environment variable {peer.variable}", expected="the peer's login in it", do="Set it")
    if peer.auth == "token":
        return f"Bearer {secret}"
    if ":" not in secret:
        raise PacsError(f"the environment variable {peer.variable}", expected="user:password", do="Set it so")
    from base64 import b64encode

    return f"Basic {b64encode(secret.encode()).decode()}"
