"""Several copies of one model: the same, each different, each in a precision of its own."""

from __future__ import annotations

import pytest

from agent.reader import read
from tools.domain import ModelAsk

PAIR = "two Qwen3-30B on an RTX PRO 6000 96GB"
PAIR_RU = "две квен3 30 на RTX PRO 6000 96 ГБ"


@pytest.mark.parametrize("reply", ["the same one", "yes, the same", "ту же самую", "да, та же", "same one for both"])
def test_the_same_one(reply: str) -> None:
    reading = read([PAIR, reply])
    assert reading.same_model is True
    assert reading.models == (ModelAsk("Qwen3", 30, copies=2),)
    assert read(["Qwen3-30B on a 4090", reply]).same_model is None


def test_the_same_card_says_nothing_of_the_model() -> None:
    assert read([PAIR, "on the same one?"]).same_model is None


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Qwen3-14B and Qwen3-14B on a 5090", ModelAsk("Qwen3", 14, copies=2)),
        ("Qwen3-14B-AWQ + Qwen3-14B-AWQ on a 5090", ModelAsk("Qwen3", 14, precision="awq", copies=2)),
        ("квен 30 и квен 30 влезут в 96 гб?", ModelAsk("Qwen", 30, copies=2)),
        ("Qwen3-14B on a 5090. I like Qwen3-14B", ModelAsk("Qwen3", 14)),
        ("два квена 30 base на 5090", ModelAsk("Qwen", 30, "Base", copies=2)),
        ("квен 30 base, 5090", ModelAsk("Qwen", 30, "Base")),
        ("Qwen3 30b base clock of the 5090?", ModelAsk("Qwen3", 30)),
    ],
)
def test_one_model_named_once_or_twice(text: str, model: ModelAsk) -> None:
    assert read([text]).models == (model,)
