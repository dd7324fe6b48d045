"""Measured start-ups: which are compared, what is asked about each, and what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 1 << 30
USUAL_CONTEXT = 8192
"""Tokens asked about where a row states no length."""
_PRECISIONS = (
    (r"mixed|/|lm_head|dense|\?|unknown", None),
    (r"nvfp4", "nvfp4"),
    (r"mxfp4", "mxfp4"),
    (r"awq", "awq"),
    (r"gptq", "gptq-int4"),
    (r"bitsandbytes|bnb", "bnb-4bit"),
    (r"w4a16|autoround|int4", "w4a16"),
    (r"w8a8|int8", "int8"),
    (r"online", "fp8-online"),
    (r"fp8", "fp8"),
    (r"bf16", "bf16"),
    (r"fp16", "fp16"),
)
_SEVERAL_CACHES = re.compile(
    r"gemma-?[234]|gpt-oss|llama-4|qwen3[-._]?(next|[568])|nemotron|mimo|kimi-?k3|deepseek-v4|jamba|granite-4|falcon-h1",
    re.IGNORECASE,
)
"""Models of several kinds of layers, for which memory over tokens is no one number."""


@dataclass(frozen=True, slots=True)
class Row:
    """One start-up of vLLM: what it was started with, and what its log measured (GiB; None = not stated)."""

    id: str
    model: str
    stated: Mapping[str, Any]
    weights_gib: float | None
    kv_bytes_per_token: float | None
    pool_gib: float | None
    budget_gib: float | None
    concurrency: float | None
    held_gib: float | None
    """The pool that ``concurrency`` was measured with."""

    @property
    def precision(self) -> str | None:
        return precision(self.stated.get("quant"))

    @property
    def tp(self) -> int:
        return self.stated.get("tp") or 1

    @property
    def cards(self) -> int:
        """Cards that hold one copy of the model."""
        return self.tp * (self.stated.get("pp") or 1)

    @property
    def context(self) -> int:
        return self.stated.get("max_concurrency_tokens") or self.stated.get("max_model_len") or USUAL_CONTEXT

    @property
    def total_gib(self) -> float | None:
        return self.stated.get("total_gpu_gib")

    @property
    def utilization(self) -> float | None:
        return self.stated.get("gpu_mem_util")

    @property
    def has_fp8_cache(self) -> bool:
        return "fp8" in str(self.stated.get("kv_cache_dtype") or "")


def precision(text: str | None) -> str | None:
    """Rigfit's word for how a row's weights are stored; None where it does not say one.

    >>> precision("awq_marlin int4")
    'awq'
    """
    for pattern, word in _PRECISIONS:
        if re.search(pattern, (text or "").lower()):
            return word
    return None


def card(text: str | None) -> str | None:
    """The card's name without its memory; None where only a class of cards is stated.

    >>> card("H100 80GB (79.15 GiB)")
    'H100'
    """
    if not text or re.search(r"class|\bcard\b|limited|\+", text, re.IGNORECASE):
        return None
    return re.sub(r"\s*(\([^)]*\)|\b\d+ ?GB\b|\bx\d\b)", "", text).strip() or None


def read(path: Path) -> list[Row]:
    """Read a file of measured start-ups, one JSON object a line; keep those that can be compared."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(selected(json.loads(line) for line in lines if line.strip()))


def selected(records: Iterator[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield the rows whose model is stated, that are trusted, and that measured a quantity compared here."""
    for record in records:
        stated = str(record.get("hf_id_source", "")).startswith("stated")
        if record["engine"] != "vllm" or record.get("kind") != "single" or record.get("confidence") == "low":
            continue
        row = measured(record) if record.get("hf_id") and stated else None
        if row and any((row.weights_gib, row.kv_bytes_per_token, row.pool_gib, row.concurrency)):
            yield row


def measured(record: Mapping[str, Any]) -> Row:
    """Read one record."""
    scored = record.get("score") or ()
    pool = record.get("kv_gib") if (record.get("kv_gib") or 0) > 0 else None
    single = not (record.get("hybrid") or _SEVERAL_CACHES.search(record["hf_id"]))
    total, share, tokens = record.get("total_gpu_gib"), record.get("gpu_mem_util"), record.get("kv_tokens")
    per_token = pool * GIB / tokens if pool and tokens and single and "kv_bytes_per_token" in scored else None
    budget = total * share if pool and total and share else None
    has_concurrency = pool and record.get("max_concurrency") and record.get("max_concurrency_tokens")
    return Row(
        id=record["id"],
        model=record["hf_id"],
        stated=record,
        weights_gib=record.get("weights_gib") if "weights" in scored else None,
        kv_bytes_per_token=per_token,
        pool_gib=pool if budget else None,
        budget_gib=budget,
        concurrency=record["max_concurrency"] if has_concurrency else None,
        held_gib=pool,
    )


def requests(row: Row) -> Iterator[dict[str, Any]]:
    """Yield the lines that ``rigfit estimate --batch`` is asked; the second, ``id#pool``, fixes the pool."""
    stated = row.stated
    version = re.search(r"\d+\.\d+(\.\d+)?", stated.get("version") or "")
    generation = re.search(r"\bV[01]\b", stated.get("version") or "")
    asked = {
        "id": row.id,
        "engine": "vllm",
        "model": row.model,
        "precision": row.precision,
        "gpu": card(stated.get("gpu")),
        "gpu_total_bytes": int(row.total_gib * GIB) if row.total_gib else None,
        "gpu_count": stated.get("n_gpus"),
        "gpu_memory_utilization": row.utilization,
        "engine_version": version[0] if version else None,
        "engine_generation": generation[0] if generation else None,
    }
    same = ("tp", "pp", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "enforce_eager")
    asked |= {name: stated.get(name) for name in (*same, "extra_flags")}
    asked = {name: value for name, value in asked.items() if value is not None}
    yield asked
    if row.concurrency and row.held_gib:
        fixed = {"kv_cache_memory_bytes": int(row.held_gib * GIB), "max_model_len": row.context}
        yield asked | fixed | {"id": f"{row.id}#pool"}
