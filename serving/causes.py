"""Why an engine ended, and whether trying again could help: ``rigfit explain``'s reading of what it said."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.engine_process import Exit
from tools.domain import Note, note

if TYPE_CHECKING:
    from tools.logs.facts import EngineLog

FINAL = frozenset(
    {
        "kv_no_memory", "kv_too_small", "oom_sampler", "mamba_blocks", "block_too_long", "tp_heads", "too_few_gpus",
        "context_too_long", "bf16_unsupported", "format_unsupported", "architecture", "gated", "not_found",
        "weights_broken", "driver_old", "no_kernel", "no_gpu", "free_below_budget",
    }
)  # fmt: skip
"""Kinds of failure (``tools/logs/failures.py``) that the same command meets again whenever it is tried."""
_FINAL_STATUS = frozenset({2, 126, 127})
"""argparse's exit status for a command line that it does not take; the shell's for a program that can't be run."""
_FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT})
"""Signals that no program sends itself when something goes wrong: what it said before is not the cause."""
_FINAL_WORDS = (
    "validation error for ",  # pydantic, of an engine's configuration (vllm/config)
    "validation errors for ",
    "invalid tool call parser",  # vllm/entrypoints/launchers/launcher.py
    "invalid reasoning parser",
    "outgoing traffic has been disabled",  # huggingface_hub/_snapshot_download.py: offline, and not in the cache
)
"""What vLLM 0.32 says, beside the kinds above, that no further start changes."""
_SHOWN = 200
_LINES, _LINE = 400, 2000
_ERROR = re.compile(
    r"(?:^|[\s.])(\w{0,60}(?:Error|Exception)\b(?:: ?.{1,400}|$)|Value error, .{1,400}|error: .{1,400})"
)
"""The last line of a traceback, a pydantic error's own line, or argparse's."""
_PYDANTIC = re.compile(r"^Value error, | \[type=.{0,400}$")
_UP = "Application startup complete."
"""uvicorn's words once an engine accepts requests (``lifespan/on.py``)."""
_CONSEQUENCE = "See root cause above"
"""What vLLM's outer process says when the inner one has failed (``v1/engine/utils.py``, 0.32.0)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an engine ended.

    Attributes:
        reason: in a sentence.
        final: trying again would end the same.
    """

    reason: Note
    final: bool = False


def cause_of_exit(ended: Exit) -> Cause:
    """Return why an engine ended, from its own words and its exit status."""
    from tools.logs.explain import cause_of

    if ended.code in _FROM_OUTSIDE or not ended.code:
        return Cause(_from_outside(ended))
    log = _failed(ended.said)
    if log and log.failure:
        return Cause(cause_of(log, None), log.failure.kind in FINAL)
    if ended.starved:
        return Cause(note("fleet.starved"))
    if ended.code < 0:
        return Cause(note("fleet.signal", signal=_signal(-ended.code)))
    words = _last_error(_lately(ended.said))
    final = ended.code in _FINAL_STATUS or any(word in ended.said for word in _FINAL_WORDS)
    if words:
        return Cause(note("fleet.exit_words", status=ended.code, words=words), final)
    return Cause(note("fleet.exit", status=ended.code), final)


def _failed(said: str) -> EngineLog | None:
    """Read a failure whose kind is known; what was survived at the start is not why an engine ended that ran."""
    from tools.logs.read import read_log

    log, lately = read_log(said), _lately(said)
    if log is None or log.failure is None or log.failure.kind == "unknown":
        return None
    later = log if lately == said else read_log(lately)
    return log if later and later.failure else None


def _lately(said: str) -> str:
    """Return what was said since the engine was up, if it was."""
    return said.rpartition(_UP)[2]


def _from_outside(ended: Exit) -> Note:
    if ended.code is None:
        return note("fleet.unseen")
    if ended.code == 0:
        return note("fleet.ended")
    if ended.starved and ended.code == -signal.SIGKILL:
        return note("fleet.starved")
    return note("fleet.signal", signal=_signal(-ended.code))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_error(said: str) -> str | None:
    """Return the last line that names an error, without control characters and not longer than a sentence."""
    for line in reversed(said.splitlines()[-_LINES:]):
        found = _ERROR.search(line[:_LINE])
        if found and _CONSEQUENCE not in line:
            words = _PYDANTIC.sub("", found.group(1))
            return "".join(c if c.isprintable() else " " for c in words).strip()[:_SHOWN]
    return None
