"""Web search within limits: several engines at once, their hits merged, two pages read, all of it kept for a while."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from tools.errors import BadValue, RigfitError, SearchUnavailable
from tools.search.addresses import Allowed
from tools.search.at_once import AtOnce
from tools.search.engines import engines_of
from tools.search.fetch import Limits, fetch
from tools.search.figures import WebFigure, about, figures_in, telling_words
from tools.search.hits import MAX_HITS, QUERY_CHARS, Engine, Found, Hit, one_line
from tools.search.kept import EMPTY_S, HITS_S, PAGE_S, Kept
from tools.search.page import Page, read_page
from tools.search.ranking import merge
from tools.settings import Settings

OFFLINE_MEMORY_S = 60.0
"""An unreachable network is not tried again for this long, so that the next answers stay fast."""
GRACE_S = 0.8
"""After the first engine's hits the others have this long to add theirs."""
_FIGURES_OF_A_PAGE = 12
_CYRILLIC = re.compile(r"[а-яё]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PageFigures:
    """A page that was read: its title, address and date, and the figures it states of what was looked for.

    Attributes:
        date: ISO day it says it was published on; empty = it does not say.
    """

    title: str
    url: str
    date: str
    figures: tuple[WebFigure, ...]


@dataclass(frozen=True, slots=True)
class Research:
    """What a search came to: ``hits``, best first, and ``pages`` that were read."""

    hits: tuple[Hit, ...]
    pages: tuple[PageFigures, ...] = ()


class WebSearch:
    """Asks several engines at once within a time limit, merges what they find, and reads the best pages.

    Args:
        settings: ``network`` allows it at all; ``search_timeout_s`` bounds the search, and again the reading.
        engines: which engines; default those that the settings choose.
        clock: seconds, monotonic.
        kept: the cache and rate limit; default a file in the data folder.
        limits: how pages may be fetched; default from public addresses and the networks of the settings.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Sequence[Engine] | None = None,
        clock: Callable[[], float] = time.monotonic,
        kept: Kept | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._settings, self._engines, self._clock = settings, engines, clock
        self._kept = kept or Kept(settings.data_dir / "search.sqlite")
        self._limits = limits
        self._offline_until = float("-inf")

    def research(self, query: str, limit: int = 5) -> Research:
        """Search and read the best pages; a page that can't be read is left out.

        Raises:
            BadValue: the query is empty, or a setting is wrong.
            SearchUnavailable: see ``search``.
        """
        hits = self.search(query, limit)
        return Research(hits, tuple(self._pages(query, hits)) if hits else ())

    def search(self, query: str, limit: int = 5) -> tuple[Hit, ...]:
        """Return up to ``limit`` pages; empty means the engines answered and found nothing.

        Raises:
            BadValue: the query is empty, or a setting is wrong.
            SearchUnavailable: ``errors_search.off``, ``.offline``, ``.blocked``, ``.unreadable``,
                ``.timeout`` or ``.too_many``.
        """
        query = one_line(query, QUERY_CHARS)
        if not query:
            raise BadValue("errors_search.empty_query")
        if not self._settings.network:
            raise SearchUnavailable("errors_search.off")
        wanted = max(1, min(limit, MAX_HITS))
        key = self._key(query)
        found = self._kept.get(key)
        if found is not None:
            return tuple(Hit(**hit) for hit in found)[:wanted]
        if self._clock() < self._offline_until:
            raise SearchUnavailable("errors_search.offline")
        hits = self._asked(query)
        self._kept.put(key, [asdict(hit) for hit in hits], HITS_S if hits else EMPTY_S)
        return hits[:wanted]

    def _key(self, query: str) -> str:
        """Return what a search is kept under: one of other engines is another one."""
        settings = self._settings
        asked = [settings.search_url, settings.searxng_url, settings.search_backends, " ".join(query.lower().split())]
        named = [engine.name for engine in self._engines] if self._engines else None
        return "hits " + hashlib.sha256(json.dumps([*asked, named]).encode()).hexdigest()

    def _asked(self, query: str) -> tuple[Hit, ...]:
        engines = self._engines if self._engines is not None else engines_of(self._settings)
        seconds = self._kept.may_ask()
        if seconds > 0:
            raise SearchUnavailable("errors_search.too_many", seconds=seconds)
        answers, errors, late = self._ask_all(engines, query)
        heard = [found for found in answers if found.status == 200 and not (found.refused and not found.rows)]
        if not answers:
            self._give_up(errors, late)
        if not heard:
            raise SearchUnavailable("errors_search.blocked", status=answers[0].status)
        return merge(query, heard, MAX_HITS)

    def _ask_all(self, engines: Sequence[Engine], query: str) -> tuple[list[Found], list[BaseException], bool]:
        """Ask every engine at once; after the first hits the others have a little while to add theirs."""
        limit_s = self._settings.search_timeout_s
        deadline = time.monotonic() + limit_s
        answers: list[Found] = []
        errors: list[BaseException] = []
        calls = [partial(engine.ask, query, limit_s, region_of(query)) for engine in engines]
        asked = AtOnce(calls)
        for one in asked.within(limit_s):
            if one.value is None:
                errors.append(one.error or OSError())
            else:
                answers.append(one.value)
                if one.value.rows:
                    break
        if any(found.rows for found in answers):
            left = max(0.0, min(GRACE_S, deadline - time.monotonic()))
            answers += [one.value for one in asked.within(left) if one.value is not None]
        return answers, errors, len(answers) + len(errors) < len(engines)

    def _give_up(self, errors: Sequence[BaseException], late: bool) -> None:
        """Say why nothing came back."""
        told = next((error for error in errors if isinstance(error, RigfitError)), None)
        if told:
            raise told
        if any(not isinstance(error, OSError) for error in errors):
            raise SearchUnavailable("errors_search.unreadable")
        self._offline_until = self._clock() + OFFLINE_MEMORY_S
        if late or any(isinstance(error, TimeoutError) for error in errors):
            raise SearchUnavailable("errors_search.timeout", seconds=self._settings.search_timeout_s)
        raise SearchUnavailable("errors_search.offline")

    def _pages(self, query: str, hits: Sequence[Hit]) -> Iterator[PageFigures]:
        """Read the best hits' pages, all at once and within the time limit, in the order of the hits."""
        best = hits[: self._settings.search_pages]
        limits = self._limits or Limits(Allowed(self._settings.search_networks))
        reading = AtOnce([partial(self._page, hit, limits) for hit in best])
        came = {one.at: one.value for one in reading.within(self._settings.search_timeout_s)}
        words = telling_words(query)
        for at, hit in enumerate(best):
            page = came.get(at)
            if page:
                title = page.title or hit.title
                figures = about(figures_in(page.text), words, f"{title} {hit.title} {hit.url}")
                yield PageFigures(title, hit.url, page.date or hit.published, figures[:_FIGURES_OF_A_PAGE])

    def _page(self, hit: Hit, limits: Limits) -> Page:
        deadline = time.monotonic() + self._settings.search_timeout_s
        key = "page " + hashlib.sha256(hit.url.encode()).hexdigest()
        kept: Any = self._kept.get(key)
        if kept:
            return Page(**kept)
        found = fetch(hit.url, deadline - time.monotonic(), limits)
        page = read_page(found, hit.url, max(0.1, deadline - time.monotonic()))
        self._kept.put(key, asdict(page), PAGE_S)
        return page


def region_of(query: str) -> str:
    """Return the region of a query by its letters: a Russian question is for Russian pages.

    >>> region_of("Qwen3 сколько памяти"), region_of("Qwen3 memory")
    ('ru-ru', 'us-en')
    """
    return "ru-ru" if _CYRILLIC.search(query) else "us-en"


def search_web(query: str, *, settings: Settings, limit: int = 5) -> tuple[Hit, ...]:
    """Search once. See ``WebSearch.search`` for what it raises."""
    return WebSearch(settings).search(query, limit)
