"""Web search behind a small protocol; ``ddgs`` is the adapter.

What comes back is text from strangers: it is cut to length, stripped of control characters, and only ever quoted.

ddgs answers a refused request (any status but 200) like an empty page and replaces an unknown backend silently, so this
module asks its engines one by one and looks at the status itself (source: ddgs 9.16, ``ddgs/base.py`` and ``ddgs.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from tools.errors import BadValue, SearchUnavailable
from tools.settings import Settings

BACKENDS = ("duckduckgo", "brave", "mojeek")
"""Engines asked together: three indexes (Bing's, Brave's and Mojeek's own)."""
TITLE_CHARS, SNIPPET_CHARS, QUERY_CHARS, MAX_HITS = 120, 300, 200, 10
OFFLINE_MEMORY_S = 60.0
"""An unreachable network is not tried again for this long, so that the next answers stay fast."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One page found. ``date`` is the ISO day it was found on, as engines give none for a page."""

    title: str
    url: str
    snippet: str
    date: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one engine answered: its HTTP ``status`` and results with ``title``, ``href`` and ``body``."""

    status: int
    rows: Sequence[Any]


class Engine(Protocol):
    """One search engine. Raises ``OSError`` where it can't be reached and ``TimeoutError`` where it does not answer."""

    name: str

    def ask(self, query: str, timeout_s: float) -> Found:
        """Return what the engine answers."""
        ...


class DdgsEngine:
    """An engine of the ``ddgs`` package.

    Args:
        name: one of ddgs's text engines.
        url: another address that speaks the same pages, such as a mirror.

    Raises:
        BadValue: ddgs has no such engine.
    """

    def __init__(self, name: str, url: str | None = None) -> None:
        from ddgs.engines import ENGINES

        if name not in ENGINES["text"]:
            raise BadValue("errors_search.unknown_backend", name=name, allowed=", ".join(sorted(ENGINES["text"])))
        self.name, self._url, self._class = name, url, ENGINES["text"][name]

    def ask(self, query: str, timeout_s: float) -> Found:
        """Ask once; the engine's own status is kept, as its result hides it."""
        from ddgs import exceptions

        engine: Any = self._class(timeout=max(1, round(timeout_s)))
        statuses: list[int] = []
        send: Callable[..., Any] = engine.http_client.request

        def watched(*args: Any, **kwargs: Any) -> Any:
            answer = send(*args, **kwargs)
            statuses.append(int(answer.status_code))
            return answer

        engine.http_client.request = watched
        if self._url:
            engine.search_url = self._url
        try:
            rows: Sequence[Any] = engine.search(query) or []
        except exceptions.TimeoutException as error:
            raise TimeoutError(self.name) from error
        except exceptions.DDGSException as error:
            raise OSError(str(error)[:SNIPPET_CHARS]) from error
        return Found(statuses[-1] if statuses else 0, rows)


class WebSearch:
    """Asks several engines at once within a time limit and merges what they find.

    Args:
        settings: ``network`` allows it at all; ``search_timeout_s`` bounds it.
        engines: which engines; default ``BACKENDS`` of ddgs, or the first of them at ``settings.search_url``.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Sequence[Engine] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._engines, self._clock = settings, engines, clock
        self._offline_until = float("-inf")

    def search(self, query: str, limit: int = 5) -> tuple[Hit, ...]:
        """Return up to ``limit`` pages; empty means the engines answered and found nothing.

        Raises:
            BadValue: the query is empty.
            SearchUnavailable: ``errors_search.off``, ``.offline``, ``.blocked`` or ``.timeout``.
        """
        query = _line(query, QUERY_CHARS)
        if not query:
            raise BadValue("errors_search.empty_query")
        if not self._settings.network:
            raise SearchUnavailable("errors_search.off")
        if self._clock() < self._offline_until:
            raise SearchUnavailable("errors_search.offline")
        answers, errors, late = self._ask_all(self._chosen(), query)
        if not answers:
            self._give_up(errors, late)
        if all(found.status != 200 for found in answers):
            status = answers[0].status
            raise SearchUnavailable("errors_search.blocked", status=status)
        return _merge(answers, max(1, min(limit, MAX_HITS)))

    def _chosen(self) -> Sequence[Engine]:
        if self._engines is not None:
            return self._engines
        if self._settings.search_url:
            return (DdgsEngine(BACKENDS[0], self._settings.search_url),)
        return tuple(DdgsEngine(name) for name in BACKENDS)

    def _ask_all(self, engines: Sequence[Engine], query: str) -> tuple[list[Found], list[BaseException], bool]:
        """Ask every engine at once; stop at the first good page, or when the time is over."""
        limit_s = self._settings.search_timeout_s
        deadline = time.monotonic() + limit_s
        pool = ThreadPoolExecutor(max_workers=len(engines), thread_name_prefix="search")
        waiting: set[Future[Found]] = {pool.submit(e.ask, query, limit_s) for e in engines}
        answers: list[Found] = []
        errors: list[BaseException] = []
        while waiting and not any(found.rows for found in answers):
            done, waiting = wait(waiting, timeout=max(0.0, deadline - time.monotonic()), return_when=FIRST_COMPLETED)
            if not done:
                break
            for future in done:
                error = future.exception()
                if error:
                    errors.append(error)
                else:
                    answers.append(future.result())
        pool.shutdown(wait=False, cancel_futures=True)
        return answers, errors, bool(waiting)

    def _give_up(self, errors: Sequence[BaseException], late: bool) -> None:
        """Say why nothing came back; a broken engine's parser counts as not reached."""
        if late or any(isinstance(e, TimeoutError) for e in errors):
            self._offline_until = self._clock() + OFFLINE_MEMORY_S
            raise SearchUnavailable("errors_search.timeout", seconds=self._settings.search_timeout_s)
        self._offline_until = self._clock() + OFFLINE_MEMORY_S
        raise SearchUnavailable("errors_search.offline")


def search_web(query: str, *, settings: Settings, limit: int = 5) -> tuple[Hit, ...]:
    """Search once. See ``WebSearch.search`` for what it raises."""
    return WebSearch(settings).search(query, limit)


def _merge(answers: Sequence[Found], limit: int) -> tuple[Hit, ...]:
    """Take the engines' results in turns, one page once, safe addresses only."""
    today = datetime.now(UTC).date().isoformat()
    hits: dict[str, Hit] = {}
    depth = max((len(found.rows) for found in answers), default=0)
    for rank in range(depth):
        for found in answers:
            if rank >= len(found.rows):
                continue
            row = found.rows[rank]
            url = _safe_url(str(getattr(row, "href", "") or ""))
            title = _line(str(getattr(row, "title", "") or ""), TITLE_CHARS)
            if url and title:
                snippet = _line(str(getattr(row, "body", "") or ""), SNIPPET_CHARS)
                hits.setdefault(url.rstrip("/"), Hit(title, url, snippet, today))
    return tuple(hits.values())[:limit]


def _safe_url(url: str) -> str:
    """Return an http(s) address without credentials, or an empty string."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return ""
    clean = all(c.isprintable() and not c.isspace() and c not in '<>"`' for c in url)
    return url if parts.scheme in {"http", "https"} and host and "@" not in parts.netloc and clean else ""


def _line(text: str, limit: int) -> str:
    """Make one printable line of at most ``limit`` characters."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    line = " ".join(words)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
