"""Log files: limited, kept, and no danger to who writes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.log_file import LogFile


def log_file(path: Path, limit: int = 1000, keep: int = 2, lost: list[OSError | None] | None = None) -> LogFile:
    return LogFile(path, limit, keep, (lost if lost is not None else []).append)


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(50, 500), st.integers(0, 3))
def test_the_files_are_the_newest_part_of_what_was_said(chunks: list[bytes], limit: int, keep: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "a.log"
        log = log_file(path, limit, keep)
        for chunk in chunks:
            log.write(chunk)
        log.close()
        names = [path.with_name(f"a.log.{number}") for number in range(keep, 0, -1)] + [path]
        found = [name.read_bytes() for name in names if name.exists()]
        said = b"".join(chunks)
        assert said.endswith(b"".join(found))
        assert len(b"".join(found)) == len(said) or len(found) == keep + 1
        assert all(len(part) <= max(limit, max(map(len, chunks))) for part in found)
        assert not chunks or len(list(path.parent.iterdir())) == len(found)


def test_a_file_that_is_there_is_continued(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"before\n")
    log = log_file(tmp_path / "a.log")
    log.begin("command")
    log.write(b"after\n")
    assert (tmp_path / "a.log").read_bytes() == b"before\ncommand\nafter\n"
    assert log.said() == "command\nafter\n"


def test_others_may_not_read_it(tmp_path: Path) -> None:
    log_file(tmp_path / "a.log").write(b"x")
    assert (tmp_path / "a.log").stat().st_mode & 0o077 == 0


def test_a_full_disk_is_told_once_and_loses_lines_only() -> None:
    lost: list[OSError | None] = []
    log = log_file(Path("/dev/full"), limit=1 << 40, lost=lost)
    for _ in range(5):
        log.write(b"some words\n")
    assert [error and error.strerror for error in lost] == ["No space left on device"]
    assert log.said() == "some words\n" * 5


def test_a_disk_that_takes_more_again_and_is_full_again_is_told_again(tmp_path: Path) -> None:
    lost: list[OSError | None] = []
    path = tmp_path / "a.log"
    log = log_file(path, lost=lost)
    path.mkdir()
    log.write(b"1\n")
    log.write(b"2\n")
    path.rmdir()
    log.write(b"3\n")
    log.close()
    path.unlink()
    path.mkdir()
    log.write(b"4\n")
    assert [error is None for error in lost] == [False, True, False]


def test_of_a_long_start_the_beginning_and_the_end_are_kept() -> None:
    log = log_file(Path("/dev/null"), limit=1 << 40)
    log.begin("the beginning")
    for _ in range(300):
        log.write(b"x" * 10_000)
    log.write(b"the end")
    said = log.said()
    assert said.startswith("the beginning")
    assert said.endswith("the end")
    assert len(said) < 1_000_000
    log.begin("again")
    assert log.said() == "again\n"
