"""The engines that are asked: those of ``ddgs``, and a SearXNG of one's own.

ddgs answers a refused request (any status but 200) like an empty page and replaces an unknown backend silently, so this
module asks its engines one by one and looks at the status itself (source: ddgs 9.16, ``ddgs/base.py`` and ``ddgs.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlencode

from tools.errors import BadValue
from tools.search.fetch import Limits, fetch
from tools.search.hits import SNIPPET_CHARS, Engine, Found, Row
from tools.settings import Settings

BACKENDS = ("duckduckgo", "brave", "mojeek")
"""Engines asked together where none are chosen: three indexes (Bing's, Brave's and Mojeek's own)."""
SEARXNG = "searxng"
_ANSWER_BYTES = 2 * 1024 * 1024
_ANY_ADDRESS = Limits(allowed=lambda _address, _port: True, kinds=frozenset(), max_bytes=_ANSWER_BYTES)
"""A SearXNG is where the settings say, at home as a rule."""
_PROVE_HUMAN = ("anomaly-modal", "captcha", "are you a robot", "unusual traffic", "challenge-form")
"""Words of a page that refuses with status 200 (DuckDuckGo's ``anomaly-modal``; the others are general)."""
_READ_CHARS = 200_000


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
            allowed = ", ".join(sorted([*ENGINES["text"], SEARXNG]))
            raise BadValue("errors_search.unknown_backend", name=name, allowed=allowed)
        self.name, self._url, self._class = name, url, ENGINES["text"][name]

    def ask(self, query: str, timeout_s: float, region: str = "us-en") -> Found:
        """Ask once; the engine's own status is kept, as its result hides it."""
        from ddgs import exceptions

        etree: Any = import_module("lxml.etree")
        engine: Any = self._class(timeout=max(1, round(timeout_s)))
        answers: list[Any] = []
        send: Callable[..., Any] = engine.http_client.request

        def watched(*args: Any, **kwargs: Any) -> Any:
            answers.append(send(*args, **kwargs))
            return answers[-1]

        engine.http_client.request = watched
        if self._url:
            engine.search_url = self._url
        try:
            rows: Sequence[Any] = engine.search(query, region=region) or []
        except exceptions.TimeoutException as error:
            raise TimeoutError(self.name) from error
        except exceptions.DDGSException as error:
            raise OSError(str(error)[:SNIPPET_CHARS]) from error
        except etree.LxmlError:
            raise ValueError(self.name) from None
        page = str(answers[-1].text)[:_READ_CHARS].lower() if answers and not rows else ""
        return Found(
            int(answers[-1].status_code) if answers else 0, rows, refused=any(word in page for word in _PROVE_HUMAN)
        )


class SearxngEngine:
    """A SearXNG of one's own, by its JSON API (``format=json`` has to be allowed in its ``search.formats``).

    Source: https://docs.searxng.org/dev/search_api.html (SearXNG 2026).

    Args:
        url: its address, with or without ``/search``.
    """

    name = SEARXNG

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/search") + "/search"

    def ask(self, query: str, timeout_s: float, region: str = "us-en") -> Found:
        """Ask once; a 403 is what a SearXNG without JSON answers.

        Raises:
            BadValue: it does not give JSON.
            OSError: it can't be reached.
            ValueError: its answer is no list of results.
        """
        asked = {"q": query, "format": "json", "language": "ru" if region.startswith("ru") else "en", "safesearch": "1"}
        answer = fetch(f"{self._url}?{urlencode(asked)}", timeout_s, _ANY_ADDRESS)
        if answer.status == 403:
            raise BadValue("errors_search.no_json", url=self._url)
        if answer.status != 200:
            return Found(answer.status, ())
        return Found(answer.status, _rows(answer.body))


def _rows(body: bytes) -> list[Row]:
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the answer is no JSON") from error
    results = cast("dict[str, Any]", data).get("results") if isinstance(data, dict) else None
    if not isinstance(results, list):
        raise ValueError("the answer has no results")
    rows = [cast("dict[str, Any]", one) for one in cast("list[Any]", results) if isinstance(one, dict)]
    return [
        Row(
            str(row.get("title") or ""),
            str(row.get("url") or ""),
            str(row.get("content") or ""),
            str(row.get("publishedDate") or "")[:10],
        )
        for row in rows
    ]


def engines_of(settings: Settings) -> tuple[Engine, ...]:
    """Return the engines that the settings choose: a SearXNG alone where only its address is given.

    Raises:
        BadValue: an engine is not known, or SearXNG is chosen without its address.
    """
    if settings.search_url:
        return (DdgsEngine(BACKENDS[0], settings.search_url),)
    chosen = settings.search_backends or ((SEARXNG,) if settings.searxng_url else BACKENDS)
    engines: list[Engine] = []
    for name in dict.fromkeys(chosen):
        if name != SEARXNG:
            engines.append(DdgsEngine(name))
        elif settings.searxng_url:
            engines.append(SearxngEngine(settings.searxng_url))
        else:
            raise BadValue("errors_search.no_searxng_url")
    return tuple(engines)
