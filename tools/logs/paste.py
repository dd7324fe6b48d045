"""A message that holds a log: the asker's own words apart from what was pasted, and the log cut to what tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tools.logs.facts import EngineLog, Memory
from tools.logs.lines import has_prefix
from tools.logs.read import read_log, tells

LEAST_LINES = 3
"""So many lines of a log are a pasted log; fewer are quoted in a sentence and read with it."""
_AROUND = re.compile(
    r"\s*(?:$|```|\$ |# |File \"|Traceback|raise |During handling|The above exception|[\^~]{2,}|"
    r"\w*(?:Error|Exception)\b|Loading |Capturing |\d{1,3}%\||-{1,2}[a-z]|\w{1,40}_\w{1,60}: |main: |"
    r"Possible solutions|[\w.-]{1,80} exited with code|\d\. set -)"
)
"""How lines begin that stand around a log and belong to it; empty ones as well."""
_MIDDLE = "\n...\n"


@dataclass(frozen=True, slots=True)
class Paste:
    """A message with a log in it.

    Attributes:
        words: what the asker wrote; the whole message where the log is only quoted in it.
        text: the log.
        log: what it says.
        whole: the log stands on lines of its own.
    """

    words: str
    text: str
    log: EngineLog
    whole: bool


@lru_cache(maxsize=64)
def pasted(text: str) -> Paste | None:
    """Tell a message's log from its words; None where there is none, or its lines say nothing about memory."""
    return _apart(text)


def _apart(text: str) -> Paste | None:
    log = read_log(text)
    if log is None:
        return None
    lines = text.replace("\r\n", "\n").split("\n")
    marked = [number for number, line in enumerate(lines) if line.strip() and is_log_line(line)]
    if len(marked) < LEAST_LINES:
        said = log.memory != Memory() or (log.failure is not None and bool(log.failure.params))
        return Paste(text, text, log, whole=False) if said else None
    first, last = marked[0], marked[-1]
    while first > 0 and _AROUND.match(lines[first - 1]):
        first -= 1
    while last + 1 < len(lines) and _AROUND.match(lines[last + 1]):
        last += 1
    words = "\n".join([*lines[:first], *lines[last + 1 :]]).strip()
    return Paste(words, "\n".join(lines[first : last + 1]), log, whole=True)


def is_log_line(line: str) -> bool:
    """Whether an engine or what it runs in printed this line."""
    return has_prefix(line) or tells(line)


def excerpt(text: str, limit: int) -> str | None:
    """Cut a long message to the asker's words and the lines of its log that tell something.

    Args:
        text: the message.
        limit: characters that may remain.

    Returns:
        The shorter message, or None where it holds no log or even so is too long.
    """
    found = _apart(text)  # megabytes are not kept
    if found is None or not found.whole:
        return None
    words = found.words
    kept = list(dict.fromkeys(line for line in found.text.split("\n") if tells(line) or "out of memory" in line))
    room = limit - len(words) - 2 * len(_MIDDLE)
    if room < limit // 4:
        return None
    body = "\n".join(kept)
    if len(body) > room:
        body = body[: room // 3] + _MIDDLE + body[-(2 * room // 3 - len(_MIDDLE)) :]
    return f"{words}\n{body}".strip()
