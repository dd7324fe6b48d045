"""The web search against a local server that speaks the pages ddgs expects, and against servers that misbehave."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from search_pages import page_server

from tools.errors import BadValue, SearchUnavailable
from tools.search.engines import DdgsEngine
from tools.search.hits import Found
from tools.search.web import WebSearch, search_web
from tools.settings import Settings


def searcher(url: str, tmp_path: Path, timeout: float = 3.0) -> WebSearch:
    return WebSearch(Settings(data_dir=tmp_path, search_timeout_s=timeout), (DdgsEngine("duckduckgo", url),))


def test_hits_are_short_safe_and_dated(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        hits = searcher(url, tmp_path).search("qwen3 30b\nvram")
    assert queries == ["qwen3 30b vram"]
    assert [h.url for h in hits] == ["https://example.org/qwen", "https://example.org/long"]
    assert hits[0].title == "Qwen3-30B-A3B card"
    assert "30.5B parameters" in hits[0].snippet
    assert len(hits[1].snippet) <= 300
    assert len(hits[0].date) == 10


def test_refusal_is_not_an_empty_result(tmp_path: Path) -> None:
    with page_server(status=202) as (url, _), pytest.raises(SearchUnavailable) as error:
        searcher(url, tmp_path).search("qwen")
    assert error.value.code == "errors_search.blocked"
    assert error.value.params["status"] == 202


def test_nothing_found_is_an_empty_result(tmp_path: Path) -> None:
    with page_server(body="<html><body>no hits</body></html>") as (url, _):
        assert searcher(url, tmp_path).search("qwen") == ()


def test_slow_engine_ends_in_time_and_is_remembered(tmp_path: Path) -> None:
    with page_server(delay=4) as (url, _):
        search = searcher(url, tmp_path, timeout=1.0)
        for limit in (2.0, 0.1):
            began = time.perf_counter()
            with pytest.raises(SearchUnavailable):
                search.search("qwen")
            assert time.perf_counter() - began < limit


def test_no_server_is_offline_for_a_minute(tmp_path: Path) -> None:
    clock = [0.0]

    class Counting:
        name = "counting"
        asked = 0

        def ask(self, query: str, timeout_s: float, region: str = "us-en") -> Found:
            self.asked += 1
            raise ConnectionRefusedError

    engine = Counting()
    search = WebSearch(Settings(data_dir=tmp_path), (engine,), clock=lambda: clock[0])
    for seconds, asked in ((0, 1), (59, 1), (61, 2)):
        clock[0] = float(seconds)
        with pytest.raises(SearchUnavailable) as error:
            search.search("qwen")
        assert error.value.code == "errors_search.offline"
        assert engine.asked == asked


def test_unreachable_address_through_ddgs(tmp_path: Path) -> None:
    with pytest.raises(SearchUnavailable) as error:
        searcher("http://127.0.0.1:9/", tmp_path).search("qwen")
    assert error.value.code == "errors_search.offline"


def test_switched_off(tmp_path: Path) -> None:
    with pytest.raises(SearchUnavailable) as error:
        search_web("qwen", settings=Settings(data_dir=tmp_path, network=False))
    assert error.value.code == "errors_search.off"


def test_empty_query(tmp_path: Path) -> None:
    with pytest.raises(BadValue):
        search_web(" \n ", settings=Settings(data_dir=tmp_path))


def test_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(BadValue) as error:
        DdgsEngine("altavista")
    assert error.value.params["name"] == "altavista"


def test_one_working_engine_is_enough(tmp_path: Path) -> None:
    with page_server() as (good, _), page_server(status=429) as (bad, _):
        settings = Settings(data_dir=tmp_path)
        hits = WebSearch(settings, (DdgsEngine("duckduckgo", bad), DdgsEngine("duckduckgo", good))).search("qwen")
    assert len(hits) == 2
