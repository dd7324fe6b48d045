"""Tells whoever runs ``rigfit serve`` how it goes: on a terminal a line an engine that changes, else a line a step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from prompts import text
from serving.engine_state import EngineState, Stage
from ui.commands.serve_text import engine_table, lasting, ready_json
from ui.output import print_json, print_lines

if TYPE_CHECKING:
    from serving.runs import RunRecord

_ERASE, _UP = "\x1b[K", "\x1b[{}F"
_BAR = 20


class Progress:
    """The audience of a run.

    Args:
        language: of the lines.
        models: every name that can be asked for.
        names: the engines', in start order.
        introduction: lines about what is going to start.
        as_json: the line on standard output is a JSON object.
        put: takes what is to be written for people.
        live: it goes to a terminal.
    """

    def __init__(
        self,
        language: str,
        models: Iterable[str],
        names: Iterable[str],
        introduction: Iterable[str],
        *,
        as_json: bool,
        put: Callable[[str], None],
        live: bool,
    ) -> None:
        self._introduction = tuple(introduction)
        self._language = language
        self._models = tuple(models)
        self._as_json = as_json
        self._put = put
        self._live = live
        self._lines = dict.fromkeys(names, "")
        self._told: dict[str, tuple[Stage, str]] = {}
        self._drawn = 0

    def opened(self, url: str) -> None:
        """The gateway accepts connections."""
        self._write(_clean(line) for line in self._introduction)
        self.said(text(self._language, "run.opened", url=f"{url}/v1"))

    def changed(self, state: EngineState) -> None:
        """An engine has a new state."""
        line = self._line(state)
        if self._live and self._lines.get(state.name) != line:
            self._lines[state.name] = line
            self._draw()
            return
        news = (state.stage, self._reason(state))
        if not self._live and self._told.get(state.name) != news:
            self._told[state.name] = news
            if state.stage is not Stage.GAVE_UP:  # a sentence of its own follows
                self._write([line])

    def said(self, sentence: str) -> None:
        """Something is to be known; it stands above the lines that change."""
        self._wipe()
        self._write([_clean(sentence)])
        self._draw()

    def ready(self, run: RunRecord) -> None:
        """Every engine is ready: one line on standard output, after the figures for people."""
        self._wipe()
        self._live = False
        self._write([*engine_table(run.engines, self._language), text(self._language, "run.measured_beside")])
        with suppress(OSError):  # whoever reads the line may be gone; the models are served all the same
            if self._as_json:
                print_json(ready_json(run, self._models))
            else:
                print_lines([text(self._language, "run.ready", url=f"{run.url}/v1", models=", ".join(self._models))])
            sys.stdout.flush()

    def _line(self, state: EngineState) -> str:
        stage = text(self._language, f"run.stage_{state.stage.value}")
        share = "" if state.share is None else f" {round(100 * state.share):3d} %"
        if self._live and state.share is not None:
            done = round(_BAR * min(1.0, max(0.0, state.share)))
            share = f" {'█' * done}{'·' * (_BAR - done)}{share}"
        took = f" ({lasting(state.ready_s)})" if state.stage is Stage.READY and state.ready_s is not None else ""
        reason = self._reason(state)
        return _clean(f"{state.name}: {stage}{share}{took}{': ' + reason if reason else ''}")

    def _reason(self, state: EngineState) -> str:
        return text(self._language, state.reason.code, **state.reason.params) if state.reason else ""

    def _draw(self) -> None:
        lines = [line for line in self._lines.values() if line] if self._live else []
        if not lines:
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        shown = (line if len(line) <= width else line[: width - 1] + "…" for line in lines)
        up = _UP.format(self._drawn) if self._drawn else ""
        self._drawn = len(lines)
        self._put(up + "".join(f"{_ERASE}{line}\n" for line in shown))

    def _wipe(self) -> None:
        """Go back to where the lines that change begin, and empty them."""
        if self._drawn:
            up = _UP.format(self._drawn)
            lines, self._drawn = self._drawn, 0
            self._put(up + f"{_ERASE}\n" * lines + up)

    def _write(self, lines: Iterable[str]) -> None:
        self._put("".join(f"{line}\n" for line in lines))


def _clean(line: str) -> str:
    """Take out what would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in line.replace("\xa0", " "))
