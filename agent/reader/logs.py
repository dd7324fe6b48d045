"""A pasted log within a message: its words are read by themselves; the log fills in what they leave open."""

from __future__ import annotations

from agent.reader.said import Said
from tools.domain import GpuAsk
from tools.logs.facts import EngineLog
from tools.logs.paste import LEAST_LINES, pasted
from tools.logs.predict import names_of
from tools.units import GIB

_CERTAIN = 9.0
"""Weight of the intent of a message that is nothing but a log, or whose log ends in a failure."""


def without_log(raw: str) -> tuple[str, EngineLog | None]:
    """Part a message into the asker's own words and the log that stands on lines of its own, if there is one."""
    if raw.count("\n") + 1 < LEAST_LINES:
        return raw, None
    found = pasted(raw)
    return (found.words, found.log) if found and found.whole else (raw, None)


def model_words(log: EngineLog) -> str:
    """Return the model's name as words to be read, or ""."""
    names = list(names_of(log.model)) if log.model else []
    best = next((name for name in names if any(c.isdigit() for c in name)), names[0] if names else "")
    best, word = best.replace("@", " "), str(log.arguments.get("quantization") or "")
    return best if word.lower() in {"", *best.lower().split("-")} else f"{best} {word}"


def add_facts(said: Said, log: EngineLog) -> None:
    """Fill in from a log what the words of its message do not say: card, context, cache type, engine.

    Its ``max_num_seqs`` is a limit of the engine, not a number of users.
    """
    arguments, total = log.arguments, log.memory.total_bytes
    if not said.gpus and (log.card or total):
        count = int(arguments.get("tp") or 1) * int(arguments.get("pp") or 1)
        said.gpus = [GpuAsk(log.card, None if log.card or not total else round(total / GIB, 2), count)]
        said.count_stated = True
    said.context = said.context or arguments.get("max_model_len")
    said.engine = said.engine or log.engine
    kind = arguments.get("kv_cache_dtype")
    said.kv_cache = said.kv_cache or (str(kind) if kind else None)
    if log.failure or not said.intents:
        said.intents = {**said.intents, "explain_error": _CERTAIN}
