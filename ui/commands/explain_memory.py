"""What ``rigfit explain`` remembers of this machine, lists and forgets."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prompts import text
from tools.calibrations import Calibrations
from tools.domain import Gpu, Measured
from tools.errors import BadValue
from tools.logs.explain import Explanation
from tools.settings import Settings
from tools.units import gib
from ui.output import chosen_language, columns, print_json, print_lines

_PARTS = ("total", "weights", "non_torch", "activation", "graphs")


def remember(found: Explanation, path: str, language: str) -> dict[str, Any]:
    """Keep what a log measured; the card is the log's or ``--gpu``'s, else this machine's.

    Raises:
        BadValue: the log can't be remembered.
        StorageError: the data folder can't be written.
    """
    name = "stdin" if path == "-" else Path(path).name
    one = measured_of_log(found, name)
    number = Calibrations(Settings.from_env().data_dir).remember(one)
    shown = {"card": one.card, "model": one.checkpoint, "tp": one.tp, "log": one.log, "date": one.date}
    return {"number": number, **asdict(one), "said": text(language, "calibration.kept", number=number, **shown)}


def measured_of_log(found: Explanation, name: str) -> Measured:
    """Return what a log measured, with today's date."""
    from tools.logs.remember import measured_of

    known = found.prediction.gpu
    card = known if known and known.vendor else _only_card()
    return measured_of(found, card, date=datetime.now(UTC).date().isoformat(), log=name)


def _only_card() -> Gpu | None:
    """This machine's card, where it has one kind."""
    from tools.specs.detect import detect_rig

    cards = {gpu.name: gpu for gpu in detect_rig().gpus}
    return next(iter(cards.values())) if len(cards) == 1 else None


def remembered(arguments: Namespace) -> int:
    """List what is remembered, or forget some of it.

    Raises:
        BadValue: there is no measurement of that number.
        StorageError: the data folder can't be read or written.
    """
    language = chosen_language(arguments.lang)
    kept = Calibrations(Settings.from_env().data_dir)
    if arguments.forget is not None:
        count = _forget(kept, arguments.forget)
        result: dict[str, Any] = {"forgotten": count}
        lines = [text(language, "calibration.forgotten", count=count)]
    else:
        rows = kept.numbered()
        result = {"measured": [{"number": number, **asdict(one)} for number, one in rows]}
        lines = list(columns([_row(number, one, language) for number, one in rows], indent="")) if rows else []
        lines = lines or [text(language, "calibration.none")]
    if arguments.json:
        print_json(result)
    else:
        print_lines(lines)
    return 0


def _forget(kept: Calibrations, said: str) -> int:
    if said == "all":
        return kept.forget()
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 16 else -1
    count = kept.forget(number)
    if not count:
        raise BadValue("errors_logs.no_such_measurement", number=said[:40])
    return count


def _row(number: int, one: Measured, language: str) -> tuple[str, ...]:
    sizes = ((part, getattr(one, f"{part}_bytes")) for part in _PARTS)
    parts = ", ".join(
        f"{text(language, f'logs.part_{part}')} {gib(size, 2)}" for part, size in sizes if size is not None
    )
    what = f"{one.checkpoint} ({one.precision}, tp {one.tp}, vLLM {one.version or '?'})"
    return (str(number), one.date, one.card, what, parts, one.log)
