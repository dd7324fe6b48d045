from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools.errors import StorageError
from tools.launch import kept
from tools.launch.files import LaunchFile, LaunchFiles
from tools.launch.kept import keep


def made(content: str) -> LaunchFiles:
    return LaunchFiles("compose", "as_asked", (LaunchFile("a/compose.yaml", content),), ())


def test_files_and_their_zip_are_kept_under_one_name(tmp_path: Path) -> None:
    first, again, other = keep(made("x"), tmp_path), keep(made("x"), tmp_path), keep(made("y"), tmp_path)
    assert first == again
    assert first.folder != other.folder
    assert first.paths == (first.folder / "a/compose.yaml",)
    assert first.paths[0].read_text() == "x"
    with ZipFile(first.archive) as archive:
        assert archive.read("a/compose.yaml") == b"x"


def test_only_the_sets_asked_for_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_FOLDERS", 3)
    old = [keep(made(str(number)), tmp_path) for number in range(3)]
    for age, one in enumerate(old):
        os.utime(one.archive.parent, (age, age))
    keep(made("0"), tmp_path)  # asked for again, so it is the newest now
    newest = keep(made("new"), tmp_path)
    assert newest.archive.is_file()
    assert [one.archive.is_file() for one in old] == [True, False, True]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        keep(made("x"), tmp_path / "file")
