from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from theblock_operator.embedded import files


def test_a_folder_holds_exactly_what_it_was_given(tmp_path: Path) -> None:
    files.put_folder(tmp_path / "tls", {"tls.crt": "1", "old": "x"})

    assert files.put_folder(tmp_path / "tls", {"tls.crt": "2", "tls.key": "k"})

    found = {path.name: path.read_text() for path in (tmp_path / "tls").iterdir() if not path.name.startswith("..")}
    assert found == {"tls.crt": "2", "tls.key": "k"}


def test_the_same_content_changes_nothing(tmp_path: Path) -> None:
    files.put_folder(tmp_path / "ca", {"ca.crt": "1"})
    before = (tmp_path / "ca" / "..data").stat().st_ino

    assert not files.put_folder(tmp_path / "ca", {"ca.crt": "1"})
    assert (tmp_path / "ca" / "..data").stat().st_ino == before


def test_two_files_of_one_folder_change_together(tmp_path: Path) -> None:
    files.put_folder(tmp_path / "tls", {"tls.crt": "1", "tls.key": "1"})
    opened = os.open(tmp_path / "tls" / "..data", os.O_RDONLY)

    files.put_folder(tmp_path / "tls", {"tls.crt": "2", "tls.key": "2"})

    # Both names lead through the one link that was swapped: a reader never finds one of each.
    links = {os.readlink(tmp_path / "tls" / name) for name in ("tls.crt", "tls.key")}
    assert links == {"..data/tls.crt", "..data/tls.key"}
    os.close(opened)


def test_keys_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    files.put_folder(tmp_path / "key", {"node.key": "seed"})

    assert stat.S_IMODE((tmp_path / "key" / "node.key").stat().st_mode) == 0o600


def test_a_lock_is_held_by_the_child_that_inherits_it(tmp_path: Path) -> None:
    lock = files.try_lock(tmp_path / "lock")
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    files.write_holder(lock, child.pid)
    os.close(lock)

    assert files.try_lock(tmp_path / "lock") is None
    assert files.holder(tmp_path / "lock") == child.pid

    child.communicate(b"\n", timeout=20)
    freed = files.try_lock(tmp_path / "lock")
    assert freed is not None
    os.close(freed)


@pytest.mark.parametrize("text", ["", "0", "nonsense", "999999999"])
def test_a_lock_file_that_names_nobody_has_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)

    assert files.holder(tmp_path / "lock") is None


def test_a_log_over_its_bound_is_cut_and_the_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOG_SIZE_MAX", 10)
    path = tmp_path / "node.log"
    with path.open("a") as log:
        log.write("first lines\n")
        log.flush()
        files.shorten_log(path)
        log.write("next\n")

    assert path.read_text() == "next\n"
    assert (tmp_path / "node.log.1").read_text() == "first lines\n"
