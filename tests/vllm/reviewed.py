"""Where the calculator may differ from vLLM, each with the reason; anything else is a fault.

By a part of the case's id: why, and which values differ.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Cases whose id begins with ``id`` differ in ``values``, because of ``reason``."""

    id: str
    values: frozenset[str]
    reason: str


REVIEWED: tuple[Reviewed, ...] = (
    Reviewed(
        "nvidia/NVIDIA-Nemotron-3.5-Lightning-30B-A3B-NVFP4",
        frozenset({"refused"}),
        "vLLM does not read a mixed format from a file of its own; the package's config.json lacks it",
    ),
    Reviewed(
        "MiniMaxAI/MiniMax-M3-",
        frozenset({"refused"}),
        "the package's config names an architecture that vLLM does not know, MiniMaxM3ForCausalLM",
    ),
    *(
        Reviewed(
            f"stepfun-ai/Step-3.7-Flash{variant}",
            frozenset({"refused"}),
            "the package's config names an architecture that vLLM does not know, Step3p7FlashForCausalLM",
        )
        for variant in ("-tp", "-FP8-tp1")
    ),
)


def review_of(case_id: str) -> Reviewed | None:
    """Return what is known of a case."""
    return next((one for one in REVIEWED if case_id.startswith(one.id)), None)


def expected(case_id: str) -> set[str]:
    """Return which values of a case differ: none, but for those reviewed."""
    found = review_of(case_id)
    return set(found.values) if found else set()
