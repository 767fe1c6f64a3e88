"""DICOMweb against a server that lies, redirects and breaks off; and against Orthanc, byte for byte."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from certificates import authority, signed
from hypothesis import given
from hypothesis import strategies as st
from recording_peer import ROOT, SC, object_file

from dicom_tools import Orthanc, free_port, orthanc  # noqa: F401 - the fixture
from saliscope.core.errors import PacsError, TooLarge
from saliscope.pacs import http, web
from saliscope.pacs.multipart import boundary_of, pieces
from saliscope.pacs.peers import WebPeer
from saliscope.pacs.send import identity

JSON = "application/dicom+json"
STUDY, SERIES, SOP = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3.1"


@dataclass
class Asked:
    """One request that a server saw."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Said:
    """What a server answers."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    wait_s: float = 0.0


@contextmanager
def server(answer: Callable[[Asked], Said], context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[Asked]]]:
    """Run an HTTP server on loopback; yields its url and the requests that it saw."""
    seen: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            assert "chunked" not in self.headers.get("Transfer-Encoding", "")
            seen.append(Asked(self.command, self.path, dict(self.headers), body))
            said = answer(seen[-1])
            time.sleep(said.wait_s)
            self.send_response(said.status)
            for name, value in {"Content-Type": said.kind, **said.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body) + said.cut))
            self.end_headers()
            self.wfile.write(said.body)
            self.close_connection = bool(said.cut)

        do_GET = do_POST = reply  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    if context is not None:
        running.socket = context.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{running.server_address[1]}/dicom-web", seen
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def peer(url: str, **words: Any) -> WebPeer:
    return replace(WebPeer("web", url, "none", "", None), **words)


def rows(*found: dict[str, Any]) -> Said:
    return Said(200, json.dumps([{t: {"vr": "UI", "Value": v} for t, v in row.items()} for row in found]).encode())


def stored(**failed: int) -> bytes:
    """Return the answer to STOW of one object: stored, with a warning, or not."""
    item = {"00081155": {"vr": "UI", "Value": [SOP]}}
    if "reason" in failed:
        item["00081197"] = {"vr": "US", "Value": [failed["reason"]]}
        return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()
    if "warning" in failed:
        item["00081196"] = {"vr": "US", "Value": [failed["warning"]]}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


def multipart(*objects: bytes) -> Said:
    head = b"--mark\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + data + b"\r\n" for data in objects) + b"--mark--\r\n"
    return Said(200, body, 'multipart/related; type="application/dicom"; boundary=mark')


def test_orthanc_takes_our_bytes_finds_them_and_gives_them_back(tmp_path: Path, orthanc: Orthanc) -> None:  # noqa: F811
    """An independent client, dicomweb-client, sees the same."""
    from dicomweb_client import DICOMwebClient

    orthanc.clear()
    to = peer(orthanc.dicomweb)
    files = [object_file(tmp_path, n, size=300_000 * n) for n in (1, 2, 3)]
    assert web.holds(to, SOP, STUDY, SERIES) is False
    assert [o.state for o in web.store(to, files)] == ["sent"] * 3
    assert web.holds(to, SOP, STUDY, SERIES) is True
    assert web.store(to, files[:1])[0].state in ("sent", "warned", "held")
    (study,) = web.find_studies(to, {"PatientID": "CANARY-ID"})
    assert (study.study_uid, study.description, study.date) == (STUDY, "a study", "20260101")
    assert (study.series, study.objects, study.modalities) == (1, 3, ("OT",))
    assert web.find_studies(to, {"PatientID": "NOBODY"}) == ()
    got = web.fetch_study(to, STUDY, tmp_path / "got")
    assert len(got) == 3
    sent = {identity(p).sop_uid: p.read_bytes() for p in files}
    for path in got:
        assert path.read_bytes() == sent[identity(path).sop_uid]
    assert len(DICOMwebClient(orthanc.dicomweb).search_for_instances(STUDY)) == 3
    with pytest.raises(PacsError, match=r"status 404|without objects"):
        web.fetch_study(to, f"{STUDY}.9", tmp_path / "none")
    assert not [*(tmp_path / "none").iterdir()]
    orthanc.clear()


def test_orthanc_refuses_what_is_no_dicom(tmp_path: Path, orthanc: Orthanc) -> None:  # noqa: F811
    path = object_file(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:200])
    assert web.store(peer(orthanc.dicomweb), [path])[0].state == "failed"


@pytest.mark.parametrize(
    ("said", "state", "why"),
    [
        (Said(200, stored()), "sent", ""),
        (Said(200), "sent", ""),
        (Said(202, stored(warning=0xB000)), "warned", "0xB000, elements were coerced"),
        (Said(202, stored(reason=0xA700)), "retry", "out of resources"),
        (Said(409, stored(reason=0x0122)), "failed", "0x0122, SOP class not supported"),
        (Said(409, stored(reason=0x0111)), "held", "duplicate"),
        (Said(409, stored(reason=0xC000)), "failed", "cannot understand"),
        (Said(409, b"<html>"), "unsure", "names no outcome"),
        (Said(202), "unsure", "names no outcome"),
        (Said(200, stored().replace(SOP.encode(), b"1.2.3")), "unsure", "names no outcome"),
        (Said(400), "failed", "status 400"),
        (Said(401), "retry", "auth"),
        (Said(413), "failed", "status 413"),
        (Said(429), "retry", "status 429"),
        (Said(503), "unsure", "status 503"),
        (Said(302, headers={"Location": "http://127.0.0.1:1/"}), "failed", "redirects are not followed"),
        (Said(200, stored(), cut=10), "unsure", ""),
    ],
)  # fmt: skip
def test_each_answer_to_stow_has_its_consequence(tmp_path: Path, said: Said, state: str, why: str) -> None:
    with server(lambda _: said) as (url, seen):
        (found,) = web.store(peer(url), [object_file(tmp_path, 1)])
    assert found.state == state, found
    assert why in found.why
    assert (seen[0].method, seen[0].path) == ("POST", "/dicom-web/studies")
    assert len(seen) == 1
    assert ROOT not in found.why


def test_the_bytes_of_the_file_go_as_they_are(tmp_path: Path) -> None:
    files = [object_file(tmp_path, n, size=700_000) for n in (1, 2)]
    with server(lambda _: Said(200)) as (url, seen):
        assert [o.state for o in web.store(peer(url), files)] == ["sent", "sent"]
    for path, asked in zip(files, seen, strict=True):
        boundary = boundary_of(asked.headers["Content-Type"])
        data = b"".join(d for what, d in pieces([asked.body], boundary) if what == "data")
        assert data == path.read_bytes()
        assert asked.headers["Accept"] == JSON


def test_where_nobody_listens_or_answers_it_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = object_file(tmp_path, 1)
    assert web.store(peer(f"http://127.0.0.1:{free_port()}"), [path])[0].state == "retry"
    assert web.holds(peer(f"http://127.0.0.1:{free_port()}"), SOP, STUDY, SERIES) is None
    monkeypatch.setattr(http.asked.__wrapped__, "__kwdefaults__", {"wait_s": 0.5})
    with server(lambda _: Said(200, wait_s=1.5)) as (url, seen):
        assert web.store(peer(url), [path])[0].state == "unsure", "it may have been stored"
    assert len(seen) == 1
    outcomes = web.store(peer(url), [path, path], stop=lambda: True)
    assert [o.state for o in outcomes] == ["stopped", "stopped"]


def test_only_its_own_uid_says_that_it_is_held(tmp_path: Path) -> None:
    answers = [rows({"00080018": [SOP]}), rows({"00080018": ["1.2.3"]}), rows(), Said(204), Said(404), Said(500),
               Said(200, b"<html>"), Said(200, b'["x"]'), Said(200, b'[{"00080018": 3}]'),
               Said(200, b"[" * 100_000)]  # fmt: skip
    expected = [True, False, False, False, False, None, None, None, False, None]
    found = []
    for said in answers:
        with server(lambda _, said=said: said) as (url, seen):
            found.append(web.holds(peer(url), SOP, STUDY, SERIES))
        assert seen[0].path.startswith(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances?SOPInstanceUID={SOP}")
    assert found == expected
    assert web.holds(peer(url, can_find=False), SOP, STUDY, SERIES) is None
    assert web.holds(peer(url), "../../x", STUDY, SERIES) is None


def test_no_redirect_is_followed_and_no_login_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN", "user:hunter2")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with server(lambda _: Said(200, b"[]")) as (elsewhere, caught):
        away = Said(307, headers={"Location": f"{elsewhere}/studies"})
        with server(lambda _: away) as (url, seen):
            to = peer(url, auth="basic", variable="LOGIN")
            with pytest.raises(PacsError, match="redirects are not followed"):
                web.find_studies(to, {})
            with pytest.raises(PacsError, match="redirects are not followed"):
                web.fetch_study(to, STUDY, tmp_path / "got")
            assert web.store(to, [object_file(tmp_path, 1)])[0].state == "failed"
    assert len(seen) == 3
    assert {s.headers["Authorization"] for s in seen} == {"Basic dXNlcjpodW50ZXIy"}
    assert not caught
    with server(lambda _: Said(200, b"[]")) as (url, seen):
        web.find_studies(peer(url, auth="token", variable="LOGIN"), {})
    assert seen[0].headers["Authorization"] == "Bearer user:hunter2"


def test_a_login_that_is_missing_or_would_go_in_the_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGIN", raising=False)
    for secret, said in (("", "the peer's login"), ("a\nb", "the peer's login"), ("nocolon", "user:password")):
        monkeypatch.setenv("LOGIN", secret)
        with pytest.raises(PacsError, match=said):
            web.find_studies(peer("http://127.0.0.1:1", auth="basic", variable="LOGIN"), {})
    monkeypatch.setenv("LOGIN", "user:hunter2")
    with pytest.raises(PacsError, match="over http") as told:
        web.find_studies(peer("http://192.0.2.1", auth="basic", variable="LOGIN"), {})
    assert "hunter2" not in str(told.value)


def test_the_certificate_is_checked(tmp_path: Path) -> None:
    ca, other = authority(tmp_path, "ca"), authority(tmp_path, "other")
    theirs = signed(tmp_path, "server", ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(theirs.certificate, theirs.key)
    with server(lambda _: Said(200, b"[]"), context) as (url, seen):
        assert web.find_studies(peer(url, ca=ca), {}) == ()
        for wrong in (None, other):
            with pytest.raises(PacsError, match="certificate"):
                web.find_studies(peer(url, ca=wrong), {})
            assert web.store(peer(url, ca=wrong), [object_file(tmp_path, 1)])[0].state == "retry"
    assert len(seen) == 1


def test_a_study_is_fetched_whole_or_not_at_all(tmp_path: Path) -> None:
    objects = [b"one" * 1000, b"\r\n--mar\r\n" * 50_000, b""]
    with server(lambda _: multipart(*objects)) as (url, seen):
        got = web.fetch_study(peer(url), STUDY, tmp_path / "a")
        assert [p.read_bytes() for p in got] == objects
        assert seen[0].path == f"/dicom-web/studies/{STUDY}"
        limits = web.FetchLimits(objects=2)
        with pytest.raises(TooLarge, match="too many objects"):
            web.fetch_study(peer(url), STUDY, tmp_path / "b", limits)
        with pytest.raises(TooLarge, match="beyond the limits"):
            web.fetch_study(peer(url), STUDY, tmp_path / "b", web.FetchLimits(size=100_000))
        with pytest.raises(TooLarge, match="beyond the limits"):
            web.fetch_study(peer(url), STUDY, tmp_path / "b", web.FetchLimits(seconds=0))
        with pytest.raises(PacsError, match="not a UID"):
            web.fetch_study(peer(url), "../../etc", tmp_path / "b")
        with pytest.raises(PacsError, match="cannot be written"):
            web.fetch_study(peer(url), STUDY, tmp_path / "a")
    assert [p.read_bytes() for p in got] == objects, "what was there before is still there"
    whole = multipart(*objects)
    broken = [replace(whole, body=whole.body[:-8]), replace(whole, kind="text/html"),
              Said(200, b"--mark--", whole.kind), Said(200, b"--mark\r\n" + b"x: y\r\n" * 9999, whole.kind),
              replace(whole, body=whole.body[:2000], cut=5000), Said(500)]  # fmt: skip
    for number, said in enumerate(broken):
        with server(lambda _, said=said: said) as (url, _):
            folder = tmp_path / f"broken-{number}"
            with pytest.raises(PacsError):
                web.fetch_study(peer(url), STUDY, folder)
        assert not [*folder.iterdir()], number


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\r\n--b", b"--b\r\n", b"\r\n--"])), max_size=4),
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.booleans(),
)  # fmt: skip
def test_a_multipart_answer_comes_apart_however_it_is_cut(parts: list[bytes], cuts: list[int], headers: bool) -> None:
    boundary = b"b" * 12
    head = b"Content-Type: application/dicom\r\n" if headers else b"X: y\r\n"
    whole = b"preamble\r\n" + b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n" + p + b"\r\n" for p in parts)
    whole += b"--" + boundary + b"--"
    chunks, at, turn = [], 0, 0
    while at < len(whole):
        size = cuts[turn % len(cuts)]
        chunks.append(whole[at : at + size])
        at, turn = at + size, turn + 1
    found: list[bytes] = []
    for what, data in pieces(chunks, boundary):
        if what == "start":
            found.append(b"")
        elif what == "data":
            found[-1] += data
    assert found == parts


def test_nothing_of_a_patient_reaches_the_handlers_of_a_log(tmp_path: Path) -> None:
    said = StringIO()
    handler, root = logging.StreamHandler(said), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    try:
        with server(lambda _: Said(409, stored(reason=0xC000))) as (url, _):
            web.store(peer(url), [object_file(tmp_path, 1)])
            web.holds(peer(url), SOP, STUDY, SERIES)
            with pytest.raises(PacsError) as told:
                web.find_studies(peer(url), {"PatientID": "CANARY-ID"})
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
    everything = said.getvalue() + str(told.value) + repr(told.value.__context__)
    assert ROOT not in said.getvalue()
    assert "CANARY" not in everything
    assert SC not in everything
