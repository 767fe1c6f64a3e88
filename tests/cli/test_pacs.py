"""`saliscope pacs` as it is typed: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest

from dicom_tools import Orthanc, free_port, orthanc
from saliscope.cli.main import main
from saliscope.pacs.config import Config
from saliscope.pacs.queue import Queue

__all__ = ["orthanc"]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pacs"))
from nodes import configured, dicom_archive, pictures, started, stored, until


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command and return exit code, stdout and stderr."""
    try:
        main(["pacs", *words])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


def archived(orthanc: Orthanc, tmp_path: Path) -> Path:
    orthanc.clear()
    path = configured(tmp_path / "node", dicom_archive(orthanc.dicom, orthanc.aet))
    path.write_text(path.read_text() + f'\n[peers.web]\nkind = "dicomweb"\nurl = "{orthanc.dicomweb}"\n')
    return path


def test_the_example_is_a_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = said(capsys, "config")
    assert code == 0
    (tmp_path / "saliscope.toml").write_text(out)
    assert Config.read(tmp_path / "saliscope.toml").node.host == "127.0.0.1"


@pytest.mark.parametrize("peer", ["archive", "web"])
def test_send_find_fetch_and_echo(
    orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str], peer: str
) -> None:
    path = archived(orthanc, tmp_path)
    files = pictures(tmp_path / "in", 2)
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    assert re.fullmatch(rf"{peer} answers, in \d+ ms\.\n", said(capsys, "echo", peer, "-c", str(path))[1])
    assert said(capsys, "send", peer, str(tmp_path / "in"), "-c", str(path))[:2] == (0, f"2 sent to {peer}.\n")
    code, out, err = said(capsys, "find", peer, "--date", "20260101", "--json", "-c", str(path))
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert len(rows) == 2
    assert rows[0]["objects"] == 1
    assert "Canary" not in out
    code, out, _ = said(capsys, "find", peer, "--modality", "CR", "-c", str(path))
    assert "2 studies." in out
    code, out, err = said(capsys, "fetch", peer, rows[0]["study_uid"], "-o", str(tmp_path / "out"), "-c", str(path))
    if peer == "web":
        assert (code, "1 objects in" in out) == (0, True)
        assert len(list((tmp_path / "out").iterdir())) == 1
    else:
        assert (code, err.count("\n")) == (2, 1)
        assert "dicomweb" in err
    assert len(files) == 2


def test_sending_in_part_and_not_at_all(orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = archived(orthanc, tmp_path)
    (file,) = pictures(tmp_path / "in", 1)
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(b"no DICOM")
    code, out, _ = said(capsys, "send", "archive", str(file), str(junk), "-c", str(path))
    assert code == 3
    assert "1 sent to archive, 1 not." in out
    assert said(capsys, "send", "archive", str(junk), "-c", str(path))[0] == 2
    code, out, _ = said(capsys, "send", "archive", str(file), "--json", "-c", str(path))
    assert (code, json.loads(out)["arrived"]) == (0, 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["echo", "nobody"], "the peer 'nobody'"),
        (["echo", "archive"], "no connection to the peer archive"),
        (["send", "archive", "missing.dcm"], "missing.dcm, which is not there"),
        (["find", "archive"], "a search for everything"),
        (["status"], "no queue in"),
        (["orthanc-script", "-o", "x.py", "--as", "a b"], "the name 'a b'"),
    ],
)
def test_a_refusal_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: Sequence[str], why: str
) -> None:
    configured(tmp_path, dicom_archive(free_port()))
    monkeypatch.chdir(tmp_path)
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"saliscope: {why}")
    assert err.count("\n") == 1


def test_no_configuration_and_a_wrong_one_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "saliscope.toml"
    for text in (None, "[node]\nfolder = 1", "nonsense"):
        if text is not None:
            path.write_text(text)
        code, _, err = said(capsys, "serve", "-c", str(path))
        assert (code, err.count("\n")) == (2, 1), err


def test_a_node_serves_tells_its_state_and_ends_with_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, dicom_archive(free_port()), quiet_s=0.5)
    config = Config.read(path)
    process = started(path)
    try:
        (file,) = pictures(tmp_path / "in", 1)
        with pydicom.config.disable_value_validation():
            ds = pydicom.dcmread(file)
            ds.PatientBirthDate, ds.StudyDate, ds.AccessionNumber = "Canary-day", "Canary", "Canary" * 9
            ds.save_as(file)
            assert stored(config, [file]) == [0]
        queue = Queue.opened(config.node.folder)
        assert until(lambda: queue.counts()["total_errors_send"] > 0, 40)
        queue.close()
        code, out, _ = said(capsys, "status", "-c", str(path))
        assert code == 0
        assert re.search(r"studies_explained +1\n", out)
        assert "send archive: no connection to the peer archive" in out
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    log = path.with_name("service.log").read_text()
    assert "ended" in log
    assert "Traceback" not in log
    assert "Canary" not in log
    assert said(capsys, "retry", "archive", "-c", str(path))[:2] == (0, "0 made due.\n")


def test_what_was_given_up_is_exit_code_3_until_it_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, dicom_archive(1))
    queue = Queue.opened(Config.read(path).node.folder)
    from saliscope.pacs.queue import Received

    (file,) = pictures(tmp_path / "in", 1)
    queue.received(Received("1.2.3", "1.2", "1.2.4", "1.2.5", file, "0" * 64, "sender"))
    study = queue.due(1e12, 0)
    assert study is not None
    queue.not_explained(study, "InputError", None)
    code, out, _ = said(capsys, "status", "--json", "-c", str(path))
    assert (code, json.loads(out)["given_up"]) == (3, 1)
    assert said(capsys, "retry", "-c", str(path))[:2] == (0, "1 made due.\n")
    assert said(capsys, "status", "-c", str(path))[0] == 0
    queue.close()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom saliscope.cli.main import main\n"
        "try: main(['pacs', 'serve', '--help'])\nexcept SystemExit: pass\n"
        "print({m.partition('.')[0] for m in sys.modules} & {'torch', 'pydicom', 'pynetdicom', 'requests', 'numpy'})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert run.stdout.endswith("set()\n")


def test_the_orthanc_script_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "saliscope_orthanc.py"
    code, said_, _ = said(capsys, "orthanc-script", "-o", str(out))
    assert code == 0
    assert str(out) in said_
    compile(out.read_text(), str(out), "exec")


GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pacs.md"


def test_the_guides_configuration_and_commands_work_in_their_order(
    orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command of the guide is run as it stands; only the ports are those of the tests' own Orthanc."""
    orthanc.clear()
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text()
    (words,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    for was, port in (("4242", orthanc.dicom), ("8042", orthanc.http), ("11112", free_port()), ("8104", free_port())):
        words = words.replace(was, str(port))
    commands = re.findall(r"^saliscope pacs (.*)$", "".join(re.findall(r"```sh\n(.*?)```", text, re.S)), re.M)
    assert len(commands) >= 9
    pictures(tmp_path / "images", 1)
    process = None
    try:
        for command in commands:
            if command.startswith("config"):
                assert said(capsys, "config")[0] == 0
                Path("saliscope.toml").write_text(words)
            elif command == "serve":
                process = started(tmp_path / "saliscope.toml")
            else:
                code, _, err = said(capsys, *command.split())
                assert (code, err) == (0, ""), command
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    assert len(orthanc.get("/instances").json()) == 1
    (watch,) = re.findall(r"saliscope pacs serve --watch (\S+)", text)
    from saliscope.pacs.watch import Watcher

    config = Config.read(tmp_path / "saliscope.toml")
    assert Watcher.of(watch, config, Queue.opened(config.node.folder), lambda _: False, print).url == watch
