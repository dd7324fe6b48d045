"""How each peer is asked about a row through its own command line, and what its answer says.

An adapter calls ``ask`` with a command and gets what it printed, or "" where it failed. A figure for all cards is
divided by their number, which is more than the peer says itself; what it prints as GB is read as it means it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .hub import Repository
from .rows import GIB, Row

Ask = Callable[..., str]
SIXTEEN_BIT = {"bf16", "fp16"}
SOME_CARD_GIB = 80.0
"""Given where a row states no memory; weights and cache do not depend on it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A row, the repository it is about, and a folder with its ``config.json``."""

    row: Row
    repository: Repository
    folder: Path

    @property
    def memory(self) -> str:
        return f"{self.row.total_gib or SOME_CARD_GIB:g}"

    @property
    def share(self) -> str:
        return f"{self.row.utilization or 0.9:g}"

    @property
    def in_flight(self) -> str | None:
        """The precision that the engine makes of other weights while it loads; None = loaded as they are stored."""
        said, text = self.row.precision, self.repository.config.get("text_config") or self.repository.config
        if said is None or self.repository.config.get("quantization_config"):
            return None
        if said in SIXTEEN_BIT:
            return said if "float32" in str(text.get("torch_dtype") or text.get("dtype")) else None
        return "fp8" if said == "fp8-online" else said

    @property
    def cache(self) -> str:
        """The type of the cache: what the row says, else as the weights' where those have 16 bits."""
        said = self.row.precision
        return "fp8" if self.row.has_fp8_cache else said if said in SIXTEEN_BIT else "auto"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says of one card, in bytes; None = no figure. ``sequence``: one sequence of the row's length."""

    weights: float | None = None
    pool: float | None = None
    sequence: float | None = None


def kvfit(question: Question, ask: Ask) -> Answer:
    """Its JSON, the layout of the row's ranks; the pool is the budget less weights and fixed state."""
    row = question.row
    memory = ["--hardware", f"custom:{question.memory}", "--utilization", question.share, "--gpus", str(row.cards)]
    length = ["--context", str(row.context), "--allow-context-overflow", "--kv-dtype", question.cache]
    said = _object(ask("kvfit", row.model, *memory, "--tp", str(row.cards), *length, "--json"))
    layout = next((one for one in said.get("layouts", ()) if one["tensor_parallel"] == row.cards), None)
    if layout is None:
        return Answer()
    fixed = layout["fixed_cache_per_rank_gib"]
    pool = (
        layout["budget_per_rank_gib"] - layout["weights_per_rank_gib"] - layout["runtime_reserve_per_rank_gib"] - fixed
    )
    sequence = layout["kv_per_sequence_per_rank_gib"]
    return Answer(layout["weights_per_rank_gib"] * GIB, _positive(pool * GIB), _gib(sequence))


def vramscout(question: Question, ask: Ask) -> Answer:
    """Its JSON in vLLM's mode; the pool is the budget less every part that is not state."""
    row = question.row
    card = ["--vram-gib", question.memory, "--gpu-memory-utilization", question.share, "--tp", str(row.cards)]
    dtype = {"bnb-4bit": "int4", "awq": "int4", "gptq-int4": "int4", "w4a16": "int4"}
    weights = dtype.get(question.in_flight or "", question.in_flight or "auto")
    types = ["--dtype", weights, "--kv-dtype", question.cache]
    said = _object(
        ask("vramscout", row.model, "--engine", "vllm", "--context", str(row.context), *card, *types, "--json")
    )
    parts = dict(said.get("parts_gib", {}))
    if not parts:
        return Answer()
    held = parts.pop("Model weights / rank")
    rest = sum(parts.pop(name, 0) for name in ("CUDA / runtime", "Prefill scratch", "Safety reserve"))
    pool = said["memory_budget_gib"] - held - rest
    return Answer(held * GIB, _positive(pool * GIB), _gib(sum(parts.values())))


RIDGEPOINT_CARDS = {
    r"h100.*80": "h100-80gb",
    r"h200": "h200-141gb",
    r"b200": "b200-192gb",
    r"a100.*40": "a100-40gb",
    r"a100.*80": "a100-80gb",
    r"l40s": "l40s-48gb",
    r"3090": "rtx3090-24gb",
    r"4090": "rtx4090-24gb",
    r"5090": "rtx5090-32gb",
    r"mi300x": "mi300x-192gb",
}
RIDGEPOINT_SHARE = 0.9
"""It has no option for it."""


def ridgepoint(question: Question, ask: Ask) -> Answer:
    """Its JSON; figures for all cards divided. The pool counts where it knows the card and the share is its own."""
    row = question.row
    known = (name for said, name in RIDGEPOINT_CARDS.items() if re.search(said, str(row.stated.get("gpu")).lower()))
    card = next(known, None)
    cache = "fp8" if row.has_fp8_cache else "fp16"
    dtype = _ridgepoint_dtype(question)
    options = ["--dtype", dtype or "fp16", "--kv-cache-dtype", cache, "--ctx", str(row.context), "--json"]
    said = _object(ask("ridgepoint", "fit", row.model, "--gpu", f"{card or 'h100-80gb'}:{row.cards}", *options))
    if "memory" not in said:
        return Answer()
    memory, sequence = said["memory"], said["capacity"]["bytes_per_seq"] / row.cards
    if dtype is None:
        return Answer(sequence=sequence)
    has_pool = card and row.utilization == RIDGEPOINT_SHARE
    pool = memory["kv_pool_bytes"]["best"] / row.cards if has_pool else None
    return Answer(memory["weights_bytes"]["best"] / row.cards, pool, sequence)


_RIDGEPOINT_DTYPES = {
    "bf16": "bf16",
    "fp16": "fp16",
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "awq": "awq-int4",
    "gptq": "gptq-int4",
    "int8": "int8",
    "w4a16": "awq-int4",
    "bnb": "awq-int4",
    "bitsandbytes": "awq-int4",
}
"""Its word, nearest in bits, by how a precision or a quantisation method begins."""


def _ridgepoint_dtype(question: Question) -> str | None:
    """Its word for the row's precision; None where it has none."""
    method = (question.repository.config.get("quantization_config") or {}).get("quant_method") or "bf16"
    said = question.row.precision or str(method)
    return next((word for start, word in _RIDGEPOINT_DTYPES.items() if said.startswith(start)), None)


def hf_mem(question: Question, ask: Ask) -> Answer:
    """Its JSON with the cache's estimate; it knows no ranks and no card, so both figures are divided by the cards."""
    row = question.row
    cache = "fp8" if row.has_fp8_cache else "bfloat16"
    options = ["--experimental", "--max-model-len", str(row.context), "--kv-cache-dtype", cache, "--json-output"]
    said = _object(ask("hf-mem", "--model-id", row.model, *options))
    if not said:  # without the estimate of the cache it may answer for the weights still
        said = _object(ask("hf-mem", "--model-id", row.model, "--json-output"))
    weights, sequence = said.get("memory"), said.get("kv_cache")
    return Answer(weights and weights / row.cards, None, sequence and sequence / row.cards)


_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": GIB, "TB": GIB << 10}
"""Of modelinfo: its GB are GiB (``modelinfo.calculator.format_bytes`` divides by 1024)."""


def modelinfo(question: Question, ask: Ask) -> Answer:
    """Its tables, the common and vLLM's; figures for all cards divided. Its cache is always of 16 bits."""
    row = question.row
    common = ["modelinfo", row.model, "--context", str(row.context), "--gpu", f"{row.cards}x{question.memory}"]
    told = ask(*common)
    sizes = [_printed(told, name) for name in ("Weights:", "KV Cache:")]
    pool = None
    if row.pool_gib is not None:
        pool = _printed(ask(*common, "--vllm", "--gpu-util", question.share), "Paged KV Pool:")
    weights, sequence, pool = (size and size / row.cards for size in (*sizes, pool))
    return Answer(weights, pool, sequence)


def _printed(text: str, name: str) -> float | None:
    found = re.search(re.escape(name) + r"\s*[=-]?\s*([\d.]{1,20}) (B|KB|MB|GB|TB)\b", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


WIZARD_SHARES = (0.5, 0.98)
"""Utilisations that it takes (``vllm_wizard.schemas.inputs.PolicyInput``)."""
WIZARD_FORMATS = {"fp8": "fp8", "fp8-online": "fp8", "awq": "awq", "gptq-int4": "gptq", "int8": "int8"}


def vllm_wizard(question: Question, ask: Ask) -> Answer:
    """Its JSON, asked twice: weights and pool by the published count of parameters, the cache by the config's folder.

    By a count alone it supposes a model's shape, and by the config alone it supposes a count. Its margin for
    fragmentation is set to none. Weights are not answered in formats it does not offer, nor a pool at a utilisation it
    does not take.
    """
    row = question.row
    card = ["--gpu", "card", "--gpus", str(row.cards), "--vram-gb", question.memory, "--tp", str(row.cards)]
    cache = ["--kv-cache-dtype", "fp8_e4m3fn"] if row.has_fp8_cache else []
    has_share = WIZARD_SHARES[0] <= float(question.share) <= WIZARD_SHARES[1]
    share = ["--gpu-memory-utilization", question.share] if has_share else []
    rest = ["--max-model-len", str(row.context), *cache, *share]
    plan = ["vllm-wizard", "plan", "--json", "--fragmentation-factor", "1", *card, *rest]
    shape = _object(ask(*plan, "--model", str(question.folder))).get("feasibility", {})
    sequence = shape.get("kv_cache_gb")
    is_plain = (row.precision or "bf16") in SIXTEEN_BIT and not question.repository.config.get("quantization_config")
    stored = ["--quantization", "none"] if is_plain else _wizard_format(row.precision)
    if not question.repository.params or not stored:
        return Answer(sequence=sequence and sequence * GIB / row.cards)
    count = ["--model", row.model, "--params-b", f"{question.repository.params / 1e9:.6f}"]
    said = _object(ask(*plan, *stored, *count)).get("feasibility")
    if said is None:
        return Answer(sequence=sequence and sequence * GIB / row.cards)
    pool = (said["vram_target_alloc_gb"] - said["overhead_gb"]) / row.cards - said["weights_gb"]
    free = _positive(pool * GIB) if has_share else None
    return Answer(said["weights_gb"] * GIB, free, sequence and sequence * GIB / row.cards)


def _wizard_format(said: str | None) -> list[str]:
    return ["--quantization", WIZARD_FORMATS[said]] if said in WIZARD_FORMATS else []


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a tool printed; {} where it printed none."""
    start = text.find("{")
    try:
        value = json.loads(text[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) and "error" not in value else {}


def _gib(value: float | None) -> float | None:
    return value * GIB if value else None


def _positive(value: float) -> float:
    return max(0.0, value)


Adapter = Callable[[Question, Ask], Answer]
ADAPTERS: dict[str, Adapter] = {
    "kvfit": kvfit,
    "vramscout": vramscout,
    "ridgepoint": ridgepoint,
    "hf-mem": hf_mem,
    "modelinfo-cli": modelinfo,
    "vllm-wizard": vllm_wizard,
}
"""By the name of its package."""
