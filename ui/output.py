"""What the command line prints: answers on standard output, one line a problem on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from prompts import text
from tools.domain import Note
from tools.errors import BadValue, RigfitError
from tools.settings import Settings

LANGUAGES = ("en", "ru")


def say(language: str, note: Note) -> str:
    """Render a Note as a sentence."""
    return text(language, note.code, **note.params)


def sentence(language: str, error: RigfitError) -> str:
    """Render an error as one line."""
    return " ".join(text(language, error.code, **error.params).split())


def chosen_language(said: str | None) -> str:
    """Return the language of ``--lang``, else the terminal's.

    Raises:
        BadValue: a language Rigfit does not speak.
    """
    if said is None:
        return Settings.from_env().language
    if said not in LANGUAGES:
        raise BadValue("errors_ui.bad_language", value=said, allowed=", ".join(LANGUAGES))
    return said


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines for a person, with what would steer a terminal taken out."""
    for line in lines:
        sys.stdout.write(printable(line) + "\n")


def printable(line: str) -> str:
    """Return a line without what would steer a terminal."""
    return "".join(c for c in line.replace("\xa0", " ") if c.isprintable() or c == "\t")


def columns(rows: Iterable[tuple[str, ...]], indent: str = "  ") -> Iterator[str]:
    """Align rows of cells of equal number in columns."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        yield (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def read_rows(path: str) -> Iterator[dict[str, Any] | RigfitError]:
    """Read JSON lines from a file or, for ``-``, from standard input; a line that is no object comes back as an error.

    Raises:
        BadValue: the file can't be read.
    """
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else BadValue("errors_ui.bad_row", line=number)


def _open(path: str) -> TextIO:
    if path == "-":
        return sys.stdin
    try:
        return Path(path).open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadValue("errors_ui.cannot_read", path=path, reason=error.strerror or "") from error


def read_json(path: str) -> dict[str, Any]:
    """Read a JSON object from a file or standard input (``-``).

    Raises:
        BadValue: it can't be read or is no object.
    """
    with _open(path) as stream:
        try:
            value = json.loads(stream.read())
        except (ValueError, RecursionError) as error:
            raise BadValue("errors_ui.bad_json", path=path) from error
    if not isinstance(value, dict):
        raise BadValue("errors_ui.bad_json", path=path)
    return value


def each_row(path: str, answer: Callable[[dict[str, Any]], dict[str, Any]], language: str) -> Iterator[dict[str, Any]]:
    """Answer every row of a batch; a row that can't be answered gives ``ok: false`` and the batch goes on."""
    for row in read_rows(path):
        identity = None if isinstance(row, RigfitError) else row.get("id")
        try:
            if isinstance(row, RigfitError):
                raise row
            yield answer(row)
        except RigfitError as error:
            yield {"id": identity, "ok": False, "error": sentence(language, error), "code": error.code}
        except Exception as error:  # noqa: BLE001 - a batch never stops at a row
            log_failure(error)
            yield {"id": identity, "ok": False, "error": text(language, "errors_ui.row_failed")}


def print_batch(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as JSON lines, each as soon as it is there."""
    for row in rows:
        print_json(row)
        sys.stdout.flush()


def report(error: Exception, language: str) -> int:
    """Say on one line of standard error what went wrong.

    Returns:
        The exit code: the error's own, 2 for an unreadable command line, 3 for a failure of Rigfit itself.
    """
    if isinstance(error, RigfitError):
        message, code = sentence(language, error), error.exit_code
    else:
        message, code = text(language, "errors_ui.failed", log=log_failure(error)), 3
    sys.stderr.write("rigfit: " + " ".join("".join(c if c.isprintable() else " " for c in message).split()) + "\n")
    return code


def log_failure(error: BaseException, settings: Settings | None = None) -> str:
    """Append a failure with its traceback to the log file.

    Returns:
        The log's path; or, where it can't be written, the failure's own text.
    """
    import traceback
    from datetime import UTC, datetime

    try:
        folder = (settings or Settings.from_env()).data_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "rigfit.log"
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n")
            log.write("".join(traceback.format_exception(error)) + "\n")
    except (OSError, RigfitError):
        return repr(error)
    return str(path)
