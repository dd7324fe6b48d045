"""What people note of an engine's settings in words of their own, or as JSON: ``MTP n=3``, ``fixed 24 GiB KV pool``."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from tools.units import GIB

Fields = dict[str, Any]
Found = re.Match[str]
Reader = Callable[[Found], Fields]

KINDS = ("mtp", "eagle", "dflash", "dspark", "medusa")
"""What drafts tokens, as it is named; a method that is none of these (``ngram``) takes no memory of its own."""


def read_phrases(text: str) -> tuple[Fields, str]:
    """Take what is understood out of a note.

    Args:
        text: of a few thousand characters at most.

    Returns:
        Fields of a request, and the text without what was understood.

    Example:
        >>> read_phrases("fixed 24 GiB KV pool, speculative depth 7")[0]
        {'kv_cache_memory_bytes': 25769803776, 'draft': 'any', 'draft_tokens': 7}
    """
    fields: Fields = {}
    for pattern, read in _compiled():
        for found in pattern.finditer(text):
            for name, value in read(found).items():
                fields.setdefault(name, value)
        text = pattern.sub(" ", text)
    return fields, text


def _partition(found: Found) -> Fields:
    return {"pp_layers": tuple(int(size) for size in found[1].split(","))}


def _no_images(found: Found) -> Fields:
    """Towers are left out where no image and no video may come (``--limit-mm-per-prompt``)."""
    limits = dict(re.findall(r"(image|video|audio)\D{1,14}(\d{1,4})", found[0]))
    return {"text_only": True} if limits.get("image") == limits.get("video") == "0" else {}


def _method(found: Found) -> Fields:
    named = found[1].lower()
    return {"draft": next((kind for kind in KINDS if kind in named), "none")}


def _draft(found: Found) -> Fields:
    tokens = {"draft_tokens": int(found[2])} if found[2] else {}
    return {"draft": found[1].lower()} | tokens


def _depth(found: Found) -> Fields:
    return {"draft": "any", "draft_tokens": int(found[1])}


def _pool(found: Found) -> Fields:
    return {"kv_cache_memory_bytes": round(float(found[1] or found[2]) * GIB)}


def _cache_type(found: Found) -> Fields:
    return {"kv_cache_dtype": (found[1] or found[2]).lower()}


def _connector(found: Found) -> Fields:
    return {"connector": "lmcache" if "lmcache" in found[0].lower() else "other"}


@cache
def _compiled() -> tuple[tuple[re.Pattern[str], Reader], ...]:
    """Compile the phrases once, where a note is read."""
    return tuple((re.compile(text, re.IGNORECASE), read) for text, read in _PHRASES)


_NUMBER = r"(\d{1,4}(?:\.\d{1,3})?)"

_PHRASES: tuple[tuple[str, Reader], ...] = (
    (r"VLLM_PP_LAYER_PARTITION[=:\s\"']{1,3}(\d{1,4}(?:,\d{1,4}){0,63})[\"']?", _partition),
    (r"\bVLLM_USE_V1[=: ]{1,2}([01])\b", lambda found: {"engine_generation": f"V{found[1]}"}),
    (r"(?:--)?limit[-_]mm[-_]per[-_]prompt(?:[\s=:,;{}'\".]|image|video|audio|count|\d){1,80}", _no_images),
    (r"\b(?:\w{0,30}connector\w{0,5}|lmcache)\b", _connector),
    (r"(?:--)?kv[-_]transfer[-_]config[=: ]{0,2}\S{0,300}", _connector),
    (r"(?:--)?\bkv[-_ ]events?(?:[-_]config[=: ]{0,2}\S{0,300})?", _connector),
    (r"[\"']method[\"']\s?:\s?[\"']([\w-]{2,40})[\"']", _method),
    (rf"\b({'|'.join(KINDS)})\d?\b(?:[ =]{{1,2}}(?:n=)?(\d{{1,2}})\b)?", _draft),
    (r"--speculative[-_]model[=: ]{1,2}\S{1,120}", lambda _found: {"draft": "none"}),
    (r"[\"']model[\"']\s?:\s?[\"'][^\"']{1,120}[\"']", lambda _found: {"draft": "none"}),
    (r"[\"']?(?:--)?\bnum[-_]speculative[-_]tokens[\"']?[\s:=]{1,3}(\d{1,2})\b", _depth),
    (r"\bspec(?:ulative)?[- ](?:depth|tokens?|length)[\s:=]{1,3}(\d{1,2})\b", _depth),
    (r"(?:--)?speculative[-_]config\b", lambda _found: {}),
    (
        rf"\b(?:fixed )?{_NUMBER} ?GiB KV(?: cache)? pool\b|\bKV(?: cache)? pool (?:of |= ?)?{_NUMBER} ?GiB\b",
        _pool,
    ),
    (
        r"\b(fp8(?:_e4m3|_e5m2)?) KV(?:[- ]cache)?\b|\bKV(?:[- ]cache)? in (fp8(?:_e4m3|_e5m2)?)\b",
        _cache_type,
    ),
    (r"(?<!-)\bexpert parallel(?:ism)?\b", lambda _found: {"ep": True}),
    (r"(?<![\w-])block (\d{2,5})\b", lambda found: {"block_size": int(found[1])}),
)
"""Phrases by what they mean, in the order in which they are looked for; each pattern takes time in proportion to the
text."""
