"""Weights at an address are fetched only when somebody says so, and held to their digest."""

import hashlib
import http.server
import threading

import pytest
import torch
from safetensors.torch import save_file

from saliscope.cli.main import main
from saliscope.core.errors import CardError, WeightsError
from saliscope.model.adapters import hub
from saliscope.model.card import Card
from saliscope.model.load import build, load

CARD = """
schema = 1
name = "toy"
title = "A toy"
description = "For tests."
architecture = "residual-net"
arguments = {{ classes = 2, widths = [2, 4], strides = [2] }}
weights = "{address}"
digest = "{digest}"
labels = ["a", "b"]
output = "multi-class"
modalities = ["CT"]
dimensions = 2
licence = "MIT"
attribution = "Nobody."
intended = "Tests."
limits = ["Everything else."]
view = []
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.server.away)
            self.end_headers()
            return
        body = self.server.body
        self.send_response(200)
        if "unsaid" not in self.path:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:100] if "short" in self.path else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("SALISCOPE_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    save_file(build("residual-net", {"classes": 2, "widths": [2, 4], "strides": [2]}).state_dict(), tmp_path / "w")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body, server.asked, server.away = (tmp_path / "w").read_bytes(), [], "http://example.org/w"
    server.digest = "sha256:" + hashlib.sha256(server.body).hexdigest()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def card(tmp_path, served, path="/w.safetensors", digest=None):
    file = tmp_path / "toy.toml"
    address = f"http://127.0.0.1:{served.server_port}{path}"
    file.write_text(CARD.format(address=address, digest=served.digest if digest is None else digest))
    return file


def cached(tmp_path):
    return [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_what_is_not_here_is_said_and_not_fetched(tmp_path, served):
    with pytest.raises(WeightsError) as refused:
        load(card(tmp_path, served))
    said = str(refused.value)
    assert f"http://127.0.0.1:{served.server_port}/w.safetensors" in said
    assert served.digest in said
    assert "saliscope model fetch" in said
    place = tmp_path / "cache" / "weights" / f"{served.digest[7:]}.safetensors"
    assert str(place) in said
    assert not served.asked
    # Put there by hand, as the message says, it loads.
    place.parent.mkdir(parents=True)
    place.write_bytes(served.body)
    assert load(card(tmp_path, served)).digest == served.digest[7:]
    place.write_bytes(served.body + b"\0")
    with pytest.raises(WeightsError, match="have the digest"):
        load(card(tmp_path, served))


def test_the_command_fetches_once(tmp_path, served, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main(["model", "fetch", str(card(tmp_path, served))])
        assert not end.value.code
    assert "already here" in capsys.readouterr().out
    assert served.asked == ["/w.safetensors"]
    assert [p.name for p in cached(tmp_path)] == [f"{served.digest[7:]}.safetensors"]
    assert load(card(tmp_path, served)).digest == served.digest[7:]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/w.safetensors", "gave a file with the digest"),
        ("/short.safetensors", "gave a file with the digest"),
        ("/away.safetensors", "leads on to http://example.org/w"),
    ],
)
def test_a_wrong_file_leaves_nothing_behind(tmp_path, served, path, said):
    digest = "sha256:" + "0" * 64 if path.startswith("/w") else served.digest
    found = Card.read(card(tmp_path, served, path, digest))
    with pytest.raises(WeightsError, match=said):
        hub.fetch(found.weights, found.digest, "toy", said=lambda _: None)
    assert not cached(tmp_path)


@pytest.mark.parametrize("path", ["/w.safetensors", "/unsaid.safetensors"])
def test_a_file_that_is_too_large_is_refused(tmp_path, served, path):
    found = Card.read(card(tmp_path, served, path))
    with pytest.raises(WeightsError, match="more than 99 bytes"):
        hub.fetch(found.weights, found.digest, "toy", most=99, said=lambda _: None)
    assert not cached(tmp_path)


def test_no_network_says_where_to_put_the_file(tmp_path, served):
    served.shutdown()
    served.server_close()
    found = Card.read(card(tmp_path, served))
    with pytest.raises(WeightsError, match=r"cannot be fetched.*by hand at"):
        hub.fetch(found.weights, found.digest, "toy", said=lambda _: None)


@pytest.mark.parametrize(
    ("address", "digest", "said"),
    [
        ("https://example.org/w.safetensors", "", "no digest"),
        ("http://example.org/w.safetensors", "sha256:" + "0" * 64, "https://"),
        ("file:///etc/passwd", "sha256:" + "0" * 64, "https://"),
        ("https://", "sha256:" + "0" * 64, "https://"),
        ("https://me:secret@example.org/w", "sha256:" + "0" * 64, "password"),
    ],
)
def test_an_unsafe_address_is_refused_by_the_card(tmp_path, address, digest, said):
    file = tmp_path / "toy.toml"
    file.write_text(CARD.format(address=address, digest=digest))
    with pytest.raises(CardError, match=said) as refused:
        Card.read(file)
    assert "secret@" not in str(refused.value)


def test_there_is_nothing_to_fetch_for_a_file(capsys):
    with pytest.raises(SystemExit) as end:
        main(["model", "fetch", "breast-ultrasound"])
    assert end.value.code == 2
    assert "nothing to fetch" in capsys.readouterr().err


def test_the_cache_lies_where_the_system_keeps_such_things(tmp_path, monkeypatch):
    monkeypatch.delenv("SALISCOPE_CACHE", raising=False)
    monkeypatch.setattr(hub.platform, "system", lambda: "Linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hub.folder() == tmp_path / "saliscope" / "weights"
    monkeypatch.setattr(hub.platform, "system", lambda: "Darwin")
    assert hub.folder().parts[-4:] == ("Library", "Caches", "saliscope", "weights")
