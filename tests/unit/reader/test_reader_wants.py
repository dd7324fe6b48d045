"""What is wanted: commands, this machine, prices."""

from __future__ import annotations

import pytest

from agent.reader import read

PAIR = "two Qwen3-30B on an RTX PRO 6000 96GB"


@pytest.mark.parametrize(
    "text", ["give me the vllm commands", "give me vllm serve commands", "show me the vllm serve commands for both"]
)
def test_commands_in_the_plural_are_a_configuration(text: str) -> None:
    reading = read([PAIR, text])
    assert (reading.intent, reading.config_kind) == ("config", "vllm_serve")


@pytest.mark.parametrize(
    "text",
    [
        "возьми эту машину",
        "посчитай для этой машины",
        "эта тачка потянет?",
        "а для этого компьютера?",
        "use this machine",
    ],
)
def test_this_machine_in_any_case(text: str) -> None:
    assert read(["Qwen3-8B?", text]).wants_this_machine
    assert not read(["Qwen3-8B?", "а на другой машине?"]).wants_this_machine


@pytest.mark.parametrize(
    "text",
    ["сколько стоит 4090", "сколько сейчас стоит 5090?", "how much is a 4090", "how much are two gpus?", "почём H100?"],
)
def test_a_price_is_no_number_of_cards(text: str) -> None:
    assert read([text]).intent == "other"
    assert all(gpu.count is not None for gpu in read([text]).gpus)


def test_beside_a_price_the_other_question_is_answered() -> None:
    reading = read(["сколько стоит 4090 и потянет ли она Qwen3-32B?"])
    assert reading.intent == "fit"
    assert read(["сколько 4090 нужно под ламу 70б?"]).intent == "how_many_gpus"
    assert read(["Qwen3-8B on a 4090?", "how much is a 5090?"]).intent == "other"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("сделай для oobabooga в 4 бита", "webui"),
        ("give me llama-swap config", "llama_swap"),
        ("а через llama.cpp?", "llama_cpp"),
        ("а с контекстом 32k?", "docker_compose"),
    ],
)
def test_files_named_last_are_the_ones_wanted(text: str, kind: str) -> None:
    assert read([PAIR + ", make a docker compose file", text]).config_kind == kind
