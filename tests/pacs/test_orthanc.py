"""Orthanc brings its studies by itself: by the script of its Python plugin, and by the watcher of its REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from nodes import at_rest, configured, dicom_archive, pictures, served, until

from dicom_tools import PLUGINS, Orthanc, orthanc, running_orthanc, without
from saliscope.core.errors import PacsError
from saliscope.pacs.config import Config
from saliscope.pacs.intake import Intake
from saliscope.pacs.orthanc_plugin import script
from saliscope.pacs.queue import Queue, Received
from saliscope.pacs.watch import Watcher

__all__ = ["orthanc"]


def test_the_plugin_sends_stable_studies_and_never_our_results(tmp_path: Path) -> None:
    if not (PLUGINS / "libOrthancPython.so").exists():
        without("Orthanc has no Python plugin: run .ci/packages")
    plugin = tmp_path / "saliscope_orthanc.py"
    plugin.write_text(script("saliscope"))
    words = {
        "Plugins": [str(PLUGINS / "libOrthancPython.so"), str(PLUGINS / "libOrthancDicomWeb.so")],
        "PythonScript": str(plugin),
        "PythonVerbose": False,
    }
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc", words) as archive:
        path = configured(tmp_path / "node", dicom_archive(archive.dicom, archive.aet))
        with served(path) as (config, lines):
            archive.modality("saliscope", "SALISCOPE", config.node.port)
            for file in pictures(tmp_path / "in", 2):
                archive.store(file.read_bytes())
            check_two_pictures(config, archive, lines)


def test_the_watcher_takes_stable_studies_and_the_results_come_back_by_stow(orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.clear()
    (old,) = pictures(tmp_path / "old", 1)
    orthanc.store(old.read_bytes())
    until(lambda: any(c["ChangeType"] == "StableStudy" for c in changes(orthanc)), 10)
    path = configured(tmp_path / "node", f'kind = "dicomweb"\nurl = "{orthanc.dicomweb}"')
    with served(path, watch=orthanc.url) as (config, lines):
        assert until((config.node.folder / "watched.json").is_file)
        for file in pictures(tmp_path / "in", 2):
            orthanc.store(file.read_bytes())
        check_two_pictures(config, orthanc, lines, besides=1)
    with served(path, watch=orthanc.url) as (config, lines):
        assert not until(lambda: any("explaining" in x for x in lines), 3), "what was seen is not seen again"


def changes(server: Orthanc) -> list[dict[str, object]]:
    return list(server.get("/changes?limit=1000").json()["Changes"])


def check_two_pictures(config: Config, archive: Orthanc, lines: list[str], besides: int = 0) -> None:
    queue = Queue.opened(config.node.folder)
    assert at_rest(queue, studies=2), lines
    results = queue.counts()["owed_sent"]
    assert results >= 4
    assert len(archive.get("/instances").json()) == 2 + besides + results
    # The results make their studies stable once more: nothing of that is explained.
    assert not until(lambda: queue.counts()["total_explained"] > 2 or queue.counts()["owed_sent"] > results, 3), lines
    queue.close()


def test_the_script_is_python_of_its_own() -> None:
    text = script("our-node")
    compile(text, "script", "exec")
    assert 'NODE = "our-node"' in text
    assert {x.split()[1] for x in text.splitlines() if x.startswith("import ")} == {"json", "threading", "orthanc"}
    with pytest.raises(PacsError, match="name"):
        script('x"; import os')


class Nothing:
    """A queue that keeps nothing."""

    def received(self, one: Received) -> bool:
        raise AssertionError


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1:8042",
        "https://example.org",
        "http://127.0.0.1@example.org/",
        "file:///etc",
        "http://a:b@127.0.0.1",
    ],
)
def test_only_this_machine_and_the_hosts_of_peers_are_watched(tmp_path: Path, url: str) -> None:
    config = Config.read(configured(tmp_path, dicom_archive(1)))
    with pytest.raises(PacsError, match="to watch"):
        Watcher.of(url, config, Nothing(), lambda _: False, print)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[tuple[Watcher, dict[str, tuple[int, bytes]], list[str]]]:
    """Return a watcher of a server that answers as told, and the paths that were asked for."""
    answers: dict[str, tuple[int, bytes]] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, data = answers.get(self.path.partition("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    intake = Intake(tmp_path, 2**20, Nothing())
    intake.open()
    yield (
        Watcher(f"http://127.0.0.1:{server.server_port}", tmp_path / "p.json", intake, lambda _: False, asked.append),
        answers,
        asked,
    )
    server.shutdown()
    server.server_close()


STUDY = "11111111-22222222-33333333-44444444-55555555"


def page(kind: str, name: str) -> tuple[int, bytes]:
    return 200, json.dumps({"Changes": [{"ChangeType": kind, "ID": name, "Seq": 5}], "Last": 5, "Done": True}).encode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [((302, b""), "HTTP status 302"), ((500, b""), "HTTP status 500"), ((200, b"<html>"), "no JSON")],
)
def test_a_server_that_is_no_orthanc_is_told(odd: tuple, answer: tuple[int, bytes], why: str) -> None:
    watcher, answers, asked = odd
    answers["/changes"] = answer
    with pytest.raises(PacsError, match=why):
        watcher.next()
    assert "/elsewhere" not in asked


def test_an_identifier_that_leads_elsewhere_is_refused(odd: tuple) -> None:
    watcher, answers, asked = odd
    watcher.position.write_text('{"last": 1}')
    answers["/changes"] = page("StableStudy", "../../tools/reset")
    with pytest.raises(PacsError, match="none of Orthanc's"):
        watcher.next()
    assert len(asked) == 1


def test_a_study_that_could_not_be_fetched_is_seen_again(odd: tuple) -> None:
    watcher, answers, _ = odd
    watcher.position.write_text('{"last": 1}')
    answers["/changes"] = page("StableStudy", STUDY)
    answers[f"/studies/{STUDY}/series"] = 500, b""
    with pytest.raises(PacsError, match="500"):
        watcher.next()
    assert json.loads(watcher.position.read_text()) == {"last": 1}
    answers[f"/studies/{STUDY}/series"] = 404, b""  # deleted meanwhile
    assert watcher.next()
    assert json.loads(watcher.position.read_text()) == {"last": 5}


@pytest.mark.parametrize(
    "data", [b"", b"junk" * 1000, b"\0" * 128 + b"DICM", b"MZ" + b"\0" * 126 + b"DICM" + b"\1" * 90]
)
def test_a_file_that_is_none_is_passed_over(odd: tuple, data: bytes) -> None:
    watcher, answers, told = odd
    watcher.position.write_text('{"last": 1}')
    answers["/changes"] = page("StableStudy", STUDY)
    series = [{"ID": STUDY, "MainDicomTags": {"Modality": "CT"}}]
    instances = [{"ID": STUDY, "MainDicomTags": {"SOPInstanceUID": "1.2.3"}}]
    answers[f"/studies/{STUDY}/series"] = 200, json.dumps(series).encode()
    answers[f"/series/{STUDY}/instances"] = 200, json.dumps(instances).encode()
    answers[f"/instances/{STUDY}/file"] = 200, data
    assert watcher.next()
    assert any("passed over" in x for x in told)
    assert not list((watcher.intake.folder / "incoming").iterdir())
