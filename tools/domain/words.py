"""The small words every part uses: notes for people, bands, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Provenance = Literal["exact", "measured", "published", "computed", "estimated", "assumed"]
Verdict = Literal["fits", "fits_with_changes", "does_not_fit"]
OptionKind = Literal[
    "share",
    "precision",
    "kv_dtype",
    "context",
    "concurrency",
    "parallel",
    "offload",
    "swap",
    "smaller_model",
    "more_hardware",
]
Residency = Literal["auto", "together", "swap"]
Relation = Literal["together", "alternatives", "separate"]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for a person, as a message code and its parameters; the words live in ``prompts/messages``."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


def note(code: str, **params: Any) -> Note:
    """Build a Note: ``note("plan.assume_context", tokens=8192)``."""
    return Note(code, params)


@dataclass(frozen=True, slots=True)
class Band:
    """An estimate: ``low <= value <= high``, all in the same unit (bytes unless the field says otherwise)."""

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"not a band: {self.low} <= {self.value} <= {self.high}")
