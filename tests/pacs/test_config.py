"""The configuration: the example reads, every key is checked and named, and what would expose patients is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from saliscope.core.errors import PacsError
from saliscope.pacs.config import Config, DicomPeer, WebPeer, example

SMALL = """
[node]
folder = "spool"
[peers.archive]
kind = "dicom"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 4242
may_send = true
[peers.web]
kind = "dicomweb"
url = "http://127.0.0.1:8042/dicom-web"
[[rules]]
name = "chest"
modality = ["CT"]
model = "demo"
method = ["grad-cam"]
target = ["top"]
send_to = ["archive"]
"""


def read(folder: Path, text: str) -> Config:
    path = folder / "node.toml"
    path.write_text(text)
    return Config.read(path)


def changed(was: str, becomes: str) -> str:
    assert SMALL.count(was) == 1, was
    return SMALL.replace(was, becomes)


def test_the_example_reads_and_every_commented_key_is_one_that_is_read(tmp_path: Path) -> None:
    config = read(tmp_path, example())
    assert config.node.host == config.health.host == "127.0.0.1"
    assert config.node.folder == tmp_path / "spool"
    assert {*config.peers} == {"archive", "web"}
    assert config.rules[0].send_to == ("archive",)
    for name in ("node.crt", "node.key", "hospital-ca.crt", "audit.json"):
        (tmp_path / name).write_text("x")
    # With every comment that is a key taken for one, only what excludes it must be changed.
    full = re.sub(r"(?m)^# (?=\[|\w+ = )", "", example()).replace('auth = "none"', 'auth = "basic"')
    config = read(tmp_path, full)
    assert config.node.tls is not None
    assert config.peers["scanner"].may_send
    assert not config.peers["scanner"].receives
    web = config.peers["web"]
    assert isinstance(web, WebPeer)
    assert (web.auth, web.variable) == ("basic", "ARCHIVE_LOGIN")
    assert config.rules[0].card == tmp_path / "audit.json"
    for kind in (config.node, config.health, config.peers["archive"], web, config.rules[0]):
        for field in dataclasses.fields(kind):
            if field.name not in ("receives", "may_send") or isinstance(kind, DicomPeer):
                assert re.search(rf"(?m)^(# )?\[?{field.name}\b|node\.{field.name}|\[peers\.|name = ", example()), field


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ('folder = "spool"', "", "no node.folder"),
        ('folder = "spool"', 'folder = "spool"\nquite_s = 3', "node.quite_s.*Did you mean 'quiet_s'"),
        ('folder = "spool"', 'folder = "spool"\nquiet_s = 0', "node.quiet_s"),
        ('folder = "spool"', 'folder = "spool"\nport = 70000', "node.port"),
        ('folder = "spool"', 'folder = "spool"\nport = true', "node.port"),
        ('folder = "spool"', 'folder = "spool"\nport = "11112"', "node.port"),
        ('folder = "spool"', 'folder = "spool"\nport = 8104', "health.port"),
        ('folder = "spool"', 'folder = "spool"\nhost = "0.0.0.0"', "node.host.*plain_on_network"),
        ('folder = "spool"', 'folder = "spool"\nhost = "bad host"', "node.host"),
        ('folder = "spool"', 'folder = "spool"\nae_title = "SEVENTEEN_LETTERS"', "node.ae_title"),
        ('folder = "spool"', 'folder = "spool"\nae_title = "A\\\\B"', "node.ae_title"),
        ('folder = "spool"', 'folder = "spool"\nae_title = " PADDED"', "node.ae_title"),
        ('folder = "spool"', 'folder = "spool"\nae_title = ""', "node.ae_title"),
        ('folder = "spool"', 'folder = "spool"\nmax_object_mb = 0', "node.max_object_mb"),
        ('folder = "spool"', 'folder = "spool"\n[node.tls]\ncertificate = "no.crt"', "node.tls.certificate"),
        ('folder = "spool"', 'folder = "spool"\n[health]\nhost = "10.0.0.1"', "health.host"),
        ('folder = "spool"', 'folder = "spool"\n[halth]\nport = 1', "halth.*Did you mean 'health'"),
        ('kind = "dicom"\n', 'kind = "dicomm"\n', "peers.archive.kind.*Did you mean"),
        ('host = "127.0.0.1"', 'host = "10.0.0.9"', "peers.archive.host.*readable for everybody"),
        ('host = "127.0.0.1"', 'host = "127.0.0.1"\ntls = true', "peers.archive.tls"),
        ('host = "127.0.0.1"\n', "", "no peers.archive.host"),
        ("may_send = true", 'may_send = "yes"', "peers.archive.may_send"),
        ("may_send = true", 'may_send = true\npassword = "x"', "peers.archive.password"),
        ('host = "127.0.0.1"\nport = 4242\nmay_send = true', "may_send = false", "no peers.archive.host"),
        ("[peers.archive]", '[peers."a b"]', "the peer 'a b'"),
        ('url = "http://127.0.0.1:8042/dicom-web"', 'url = "ftp://127.0.0.1"', "peers.web.url"),
        ('url = "http://127.0.0.1:8042/dicom-web"', 'url = "http://10.0.0.9/d"', "peers.web.url"),
        ('url = "http://127.0.0.1:8042/dicom-web"', 'url = "http://127.0.0.1/d?x=1"', "peers.web.url"),
        ("dicom-web\"", "dicom-web\"\nauth = \"basic\"", "peers.web.variable"),
        ("dicom-web\"", "dicom-web\"\nvariable = \"LOGIN\"", "peers.web.variable"),
        ("dicom-web\"", "dicom-web\"\nauth = \"bearer\"", "peers.web.auth"),
        ('send_to = ["archive"]', 'send_to = ["archiv"]', "send_to.*Did you mean 'archive'"),
        ('send_to = ["archive"]', "send_to = []", "send_to"),
        ('send_to = ["archive"]', 'send_to = ["archive"]\ncard = "no.json"', "rules\\[1\\].card"),
        ('send_to = ["archive"]', 'send_to = ["archive"]\nseries_description = "("', "series_description"),
        ('modality = ["CT"]', 'modality = ["ct"]', "modality"),
        ('modality = ["CT"]', 'modality = ["CT", 3]', "modality"),
        ('model = "demo"', "model = 7", "rules\\[1\\].model"),
        ('method = ["grad-cam"]', 'method = ["grad-cam", "grad-cam"]', "method"),
        ("[[rules]]", "[rules]", "rules"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_the_name_of_its_key(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    read(tmp_path, SMALL)
    with pytest.raises(PacsError, match=said):
        read(tmp_path, changed(was, becomes))


def test_a_login_crosses_no_network_in_the_open_and_stands_in_no_message(tmp_path: Path) -> None:
    host = 'folder = "spool"\nplain_on_network = true'
    text = changed('folder = "spool"', host).replace("http://127.0.0.1:8042/dicom-web", "http://10.0.0.9/dicom-web")
    assert read(tmp_path, text).node.plain_on_network
    with pytest.raises(PacsError, match="https"):
        read(tmp_path, text.replace('dicom-web"', 'dicom-web"\nauth = "basic"\nvariable = "LOGIN"'))
    secret = "hunter2-secret"
    for words in (f'url = "http://u:{secret}@127.0.0.1/d"', f'url = "http://127.0.0.1/d"\nvariable = "{secret}"'):
        with pytest.raises(PacsError) as told:
            read(tmp_path, changed('url = "http://127.0.0.1:8042/dicom-web"', words))
        assert secret not in str(told.value)


def test_who_may_call_is_a_list(tmp_path: Path) -> None:
    config = read(tmp_path, changed("may_send = true", 'may_send = true\naddresses = ["127.0.0.1"]'))
    peer = config.may_call("ARCHIVE", "127.0.0.1")
    assert peer is not None
    assert peer.name == "archive"
    assert config.may_call("ARCHIVE ", "127.0.0.1") == peer  # padded, as some send it
    assert config.may_call("ARCHIVE", "127.0.0.2") is None
    assert config.may_call("OTHER", "127.0.0.1") is None
    assert config.may_call("archive", "127.0.0.1") is None
    assert read(tmp_path, changed("may_send = true", "")).may_call("ARCHIVE", "127.0.0.1") is None
    with pytest.raises(PacsError, match="Did you mean 'archive'"):
        config.peer("archve")
    twice = SMALL + '[peers.other]\nkind = "dicom"\nae_title = "ARCHIVE"\nmay_send = true\n'
    with pytest.raises(PacsError, match="twice"):
        read(tmp_path, twice)


def test_a_rule_fits_by_all_that_it_names(tmp_path: Path) -> None:
    more = 'model = "demo"\nbody_part = ["chest"]\nseries_description = "(?i)lung"'
    rule = read(tmp_path, changed('model = "demo"', more)).rules[0]
    assert rule.fits("CT", "CHEST", "LUNG 1.0")
    assert not rule.fits("MR", "CHEST", "LUNG 1.0")
    assert not rule.fits("CT", "HEAD", "LUNG 1.0")
    assert not rule.fits("CT", "CHEST", "bone")
    assert read(tmp_path, SMALL).rules[0].fits("CT")


def test_a_file_that_is_not_there_or_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(PacsError, match="readable"):
        Config.read(tmp_path / "none.toml")
    with pytest.raises(PacsError, match="TOML"):
        read(tmp_path, "[node")
