"""``rigfit explain``: what an engine's start-up log or out-of-memory error says, and what would help."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from tools.errors import BadValue
from tools.units import GIB, gib
from ui.arguments import Parser
from ui.output import chosen_language, columns, print_json, print_lines

ABOUT = "Explain an engine's start-up log or out-of-memory error."
EXAMPLE = "docker logs vllm 2>&1 | rigfit explain -"
_MAX_BYTES = 16_000_000
"""Of a larger file the beginning and the end are read."""


_NAMES = {"vllm": "vLLM", "sglang": "SGLang"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("log", nargs="?", default="-", metavar="LOGFILE|-", help="the log; - is standard input")
    parser.add("--model", "the model, where the log does not name it")
    parser.add("--gpu", "the card, where the log does not name it")
    parser.add("--config", "a folder with the model's config.json, instead of its name", metavar="DIR")
    parser.add_argument(
        "--remember", action="store_true", help="use what this log measured on this machine from now on"
    )
    parser.add_argument("--remembered", action="store_true", help="list what is remembered")
    parser.add("--forget", "forget a measurement by its number, or all", metavar="N|all")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the explanation, or what is remembered.

    Raises:
        BadValue: the file can't be read, or holds no engine's log.
        StorageError: what is remembered can't be read or written.
    """
    if arguments.remembered or arguments.forget is not None:
        from ui.commands.explain_memory import remembered

        return remembered(arguments)
    from tools.logs.explain import explain
    from tools.logs.report import explanation_json
    from tools.specs.gpus import GpuCatalogue
    from ui.catalogue import open_models

    language = chosen_language(arguments.lang)
    text = _read(arguments.log)
    named = {"model": arguments.model, "gpu": arguments.gpu, "config": arguments.config}
    found = explain(text, open_models(), GpuCatalogue.load(), **named)
    result = explanation_json(found, language)
    if arguments.remember:
        from ui.commands.explain_memory import remember

        result["remembered"] = remember(found, arguments.log, language)
    if arguments.json:
        print_json(result)
    else:
        print_lines(explanation_lines(result, language))
    return 0


def _read(path: str) -> str:
    """Read a file or standard input as text, whatever its bytes are."""
    try:
        if path == "-":
            return sys.stdin.buffer.read(_MAX_BYTES).decode("utf-8", errors="replace")
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES // 4 if size > _MAX_BYTES else _MAX_BYTES)
            if size > _MAX_BYTES:
                file.seek(size - 3 * _MAX_BYTES // 4)
                data += b"\n" + file.read(_MAX_BYTES)
        return data.decode("utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8", errors="replace")
    except OSError as error:
        raise BadValue("errors_logs.cannot_read", path=path, reason=error.strerror or "") from error


def explanation_lines(result: dict[str, Any], language: str) -> Iterator[str]:
    """Yield the cause, the table of parts, what the pool holds, and the changes that help."""
    from prompts import text

    facts = result["facts"]
    prediction = result["prediction"] or {}
    yield text(
        language,
        "logs.title",
        engine=_NAMES.get(result["engine"], result["engine"]),
        version=result["version"] or text(language, "logs.unknown_version"),
        model=facts["model"] or text(language, "logs.unknown_model_name"),
    )
    yield result["summary"]
    yield ""
    yield from columns(_table(result, language))
    yield from _about(result, language)
    if result["fixes"]:
        yield ""
        yield text(language, "logs.fixes") + ":"
        yield from columns([_fix(fix, language) for fix in result["fixes"]])
    if result.get("remembered"):
        yield ""
        yield result["remembered"]["said"]
    assumed = prediction.get("assumptions") or ([prediction["error"]] if prediction.get("error") else [])
    if assumed:
        yield ""
        yield from (f"- {line}" for line in assumed)


def _table(result: dict[str, Any], language: str) -> Iterator[tuple[str, ...]]:
    from prompts import text
    from tools.logs.report import part_name
    from tools.logs.result import measured_rows

    head = tuple(text(language, f"logs.{name}") for name in ("part", "measured", "predicted", "difference"))
    yield (*head, "")
    for row in measured_rows(result):
        name, size, band = part_name(language, row["part"]), _number(row["measured_bytes"]), row["predicted_bytes"]
        if band is None:
            yield name, size, "", "", ""
            continue
        expected = f"{_number(band['value'])} ({_number(band['low'])}..{_number(band['high'])})"
        judged = text(language, "logs.in_band" if row["within"] else "logs.out_of_band")
        yield name, size, expected, f"{round(row['difference_bytes'] / GIB, 2) + 0.0:+.2f}", judged


def _number(size: float) -> str:
    return f"{size / GIB:.2f}"


def _about(result: dict[str, Any], language: str) -> Iterator[str]:
    from prompts import text

    facts = result["facts"]
    if facts.get("kv_tokens"):
        yield text(language, "logs.capacity", tokens=facts["kv_tokens"])
    if facts.get("max_concurrency") and facts.get("concurrency_tokens"):
        yield text(language, "logs.concurrency", length=facts["concurrency_tokens"], times=facts["max_concurrency"])
    if len(facts["ranks"]) > 1:
        yield text(language, "logs.ranks", count=len(facts["ranks"]))
    if facts["starts"] > 1:
        yield text(language, "logs.starts", count=facts["starts"])
    for name, neighbour in facts["neighbours"].items():
        yield text(language, "logs.neighbour", name=name, held=gib(neighbour["held_bytes"], 2))


def _fix(fix: dict[str, Any], language: str) -> tuple[str, ...]:
    from prompts import text

    effect = "" if fix["effect_bytes"] is None else f"{fix['effect_bytes'] / GIB:+.2f} GiB"
    enough = {True: "enough", False: "not_enough"}.get(fix["enough"])
    return (f"- {fix['change']}", effect, fix["command"], text(language, f"logs.{enough}") if enough else "")
