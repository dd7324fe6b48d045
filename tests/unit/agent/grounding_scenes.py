"""Conversations to ground answers in: real tool results, as a model is given them, and their figures by short names."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.grounding import facts_of, ungrounded
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


def refused(text: str, state: State) -> tuple[str, ...]:
    """The figures of a model's text that nothing supports."""
    return ungrounded(text, facts_of(state, whole=False))


@cache
def bench() -> Workbench:
    return Workbench.open(Settings(data_dir=Path(tempfile.mkdtemp()), network=False), detect=False)


@cache
def scene(name: str) -> Scene:
    models, cards, contexts, users = SCENES[name]
    messages: list[Any] = []
    turns: list[dict[str, str]] = []
    for number, context in enumerate(contexts):
        reading = {"models": models, "gpus": cards, "models_relation": "together", "context": context, "intent": "fit"}
        reading |= {"users": users} if users else {}
        result = tool_results.calculation(bench(), {"reading": reading, "rig": None}, "en")
        content = for_a_model(result)
        call = {"name": "calculate_vram", "args": {}, "id": f"c{number}"}
        messages += [
            HumanMessage(ASKED.get(name, "Will they fit?") if not number else f"And with {context} tokens?"),
            AIMessage("", tool_calls=[call]),
            ToolMessage(content, tool_call_id=f"c{number}", name="calculate_vram"),
        ]
        turns.append(figures_of(result, context))
        if number + 1 < len(contexts):
            messages.append(AIMessage("They fit."))
    return Scene({"messages": messages}, turns[-1], turns[0], NAMES.get(name, {}))


def figures_of(result: dict[str, Any], context: int) -> dict[str, str]:
    """Return a result's figures as a model writes them, without their units."""
    plan, sums = result["plan"], result["sums"]
    shown = next((o for o in plan["options"] if o["id"] == plan["recommended"]), plan["as_asked"])
    found = {"ctx": f"{context:,}", "ctxk": f"{context // 1024}k", "u": str(result["users"])}
    found |= {"wS": gib(sums["shown_weights_bytes"]), "wAsked": gib(sums["weights_bytes"])}
    found |= {f"{key}S": gib(sums[f"{key}_bytes"]) for key in ("used", "free", "room")}
    found["full"] = gib(plan["as_asked"]["footprints"][0]["weights_bytes_per_gpu"])
    found["miss"] = gib(plan["as_asked"].get("deficit_bytes") or 0)
    found["ram"] = gib(max([o["costs"].get("ram_bytes") or 0 for o in plan["options"]], default=0))
    for at, row in enumerate(result["rows"], 1):
        found |= _of_row(row, at)
    for at, size in enumerate(result.get("sizes") or (), 1):
        found |= _of_size(size, at)
    for at, card in enumerate(shown["gpus"]):
        found |= {f"{key}{at}": gib(card[f"{key}_bytes"]) for key in ("used", "free", "total")}
        found[f"share{at}"] = f"{100 * float(gib(card['used_bytes'])) / float(gib(card['total_bytes'])):.0f}"
    for key, pace in (("", "decode_tokens_per_s"), ("t", "throughput_tokens_per_s")):
        band = result["pace"][pace]
        low, _, high = span(band["low"], band["high"]).partition("–")
        found |= {f"{key}lo": low, f"{key}hi": high or low}
    return _spelled(found)


def _of_row(row: dict[str, Any], at: int) -> dict[str, str]:
    return {
        f"w{at}": gib(row["weights_bytes"]),
        f"k{at}": gib(row["cache_bytes"]),
        f"o{at}": gib(row["rest_bytes"]),
        f"t{at}": gib(row["total_bytes"]),
        f"tgb{at}": f"{row['total_bytes'] / 1e9:.1f}",
        f"wr{at}": f"{row['weights_bytes'] / GIB:.0f}",
        f"p{at}": f"{row['pool_tokens']:,}",
        f"pk{at}": f"{row['pool_tokens'] / 1000:.1f}",
        f"pr{at - 1}k": f"{row['pool_tokens'] / 1000:.0f}",
        f"at{at}": str(row["at_once"]),
    }


def _of_size(size: dict[str, Any], at: int) -> dict[str, str]:
    rungs = {rung["precision"]: rung for rung in reversed(size["rungs"])}
    return {
        f"f{at}": gib(rungs["bf16"]["parameter_bytes"]),
        f"i{at}": gib(rungs["awq"]["parameter_bytes"]) if "awq" in rungs else "0.0",
        f"n{at}": f"{size['params_total'] / 1e9:.1f}",
        f"b{at}": f"{rungs['bf16']['kv_bytes_per_token'] / 1024:.0f}",
    }


def _spelled(found: dict[str, str]) -> dict[str, str]:
    """Add Russian spellings (``pr1`` for ``p1``, a comma for a point in ``w1c``) and wrong numbers (``x_w1``)."""
    spelled = dict(found)
    for key, said in found.items():
        if "," in said:
            apart = key.replace("p", "pr") if key[0] == "p" else f"{key}r"
            spelled[apart] = said.replace(",", "\u00a0")
        elif "." in said:
            spelled[f"{key}c"] = said.replace(".", ",")
    return spelled | {f"x_{key}": _wrong(said) for key, said in spelled.items() if said[-1].isdigit()}


def _wrong(said: str) -> str:
    """Return another number in the same spelling."""
    digits = [c for c in said if c.isdigit()]
    whole = str(round(int("".join(digits)) * 1.61 + 3))
    point = next((len(said) - 1 - said.index(c) for c in ".," if c in said), 0)
    sign = next((c for c in said if c in ".,\u00a0"), "")
    return f"{whole[:-point]}{sign}{whole[-point:]}" if point else whole


def gib(size: float) -> str:
    return f"{size / GIB:.1f}"


def _model(name: str, size: float, precision: str, copies: int = 1) -> dict[str, Any]:
    return {"name": name, "size_b": size, "precision": precision, "copies": copies}


SCENES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[int, ...], int]] = {
    "one": (
        [_model("Qwen3", 30, "fp8"), _model("Qwen3", 14, "fp8")],
        [{"name": "RTX PRO 6000", "count": 1}],
        (8192, 32768),
        0,
    ),
    "two": (
        [_model("Llama-3.1", 8, "fp8"), _model("Qwen3", 8, "fp8")],
        [{"name": "RTX 4090", "count": 1}, {"name": "RTX 3090", "count": 1}],
        (8192, 16384),
        0,
    ),
    "twins": ([_model("Qwen3", 30, "bf16", 2)], [{"name": "RTX PRO 6000", "count": 1}], (8192,), 0),
    "wide": ([_model("Llama-3.3", 70, "bf16")], [{"name": "A100 80GB", "count": 4}], (8192, 32768), 0),
    "many": ([_model("Qwen3", 8, "bf16", 3)], [{"name": "H100 80GB", "count": 1}], (8192,), 16),
    "trio": ([_model("Qwen2.5", 72, "awq")], [{"name": "RTX 3090", "count": 3}], (8192,), 2),
}
ASKED = {
    "twins": "Will two Qwen3-30B fit on my 96 GB card?",
    "wide": "Llama-3.3-70B on four A100?",
    "many": "Can I run three copies of Qwen3-8B for 16 users each?",
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
