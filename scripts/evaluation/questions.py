"""Questions with what they say, one JSON object a line (``tests/questions``)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

READ = (
    "models", "models_relation", "gpus", "gpus_relation", "ram_gb", "context", "users", "nodes", "engine", "kv_cache",
    "intent", "config_kind", "must_ask", "expect",
)  # fmt: skip
"""Fields of a question that are those of a reading."""
_WHERE_SAID = frozenset({"models_relation", "gpus_relation", "engine", "kv_cache", "config_kind"})
"""Fields that tell nothing where they are empty."""
_UNNAMED = re.compile(r"model|^llm$", re.IGNORECASE)
"""Names by which a question only says that there is a model, in words of its own."""


class WrongQuestions(Exception):
    """A file of questions can't be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation whose last turn is judged.

    Attributes:
        id: unique among the files that are asked together.
        turns: what the asker says, oldest first.
        language: ``en``, ``ru``, or empty where it is not told.
        tags: what the tables are by.
        read: the reading that is right, as far as the file tells it.
        intents: intents that are right besides.
        must_ask: whether the answer must ask something back; None where both will do.
    """

    id: str
    turns: tuple[str, ...]
    language: str = ""
    tags: tuple[str, ...] = ()
    read: Mapping[str, Any] = field(default_factory=dict[str, Any])
    intents: frozenset[str] = frozenset()
    must_ask: bool | None = None

    @property
    def is_impossible(self) -> bool:
        """Whether it speaks of what does not exist, so that any safe way to set it right will do."""
        return self.read.get("expect") == "correct"


def load(paths: Sequence[Path]) -> list[Question]:
    """Read files of questions.

    Raises:
        WrongQuestions: a file is not there, a line is no question, or an id comes twice.
    """
    found: dict[str, Question] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise WrongQuestions(f"{path}: can't be read as text: {error}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                one = _question(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WrongQuestions(f"{path}, line {number}: needs id and text or turns ({error!r})") from error
            if one.id in found:
                raise WrongQuestions(f"{path}, line {number}: {one.id} is there already")
            found[one.id] = one
    return list(found.values())


def _question(row: Mapping[str, Any]) -> Question:
    asked = row.get("turns") or [row["text"]]
    return Question(
        id=str(row["id"]),
        turns=tuple(map(str, asked)),
        language=str(row.get("lang") or ""),
        tags=tuple(map(str, row.get("tags") or ())),
        read=_read(row),
        intents=frozenset(map(str, row.get("also") or ())),
        must_ask=_must_ask(row),
    )


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: row[key] for key in READ if key in row and not (row[key] is None and key in _WHERE_SAID)}
    if "models" in found:
        found["models"] = [_model(model) for model in found["models"]]
    return found


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    """Give a model without a name the one that the reader gives it."""
    if not _UNNAMED.search(model["name"] or "model"):
        return dict(model)
    size = model.get("size_b")
    return {**model, "name": f"{size:g}B model" if size else "model"}


def _must_ask(row: Mapping[str, Any]) -> bool | None:
    if row.get("ask_strict"):
        return True
    return False if row.get("must_ask") == [] and row.get("expect") == "answer" else None


def digests(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
