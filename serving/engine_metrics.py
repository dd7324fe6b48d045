"""What an engine's ``/metrics`` say of its cache: ``vllm:cache_config_info`` (vLLM 0.32.0, config/cache.py).

Tokens are taken as the engine counts them: blocks times their size is wrong for models with several kinds of cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

NAME = "vllm:cache_config_info"
MOST_BYTES = 8 << 20
"""Of an answer; a real one has 50 kB."""
MOST_LINES = 64
"""One line an engine of a data-parallel group."""
_LINE_CHARS = 8192
_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The cache of the engine that has least of it; None where it does not say.

    Attributes:
        tokens: what the pool holds, as the engine counts.
        fits: requests of the longest allowed length that it holds at once.
        blocks: of the pool.
        set_bytes: the pool where it was set outright.
    """

    tokens: int | None = None
    fits: float | None = None
    blocks: int | None = None
    set_bytes: int | None = None


def cache_info(text: str) -> CacheInfo | None:
    """Read what the metrics of an engine say of its cache; None where they say nothing of it."""
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in text.split("\n") if line.startswith(f"{NAME}{{") and len(line) <= _LINE_CHARS]
    found: list[CacheInfo] = []
    for line in lines[:MOST_LINES]:
        try:
            samples = [sample for family in text_string_to_metric_families(line + "\n") for sample in family.samples]
        except (ValueError, IndexError, KeyError):
            continue
        found += (_of(sample.labels) for sample in samples)
    found = [one for one in found if one != CacheInfo()]
    return min(found, key=lambda one: math.inf if one.tokens is None else one.tokens, default=None)


def _of(labels: Mapping[str, str]) -> CacheInfo:
    return CacheInfo(
        tokens=_whole(labels, "kv_cache_size_tokens"),
        fits=_number(labels, "kv_cache_max_concurrency"),
        blocks=_whole(labels, "num_gpu_blocks"),
        set_bytes=_whole(labels, "kv_cache_memory_bytes"),
    )


def _number(labels: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(labels.get(name, "")[:40])
    except ValueError:
        return None
    return value if 0 < value < 1 << 60 else None


def _whole(labels: Mapping[str, str], name: str) -> int | None:
    value = _number(labels, name)
    return int(value) if value is not None and value == int(value) else None


async def read_cache_info(url: str, key: str | None = None) -> CacheInfo | None:
    """Ask an engine; None where it does not answer, or says nothing of its cache.

    Args:
        url: the engine's address, without a path.
        key: what it asks for.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limit = aiohttp.ClientTimeout(total=_WITHIN_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, headers=headers, trust_env=False) as session,
            session.get(f"{url}/metrics", allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return None
            body = bytearray()
            async for chunk in answer.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MOST_BYTES:
                    return None
    except (aiohttp.ClientError, TimeoutError):
        return None
    return cache_info(body.decode("utf-8", "replace"))
