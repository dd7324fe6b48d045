"""When the web is searched, and for what."""

from __future__ import annotations

import pytest

from agent.decide.searching import asks_for_news, search_query
from agent.reader import read
from agent.reader.report import reading_json


def query(turn: str, *codes: str) -> str:
    reading = {**reading_json(read([turn])), "wants_news": asks_for_news(turn)}
    return search_query(reading, turn, [{"code": code} for code in codes])


@pytest.mark.parametrize(
    "turn",
    [
        "Any news about Qwen4?", "what's the latest Llama release?", "Is there a new DeepSeek model out?",
        "какие новости про Qwen 4?", "что нового у Mistral?", "вышла ли уже Gemma 4?", "когда выйдет RTX 6090?",
        "has Qwen4 been released yet?",
    ],
)  # fmt: skip
def test_news_are_asked_for(turn: str) -> None:
    assert asks_for_news(turn)


@pytest.mark.parametrize(
    "turn",
    [
        "Will Qwen3-8B fit on a 3090?", "Влезет ли Qwen3-8B на 3090?", "vLLM ran out of memory, why?",
        "I have a new 3090, will Qwen3-8B fit?", "Does it run on the latest vLLM?",
        "Память вышла за пределы, что делать?",
    ],
)  # fmt: skip
def test_other_questions_are_no_news(turn: str) -> None:
    assert not asks_for_news(turn)


def test_a_model_is_looked_for_by_its_name_in_the_language_of_its_card() -> None:
    assert query("Поищи: влезет ли Qwen3-8B на RTX 3090?") == "Qwen3 8B RTX 3090 vLLM GPU memory"
    assert "видеопамять" in query("Поищи: влезет ли GigaChat 20B на RTX 3090?")


def test_news_are_looked_for_in_the_askers_language() -> None:
    assert query("какие новости про Qwen 4?").endswith("новости выход")
    assert query("Any news about Qwen4?") == "Qwen4 news release"


def test_what_is_not_known_is_looked_for_alone() -> None:
    turn = "Will Zorblax-13B fit on an RTX 9090?"
    assert query(turn, "errors_specs.unknown_model") == "Zorblax 13B model card parameters context length"
    assert query(turn, "errors_specs.unlike_any_gpu") == "RTX 9090 specifications memory bandwidth"


def test_a_request_without_a_name_is_looked_for_in_its_own_words() -> None:
    assert query("Please search the web for vLLM 0.33 sleep mode") == "vLLM 0.33 sleep mode"
    assert query("поищи в интернете про цены на электричество") == "цены электричество"


def test_a_pasted_log_is_not_sent_to_a_search_engine() -> None:
    log = "INFO 11-23 10:00:00 [core.py:61] Initializing a V1 LLM engine (v0.32.0) with config: model='secret/model'\n"
    assert "secret" not in query("Search what this means:\n" + log * 3)
