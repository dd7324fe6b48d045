"""What several engines found, as one list: a page once, what its makers say first, then what most engines rank high."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from urllib.parse import parse_qsl, urlencode, urlsplit

from tools.search.hits import SNIPPET_CHARS, TITLE_CHARS, Found, Hit, one_line, safe_url

FUSION = 60
"""Constant of reciprocal rank fusion: 1 / (60 + rank) an engine (Cormack et al., SIGIR 2009)."""
MOST_OF_A_HOST = 3
"""Pages of one host among the hits, so that no single site fills the list."""
_TRACKING = re.compile(r"utm_\w+|fbclid|gclid|yclid|msclkid|ref|ref_src|source")
_MOBILE = re.compile(r"^(?:www|m|amp)\.")
_WORD = re.compile(r"[^\W_]+")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_TOO_COMMON = frozenset({"gpu", "vllm", "memory", "model", "card", "the", "for", "and", "памяти", "память", "модель"})


@cache
def _official() -> Mapping[str, Sequence[str]]:
    path = resources.files("tools.search") / "data" / "official.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def kind_of(url: str) -> str:
    """Return whose page an address is: ``model_card``, ``vendor``, ``engine_docs``, or nothing.

    >>> kind_of("https://huggingface.co/Qwen/Qwen3-8B"), kind_of("https://huggingface.co.evil.example/Qwen")
    ('model_card', '')
    """
    try:
        parts = urlsplit(url)
        host = _MOBILE.sub("", (parts.hostname or "").lower())
    except ValueError:
        return ""
    for kind, places in _official().items():
        for place in places:
            domain, _, path = place.partition("/")
            inside = not path or (parts.path.strip("/").lower() + "/").startswith(path.lower() + "/")
            if inside and (host == domain or host.endswith("." + domain)):
                return kind
    return ""


def same_page(url: str) -> str:
    """Return what two addresses of one page have in common: no scheme, ``www.``, fragment, tracking or last slash."""
    parts = urlsplit(url)
    asked = [(k, v) for k, v in parse_qsl(parts.query) if not _TRACKING.fullmatch(k.lower())]
    host = _MOBILE.sub("", (parts.hostname or "").lower())
    port = f":{parts.port}" if parts.port not in {None, 80, 443} else ""
    return f"{host}{port}{parts.path.rstrip('/')}?{urlencode(sorted(asked))}"


def merge(query: str, answers: Sequence[Found], limit: int) -> tuple[Hit, ...]:
    """Merge the engines' results into at most ``limit`` hits, best first; safe addresses only."""
    today = datetime.now(UTC).date().isoformat()
    hits: dict[str, Hit] = {}
    scores: dict[str, float] = {}
    for found in answers:
        seen: set[str] = set()
        for rank, row in enumerate(found.rows):
            hit = _hit(row, today)
            key = _key(hit)
            if hit is None or key in seen:
                continue
            seen.add(key)
            hits.setdefault(key, hit)
            scores[key] = scores.get(key, 0.0) + 1 / (FUSION + rank)
    order = sorted(hits, key=lambda key: (not _is_to_the_point(query, hits[key]), -scores[key]))
    return tuple(_spread([hits[key] for key in order])[:limit])


def _hit(row: object, today: str) -> Hit | None:
    url = safe_url(str(getattr(row, "href", "") or ""))
    title = one_line(str(getattr(row, "title", "") or ""), TITLE_CHARS)
    if not url or not title:
        return None
    published = str(getattr(row, "published", "") or "")
    snippet = one_line(str(getattr(row, "body", "") or ""), SNIPPET_CHARS)
    return Hit(title, url, snippet, today, kind_of(url), published if _DAY.fullmatch(published) else "")


def _key(hit: Hit | None) -> str:
    try:
        return same_page(hit.url) if hit else ""
    except ValueError:  # a port that is no number
        return hit.url if hit else ""


def _is_to_the_point(query: str, hit: Hit) -> bool:
    """Whether a hit is official and about what was asked: a maker's page on something else is no better than others."""
    if not hit.kind:
        return False
    asked = {word.lower() for word in _WORD.findall(query)} - _TOO_COMMON
    said = {word.lower() for word in _WORD.findall(f"{hit.title} {hit.url}")}
    telling = {word for word in asked if any(c.isdigit() for c in word)} or asked
    return bool(telling & said)


def _spread(hits: Sequence[Hit]) -> list[Hit]:
    """Put what one host has too much of at the end."""
    counts: dict[str, int] = {}
    first: list[Hit] = []
    rest: list[Hit] = []
    for hit in hits:
        host = urlsplit(hit.url).hostname or ""
        counts[host] = counts.get(host, 0) + 1
        (first if counts[host] <= MOST_OF_A_HOST else rest).append(hit)
    return first + rest
