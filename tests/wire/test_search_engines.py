"""The engines as they speak: pages of three of ddgs's, SearXNG's JSON, refusals, limits and what is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from search_pages import page_server

from tools.errors import BadValue, SearchUnavailable
from tools.search.engines import DdgsEngine, SearxngEngine, engines_of
from tools.search.hits import Found
from tools.search.kept import PER_MINUTE
from tools.search.ranking import merge
from tools.search.web import WebSearch
from tools.settings import Settings
from ui.cli import run

BRAVE = """<html><body><div data-type="web">
<a href="https://brave.example/a"><div class="title">Qwen3 from Brave</div></a>
<div class="snippet"><div class="content">8.2B parameters</div></div></div></body></html>"""
MOJEEK = """<html><body><ul class="results-standard">
<li><h2><a href="https://mojeek.example/b">Qwen3 from Mojeek</a></h2>
<p class="s">8.2B parameters</p></li><li><h2><a href="https://brave.example/a/">Twice</a></h2><p class="s">x</p></li>
</ul></body></html>"""
SEARXNG = {
    "query": "qwen3",
    "results": [
        {"title": "Card", "url": "https://huggingface.co/Qwen/Qwen3-8B", "content": "8.2B", "publishedDate": None},
        {"title": "News", "url": "https://n.example/", "content": "out", "publishedDate": "2026-05-01T00:00:00"},
        {"title": "Bad", "url": "javascript:alert(1)", "content": ""},
        "no result",
    ],
}
Answer = Callable[[str], tuple[int, str, str]]


@contextmanager
def getting(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """Answer GET requests; yields the address and the paths that came in."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            status, kind, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        server.server_close()


def html(body: str, status: int = 200) -> Answer:
    return lambda _path: (status, "text/html", body)


def settings(folder: Path, **more: object) -> Settings:
    return Settings(data_dir=folder, **{"search_timeout_s": 5.0, "search_pages": 0, **more})  # pyright: ignore


def test_two_engines_are_merged_and_a_page_is_named_once() -> None:
    with getting(html(BRAVE)) as (brave, asked), getting(html(MOJEEK)) as (mojeek, _):
        engines = (DdgsEngine("brave", brave + "/search"), DdgsEngine("mojeek", mojeek + "/search"))
        answers = [engine.ask("Qwen3 8B", 5.0, "ru-ru") for engine in engines]
    assert [hit.url for hit in merge("Qwen3 8B", answers, 5)] == ["https://brave.example/a", "https://mojeek.example/b"]
    assert parse_qs(urlsplit(asked[0]).query)["q"] == ["Qwen3 8B"]


def test_a_page_that_wants_a_human_is_a_refusal(tmp_path: Path) -> None:
    puzzle = '<html><body><form id="challenge-form" class="anomaly-modal">Select all ducks</form></body></html>'
    with page_server(body=puzzle) as (url, _), pytest.raises(SearchUnavailable) as error:
        WebSearch(settings(tmp_path), (DdgsEngine("duckduckgo", url),)).search("qwen")
    assert error.value.code == "errors_search.blocked"


def test_searxng_alone_is_asked_where_it_is_set(tmp_path: Path) -> None:
    with getting(lambda _: (200, "application/json", json.dumps(SEARXNG))) as (url, paths):
        chosen = settings(tmp_path, searxng_url=url + "/")
        hits = WebSearch(chosen).search("вышла ли Qwen3")
        assert [engine.name for engine in engines_of(chosen)] == ["searxng"]
    asked = parse_qs(urlsplit(paths[0]).query)
    assert (asked["q"], asked["format"], asked["language"]) == (["вышла ли Qwen3"], ["json"], ["ru"])
    assert [(hit.url, hit.kind, hit.published) for hit in hits] == [
        ("https://huggingface.co/Qwen/Qwen3-8B", "model_card", ""),
        ("https://n.example/", "", "2026-05-01"),
    ]


def test_a_searxng_without_json_says_what_to_change(tmp_path: Path) -> None:
    with getting(html("Forbidden", 403)) as (url, _), pytest.raises(BadValue) as error:
        WebSearch(settings(tmp_path, searxng_url=url)).search("qwen3")
    assert error.value.code == "errors_search.no_json"


@pytest.mark.parametrize("body", ["<html>", "[]", '{"results": {}}', "[" * 100_000, '{"results": ' + "9" * 5000])
def test_a_searxng_that_talks_nonsense_is_no_answer(tmp_path: Path, body: str) -> None:
    with getting(lambda _: (200, "application/json", body)) as (url, _), pytest.raises(SearchUnavailable) as error:
        WebSearch(settings(tmp_path), (SearxngEngine(url),)).search("qwen3")
    assert error.value.code == "errors_search.unreadable"


def test_no_searxng_there_is_offline(tmp_path: Path) -> None:
    with pytest.raises(SearchUnavailable) as error:
        WebSearch(settings(tmp_path, searxng_url="http://127.0.0.1:9")).search("qwen3")
    assert error.value.code == "errors_search.offline"


def test_engines_are_chosen_by_setting(tmp_path: Path) -> None:
    chosen = settings(tmp_path, search_backends=("mojeek", "wikipedia", "mojeek"))
    assert [engine.name for engine in engines_of(chosen)] == ["mojeek", "wikipedia"]
    with pytest.raises(BadValue) as error:
        engines_of(settings(tmp_path, search_backends=("searxng",)))
    assert error.value.code == "errors_search.no_searxng_url"


def test_settings_are_read_from_the_environment() -> None:
    env = {"RIGFIT_SEARCH_BACKENDS": "brave, searxng", "RIGFIT_SEARXNG_URL": "http://s/", "RIGFIT_SEARCH_PAGES": "0"}
    found = Settings.from_env({**env, "RIGFIT_SEARCH_NETWORKS": "10.0.0.0/8"})
    assert (found.search_backends, found.searxng_url) == (("brave", "searxng"), "http://s/")
    assert (found.search_pages, found.search_networks) == (0, ("10.0.0.0/8",))
    with pytest.raises(BadValue):
        Settings.from_env({"RIGFIT_SEARCH_PAGES": "9"})


class Counting:
    name = "counting"

    def __init__(self, *, hang: bool = False) -> None:
        self.asked: list[str] = []
        self._hang = hang

    def ask(self, query: str, timeout_s: float, region: str = "us-en") -> Found:
        self.asked.append(query)
        if self._hang:
            time.sleep(60)
        return Found(200, ())


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        for _ in range(2):  # another process reads the same file
            search = WebSearch(settings(tmp_path), (DdgsEngine("duckduckgo", url),))
            assert len(search.search("Qwen3  8B")) == 2
            assert len(search.search("qwen3 8b", 1)) == 1
    assert len(queries) == 1


def test_an_empty_answer_is_kept_too_and_a_refusal_is_not(tmp_path: Path) -> None:
    engine = Counting()
    search = WebSearch(settings(tmp_path), (engine,))
    assert search.search("nothing") == search.search("nothing") == ()
    assert len(engine.asked) == 1
    with page_server(status=429) as (url, queries):
        for _ in range(2):
            with pytest.raises(SearchUnavailable):
                WebSearch(settings(tmp_path), (DdgsEngine("duckduckgo", url),)).search("qwen")
    assert len(queries) == 2


def test_too_many_searches_are_told_from_a_refusal(tmp_path: Path) -> None:
    engine = Counting()
    for n in range(PER_MINUTE):
        WebSearch(settings(tmp_path), (engine,)).search(f"query {n}")
    with pytest.raises(SearchUnavailable) as error:
        WebSearch(settings(tmp_path), (engine,)).search("one more")
    assert error.value.code == "errors_search.too_many"
    assert len(engine.asked) == PER_MINUTE
    assert WebSearch(settings(tmp_path), (engine,)).search("query 1") == ()


def test_an_engine_that_hangs_is_left_behind(tmp_path: Path) -> None:
    with page_server() as (url, _):
        both = (Counting(hang=True), DdgsEngine("duckduckgo", url))
        assert len(WebSearch(settings(tmp_path), both).search("qwen")) == 2
    with pytest.raises(SearchUnavailable) as error:
        WebSearch(settings(tmp_path, search_timeout_s=0.3), (Counting(hang=True),)).search("other")
    assert error.value.code == "errors_search.timeout"


def test_the_command_line_prints_hits_and_fails_where_there_can_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("RIGFIT_NETWORK", raising=False)
    with page_server() as (url, _):
        monkeypatch.setenv("RIGFIT_SEARCH_URL", url)
        assert run(["search", "qwen3", "30b", "--json"]) == 0
    hit = json.loads(capsys.readouterr().out)["hits"][0]
    assert (hit["title"], hit["url"]) == ("Qwen3-30B-A3B card", "https://example.org/qwen")
    with page_server(status=429) as (url, _):
        monkeypatch.setenv("RIGFIT_SEARCH_URL", url)
        with pytest.raises(SearchUnavailable) as error:
            run(["search", "llama"])
    assert error.value.exit_code == 3
