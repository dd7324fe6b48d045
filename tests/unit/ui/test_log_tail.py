"""The end of a log that another process writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.log_tail import LONGEST, Tail
from ui.output import printable


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\r\n\x1b", exclude_categories=["Cs"]))),
    count=st.integers(0, 9),
)
def test_the_last_lines_are_the_last_lines(tmp_path_factory, lines: list[str], count: int) -> None:
    log = tmp_path_factory.mktemp("logs") / "a.log"
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert Tail(log).last(count) == [printable(line) for line in lines[len(lines) - min(count, len(lines)) :]]


@given(
    cuts=st.lists(st.integers(0, 4000), max_size=6),
    lines=st.lists(st.binary(max_size=900).filter(lambda line: not set(line) & {10, 13, 27}), max_size=8),
)
def test_what_comes_is_told_once(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], lines: list[bytes]) -> None:
    log = tmp_path_factory.mktemp("logs") / "a.log"
    log.write_bytes(b"before\n")
    words = b"".join(line + b"\n" for line in lines)
    tail, told, place = Tail(log), list[str](), 0
    assert tail.last(5) == ["before"]
    for cut in sorted({min(cut, len(words)) for cut in cuts} | {len(words)}):
        with log.open("ab") as file:
            file.write(words[place:cut])
        place = cut
        told += tail.more()
    assert told == [printable(line.decode("utf-8", "replace")) for line in lines]


def test_a_log_that_is_put_aside_goes_on_in_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\n")
    tail = Tail(log)
    assert tail.last(5) == ["one"]
    log.rename(tmp_path / "a.log.1")
    assert tail.more() == []
    log.write_text("two\nthr")
    assert tail.more() == ["two"]
    log.write_text("")  # begun anew in its place
    assert tail.more() == []
    log.write_text("four\n")
    assert tail.more() == ["four"]


def test_a_large_log_is_read_from_its_end_and_a_long_line_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("wb") as file:
        file.seek(1 << 33)
        file.write(b"\nlast but one\n" + b"x" * 100_000 + b"\n")
    lines = Tail(log).last(2)
    assert lines[0] == "last but one"
    assert len(lines[1]) == LONGEST + 1


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "none")
    assert tail.last(5) == []
    assert tail.more() == []


def test_lines_are_shown_as_a_terminal_shows_them_in_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"\rgraphs:   0%\rgraphs: 100%\r\n"
        b"\x1b[1;32mINFO\x1b[0m loaded\r\n"
        b"\x1b]0;title\x07 \xc2\x9b2J \xe2\x80\xae evil\tend\n"
    )
    assert Tail(log).last(5) == ["graphs: 100%", "INFO loaded", "]0;title 2J  evil\tend"]
