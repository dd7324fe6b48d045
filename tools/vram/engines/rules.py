"""How each range of vLLM versions accounts for memory, as data.

Sources: vLLM start-up logs of the versions named, and 0.32's ``v1/worker/utils.py:request_memory``,
``v1/worker/gpu_worker.py:determine_available_memory``, ``config/cache.py``, ``engine/arg_utils.py:get_batch_defaults``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tools.errors import BadValue


@dataclass(frozen=True, slots=True)
class AccountingRules:
    """One range of versions.

    Attributes:
        name: what people call it.
        until: first version (major, minor) it no longer holds for.
        default_utilization: share of the card that is the budget.
        sampler: what the dummy sampler run peaks at: ``sort`` the whole vocabulary in PyTorch, or ``fused`` kernels.
        subtracts_graphs: the estimate for CUDA graphs is taken from the pool.
    """

    name: str
    until: tuple[int, int]
    default_utilization: float
    sampler: Literal["sort", "fused"]
    subtracts_graphs: bool


RULES = (
    AccountingRules("V0", (0, 8), 0.90, "sort", subtracts_graphs=False),
    AccountingRules("V1 to 0.20", (0, 21), 0.90, "sort", subtracts_graphs=False),
    AccountingRules("0.21 to 0.26", (0, 27), 0.90, "fused", subtracts_graphs=True),
    AccountingRules("0.27 and later", (1 << 30, 0), 0.92, "fused", subtracts_graphs=True),
)

NEWEST = (0, 32)


def version_of(text: str | None) -> tuple[int, int]:
    """Read ``0.15.1`` as (0, 15); None is the newest supported.

    Raises:
        BadValue: no version number.
    """
    if text is None:
        return NEWEST
    found = re.match(r"v?(\d+)\.(\d+)", text)
    if not found:
        raise BadValue("errors_vram.bad_version", value=text[:40])
    return int(found.group(1)), int(found.group(2))


def rules_for(version: str | None, generation: str | None = None) -> AccountingRules:
    """Choose the rules of a version; ``generation`` ("V0" or "V1") decides where both existed (0.6 to 0.10)."""
    number = version_of(version)
    if generation == "V0":
        return RULES[0]
    found = next(rules for rules in RULES if number < rules.until)
    return RULES[1] if generation == "V1" and found is RULES[0] else found
