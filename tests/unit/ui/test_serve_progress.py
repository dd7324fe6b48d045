"""How a run is told: lines that change on a terminal, a line a step elsewhere."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.engine_state import EngineState, Stage
from tools.domain import note
from ui.commands.serve_progress import Progress
from ui.commands.serve_text import lasting
from ui.side_writer import SideWriter


class Terminal(io.StringIO):
    """A terminal that knows how to go up and to erase a line."""

    def screen(self) -> list[str]:
        lines, row = [""], 0
        for part in re.findall(r"\x1b\[\d*[FK]|\n|[^\x1b\n]+", self.getvalue()):
            if part == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif part.endswith("F") and part.startswith("\x1b"):
                row -= int(part[2:-1])
            elif part.startswith("\x1b"):
                lines[row] = ""
            else:
                lines[row] += part
        return lines[:-1]


def state(name: str, stage: Stage, **changes: object) -> EngineState:
    return EngineState(name, stage, 0.0, Path("x.log"), **changes)  # pyright: ignore[reportArgumentType]


def put(stream: io.StringIO) -> Callable[[str], None]:
    def write(words: str) -> None:
        stream.write(words)

    return write


def progress(stream: io.StringIO, language: str = "en") -> Progress:
    return Progress(
        language,
        ["a", "b"],
        ["a", "b"],
        ["What starts"],
        as_json=False,
        put=put(stream),
        live=isinstance(stream, Terminal),
    )


def test_on_a_terminal_each_engine_has_one_line_that_changes() -> None:
    terminal = Terminal()
    told = progress(terminal)
    told.opened("http://h:1")
    told.changed(state("a", Stage.STARTING))
    told.changed(state("b", Stage.WAITING))
    told.changed(state("a", Stage.LOADING, share=0.5))
    told.said("Something happened.")
    told.changed(state("a", Stage.READY, ready_s=31.2))
    *above, first, second = terminal.screen()
    assert above == [
        "What starts",
        "The endpoint http://h:1/v1 is open; models answer as they become ready.",
        "Something happened.",
    ]
    assert (first, second) == ("a: ready (31s)", "b: waits for its turn")


def test_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    told = progress(terminal)
    for number in range(3):
        told.changed(state("a", Stage.FAILED, reason=note("fleet.exit_words", status=number, words="w" * 300)))
    (line,) = terminal.screen()
    assert len(line) == 39
    assert line.endswith("…")


def test_elsewhere_each_step_is_one_line() -> None:
    stream = io.StringIO()
    told = progress(stream, "ru")
    for share in (0.1, 0.2, 0.9):
        told.changed(state("a", Stage.LOADING, share=share))
    told.changed(state("a", Stage.FAILED, reason=note("fleet.exit_words", status=1, words="\x1b[2J\nrm -rf /")))
    assert stream.getvalue().count("загрузка весов") == 1
    assert "\x1b" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 2


def test_who_does_not_read_or_is_gone_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    writer = SideWriter(writing)
    for number in range(5000):
        writer.put(f"{number}".rjust(99) + "\n")
    assert os.read(reading, 100) == b"0".rjust(99) + b"\n"
    os.close(reading)
    writer.put("on")
    writer.close(0.2)
    reading, writing = os.pipe()
    writer = SideWriter(writing)
    writer.put("ж")
    writer.close()
    assert os.read(reading, 9) == "ж".encode()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0s"), (0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (3661, "1h01m"), (90_000, "1d01h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert lasting(seconds) == words
