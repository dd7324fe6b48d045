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


@pytest.mark.parametrize(
    ("turns", "variants"),
    [
        ([PAIR_RU, "вторая coder"], [None, "Coder"]),
        ([PAIR_RU, "нет, две разные, вторая coder"], [None, "Coder"]),
        ([PAIR_RU, "одна обычная, другая кодер"], [None, "Coder"]),
        ([PAIR_RU, "первая пусть будет thinking"], ["Thinking", None]),
        ([PAIR, "make the second one Coder"], [None, "Coder"]),
        ([PAIR, "one of them the thinking variant"], [None, "Thinking"]),
        ([PAIR, "one instruct and one thinking"], ["Instruct", "Thinking"]),
        ([PAIR, "make the second one Qwen Coder"], [None, "Coder"]),
        ([PAIR, "the second one Qwen3-30B-Thinking"], [None, "Thinking"]),
        (["two Qwen3-30B, the second one Coder, on a 5090"], [None, "Coder"]),
    ],
)
def test_one_of_the_copies_is_another_variant(turns: list[str], variants: list[str | None]) -> None:
    reading = read(turns)
    assert [(m.name, m.size_b, m.variant, m.copies) for m in reading.models] == [("Qwen3", 30, v, 1) for v in variants]
    assert reading.models_relation == "together"
    assert reading.same_model is False


@pytest.mark.parametrize(
    "turns",
    [
        [PAIR, "which one is the better coder?"],
        [PAIR, "my team are coders, add a chat page"],
        ["Qwen3-30B on a 4090", "second one coder"],
        ["two Qwen3-30B for a coder, the second card is a 3090"],
    ],
)
def test_what_is_no_variant_splits_nothing(turns: list[str]) -> None:
    assert len(read(turns).models) == 1


def test_a_variant_for_both() -> None:
    assert read([PAIR, "both coder"]).models == (ModelAsk("Qwen3", 30, "Coder", copies=2),)


@pytest.mark.parametrize(
    ("turns", "precisions", "relation"),
    [
        (["Qwen3-32B in AWQ and FP8 on a 5090?"], ["awq", "fp8"], "alternatives"),
        (["квен3 32б в awq и в fp8 на 5090"], ["awq", "fp8"], "alternatives"),
        (["Qwen3-32B on a 5090 in AWQ, FP8 and int8?"], ["awq", "fp8", "int8"], "alternatives"),
        (["Qwen3-32B in AWQ and FP8 both at once on a 5090?"], ["awq", "fp8"], "together"),
        (["квен3 32б в awq и fp8 сразу обе на RTX PRO 6000"], ["awq", "fp8"], "together"),
        (["two Qwen3-32B in AWQ and FP8 on an H100"], ["awq", "fp8"], "together"),
        (["two Qwen3-32B, one in int4, the other in fp16, on an H100"], ["int4", "fp16"], "together"),
        (["Qwen3-32B on a 5090?", "and in AWQ and FP8?"], ["awq", "fp8"], "alternatives"),
    ],
)
def test_two_precisions_of_one_model(turns: list[str], precisions: list[str], relation: str) -> None:
    reading = read(turns)
    assert [(m.name, m.size_b, m.precision, m.copies) for m in reading.models] == [
        ("Qwen3", 32, precision, 1) for precision in precisions
    ]
    assert reading.models_relation == relation
    assert reading.same_model is (False if relation == "together" else None)


@pytest.mark.parametrize(
    "text",
    [
        "Qwen3-32B in AWQ with fp8 kv cache on a 5090",
        "Qwen3-32B AWQ and 16 bit activations on a 5090",
        "Qwen3-32B awq or fp8 on a 5090?",
    ],
)
def test_one_precision_stays_one(text: str) -> None:
    assert [m.precision for m in read([text]).models] == ["awq"]
