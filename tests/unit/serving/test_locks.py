"""Locks on cards: between processes, whatever lies in a folder that everybody may write to."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from prompts import text
from serving.locks import CardTaken, held, lock_folder, taken
from tools.errors import StorageError

_HOLDER = """
import sys, time
from pathlib import Path
from serving.locks import held
with held(Path(sys.argv[1]), sys.argv[3:], port=int(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def another(folder: Path, port: int, *cards: str) -> subprocess.Popen[str]:
    """Start a process that holds cards, and wait until it does."""
    words = [sys.executable, "-c", _HOLDER, str(folder), str(port), *cards]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_card_has_one_holder_and_is_free_after_it(tmp_path: Path) -> None:
    process = another(tmp_path, 8123, "nvidia:0", "nvidia:1")
    try:
        with pytest.raises(CardTaken) as refused, held(tmp_path, ["nvidia:2", "nvidia:1"], port=8000):
            pytest.fail("it was held twice")
        assert refused.value.holder.pid == process.pid
        assert refused.value.holder.port == 8123
        sentence = text("en", refused.value.code, **refused.value.params)
        assert f"process {process.pid}" in sentence
        assert "8123" in sentence
        with held(tmp_path, ["nvidia:2"], port=8000):  # what was taken on the way was given back
            mine = taken(tmp_path, "nvidia:2")
            assert mine is not None
            assert mine.holder.pid == os.getpid()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with held(tmp_path, ["nvidia:0", "nvidia:1"], port=8000):
        pass
    assert taken(tmp_path, "nvidia:0") is None
    assert taken(tmp_path, "amd:7") is None


def test_the_same_process_does_not_take_a_card_twice_but_may_name_it_twice(tmp_path: Path) -> None:
    with held(tmp_path, ["cpu", "cpu"], port=8000), pytest.raises(CardTaken), held(tmp_path, ["cpu"], port=8001):
        pytest.fail("it was held twice")


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"\xff\xfe",
        b"[" * 2000,
        b'{"pid": 7}',
        b'{"pid": -1, "port": 8000, "since": 1.0}',
        b'{"pid": 7, "port": 70000, "since": 1.0}',
        b'{"pid": 7, "port": 8000, "since": 1e300}',
        b'{"pid": "7\\u001b[2J", "port": 8000, "since": 1.0}',
    ],
)
def test_what_others_wrote_into_a_lock_is_not_repeated(tmp_path: Path, words: bytes) -> None:
    with held(tmp_path, ["cpu"], port=8000):
        (tmp_path / "rigfit-cpu.lock").write_bytes(words)
        with pytest.raises(CardTaken) as refused, held(tmp_path, ["cpu"], port=8001):
            pytest.fail("it was held twice")
    assert refused.value.holder.pid == 0
    assert str(tmp_path) in text("ru", refused.value.code, **refused.value.params)


def test_links_and_other_things_in_the_place_of_a_lock_are_refused(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept", encoding="utf-8")
    lock = tmp_path / "rigfit-cpu.lock"

    def refused() -> None:
        with pytest.raises(StorageError), held(tmp_path, ["cpu"], port=8000):
            pytest.fail("it was followed")
        assert precious.read_text(encoding="utf-8") == "kept"

    lock.symlink_to(precious)
    refused()
    lock.unlink()
    lock.symlink_to(tmp_path / "new")
    refused()
    assert not (tmp_path / "new").exists()
    lock.unlink()
    os.link(precious, lock)
    refused()
    lock.unlink()
    os.mkfifo(lock)
    refused()
    lock.unlink()
    lock.mkdir()
    refused()


def test_other_users_can_open_a_lock_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with held(tmp_path, ["cpu"], port=8000):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rigfit-cpu.lock").stat().st_mode) == 0o666


def test_a_lock_whose_file_was_cleaned_away_is_made_anew(tmp_path: Path) -> None:
    with held(tmp_path, ["cpu"], port=8000):
        pass
    (tmp_path / "rigfit-cpu.lock").unlink()
    with held(tmp_path, ["cpu"], port=8000):
        said = json.loads((tmp_path / "rigfit-cpu.lock").read_text(encoding="ascii"))
    assert said["pid"] == os.getpid()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError), held(tmp_path / "none", ["cpu"], port=8000):
        pytest.fail("it was made")


def test_the_folder_is_everybodys_and_made_where_one_is_named(tmp_path: Path) -> None:
    assert lock_folder(None).stat().st_mode & stat.S_IWOTH
    named = tmp_path / "a" / "locks"
    assert lock_folder(named) == named
    assert stat.S_IMODE(named.stat().st_mode) == 0o1777
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StorageError):
        lock_folder(tmp_path / "file" / "locks")
