"""The output object of ``rigfit explain``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import prompts
from tools.domain import Note
from tools.logs.explain import Explanation
from tools.logs.facts import Memory
from tools.vram.report import band_json, footprint_json, notes_json

MAX_RANKS = 64


def explanation_json(explanation: Explanation, language: str) -> dict[str, Any]:
    """Return the object of ``rigfit explain``.

    Args:
        explanation: what the log came to.
        language: of its sentences.
    """
    log, failure = explanation.log, explanation.log.failure
    summary = _say(language, explanation.cause)
    return {
        "engine": log.engine,
        "version": log.version,
        "facts": _facts(explanation),
        "failure": failure.kind if failure else None,
        "cause": summary if failure else None,
        "summary": summary,
        "prediction": _prediction(explanation, language),
        "differences": [
            {
                "part": row.part,
                "measured_bytes": row.measured_bytes,
                "predicted_bytes": band_json(row.predicted),
                "difference_bytes": row.difference_bytes,
                "within": row.within,
            }
            for row in explanation.differences
        ],
        "fixes": [
            {
                "change": _say(language, fix.change),
                "effect_bytes": fix.effect_bytes,
                "command": fix.command,
                "enough": fix.enough,
            }
            for fix in explanation.fixes
        ],
    }


def _facts(explanation: Explanation) -> dict[str, Any]:
    log = explanation.log
    ranks = list(log.ranks.items())[:MAX_RANKS]
    return {
        "model": log.model,
        "card": log.card,
        "arguments": dict(log.arguments),
        "phase": log.phase,
        "starts": log.starts,
        **_known(log.memory),
        "missing_bytes": explanation.missing_bytes,
        "unexplained_bytes": explanation.unexplained_bytes,
        "ranks": {name: _known(memory) for name, memory in ranks},
        "neighbours": {name: {"held_bytes": held} for name, held in log.neighbours.items()},
    }


def _known(memory: Memory) -> dict[str, Any]:
    return {name: value for name, value in asdict(memory).items() if value is not None}


def _prediction(explanation: Explanation, language: str) -> Mapping[str, Any] | None:
    made = explanation.prediction
    if made.footprint is None:
        return {"ok": False, "error": _say(language, made.problem)} if made.problem else None
    own = set(map(id, made.footprint.assumptions))
    asked = tuple(note for note in made.assumptions if id(note) not in own)
    card = made.gpu.name if made.gpu else None
    return {**footprint_json(made.footprint, assumptions=asked, language=language), "gpu": card}


def _say(language: str, note: Note) -> str:
    return notes_json([note], language)[0]


def part_name(language: str, part: str) -> str:
    """Return a part's name for people."""
    return prompts.text(language, f"logs.part_{part}")
