"""TLS on both sides: who shows no certificate of the authority, or one of another host, is not talked to."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import authority, signed
from recording_peer import object_file, our_node, peer_at, recording

from dicom_tools import free_port, tool
from saliscope.core.errors import PacsError
from saliscope.pacs.association import Waits
from saliscope.pacs.echo import echo
from saliscope.pacs.node import Tls
from saliscope.pacs.send import send
from saliscope.pacs.tls import client_context, server_context

QUICK = Waits(3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tls]:
    folder = tmp_path_factory.mktemp("certificates")
    ca, other = authority(folder, "ca"), authority(folder, "other")
    return {
        "us": signed(folder, "us", ca),
        "peer": signed(folder, "peer", ca),
        "elsewhere": signed(folder, "elsewhere", ca, "DNS:elsewhere.example"),
        "stranger": signed(folder, "stranger", other, trusts=ca),
        "trusts other": Tls(folder / "us.crt", folder / "us.key", other),
    }


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[int, list[str]]]:
    """Take connections and greet who comes through; yields the port and what was said of each."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)

        def serve() -> None:
            try:
                plain, _ = listening.accept()
                with context.wrap_socket(plain, server_side=True) as secure:
                    secure.sendall(b"hello")
                    said.append(secure.version() or "")
            except OSError as error:
                said.append(type(error).__name__)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listening.getsockname()[1]), said
        thread.join(10)


def hello(port: int, context: ssl.SSLContext) -> bytes:
    """Return what a server says to who comes in, and nothing to who does not."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.recv(5)
    except OSError:
        return b""


def test_both_sides_show_a_certificate_of_the_authority(made: dict[str, Tls]) -> None:
    with serving(server_context(made["peer"])) as (port, said):
        assert hello(port, client_context(made["us"])) == b"hello"
    assert said == ["TLSv1.3"]


@pytest.mark.parametrize(("server", "client"), [("peer", "stranger"), ("stranger", "us"), ("elsewhere", "us"),
                                                ("peer", "trusts other")])  # fmt: skip
def test_who_is_not_known_is_not_talked_to(made: dict[str, Tls], server: str, client: str) -> None:
    with serving(server_context(made[server])) as (port, said):
        assert hello(port, client_context(made[client])) == b""
    assert said[0] in ("SSLError", "SSLCertVerificationError")


def test_without_a_certificate_or_with_an_old_version_nobody_comes_in(made: dict[str, Tls]) -> None:
    old = client_context(made["us"])
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    for context in (ssl.create_default_context(cafile=made["us"].ca), old):
        with serving(server_context(made["peer"])) as (port, said):
            assert hello(port, context) == b""
        assert len(said) == 1
        assert said[0] in ("SSLError", "ConnectionResetError", "SSLEOFError")
    for context in (server_context(made["peer"]), client_context(made["us"])):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
    assert client_context(made["us"]).check_hostname


def test_an_object_goes_to_a_peer_by_tls_and_not_past_a_wrong_one(made: dict[str, Tls], tmp_path: Path) -> None:
    path, node = object_file(tmp_path, 1), our_node(tmp_path, made["us"])
    with recording(context=server_context(made["peer"])) as seen:
        peer = peer_at(seen.port, tls=True)
        assert echo(node, peer, QUICK) > 0
        assert [o.state for o in send(node, peer, [path], waits=QUICK)] == ["sent"]
        assert [o.state for o in send(node, peer_at(seen.port), [path], waits=QUICK)] == ["retry"], "without TLS"
        stranger = our_node(tmp_path, made["stranger"])
        assert [o.state for o in send(stranger, peer, [path], waits=QUICK)] == ["retry"]
        assert len(seen.order) == 1
    with recording(context=server_context(made["elsewhere"])) as seen:
        found = send(node, peer_at(seen.port, tls=True), [path], waits=QUICK)
        assert [o.state for o in found] == ["retry"]
        assert "certificate" in found[0].why
        assert not seen.order


def test_dcmtk_answers_by_tls(made: dict[str, Tls], tmp_path: Path) -> None:
    port, theirs = free_port(), made["peer"]
    words = [tool("storescp"), "+tls", theirs.key, theirs.certificate, "+cf", theirs.ca, "-od", tmp_path, port]
    run = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for left in reversed(range(40)):
            try:
                assert echo(our_node(tmp_path, made["us"]), peer_at(port, tls=True), QUICK) > 0
                break
            except PacsError:
                if not left or run.poll() is not None:
                    raise
                threading.Event().wait(0.1)
    finally:
        run.terminate()
        run.communicate(timeout=10)


def test_files_that_do_not_fit_are_told_by_key(made: dict[str, Tls], tmp_path: Path) -> None:
    us, peer = made["us"], made["peer"]
    with pytest.raises(PacsError, match=r"node\.tls\.certificate or key"):
        client_context(Tls(us.certificate, peer.key, us.ca))
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(PacsError, match=r"node\.tls\.ca"):
        server_context(Tls(us.certificate, us.key, empty))
    locked = tmp_path / "locked.key"
    words = ["ec", "-in", us.key, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run([tool("openssl"), *map(str, words)], check=True, capture_output=True)
    with pytest.raises(PacsError, match="without a password"):
        client_context(Tls(us.certificate, locked, us.ca))
