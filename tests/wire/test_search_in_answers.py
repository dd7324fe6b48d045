"""When an answer searches, what it quotes, and that it goes on where the search hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from scripted_llm import call, say, scripted_llm
from search_pages import page_server, site

from agent.events import Event, Finished, TurnResult
from agent.session import Assistant
from tools.settings import Settings

UNKNOWN = """<html><head><title>Zorblax-13B model card</title>
<meta property="article:published_time" content="2026-03-02"></head><body><article><h1>Zorblax-13B</h1>
<p>Zorblax-13B has 13.1B parameters and was trained by Zorblax Labs on a lot of text.</p>
<p>Context length: 65,536 tokens, which is enough for most documents that people have.</p></article></body></html>"""
CARD = """<html><head><title>GeForce RTX 3090 Specs</title></head><body><article><h1>GeForce RTX 3090</h1>
<p>The GeForce RTX 3090 comes with 48 GB of GDDR6X memory and a bandwidth of 936 GB/s over its 384-bit bus.</p>
<p>It was released in September 2020 and is still popular with people who run language models.</p>
</article></body></html>"""


def ask(
    folder: Path, search_url: str, *questions: str, llm: str | None = None, seconds: float = 60, pages: int = 2
) -> TurnResult:
    async def run() -> TurnResult:
        last: Event | None = None
        settings = Settings(
            data_dir=folder,
            hub_endpoint="http://127.0.0.1:9",
            hub_timeout_s=1.0,
            search_url=search_url,
            search_pages=pages,
            search_timeout_s=seconds,
            search_networks=("127.0.0.0/8",),
            llm_url=llm,
            llm_model="scripted" if llm else None,
        )
        async with Assistant.open(settings, rig=None) as assistant:
            for question in questions:
                events = [e async for e in assistant.ask(question, thread_id="t")]
                last = events[-1]
        assert isinstance(last, Finished)
        return last.result

    return asyncio.run(run())


def names(result: TurnResult) -> list[str]:
    return [one["name"] for one in result.tool_calls]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Will Zorblax-13B fit on an RTX 3090?", ("13.1B parameters", "](http://127.0.0.1", "2026-03-02")),
        ("Влезет ли Zorblax-13B на RTX 3090?", ("13.1B parameters", "На прочитанных страницах", "2026-03-02")),
    ],
)
def test_a_model_that_nobody_knows_is_searched_for_and_quoted(
    tmp_path: Path, question: str, words: tuple[str, ...]
) -> None:
    with site([("Zorblax-13B model card", "A new model")], UNKNOWN) as (url, _):
        result = ask(tmp_path, url, question)
    assert "search_web" in names(result)
    assert "calculate_vram" not in names(result)
    for word in words:
        assert word in result.answer_markdown


def test_a_card_that_nobody_knows_is_searched_for(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        result = ask(tmp_path, url, "Will Qwen3-8B fit on an RTX 9090?", pages=0)
    assert queries == ["RTX 9090 specifications memory bandwidth"]
    assert "](https://example.org/qwen)" in result.answer_markdown


def test_news_are_searched_for_without_being_told_to_search(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        result = ask(tmp_path, url, "Any news about Qwen4?", pages=0)
    assert queries == ["Qwen4 news release"]
    assert result.answer_markdown.startswith("I searched the web for “Qwen4 news release” and found:")
    assert "](https://example.org/qwen) (found 20" in result.answer_markdown
    assert "“30.5B parameters, 3.3B active”" in result.answer_markdown
    assert result.asks == ()


def test_what_no_catalogue_has_is_looked_for_in_the_askers_words(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        result = ask(tmp_path, url, "Поищи в интернете про режим сна в vLLM 0.33", pages=0)
    assert queries == ["режим сна vLLM 0.33"]
    assert result.answer_markdown.startswith("Поискал в сети по запросу «режим сна vLLM 0.33» и нашёл:")


def test_what_is_known_is_not_searched_for(tmp_path: Path) -> None:
    with page_server() as (url, queries):
        ask(tmp_path, url, "Will Qwen3-8B fit on an RTX 3090?", "и на 4090?", pages=0)
    assert queries == []


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Please search: how much memory has the RTX 3090, will Qwen3-8B fit?", "differs"),
        ("Поищи: сколько памяти у RTX 3090, влезет ли Qwen3-8B?", "расходится"),
    ],
)
def test_a_card_whose_memory_the_web_says_otherwise_is_told(tmp_path: Path, question: str, words: str) -> None:
    with site([("GeForce RTX 3090 Specs", "")], CARD) as (url, _):
        result = ask(tmp_path, url, question)
    [line] = [one for one in result.answer_markdown.splitlines() if words in one]
    assert "48 GB of GDDR6X" in line
    assert "24.0 GiB" in line
    assert result.grounded


def test_a_model_that_writes_gets_the_quotes_and_its_answer_cites_them(tmp_path: Path) -> None:
    with site([("Zorblax-13B model card", "A new model")], UNKNOWN) as (url, _):
        turns = (call("search_web", query="Zorblax-13B"), say("I found its card."))
        with scripted_llm(*turns) as (llm, script):
            result = ask(tmp_path, url, "Search for Zorblax-13B", llm=llm)
    told = [m["content"] for one in script.requests for m in one["messages"] if m["role"] == "tool"]
    assert any("states: Zorblax-13B has 13.1B parameters" in one for one in told)
    assert "I found its card." in result.answer_markdown
    assert "(2026-03-02" in result.answer_markdown or ", 2026-03-02)" in result.answer_markdown


def test_a_search_that_hangs_does_not_hold_the_answer(tmp_path: Path) -> None:
    with page_server(delay=8) as (url, _):
        result = ask(tmp_path, url, "Please search: will Qwen3-8B fit on an RTX 3090?", seconds=0.3, pages=0)
    assert result.plan is not None
    assert "did not answer" in result.answer_markdown
    assert "calculate_vram" in names(result)


def test_a_page_that_hangs_does_not_hold_the_answer(tmp_path: Path) -> None:
    with site([("Qwen3-8B card", "8.2B")], UNKNOWN, delay=20) as (url, _):
        result = ask(tmp_path, url, "Please search: will Qwen3-8B fit on an RTX 3090?", seconds=2)
    assert result.plan is not None
    assert "/page0)" in result.answer_markdown
