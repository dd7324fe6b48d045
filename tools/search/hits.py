"""What a search finds, and the one way in which text from strangers becomes a printable line or an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

TITLE_CHARS, SNIPPET_CHARS, QUERY_CHARS, URL_CHARS, MAX_HITS = 120, 300, 200, 500, 10


@dataclass(frozen=True, slots=True)
class Hit:
    """One page found.

    Attributes:
        date: ISO day it was found on, as most engines give none for a page.
        kind: ``model_card``, ``vendor`` or ``engine_docs`` where it is an official page, else empty.
        published: ISO day the engine says it was published on, else empty.
    """

    title: str
    url: str
    snippet: str
    date: str
    kind: str = ""
    published: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One result as an engine gave it."""

    title: str
    href: str
    body: str
    published: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What one engine answered: its HTTP ``status`` and results with ``title``, ``href`` and ``body``.

    Attributes:
        refused: the status says yes, but the page is a "prove that you are human".
    """

    status: int
    rows: Sequence[Any]
    refused: bool = False


class Engine(Protocol):
    """One search engine.

    It raises ``OSError`` where it can't be reached, ``TimeoutError`` where it does not answer, and others where what it
    answers can't be read.
    """

    name: str

    def ask(self, query: str, timeout_s: float, region: str = "us-en") -> Found:
        """Return what the engine answers.

        Args:
            query: what to look for.
            timeout_s: limit in seconds.
            region: country and language, ``us-en`` or ``ru-ru``.
        """
        ...


def safe_url(url: str) -> str:
    """Return an http(s) address without credentials, or an empty string."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return ""
    clean = len(url) <= URL_CHARS and all(c.isprintable() and not c.isspace() and c not in '<>"`\\' for c in url)
    return url if parts.scheme in {"http", "https"} and host and "@" not in parts.netloc and clean else ""


def one_line(text: str, limit: int) -> str:
    """Make one printable line of at most ``limit`` characters."""
    words = "".join(c if c.isprintable() else " " for c in text[: limit * 8]).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
