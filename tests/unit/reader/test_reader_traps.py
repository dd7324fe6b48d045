"""What questions trip a reader over: each trap by itself."""

from __future__ import annotations

import time

import pytest

from agent.reader import read
from agent.reader.report import reading_from_json, reading_json
from tools.domain import GpuAsk, ModelAsk, Reading

FOUNDING = "Ты можешь именно поискать, на моём железе пойдёт сразу 2 модели квен 30?"
CARD = " Карта RTX PRO 6000 на 98 ГБ"


def one(text: str) -> Reading:
    return read([text])


def test_the_founding_question() -> None:
    reading = one(FOUNDING + CARD)
    assert reading.language == "ru"
    assert reading.models == (ModelAsk("Qwen", 30, copies=2),)
    assert reading.gpus == (GpuAsk("RTX PRO 6000", 98, 1),)
    assert (reading.intent, reading.wants_search, reading.expect) == ("fit", True, "answer")
    assert reading.same_model is None
    assert not reading.wants_this_machine


def test_the_founding_question_without_the_card() -> None:
    reading = one(FOUNDING)
    assert reading.must_ask == ("gpu",)
    assert reading.expect == "ask"
    assert reading.wants_search
    answered = read([FOUNDING, "98 гб"])
    assert answered.gpus == (GpuAsk(None, 98, 1),)
    assert answered.models == reading.models
    assert answered.must_ask == ()


def test_the_second_instance_gets_a_precision_of_its_own() -> None:
    reading = read([FOUNDING + CARD, "а если вторую в int4?", "and with 64k context?"])
    assert [(m.name, m.precision, m.copies) for m in reading.models] == [("Qwen", None, 1), ("Qwen", "int4", 1)]
    assert reading.models_relation == "together"
    assert reading.context == 65536
    assert reading.gpus == (GpuAsk("RTX PRO 6000", 98, 1),)
    assert reading.same_model is False


@pytest.mark.parametrize(
    ("text", "size", "variant"),
    [
        ("Qwen3-235B-A22B on 8xH100", 235, "A22B"),
        ("квен3 235б а22б на 8хH100", 235, "A22B"),
        ("minimum VRAM for Hunyuan-A13B", None, "A13B"),
        ("mixtral 8x7b on a 4090", None, "8x7B"),
        ("Mixtral 7bx8 on a 4090", None, "8x7B"),
    ],
)
def test_active_parameters_and_experts_are_no_size(text: str, size: float | None, variant: str) -> None:
    (model,) = one(text).models
    assert model.size_b == size
    assert model.variant is not None
    assert variant in model.variant


@pytest.mark.parametrize(
    ("text", "gpu"),
    [
        ("4090 48GB and a 70b", GpuAsk("RTX 4090", 48, 1)),
        ("3080 20GB for a 13b", GpuAsk("RTX 3080", 20, 1)),
        ("2080 Ti 22G for a 13b", GpuAsk("RTX 2080 Ti", 22, 1)),
        ("two A40, 96GB in total, for a 70b", GpuAsk("A40", 48, 2)),
        ("три 3090 (72 гига) под 70б", GpuAsk("RTX 3090", 24, 3)),
        ("2x A6000 48GB for a 70b", GpuAsk("RTX A6000", 48, 2)),
        ("8х4090 под 70б", GpuAsk("RTX 4090", None, 8)),
        ("4 4090 for a 70b", GpuAsk("RTX 4090", None, 4)),
        ("H800*8 for a 70b", GpuAsk("H800", None, 8)),
        ("8-A100 for a 70b", GpuAsk("A100", None, 8)),
        ("2x5090's for a 70b", GpuAsk("RTX 5090", None, 2)),
        ("h-200 for a 70b", GpuAsk("H200", None, 1)),
        ("тесла т4 под 7б", GpuAsk("T4", None, 1)),
        ("А100 80 под 70б", GpuAsk("A100", 80, 1)),
        ("rtx 6000 ada for a 32b", GpuAsk("RTX 6000 Ada", None, 1)),
        ("A6000 for a 32b", GpuAsk("RTX A6000", None, 1)),
        ("rtx 6000 pro for a 32b", GpuAsk("RTX PRO 6000", None, 1)),
        ("a 96 GB card for a 32b", GpuAsk(None, 96, 1)),
        ("мак студио м2 ультра 192 под 70б", GpuAsk("Apple M2 Ultra", 192, 1, unified=True)),
        ("RTX 9099 for a 7b", GpuAsk("RTX 9099", None, 1)),
    ],
)
def test_cards(text: str, gpu: GpuAsk) -> None:
    assert one(text).gpus == (gpu,)


def test_memory_of_the_machine_is_neither_the_cards_nor_the_disks() -> None:
    reading = one("RTX 3090, 64GB of RAM and 64TB of storage, will a 32b run?")
    assert reading.gpus == (GpuAsk("RTX 3090", None, 1),)
    assert reading.ram_gb == 64
    assert one("1тб озу и 4090, дипсик р1?").ram_gb == 1024
    assert one("оперативы 32, карта 3060, 8б пойдет?").ram_gb == 32


def test_memory_already_in_use() -> None:
    assert one("24GB card with 7.2 GB taken by the desktop, 14b fits?").reserved_gb == 7.2
    assert one("карта 24 гб, браузер съел 10, влезет 14б?").reserved_gb == 10


def test_alternatives_are_not_summed() -> None:
    reading = one("одна 5090 или две 3090 под модели 32б?")
    assert reading.gpus == (GpuAsk("RTX 5090", None, 1), GpuAsk("RTX 3090", None, 2))
    assert reading.gpus_relation == "alternatives"
    assert one("4090 + 3060 под 32б").gpus_relation == "together"


@pytest.mark.parametrize(
    ("turns", "gpu"),
    [
        (["gpt-oss-120b on 2x A6000 48GB?", "sorry, 2x A5000, 24 each"], GpuAsk("RTX A5000", 24, 2)),
        (["70б на трёх 3090?", "а на двух?"], GpuAsk("RTX 3090", None, 2)),
        (["70б на двух 3090?", "а на трёх?", "нет, на две"], GpuAsk("RTX 3090", None, 2)),
        (["квен 14б на A100", "80 гиг"], GpuAsk("A100", 80, 1)),
        (["8B on a 4090", "add another 4090"], GpuAsk("RTX 4090", None, 2)),
    ],
)
def test_later_turns(turns: list[str], gpu: GpuAsk) -> None:
    assert read(turns).gpus == (gpu,)


@pytest.mark.parametrize(
    ("reply", "field", "value"),
    [
        ("дай docker-compose", "config_kind", "docker_compose"),
        ("одна и та же модель", "same_model", True),
        ("разные", "same_model", False),
        ("теперь для sglang", "engine", "sglang"),
        ("а с контекстом 32к и 8 пользователями?", "users", 8),
        ("а на 4090?", "gpus", (GpuAsk("RTX 4090", None, 1),)),
        ("а если добавить вторую карту?", "gpus", (GpuAsk("RTX PRO 6000", 98, 2),)),
        ("and what if I use fp8 for both?", "gpus", (GpuAsk("RTX PRO 6000", 98, 1),)),
        ("and what if I use fp8 for both?", "models", (ModelAsk("Qwen", 30, None, "fp8", 2),)),
        ("а три?", "models", (ModelAsk("Qwen", 30, copies=3),)),
        ("спасибо", "models", (ModelAsk("Qwen", 30, copies=2),)),
    ],
)
def test_follow_ups_keep_what_was_said(reply: str, field: str, value: object) -> None:
    assert getattr(read([FOUNDING + CARD, reply]), field) == value


def test_a_bare_number_answers_the_question_of_memory() -> None:
    assert read(["Will Qwen3-32B fit?", "24"]).gpus == (GpuAsk(None, 24, 1),)


def test_precision_of_one_model_and_of_both() -> None:
    both = one("квен кодер 32 и гемма 12, обе q8, на L40S")
    assert [m.precision for m in both.models] == ["Q8", "Q8"]
    each = one("Qwen3-14B in fp8 and Gemma-3-12B in int4 on an L40S")
    assert [m.precision for m in each.models] == ["fp8", "int4"]


def test_full_deepseek_keeps_the_askers_word() -> None:
    assert one("full DeepSeek R1 on 8xH200?").models[0].precision == "full"
    assert one("лама 8б в полной точности на 3090").models[0].precision == "full"


def test_context() -> None:
    reading = one("RTX 3090, 8B: 20k and 35k start, but --max-model-len 29k fails, KV cache holds just 23648")
    assert reading.context == 29000
    assert one("бюджет 100к рублей, карта под 13б?").context is None
    assert one("контекст 40 960 на 4090 с 8б").context == 40960
    assert one("8b on a 4090 with 1,000,000,000,000 tokens of context").context == 10**12


def test_a_model_given_by_its_file_has_no_size() -> None:
    for text in ("a 38GB model on 2x 3090?", "модель на 30 гигов влезет в 5090?"):
        (model,) = one(text).models
        assert model.size_b is None
        assert "model" in (model.name or "")


def test_shell_text_in_a_name_stays_data() -> None:
    reading = one("Will `x; rm -rf / #` 7B fit on a 4090?")
    assert reading.models == (ModelAsk("x; rm -rf / #", 7),)
    assert reading.gpus == (GpuAsk("RTX 4090", None, 1),)


def test_impossible_counts_are_for_correction() -> None:
    reading = one("How much context for Llama-3-70B on -5 H100s?")
    assert reading.gpus == (GpuAsk("H100", None, -5),)
    assert reading.expect == "correct"


def test_my_hardware_is_a_question_of_which_card() -> None:
    assert "gpu" in one("can my hardware run llama 3.1 8b?").must_ask
    here = one("can this machine run llama 3.1 8b?")
    assert here.wants_this_machine
    assert here.must_ask == ()


def test_same_and_different_models() -> None:
    assert one("the same model twice: Qwen3-14B on a 4090").same_model is True
    assert one("две одинаковые квен3 14б на 4090").same_model is True
    assert one("две разные модели по 14б на 4090").same_model is False
    assert one("two Qwen3-14B on a 4090").same_model is None


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b\u200e", "😀😀", "שלום עולם", "???", "'; DROP TABLE models;--", "{{7*7}}"]
)
def test_text_that_says_nothing(text: str) -> None:
    reading = one(text)
    assert reading.models == ()
    assert reading.gpus == ()


def test_no_turns_at_all() -> None:
    assert read([]).intent == "other"


@pytest.mark.parametrize(
    "piece", ["a", "4090 x2 qwen 30b 24gb ", "((((", "x" * 99 + " ", "1", "1.", "7b ", "-_" * 9, "ю4 ", "b-7b-"]
)
def test_a_very_long_text_is_read_in_bounded_time(piece: str) -> None:
    text = (piece * (100_000 // len(piece) + 1))[:100_000]
    one("warm up")
    start = time.process_time()
    one(text)
    assert time.process_time() - start < 1.5


def test_the_question_after_a_long_log_is_read() -> None:
    text = "INFO 01-01 loading weights\n" * 5000 + "will Qwen3-8B fit on a 4090?"
    reading = one(text)
    assert reading.models == (ModelAsk("Qwen3", 8),)
    assert reading.gpus == (GpuAsk("RTX 4090", None, 1),)


def test_json_and_back() -> None:
    reading = one(FOUNDING + CARD)
    data = reading_json(reading)
    assert data["models"] == [{"name": "Qwen", "size_b": 30, "variant": None, "precision": None, "copies": 2}]
    assert data["must_ask"] == []
    assert data["wants_search"] is True
    assert reading_from_json(data) == reading
    assert reading_from_json({"intent": "fit", "later": 1}) == Reading(intent="fit")
