"""Whole or not at all, whatever happens on the way."""

import errno
import os
from pathlib import Path

import pytest

from saliscope.core.errors import WriteError
from saliscope.write import atomic, new_folder, save, write_file


def broken(path, error, **more):
    """Begin a folder, and fail half-way."""
    with new_folder(path, **more) as folder:
        (folder / "half").write_text("half")
        raise error


def overtaken(path):
    """Begin a folder, while somebody else makes one of that name."""
    with new_folder(path):
        path.mkdir()
        (path / "other").write_text("other")


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_complete_folder_appears_at_the_end_only(tmp_path):
    target = tmp_path / "deep" / "case"
    with new_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert everything(target) == ["a"]
    assert everything(tmp_path) == ["deep", "deep/case", "deep/case/a"]


@pytest.mark.parametrize("what", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_nothing_is_left_when_the_block_fails(tmp_path, what):
    with pytest.raises(type(what)):
        broken(tmp_path / "case", what)
    assert everything(tmp_path) == []


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path):
    with pytest.raises(WriteError, match=r"case cannot be written \(No space left"):
        broken(tmp_path / "case", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert everything(tmp_path) == []


def test_a_disk_that_fails_at_the_last_step_leaves_the_old_folder(tmp_path, monkeypatch):
    save(tmp_path / "case", {"old": b"old"})
    real = Path.rename

    def failing(self, target):
        if self.name.endswith(".partial") and Path(target).name == "case" and (self / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WriteError, match="Input/output error"):
        save(tmp_path / "case", {"new": b"new"}, overwrite=True)
    assert everything(tmp_path) == ["case", "case/old"]


def test_a_disk_that_cannot_sync_leaves_nothing(tmp_path, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic.os, "fsync", failing)
    with pytest.raises(WriteError):
        save(tmp_path / "case", {"a": b"a"})
    with pytest.raises(WriteError):
        write_file(tmp_path / "run.json", b"{}")
    assert everything(tmp_path) == []


def test_a_full_folder_is_refused_before_any_work(tmp_path):
    save(tmp_path / "case", {"old": b"old"})
    with pytest.raises(WriteError, match="is there already"), new_folder(tmp_path / "case"):
        pytest.fail("the block must not run")
    assert (tmp_path / "case" / "old").read_bytes() == b"old"


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(WriteError, match="is there already"):
        overtaken(tmp_path / "case")
    assert everything(tmp_path) == ["case", "case/other"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "case").mkdir()
    save(tmp_path / "case", {"a": b"a"})
    assert everything(tmp_path) == ["case", "case/a"]


def test_overwriting_replaces_the_whole_folder_and_failing_keeps_it(tmp_path):
    save(tmp_path / "case", {"old": b"old"})
    with pytest.raises(ValueError, match="half-way"):
        broken(tmp_path / "case", ValueError("half-way"), overwrite=True)
    assert everything(tmp_path) == ["case", "case/old"]
    save(tmp_path / "case", {"new": b"new"}, overwrite=True)
    assert everything(tmp_path) == ["case", "case/new"]


def test_a_file_in_the_way_is_never_replaced_by_a_folder(tmp_path):
    (tmp_path / "case").write_text("mine")
    with pytest.raises(WriteError, match="is there already"):
        save(tmp_path / "case", {"a": b"a"}, overwrite=True)
    assert (tmp_path / "case").read_text() == "mine"


def test_a_link_in_the_way_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "case").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WriteError):
        save(tmp_path / "case", {"a": b"a"}, overwrite=True)
    assert everything(tmp_path / "elsewhere") == []


def test_a_parent_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="cannot be written"):
        save(tmp_path / "file" / "case", {"a": b"a"})


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", ""])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(WriteError, match="a file named"):
        save(tmp_path / "in" / "case", {name: b"evil"})
    assert everything(tmp_path) in ([], ["in"])


def test_rights_follow_the_users_own_mask(tmp_path):
    save(tmp_path / "case", {"a": b"a"})
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "case").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_is_replaced_whole(tmp_path):
    target = tmp_path / "run.json"
    write_file(target, b"old")
    write_file(target, b"new and longer")
    assert target.read_bytes() == b"new and longer"
    assert everything(tmp_path) == ["run.json"]


def test_a_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(WriteError, match=r"run\.json cannot be written"):
        write_file(tmp_path / "nowhere" / "run.json", b"{}")
