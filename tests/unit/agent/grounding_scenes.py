"""Conversations to ground answers in: real tool results, as a model is given them, and their figures by short names."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.state import State
from tools import tool_results
from tools.settings import Settings
from tools.tool_text import for_a_model
from tools.units import GIB, span
from tools.workbench import Workbench


@dataclass(frozen=True)
class Scene:
    """A conversation of two turns; ``now`` and ``before`` are the figures of its turns by short name."""

    state: State
    now: dict[str, str]
    before: dict[str, str]
    names: dict[str, str]


@cache
def bench() -> Workbench:
    return Workbench.open(Settings(data_dir=Path(tempfile.mkdtemp()), network=False), detect=False)


@cache
def scene(name: str) -> Scene:
    models, cards, contexts = SCENES[name]
    messages: list[Any] = []
    turns: list[dict[str, str]] = []
    for number, context in enumerate(contexts):
        reading = {"models": models, "gpus": cards, "models_relation": "together", "context": context, "intent": "fit"}
        result = tool_results.calculation(bench(), {"reading": reading, "rig": None}, "en")
        content = for_a_model(result)
        call = {"name": "calculate_vram", "args": {}, "id": f"c{number}"}
        messages += [
            HumanMessage("Will they fit?" if not number else f"And with a context of {context} tokens?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(content, tool_call_id=f"c{number}", name="calculate_vram"),
        ]
        turns.append(figures_of(result, context))
        if number + 1 < len(contexts):
            messages.append(AIMessage("They fit."))
    return Scene({"messages": messages}, turns[-1], turns[0], NAMES[name])


def figures_of(result: dict[str, Any], context: int) -> dict[str, str]:
    """Return a result's figures as a model writes them, without their units."""
    plan, rows = result["plan"], result["rows"]
    shown = next((o for o in plan["options"] if o["id"] == plan["recommended"]), plan["as_asked"])
    found = {
        "ctx": f"{context:,}",
        "ctxk": f"{context // 1024}k",
        "ctxr": f"{context:,}".replace(",", "\u00a0"),
        "u": str(result["users"]),
        "wsum": gib(result["sums"]["shown_weights_bytes"]),
    }
    for at, row in enumerate(rows, 1):
        size = result["sizes"][at - 1]
        full = next(r for r in size["rungs"] if r["precision"] == "bf16")
        found |= {
            f"w{at}": gib(row["weights_bytes"]),
            f"k{at}": gib(row["cache_bytes"]),
            f"o{at}": gib(row["rest_bytes"]),
            f"t{at}": gib(row["total_bytes"]),
            f"tgb{at}": f"{float(gib(row['total_bytes'])) * GIB / 1e9:.1f}",
            f"wr{at}": f"{row['weights_bytes'] / GIB:.0f}",
            f"p{at}": f"{row['pool_tokens']:,}",
            f"pr{at}": f"{row['pool_tokens']:,}".replace(",", "\u00a0"),
            f"pk{at}": f"{row['pool_tokens'] / 1000:.1f}",
            f"f{at}": gib(full["parameter_bytes"]),
            f"n{at}": f"{size['params_total'] / 1e9:.1f}",
            f"b{at}": f"{full['kv_bytes_per_token'] / 1024:.0f}",
        }
    for at, card in enumerate(shown["gpus"]):
        found |= {f"{key}{at}": gib(card[f"{key}_bytes"]) for key in ("used", "free", "total")}
        found[f"share{at}"] = f"{100 * float(gib(card['used_bytes'])) / float(gib(card['total_bytes'])):.0f}"
    pace = result["pace"]["decode_tokens_per_s"]
    low, _, high = span(pace["low"], pace["high"]).partition("–")
    return found | {"lo": low, "hi": high or low}


def gib(size: float) -> str:
    return f"{size / GIB:.1f}"


def _model(name: str, size: float, precision: str) -> dict[str, Any]:
    return {"name": name, "size_b": size, "precision": precision, "copies": 1}


SCENES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[int, int]]] = {
    "one": (
        [_model("Qwen3", 30, "fp8"), _model("Qwen3", 14, "fp8")],
        [{"name": "RTX PRO 6000", "count": 1}],
        (8192, 32768),
    ),
    "two": (
        [_model("Llama-3.1", 8, "fp8"), _model("Qwen3", 8, "fp8")],
        [{"name": "RTX 4090", "count": 1}, {"name": "RTX 3090", "count": 1}],
        (8192, 16384),
    ),
}
NAMES: dict[str, dict[str, str]] = {
    "one": {"A": "Qwen3-30B-A3B", "B": "Qwen3-14B", "a": "the 30B", "b": "the 14B", "C": "RTX PRO 6000"},
    "two": {
        "A": "Llama-3.1-8B-Instruct",
        "B": "Qwen3-8B",
        "a": "Llama",
        "b": "Qwen3",
        "C": "RTX 4090",
        "D": "RTX 3090",
    },
}
