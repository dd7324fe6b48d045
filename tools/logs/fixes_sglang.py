"""SGLang: what to change.

``--mem-fraction-static`` is the share of the card for weights and pool; the rest is for graphs and activations
(``server_args.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tools.domain import note
from tools.logs.facts import EngineLog
from tools.logs.whatif import Fix, WhatIf, is_enough
from tools.units import MIB

_USUAL_SHARE = 0.88
_STEP = 0.05


def sglang_fixes(log: EngineLog, what_if: WhatIf | None, missing: int | None) -> Iterator[Fix]:
    """Yield the changes for a failure of memory."""
    kind = log.failure.kind if log.failure else ""
    total = log.memory.total_bytes or log.memory.free_bytes
    share = log.arguments.get("mem_fraction_static") or _USUAL_SHARE
    if kind in {"kv_no_memory", "kv_too_small"}:
        yield from _share(share, min(0.95, share + _STEP), total, missing, "logs.fix_raise_share")
    elif kind != "oom_weights":
        by = _STEP if missing is None or not total else (missing + 256 * MIB) / total
        wanted = math.floor((share - max(by, 0.02)) * 100) / 100
        yield from _share(share, wanted, total, missing, "logs.fix_lower_share")
        yield Fix(note("logs.fix_fewer_graphs"), None, "--cuda-graph-max-bs 16")
    if kind in {"oom_running", "oom_profiling", "cache_full"}:
        yield Fix(note("logs.fix_smaller_prefill"), None, "--chunked-prefill-size 2048")
    if kind in {"kv_no_memory", "kv_too_small", "cache_full"}:
        saved = log.memory.kv_bytes // 2 if log.memory.kv_bytes and log.memory.kv_bytes > 0 else None
        yield Fix(note("logs.fix_fp8_cache"), saved, "--kv-cache-dtype fp8_e5m2")
    if kind in {"oom_weights", "kv_no_memory"}:
        ranks = 2 * int(log.arguments.get("tp") or 1)
        held = log.memory.weights_bytes
        yield Fix(note("logs.fix_more_ranks", ranks=ranks), held // 2 if held else None, f"--tp {ranks}")


def _share(before: float, after: float, total: int | None, missing: int | None, code: str) -> Iterator[Fix]:
    if not 0.05 < after < 1 or abs(after - before) < 0.005:
        return
    effect = round(abs(after - before) * total) if total else None
    change = note(code, before=f"{before:g}", after=f"{after:g}")
    yield Fix(change, effect, f"--mem-fraction-static {after:g}", is_enough(effect, missing))
