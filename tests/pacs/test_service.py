"""A whole round trip: what an archive sends is explained by the rule that fits, and the results come back to it."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path
from threading import Event, get_ident

import pydicom
import pytest
from nodes import RULES, at_rest, configured, dicom_archive, health, pictures, served, stored, until
from pydicom.uid import generate_uid

from dicom_cases import write_source
from dicom_tools import Orthanc, free_port, orthanc
from saliscope.core.errors import PacsError, SaliscopeError
from saliscope.pacs.config import Config
from saliscope.pacs.queue import Queue, Received
from saliscope.study import service
from saliscope.study.explaining import Stopped
from saliscope.study.service import FAILED_KEPT, serve, tidied

__all__ = ["orthanc"]


@pytest.fixture
def archive(orthanc: Orthanc) -> Orthanc:
    """Return an Orthanc that holds nothing."""
    orthanc.clear()
    return orthanc


def modalities_in(server: Orthanc) -> Counter[str]:
    return Counter(server.get(f"/series/{s}").json()["MainDicomTags"]["Modality"] for s in server.get("/series").json())


def fill(server: Orthanc, *folders: Path) -> int:
    files = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
    for path in files:
        server.store(path.read_bytes())
    return len(files)


def give(server: Orthanc) -> None:
    """Let the archive send all that it holds to our node."""
    for study in server.get("/studies").json():
        words = json.dumps({"Resources": [study], "Permissive": True})
        server.post("/modalities/saliscope/store", words).raise_for_status()


def test_a_ct_series_and_a_radiograph_go_round(archive: Orthanc, tmp_path: Path) -> None:
    count = fill(archive, write_source(tmp_path / "ct", "ct"), write_source(tmp_path / "cr", "cr"))
    path = configured(tmp_path / "node", dicom_archive(archive.dicom, "ORTHANC"))
    with served(path) as (config, lines):
        archive.modality("saliscope", "SALISCOPE", config.node.port)
        give(archive)
        queue = Queue.opened(config.node.folder)
        assert at_rest(queue, studies=2), lines
        first, came = queue.counts(), modalities_in(archive)
        told = health(config)
        # Everything again, the results too: they are ours, and nothing is explained or sent a second time.
        give(archive)
        assert until(lambda: any("made by saliscope" in x for x in lines), 30), lines
        assert at_rest(queue, studies=2), lines
        second = queue.counts()
        queue.close()
    assert (first["total_received"], first["total_explained"]) == (count, 2)
    results = len(archive.get("/instances").json()) - count
    assert first["total_sent"] == first["owed_sent"] == results >= 4
    assert second["total_sent"] == results
    assert second["total_sent_again"] == second["total_held_already"] == 0
    assert second["total_repeats"] == count
    assert told["up"], told
    assert told["counts"]["owed_sent"] == results
    assert {"CR", "CT", "SR"} <= came.keys(), "the volume's and the radiograph's results are beside them"
    assert came["SR"] == 2
    said = "\n".join(lines)
    for identifier in ("Müller", "4711", "ACC-1", "2.25.", "1.2."):
        assert identifier not in said


def test_what_fits_no_rule_is_told_and_left(tmp_path: Path) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    path = configured(tmp_path / "node", dicom_archive(1), rules=RULES.split('[[rules]]\nname = "pictures"')[0])
    with served(path) as (config, lines):
        assert stored(config, [file]) == [0]
        assert until(lambda: any("1 series fits no rule" in x for x in lines)), lines


def test_a_study_that_fails_is_told_and_the_next_is_explained(tmp_path: Path) -> None:
    broken, good = pictures(tmp_path / "in", 2)
    ds = pydicom.dcmread(broken)
    ds.PixelData = ds.PixelData[:100]
    ds.save_as(broken)
    path = configured(tmp_path / "node", dicom_archive(free_port()))
    with served(path) as (config, lines):
        assert stored(config, [broken, good]) == [0, 0]
        assert until(lambda: any("not explained, given up" in x for x in lines)), lines
        assert until(lambda: any("images 1" in x for x in lines)), lines
        assert until(lambda: any("tried" in x and "; archive: no connection" in x for x in lines)), lines
        assert health(config)["counts"]["studies_failed"] == 1
        assert health(config)["counts"]["owed_waiting"] > 0, "an archive that is down loses nothing"
        assert not list((config.node.folder / "work").iterdir()), "what is given up leaves no patients' data half done"


def test_a_stopped_node_goes_on_where_it_was(tmp_path: Path) -> None:
    files = pictures(tmp_path / "in", 2)
    path = configured(tmp_path / "node", dicom_archive(free_port()), quiet_s=2.0)
    with served(path) as (config, _):
        assert stored(config, files) == [0, 0]
    with served(path) as (config, lines):
        assert until(lambda: sum("images 1" in x for x in lines) == 2, 30), lines


@pytest.mark.parametrize(
    ("was", "wrong"), [("spot-finder", "nothing-such"), ("grad-cam", "grad-can"), ("top", "spott")]
)
def test_a_rule_that_cannot_work_keeps_the_node_from_starting(tmp_path: Path, was: str, wrong: str) -> None:
    path = configured(tmp_path / "node", dicom_archive(1), rules=RULES.replace(f'"{was}"', f'"{wrong}"'))
    config = Config.read(path)
    with pytest.raises(SaliscopeError, match=wrong):
        serve(config, lambda _: None, Event())
    assert not list(config.node.folder.glob("owner-*"))


def test_a_rule_that_fails_keeps_back_nothing_of_the_others(tmp_path: Path) -> None:
    broken, good = pictures(tmp_path / "in", 2)
    bad, other = pydicom.dcmread(broken), pydicom.dcmread(good)
    bad.PixelData = bad.PixelData[:100]
    bad.save_as(broken)
    other.Modality, other.StudyInstanceUID = "DX", bad.StudyInstanceUID
    other.save_as(good)
    one = "[[rules]]" + RULES.rpartition("[[rules]]")[2]
    words = one.replace('"CR", "DX"', '"CR"') + one.replace('"CR", "DX"', '"DX"').replace('"pictures"', '"others"')
    path = configured(tmp_path / "node", dicom_archive(free_port()), rules=words)
    with served(path) as (config, lines):
        assert stored(config, [broken, good]) == [0, 0]
        assert until(lambda: any("rule others: images 1" in x for x in lines)), lines
        told = health(config)
    assert any("rule pictures: InputError: no image was explained" in x for x in lines), lines
    assert (told["counts"]["studies_explained"], told["counts"]["studies_failed"]) == (1, 0)
    assert told["counts"]["owed_waiting"] + told["counts"]["owed_sending"] == 3
    assert any("rule pictures" in error["why"] for error in told["errors"]), "what went wrong is told by status too"


def test_a_localizer_is_left(tmp_path: Path) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    ds = pydicom.dcmread(file)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.save_as(file)
    with served(configured(tmp_path / "node", dicom_archive(1))) as (config, lines):
        assert stored(config, [file]) == [0]
        assert until(lambda: any("1 series for planning only" in x for x in lines)), lines


def test_a_second_node_in_a_folder_is_refused_and_removes_nothing(tmp_path: Path) -> None:
    path = configured(tmp_path / "node", dicom_archive(1))
    other = Config.read(configured(tmp_path / "node", dicom_archive(1)))
    with served(path) as (config, _):
        left = [config.node.folder / name for name in ("results/y.dcm", "incoming/z.part", "work/w/run.json")]
        for file in left:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"in work")
        with pytest.raises(PacsError, match="another node runs"):
            serve(other, lambda _: None, Event())
        assert all(file.is_file() for file in left)


def test_a_signal_in_the_waiting_thread_cannot_lock_it_up(tmp_path: Path) -> None:
    """The handler of SIGTERM runs in the thread that serves, where a lock that is held there is never free."""
    serving = get_ident()

    class Watched(Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert get_ident() != serving, "the lock of the event is held by the thread that handles signals"
            return super().wait(timeout)

    stop = Watched()
    config = Config.read(configured(tmp_path / "node", dicom_archive(1)))
    assert serve(config, lambda line: stop.set() if "listens" in line else None, stop)


def test_what_keeps_going_wrong_is_one_line_and_tried_less_often() -> None:
    lines, waits, faults = list[str](), list[float](), iter([*["away"] * 9, "full", None])

    class Pauses(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return False

    def work() -> bool:
        fault = next(faults, "over")
        if fault == "over":
            raise Stopped
        if fault:
            raise PacsError(fault, do="Look")
        return False

    service._over_and_over(work, Pauses(), lines.append)
    assert [x.partition(": ")[2].split(".")[0] for x in lines] == ["away", "full"]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 0.25]


def test_what_failed_is_removed_too_but_later(tmp_path: Path) -> None:
    day = 86400.0
    queue = Queue.opened(tmp_path / "spool", lambda: 0.0)
    path = tmp_path / "spool" / "one.dcm"
    path.write_bytes(b"a")
    queue.received(Received("1.2.3", "1.2.840.10008.5.1.4.1.1.2", "1.2", "1.2.1", path, sha256(b"a").hexdigest(), "x"))
    study = queue.due(0.0, 0.0)
    assert study is not None
    queue.not_explained(study, "no", None)
    assert tidied(queue, 7, 8 * day) == []
    assert path.exists()
    assert tidied(queue, 7, (FAILED_KEPT * 7 + 1) * day) == [(1, FAILED_KEPT * 7)]
    assert not path.exists()
    queue.close()


def test_what_a_kill_left_between_a_file_and_its_record_is_removed(tmp_path: Path) -> None:
    (file,) = pictures(tmp_path / "in", 1)
    path = configured(tmp_path / "node", dicom_archive(free_port()))
    with served(path) as (config, lines):
        assert stored(config, [file]) == [0]
        assert until(lambda: any("images 1" in x for x in lines)), lines
    spool = config.node.folder
    kept = sorted(p for p in spool.rglob("*.dcm"))
    for name in ("objects/ab/x.dcm", "results/y.dcm", "incoming/z.part", "work/w/run.json"):
        (spool / name).parent.mkdir(parents=True, exist_ok=True)
        (spool / name).write_bytes(b"left")
    with served(path):
        pass
    assert sorted(p for p in spool.rglob("*.dcm")) == kept
    assert len(kept) >= 3
    assert not list((spool / "incoming").iterdir())
    assert not (spool / "work").exists() or not list((spool / "work").iterdir())


def test_the_real_ct_series_goes_round(archive: Orthanc, tmp_path: Path, data: Path) -> None:
    """Twenty slices in JPEG 2000, whose emptied UIDs are filled again, as an archive sends them."""
    study, series = generate_uid(), generate_uid()
    for number, file in enumerate(sorted((data / "abdominal-ct" / "example_ct_dicom").iterdir())):
        ds = pydicom.dcmread(file)
        ds.SOPClassUID, ds.SOPInstanceUID = (
            ds.file_meta.MediaStorageSOPClassUID,
            ds.file_meta.MediaStorageSOPInstanceUID,
        )
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.PatientID = "a patient"
        (tmp_path / "ct").mkdir(exist_ok=True)
        ds.save_as(tmp_path / "ct" / f"{number}.dcm")
    count = fill(archive, tmp_path / "ct")
    path = configured(tmp_path / "node", dicom_archive(archive.dicom, "ORTHANC"))
    with served(path) as (config, lines):
        archive.modality("saliscope", "SALISCOPE", config.node.port)
        give(archive)
        queue = Queue.opened(config.node.folder)
        assert at_rest(queue, studies=1), lines
        counts = queue.counts()
        queue.close()
    assert counts["total_received"] == count == 20
    assert counts["owed_sent"] == 2
    assert len(archive.get("/instances").json()) == count + 2
    assert modalities_in(archive)["SR"] == 1
