"""What people ask beyond "does it fit": which model, which of two, how many, how fast; figures are the calculator's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from talking import names, one_card, talk, talk_events

from agent.answer.markdown import gib, group, precision_said
from agent.events import PlanReady
from tools.capacity import ladder
from tools.domain import Gpu, Plan
from tools.needs import cards_needed
from tools.picking.picks import Pick, Use, picks
from tools.picking.result import CONTEXT
from tools.plan.costs import slowest
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.units import span


def card(name: str) -> Gpu:
    """A card of the catalogue."""
    return GpuCatalogue.load().find(name).gpu


def planned(model: str, gpu: str, *, engine: str | None = None) -> Plan:
    """The plan of a model on a card, with the command line's defaults."""
    return make_plan(resolve_arguments([model], gpu=[gpu], engine=engine))


def row(pick: Pick, language: str) -> str:
    """How a table shows a pick from its precision on."""
    speed = pick.decode_tokens_per_s
    shown = f"≈ {span(speed.low, speed.high)}" if speed else "—"
    precision = precision_said(pick.precision, language)
    return f"| {precision} | {gib(pick.weights_bytes)} | {group(pick.context_tokens, language)} | {shown} |"


@pytest.mark.parametrize(
    ("question", "count", "name", "use", "users", "language"),
    [
        ("which model for my 4070", 1, "RTX 4070", "chat", 1, "en"),
        ("какую модель взять на 3090 для кода?", 1, "RTX 3090", "code", 1, "ru"),
        ("best model for 2x3090", 2, "RTX 3090", "chat", 1, "en"),
        ("which model for 8 users on an A100 80GB?", 1, "A100 80GB", "chat", 8, "en"),
        ("какую модель для длинного контекста поставить на 5090?", 1, "RTX 5090", "long_context", 1, "ru"),
        ("which model is the fastest on a 3060?", 1, "RTX 3060", "speed", 1, "en"),
    ],
)
def test_a_model_is_chosen_for_a_card(
    tmp_path: Path, question: str, count: int, name: str, use: Use, users: int, language: str
) -> None:
    [turn] = talk(tmp_path, question)
    expected = picks([card(name)] * count, context=CONTEXT[use], users=users, use=use)
    first, *_ = turn.answer_markdown.splitlines()
    assert expected[0].model.rpartition("/")[2] in first
    for pick in expected:
        assert pick.model.rpartition("/")[2] in turn.answer_markdown
        assert row(pick, language) in turn.answer_markdown
    assert ("How they were chosen" if language == "en" else "Как выбрано") in turn.answer_markdown
    assert turn.grounded
    assert turn.asks == ()
    assert turn.suggestions


def test_a_follow_up_chooses_again(tmp_path: Path) -> None:
    _, second = talk(tmp_path, "which model for my 3090?", "and for code?")
    first, *_ = second.answer_markdown.splitlines()
    expected = picks([card("RTX 3090")], context=CONTEXT["code"], users=1, use="code")[0]
    assert "for code" in first
    assert expected.model.rpartition("/")[2] in first


def test_a_suggestion_is_planned_as_it_says(tmp_path: Path) -> None:
    [chosen] = talk(tmp_path, "which model for my 3090?")
    [_, planned_turn] = talk(tmp_path / "again", "which model for my 3090?", chosen.suggestions[0])
    expected = picks([card("RTX 3090")], context=CONTEXT["chat"], users=1)[0]
    assert planned_turn.plan is not None
    assert planned_turn.plan.request.instances[0].model.name == expected.model
    assert planned_turn.plan.as_asked.instances[0].deployment.checkpoint.precision == expected.precision


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("which model can I run with 64 GB of RAM and no GPU?", "In 64 GB of RAM"),
        ("какую модель запустить без видеокарты, 32 гб оперативки?", "В 32 ГБ RAM"),
    ],
)
def test_a_model_is_chosen_for_ram_alone(tmp_path: Path, question: str, said: str) -> None:
    [turn] = talk(tmp_path, question)
    assert said in turn.answer_markdown
    assert "GGUF" in turn.answer_markdown
    assert "llama.cpp" in turn.answer_markdown


@pytest.mark.parametrize("question", ["на что хватит 12 гб видеопамяти?", "RTX 4090"])
def test_a_card_alone_is_asked_about_with_examples(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    assert turn.asks
    assert any(word in turn.answer_markdown for word in ("Fits there, for example", "Там поместится, например"))


@pytest.mark.parametrize(
    "question", ["compare Qwen3-32B and Qwen3-14B on a 3090", "сравни qwen3-32b и qwen3-14b на 3090"]
)
def test_two_models_on_a_card_are_laid_side_by_side(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    for model in ("Qwen/Qwen3-32B", "Qwen/Qwen3-14B"):
        plan = planned(model, "RTX 3090")
        speed = slowest(plan.placement(), plan.request.rig.gpus)
        assert speed is not None
        band = span(speed.decode_tokens_per_s.low, speed.decode_tokens_per_s.high)
        assert f"≈ {band}" in turn.answer_markdown
    assert turn.answer_markdown.count("3090") >= 1
    assert turn.grounded


@pytest.mark.parametrize(
    ("question", "model", "cards"),
    [
        ("H100 or H200 for DeepSeek-R1?", "deepseek-ai/DeepSeek-R1", ("H100", "H200")),
        ("4090 или 5090 для Llama 3.3 70B в bf16?", "meta-llama/Llama-3.3-70B-Instruct@bf16", ("RTX 4090", "RTX 5090")),
    ],
)
def test_where_one_of_each_is_too_few_it_says_how_many_would_do(
    tmp_path: Path, question: str, model: str, cards: tuple[str, ...]
) -> None:
    [(turn, events)] = talk_events(tmp_path, question)
    name, _, word = model.partition("@")
    found = cards_needed(
        [(ModelCatalogue.load().find(name).spec, word or "any")], GpuCatalogue.load(), context=8192, users=4,
        cards=[card(one) for one in cards],
    )  # fmt: skip
    _, said, *_ = [line for line in turn.answer_markdown.splitlines() if line]
    for need in found:
        count = need.count or ("more than 8" if turn.language == "en" else "больше 8")
        assert f"{count} ({precision_said(need.precision, turn.language)})" in said.partition(need.card)[2]
    assert turn.plan is not None
    assert [event for event in events if isinstance(event, PlanReady)] == [PlanReady(turn.plan)]
    assert len(turn.plan.request.rig.gpus) == 1
    assert turn.grounded
    [_, more] = talk(tmp_path / "more", question, turn.suggestions[0])
    assert more.plan is not None
    assert more.plan.as_asked.verdict == "fits"
    assert any(len(more.plan.request.rig.gpus) == need.count for need in found)


def test_cards_are_not_counted_where_one_of_them_is_enough(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "3090 or H200 for Llama 3.3 70B?")
    assert names(turn).count("calculate_vram") == 1


@pytest.mark.parametrize("question", ["compare Qwen3-30B-A3B and Qwen3-32B", "сравни qwen3-30b-a3b и qwen3-32b"])
def test_two_models_without_a_card_are_compared_by_size(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    language = "en" if question.startswith("compare") else "ru"
    first, *_ = turn.answer_markdown.splitlines()
    assert first.count("Qwen3-30B-A3B") == 2  # it takes less and it is faster
    for name in ("Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-32B"):
        rungs = ladder(ModelCatalogue.load().find(name).spec, context=8192, users=4)
        native, four = rungs[0], next(rung for rung in rungs if rung.bits <= 4)
        for rung in (native, four):
            assert precision_said(rung.precision, language) in turn.answer_markdown
            assert gib(rung.parameter_bytes) in turn.answer_markdown
            assert gib(rung.total_bytes) in turn.answer_markdown
    assert turn.asks
    assert turn.grounded


@pytest.mark.parametrize("question", ["compare AWQ and FP8 for Qwen3-32B", "сравни awq и fp8 для qwen3-32b"])
def test_two_formats_without_a_card_are_compared(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    assert "None" not in turn.answer_markdown
    spec = ModelCatalogue.load().find("Qwen/Qwen3-32B").spec
    for word in ("awq", "fp8"):
        [rung] = ladder(spec, context=8192, users=4, precision=word)[:1]
        assert gib(rung.parameter_bytes) in turn.answer_markdown
    assert turn.grounded


@pytest.mark.parametrize("question", ["compare 4090 and 5090", "4090 или 5090?"])
def test_two_cards_are_compared_without_a_model(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    first, *_ = turn.answer_markdown.splitlines()
    assert first.count("5090") == 2  # more memory and faster
    for name in ("RTX 4090", "RTX 5090"):
        gpu = card(name)
        assert gib(gpu.cuda_total_bytes) in turn.answer_markdown
        assert gpu.bandwidth_bytes_per_s
        language = "en" if question.startswith("compare") else "ru"
        assert f"{group(gpu.bandwidth_bytes_per_s / 1e9, language)} GB/s" in turn.answer_markdown
        best = picks([gpu], context=8192, users=1)[0]
        assert best.model.rpartition("/")[2] in turn.answer_markdown
    assert turn.grounded


def test_cards_with_equal_memory_are_said_to_be_equal(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "3090 или 4090?")
    assert "Памяти поровну" in turn.answer_markdown
    assert "Быстрее: NVIDIA GeForce RTX 4090" in turn.answer_markdown


def test_cards_are_compared_for_a_model(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "compare 3090 and 4090 for Qwen3-32B")
    for name in ("RTX 3090", "RTX 4090"):
        plan = planned("Qwen/Qwen3-32B", name)
        speed = slowest(plan.placement(), plan.request.rig.gpus)
        assert speed is not None
        band = span(speed.decode_tokens_per_s.low, speed.decode_tokens_per_s.high)
        assert f"≈ {band}" in turn.answer_markdown


def test_engines_are_compared_for_a_model(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "vllm or llama.cpp for Qwen3-8B on a 3090?")
    assert names(turn) == ["look_up_specs", "calculate_vram"]
    for engine, said in (("vllm", "vLLM"), ("llama.cpp", "llama.cpp")):
        plan = planned("Qwen/Qwen3-8B", "RTX 3090", engine=engine)
        speed = slowest(plan.placement(), plan.request.rig.gpus)
        assert speed is not None
        assert said in turn.answer_markdown
        band = span(speed.decode_tokens_per_s.low, speed.decode_tokens_per_s.high)
        assert f"≈ {band}" in turn.answer_markdown


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("сравни vllm и ollama", "Много запросов сразу"),
        ("vllm vs llama.cpp for a single user?", "For one person"),
        ("how fast is MTP?", "1.8 times"),
        ("насколько MTP ускоряет?", "в 1.8 раза"),
        ("GGUF or AWQ?", "AWQ is 4-bit weight quantisation"),
        ("tensor parallel or pipeline parallel?", "Inside a machine prefer tp"),
        ("does quantization hurt quality?", "effectively lossless"),
        ("насколько падает качество в 4 битах?", "практически без потерь"),
        ("can I mix a 3090 and a 4090?", "--tensor-split"),
        ("можно ли объединить 3090 и 4060?", "--tensor-split"),
        ("does vLLM work on Windows?", "WSL2"),
        ("работает ли vllm на amd?", "ROCm"),
        ("vllm говорит no available memory for the cache blocks, что делать?", "поднимите её"),
    ],
)
def test_general_questions_are_explained_at_once(tmp_path: Path, question: str, said: str) -> None:
    [turn] = talk(tmp_path, question)
    assert names(turn) == ["explain_term"]
    assert said in turn.answer_markdown
    assert turn.asks == ()
    assert turn.sources
    assert turn.grounded


@pytest.mark.parametrize(
    ("question", "plainly", "model"),
    [
        ("how do I fine-tune Qwen3-8B on a 4090?", "I don't compute training", "Qwen/Qwen3-8B"),
        ("как дообучить qwen3-8b на 4090?", "Обучение я не считаю", "Qwen/Qwen3-8B"),
        ("can I run whisper and Qwen3-8B on a 4090?", "I don't compute speech models", "Qwen/Qwen3-8B"),
    ],
)
def test_outside_is_said_plainly_and_running_is_computed(
    tmp_path: Path, question: str, plainly: str, model: str
) -> None:
    [turn] = talk(tmp_path, question)
    assert plainly in turn.answer_markdown
    plan = planned(model, "RTX 4090")
    weights = sum(one.footprint.parameter_bytes for one in plan.as_asked.instances)
    assert gib(weights) in turn.answer_markdown
    assert turn.grounded


@pytest.mark.parametrize(
    ("question", "plainly"),
    [
        ("can I run FLUX on my 3060?", "I don't compute models that draw"),
        ("потянет ли 4090 wan 2.1 видео?", "Видеомодели я не считаю"),
        ("сколько стоит аренда h100?", "Цен у меня нет"),
        ("какая модель умнее?", "Качество ответов я не сужу"),
    ],
)
def test_outside_alone_is_said_plainly(tmp_path: Path, question: str, plainly: str) -> None:
    [turn] = talk(tmp_path, question)
    assert plainly in turn.answer_markdown
    assert turn.grounded


def test_the_cost_of_a_model_comes_with_the_cards_it_takes(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "how much does it cost to run llama 70b in the cloud?")
    assert "I keep no prices" in turn.answer_markdown
    assert "H200" in turn.answer_markdown


def test_a_plan_under_way_is_not_answered_with_a_term(tmp_path: Path) -> None:
    _, second = talk(tmp_path, "Qwen3-14B on a 4090?", "and in AWQ?")
    assert "explain_term" not in names(second)
    assert second.plan is not None


def test_a_panel_card_is_chosen_for(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "which model should I take?", panel=one_card("RTX 5090"))
    best = picks([replace(card("RTX 5090"))], context=CONTEXT["chat"], users=1)[0]
    assert best.model.rpartition("/")[2] in turn.answer_markdown
