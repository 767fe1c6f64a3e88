"""The health endpoint: well or not, counts and errors, nothing that identifies, and nobody else is answered."""

from __future__ import annotations

import http.client
import json
import re
import socket
from hashlib import sha256
from pathlib import Path

import pytest

from saliscope.core.errors import PacsError
from saliscope.pacs.health import endpoint, metrics, of_queue
from saliscope.pacs.node import Health
from saliscope.pacs.queue import Queue, Received

UID = "1.2.826.0.1.3680043.8.498.4"
ANY = Health(enabled=True, host="127.0.0.1", port=0)


def ask(at: tuple[str, int], path: str = "/health", method: str = "GET", **headers: str) -> tuple[int, bytes, dict]:
    line = http.client.HTTPConnection(*at, timeout=5)
    try:
        line.request(method, path, headers=headers)
        answer = line.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        line.close()


@pytest.fixture
def queue(tmp_path: Path):
    path = tmp_path / "CANARY^Name.dcm"
    path.write_bytes(b"x")
    opened = Queue.opened(tmp_path / "spool", lambda: 1000.0)
    opened.received(Received(f"{UID}.1", "1.2", f"{UID}.2", f"{UID}.3", path, sha256(b"x").hexdigest(), "CT01"))
    study = opened.due(1000, 0)
    assert study is not None
    opened.not_explained(study, f"no rule fits series {UID}.3", 1000)
    yield opened
    opened.close()


def test_it_tells_counts_and_errors_and_nothing_that_identifies(queue: Queue) -> None:
    with endpoint(ANY, lambda: of_queue(queue)) as at:
        status, data, headers = ask(at)
        assert status == 200
        told = json.loads(data)
        assert told["up"] is True
        assert told["reasons"] == []
        assert told["counts"]["studies_waiting"] == told["counts"]["total_received"] == 1
        assert [(e["doing"], e["why"]) for e in told["errors"]] == [("explain", "no rule fits series (UID)")]
        assert headers["Cache-Control"] == "no-store"
        status, text, headers = ask(at, "/metrics?x=1")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        for line in text.decode().splitlines():
            assert re.fullmatch(r"# (HELP|TYPE) saliscope_\w+ .+|saliscope_[a-z_]+ \d+", line), line
        assert "saliscope_up 1" in text.decode()
        assert "saliscope_received_total 1" in text.decode()
        for said in (data, text):
            assert UID.encode() not in said
            assert b"CANARY" not in said


def test_it_is_not_up_where_a_part_stopped_or_the_queue_is_gone_or_old(queue: Queue, tmp_path: Path) -> None:
    with endpoint(ANY, lambda: of_queue(queue, lambda: False)) as at:
        status, data, _ = ask(at)
        assert (status, json.loads(data)["reasons"]) == (503, ["a part of the node has stopped"])
        assert b"saliscope_up 0" in ask(at, "/metrics")[1]
    later = Queue(queue.file, lambda: 1000.0 + 86402)
    assert of_queue(later).reasons == ("something has waited for more than a day",)
    other = Queue.opened(tmp_path / "other")
    other.close()
    with endpoint(ANY, lambda: of_queue(other)) as at:
        status, data, _ = ask(at)
        assert (status, json.loads(data)["reasons"]) == (503, ["the queue cannot be read"])
    assert "saliscope_up 0" in metrics(of_queue(other))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_every_other_method_is_refused(queue: Queue, method: str) -> None:
    with endpoint(ANY, lambda: of_queue(queue)) as at:
        status, data, headers = ask(at, method=method)
        assert status == (501 if method == "BREW" else 405)
        assert method == "BREW" or headers["Allow"] == "GET"
        assert method != "HEAD" or data == b""


@pytest.mark.parametrize("path", ["/", "/health/", "/../health", "/spool/queue.sqlite", "/HEALTH", "*"])
def test_every_other_path_is_refused(queue: Queue, path: str) -> None:
    with endpoint(ANY, lambda: of_queue(queue)) as at:
        assert ask(at, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("127.0.0.1:8104", 200), ("[::1]:8104", 200), ("LOCALHOST:1", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("", 421), ("[", 421), ("10.0.0.1", 421),
    ],
)  # fmt: skip
def test_a_page_elsewhere_cannot_point_its_name_at_us(queue: Queue, host: str, status: int) -> None:
    with endpoint(ANY, lambda: of_queue(queue)) as at:
        for path in ("/health", "/metrics"):
            found, data, _ = ask(at, path, Host=host)
            assert found == status
            assert status == 200 or b"counts" not in data


def test_a_port_that_is_taken_is_told_and_a_torn_request_does_no_harm(queue: Queue) -> None:
    with endpoint(ANY, lambda: of_queue(queue)) as at:
        taken = Health(enabled=True, host="127.0.0.1", port=at[1])
        with pytest.raises(PacsError, match=r"health\.port"), endpoint(taken, lambda: of_queue(queue)):
            pass
        with socket.create_connection(at) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: ")
        with socket.create_connection(at) as line:
            line.sendall(b"\x00\xff" * 40_000 + b"\r\n\r\n")
        assert ask(at)[0] == 200
