"""Questions written before the rules that read them: the whole of what each says, and nothing beside it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.reader import read
from tools.domain import GpuAsk, ModelAsk, Reading

Case = dict[str, Any]
CASES: list[Case] = [
    case
    for file in sorted(Path(__file__).parent.glob("fresh*.toml"))
    for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]
]
BITS = re.compile(r"1\.58|16|8|4|2|3|5|6")


def _plain(name: str | None) -> str:
    return re.sub(r"[^a-z0-9а-я]", "", (name or "").lower()).replace("rtx", "").replace("apple", "")


def _name(want: str, got: str | None) -> bool:
    if not want or want.endswith("model") or want == "LLM":
        return True
    return bool(_plain(got)) and (_plain(want) in _plain(got) or _plain(got) in _plain(want))


def _bits(precision: str | None) -> str | None:
    said = (precision or "").lower()
    if re.search(r"awq|gptq$", said):
        return "4"
    found = BITS.search(said)
    return found.group() if found else "16" if "full" in said else None


def _model(want: list[Any], got: ModelAsk) -> bool:
    name, size, precision, copies = want
    bits = _bits(precision)
    return (
        _name(name, got.name)
        and (not size or got.size_b == pytest.approx(size, rel=0.05))
        and (bits is None or bits == _bits(got.precision))
        and (copies == -1 or copies == got.copies)
    )


def _gpu(want: list[Any], got: GpuAsk) -> bool:
    name, memory, count = want
    return (
        _name(name, got.name)
        and (not memory or (got.memory_gb or 0) == pytest.approx(memory, rel=0.08))
        and (count == -1 or count == got.count)
    )


def _all(want: list[Any], got: tuple[Any, ...], same: Any) -> bool:
    left = list(got)
    for one in want:
        found = next((other for other in left if same(one, other)), None)
        if found is None:
            return False
        left.remove(found)
    return not left


def _wrong(case: Case, reading: Reading) -> list[str]:
    checks = {
        "models": _all(case.get("models", []), reading.models, _model),
        "gpus": _all(case.get("gpus", []), reading.gpus, _gpu),
        "intent": reading.intent in case["intent"],
        "asks": bool(reading.must_ask) or not case.get("ask"),
    }
    for name in ("ram_gb", "context", "users", "nodes"):
        checks[name] = (getattr(reading, name) or 0) == pytest.approx(case.get(name, 0), rel=0.05)
    for name in ("engine", "config_kind"):
        checks[name] = name not in case or getattr(reading, name) == case[name]
    return [name for name, right in checks.items() if not right]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " / ".join(case["turns"])[:70])
def test_says_the_whole_of_it(case: Case, request: pytest.FixtureRequest) -> None:
    if "weak" in case:
        request.applymarker(pytest.mark.xfail(reason=case["weak"], strict=True))
    assert _wrong(case, read(case["turns"])) == []
