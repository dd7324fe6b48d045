"""A pasted log as messages: what terminals, containers and engines print around each message is taken off.

Nothing here knows what a message means. Every step is linear in the length of the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_CHARS = 4_000_000
"""Longest text that is read whole; of a longer one the beginning (a quarter) and the end."""
MAX_LINE = 20_000
"""Longest line that is read; engines print their whole configuration in one of about 5,000 characters."""
_GLUED = 600
"""A line longer than this may be several messages whose line breaks were lost."""

_COLOUR = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]|\[(?:\d{1,3};){0,3}\d{1,3}m")
_NEW_MESSAGE = re.compile(r"(?=(?:INFO|WARNING|ERROR|DEBUG) \d\d-\d\d \d\d:)")
_CONTAINER = re.compile(
    r"(?:\d{4}-\d\d-\d\dT[\d:.]{8,20}(?:Z|[+-]\d\d:\d\d)\s(?:std(?:out|err) [FP] )?)"
    r"|\[pod/(?P<pod>[\w.-]{1,100})/[\w.-]{1,63}\] "
    r"|(?P<compose>[\w][\w.-]{0,62}) {1,20}\| ?"
    r"|[A-Z][a-z]{2} [ \d]\d [\d:]{8} [\w.-]{1,64} (?P<unit>[\w.@-]{1,64})\[\d{1,8}\]: "
)
_QUOTE = re.compile(r"[>\s]{0,8}> ?")
_PROCESS = re.compile(
    r"\((?P<process>[A-Za-z][\w -]{0,40}?)(?: rank=(?P<rank>\d{1,4}))? pid=(?P<pid>\d{1,8})(?:, [^()]{0,60})?\) ?"
)
_STAMP = re.compile(
    r"(?:INFO|WARNING|ERROR|DEBUG|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? ?"
    r"(?:\[[^\]]{1,80}\] ?|[\w.]{1,60}:\d{1,5}\] ?)?"
    r"|\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?(?P<ranks>(?: (?:DP|TP|PP|EP)\d{1,4}){0,4})\] ?"
    r"|\d{1,3}\.\d\d\.\d{3}\.\d{3} [A-Z] "
    r"|\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?Z? (?:- )?"
    r"|\[rank(?P<torch>\d{1,4})\]:? "
    r"|(?:slot|srv|que) {1,8}"
)
_WORKER = re.compile(
    r"(?:Worker|VllmWorker|EngineCore|RayWorkerWrapper)[_-]?((?:_?(?:DCP|PCP|DP|PP|TP|EP)-?\d{1,4}){1,6})"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One message.

    Attributes:
        text: the message without what stands before it.
        rank: the worker that printed it (``TP1``, ``PP0_TP1``, ``pid 4242``), or "" for the engine itself.
        service: the container or unit it came from, or "".
    """

    text: str
    rank: str = ""
    service: str = ""


def read_lines(text: str) -> Iterator[Line]:
    """Yield the messages of a log in their order.

    Args:
        text: any text at all; of one beyond ``MAX_CHARS`` the middle is left out.

    Example:
        ``(Worker_TP1 pid=7) INFO 11-23 13:10:55 [gpu_worker.py:760] Available KV cache memory: 9.62 GiB`` becomes the
        message ``Available KV cache memory: 9.62 GiB`` of rank ``TP1``.
    """
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 4] + "\n" + text[-3 * MAX_CHARS // 4 :]
    before = Line("")
    for raw in text.replace("\r", "\n").split("\n"):
        if raw and not raw.isspace():
            for piece in _pieces(_plain(raw[:MAX_LINE])):
                line = _line(piece, before)
                if line.text:
                    yield line
                    before = line


def has_prefix(raw: str) -> bool:
    """Whether a line begins with what an engine, a container or a service manager prints before a message."""
    text = _plain(raw[:MAX_LINE]).lstrip()
    return any(one.match(text) for one in (_PROCESS, _STAMP, _CONTAINER))


def _plain(raw: str) -> str:
    """Undo what wraps a line: JSON of a container's log file or of the engine itself, colours, a quotation's marks."""
    if raw.startswith("{") and ('"log":' in raw or '"message":' in raw):
        raw = _unpacked(raw)
    if "[" in raw:
        raw = _COLOUR.sub("", raw)
    quoted = _QUOTE.match(raw)
    return raw[quoted.end() :] if quoted else raw


def _unpacked(raw: str) -> str:
    """Return the message of a JSON line: Docker's ``log``, or vLLM's ``message`` with its process."""
    try:
        found: dict[str, object] = json.loads(raw)
        if "log" in found:
            return str(found["log"])
        process = f"({found['processName']} pid={found['process']}) " if "processName" in found else ""
        return f"{process}{found['message']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return raw


def _pieces(line: str) -> list[str]:
    """Part messages that run into one another on one line."""
    return _NEW_MESSAGE.split(line) if len(line) > _GLUED else [line]


def _line(text: str, before: Line) -> Line:
    """Take the prefixes off; a line without any goes on with the message before it."""
    service, rank, seen = "", "", False
    for _ in range(6):
        text = text.lstrip()
        found = _CONTAINER.match(text)
        if found:
            service = found["pod"] or found["compose"] or found["unit"] or service
        else:
            found = _PROCESS.match(text) or _STAMP.match(text)
            if not found:
                break
            rank, seen = _rank(found) or rank, True
        text = text[found.end() :]
    text = text.strip()
    if not seen and (not service or service == before.service):
        return Line(text, before.rank, service or before.service)
    return Line(text, rank, service)


def _rank(found: re.Match[str]) -> str:
    named = found.groupdict()
    if named.get("process"):
        worker = _WORKER.fullmatch(named["process"])
        if worker:
            return worker.group(1).strip("_-").replace("-", "")
        if named["rank"]:
            return f"TP{named['rank']}"
        return f"pid {named['pid']}" if named["process"].startswith(("VllmWorker", "RayWorker", "Worker")) else ""
    if named.get("torch"):
        return f"TP{named['torch']}"
    return (named.get("ranks") or "").strip().replace(" ", "_")
