"""What ``rigfit serve`` and ``rigfit ps`` show: tables for people, and the same as plain data."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prompts import text
from tools.units import gib
from ui.output import columns

if TYPE_CHECKING:
    from serving.run import Run
    from serving.runs import EngineRecord, RunRecord
    from serving.spec import EngineSpec

SECRETS = frozenset({"VLLM_API_KEY"})
"""Variables whose values are shown nowhere."""
_UNKNOWN = "—"


def plan_table(run: Run, engines: Iterable[EngineRecord], language: str) -> Iterator[str]:
    """Yield what a run is going to start, an engine a line."""
    specs = {spec.name: spec for spec in run.specs}
    heads = ("engine", "model", "cards", "share", "weights", "pool", "pool_tokens")
    rows = [tuple(text(language, f"run.head_{head}") for head in heads)]
    for one in engines:
        share = specs[one.name].unit.instance.deployment.gpu_memory_utilization
        on_card = share is not None and "cpu" not in one.cards
        rows.append(
            (
                one.name,
                specs[one.name].unit.checkpoint.repo,
                ", ".join(one.cards),
                f"{share:.3f}" if on_card else _UNKNOWN,
                _size(one.predicted.get("weights_bytes")),
                _size(one.predicted.get("kv_pool_bytes")),
                _count(one.predicted.get("kv_pool_tokens")),
            )
        )
    yield from columns(rows)


def engine_table(
    engines: Iterable[EngineRecord], language: str, now: float | None = None, *, running: bool = True
) -> Iterator[str]:
    """Yield engines as they are, or were last, measured beside predicted, a line each, and why one does not run."""
    now = time.time() if now is None else now
    heads = ("engine", "stage", "cards", "port", "pid", "for", "restarts", "weights", "pool", "pool_tokens")
    rows = [tuple(text(language, f"run.head_{head}") for head in heads)]
    shown = tuple(engines)
    for one in shown:
        rows.append(
            (
                one.name,
                text(language, f"run.stage_{stage_of(one, running=running)}"),
                ", ".join(one.cards),
                str(one.port),
                _UNKNOWN if one.pid is None else str(one.pid),
                lasting(now - one.since) if running else _UNKNOWN,
                str(one.restarts),
                *(_beside(one, name, _size) for name in ("weights_bytes", "kv_pool_bytes")),
                _beside(one, "kv_pool_tokens", _count),
            )
        )
    yield from columns(rows)
    yield from (f"  {one.name}: {_why(one, language, now)}" for one in shown if one.reason)


def _why(one: EngineRecord, language: str, now: float) -> str:
    """Return why an engine does not run, and when it is tried again."""
    if one.next_try is None or one.stage != "failed":
        return one.reason
    return f"{one.reason} {text(language, 'run.tries_again', lasting=lasting(one.next_try - now))}"


def stage_of(one: EngineRecord, *, running: bool) -> str:
    """Return an engine's stage or ``asleep``; of a run that has ended ``gone``, or ``left_behind`` if it lives on."""
    from serving.engine_state import AT_REST, Stage
    from serving.processes import lives

    if not running and lives(one.pid, one.born):
        return "left_behind"
    at_rest = {stage.value for stage in AT_REST}
    known = one.stage in {stage.value for stage in Stage} and (running or one.stage in at_rest)
    if known and one.asleep and one.stage == Stage.READY.value:
        return "asleep"
    return one.stage if known else "gone"


def lasting(seconds: float) -> str:
    """Write a duration: ``42s``, ``3m10s``, ``2h05m``, ``4d03h``."""
    whole = max(0, round(seconds))
    for size, unit, part, less in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02d}{less}"
    return f"{whole}s"


def ready_json(run: RunRecord, models: Iterable[str]) -> dict[str, Any]:
    """Return what ``--json`` prints when every engine is ready."""
    return {
        "url": run.url,
        "models": list(models),
        "option": run.option,
        "engines": [engine_json(e) for e in run.engines],
    }


def engine_json(one: EngineRecord, *, running: bool = True) -> dict[str, Any]:
    """Return an engine as plain data; bytes, tokens, requests and seconds, null where not known."""
    return {
        "name": one.name,
        "models": list(one.models),
        "stage": stage_of(one, running=running),
        "since": one.since,
        "cards": list(one.cards),
        "port": one.port,
        "pid": one.pid,
        "ready_s": one.ready_s,
        "restarts": one.restarts,
        "next_try": one.next_try,
        "reason": one.reason or None,
        "log": one.log or None,
        "predicted": dict(one.predicted),
        "measured": dict(one.measured),
    }


def shown_environment(spec: EngineSpec) -> Mapping[str, str]:
    """Return what is added to an engine's environment, less the values of secrets."""
    return {name: "***" if name in SECRETS else value for name, value in sorted(spec.env.items())}


def command_line(spec: EngineSpec) -> str:
    """Return an engine's command, quoted for a shell."""
    return shlex.join(spec.argv)


def _beside(one: EngineRecord, name: str, write: Any) -> str:
    measured, predicted = one.measured.get(name), one.predicted.get(name)
    if measured is None:
        return f"({write(predicted)})" if predicted is not None else _UNKNOWN
    return f"{write(measured)} ({write(predicted)})"


def _size(value: float | None) -> str:
    return _UNKNOWN if value is None else gib(value, 2)


def _count(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.0f}"
