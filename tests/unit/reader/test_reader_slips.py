"""Slips of the keyboard, names written apart, numbers in an unusual place."""

from __future__ import annotations

import pytest

from agent.reader import read
from tools.domain import Reading


def _models(reading: Reading) -> list[tuple[str | None, float | None]]:
    return [(model.name, model.size_b) for model in reading.models]


def _cards(reading: Reading) -> list[tuple[str | None, float | None, int | None]]:
    return [(gpu.name, gpu.memory_gb, gpu.count) for gpu in reading.gpus]


@pytest.mark.parametrize(
    ("text", "intent", "models"),
    [
        ("gjnzytn kb rdty3 14 yf 3060?", "fit", [("Qwen3", 14)]),
        ("crjkmrj yflj dhfvf yf gemma 27b", "memory_needed", [("Gemma", 27)]),
        ("цшдд йцут3 30и ашт щт ф 3090", "fit", [("Qwen3", 30)]),
        ("vlezet li kven3 30b na 3090?", "fit", [("Qwen3", 30)]),
        ("skolko pamyati nuzhno dlya lamy 70b v 4 bitah", "memory_needed", [("Llama", 70)]),
    ],
)
def test_mends_the_layout_and_latin_spelling(text: str, intent: str, models: list[tuple[str, float]]) -> None:
    reading = read([text])
    assert (reading.intent, _models(reading)) == (intent, models)


@pytest.mark.parametrize(
    "text",
    ["How much VRAM for RWKV 14B in a normal process?", "Qwen3 14B fp8 on a 3090, ok?", "llama-server -c 8192 -ngl 99"],
)
def test_leaves_plain_english_alone(text: str) -> None:
    assert read([text]).language == "en"


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("2x rx580 8gb, mistral 7b", [("RX 580", 8, 2)]),
        ("на 4 штуках P104-100 по 8 гигов пойдёт лама 8б?", [("P104-100", 8, 4)]),
        ("CMP 50HX and qwen 7b", [("CMP 50HX", None, 1)]),
        ("a single 5000 Blackwell for gpt-oss-20b?", [("RTX PRO 5000", None, 1)]),
        ("RTX PRO 4000, gemma 12b", [("RTX PRO 4000", None, 1)]),
        ("gtx 970 и phi-4 mini", [("GTX 970", None, 1)]),
        ("4090D 48gb и квен 72б awq", [("RTX 4090 D", 48, 1)]),
        ("4090 + 3060 (24 and 12), llama 70b q3", [("RTX 4090", 24, 1), ("RTX 3060", 12, 1)]),
        ("квен 72 на 2 по 48 гб", [(None, 48, 2)]),
        ("16x V100 32GB, 4 servers (4 each): llama 405b awq?", [("V100", 32, 16)]),
        ("4 servers with 2 A100 80GB each, deepseek v3?", [("A100", 80, 8)]),
    ],
)
def test_reads_cards_and_their_memory(text: str, cards: list[tuple[str | None, float | None, int]]) -> None:
    assert _cards(read([text])) == cards


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("gpt oss 20b on a 4060 ti", [("gpt-oss", 20)]),
        ("гпт осс 120 на двух 5090", [("gpt-oss", 120)]),
        ("т лайт 8б на 3060", [("T-lite", 8)]),
        ("модель zorblax 70b q4 на 2х3090", [("zorblax", 70)]),
        ("bge-large (335m) на T4", [("BGE-Large", 0.335)]),
        ("NeuralX-2-Llama-3.1-8B on a 3060", [("NeuralX-2-Llama-3.1", 8)]),
    ],
)
def test_reads_names(text: str, models: list[tuple[str, float]]) -> None:
    assert _models(read([text])) == models


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("квен 14б на A10, диалоги тысячи 4 токенов", 4096),
        ("20 человек по 8 тысяч токенов, лама 8б, 4090", 8192),
        ("works w/ 8192 but 16384 does not: gemma 12b, L4", 16384),
        ("context_len=32768, qwen 32b, A6000", 32768),
    ],
)
def test_reads_contexts(text: str, context: int) -> None:
    assert read([text]).context == context


def test_a_cache_has_a_type_of_its_own() -> None:
    reading = read(["KV: fp8. Which 4 bit format of Qwen3-30B for a 24GB card?"])
    assert (reading.kv_cache, reading.models[0].precision) == ("fp8", "4bit")


def test_a_name_given_later_keeps_the_size_said_before() -> None:
    assert _models(read(["70b q4 on 2x 3060?", "it's llama 3.3"])) == [("Llama-3.3", 70)]
