"""What a friend would say: the verdict and the advice first, estimates as bands, one choice out of several."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from talking import FOUNDING_CARD, talk

from tools.domain import Option, Plan
from tools.units import span


def recommended(plan: Plan | None) -> Option:
    """The option that a plan recommends."""
    assert plan is not None
    return next(option for option in plan.options if option.id == plan.recommended)


def test_a_model_is_quoted_as_it_was_said(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING_CARD)
    assert "«Qwen 30B» понято как" in turn.answer_markdown
    near = next(line for line in turn.answer_markdown.splitlines() if "«Qwen 30B»" in line)
    assert near.count("Qwen/") == 1 + 3


@pytest.mark.parametrize("question", [FOUNDING_CARD, "Will Llama 3.3 70B run on a single RTX 4090?"])
def test_speeds_and_waits_are_bands(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    assert turn.plan is not None
    assert turn.grounded
    for option in turn.plan.options[:6]:
        speed = option.costs.decode_tokens_per_s
        if speed:
            assert f"≈ {span(speed.low, speed.high)} |" in turn.answer_markdown
        if option.costs.wake_s:
            assert f"≈ {span(option.costs.wake_s.low, option.costs.wake_s.high)} с" in turn.answer_markdown


def test_the_advice_follows_the_verdict(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING_CARD)
    paragraphs = turn.answer_markdown.split("\n\n")
    assert paragraphs[0].startswith("**Да, но не в BF16.** 2 × Qwen3-30B-A3B (BF16)")
    assert paragraphs[1].startswith("**Рекомендую:")


def test_what_was_asked_for_outright_is_refused_outright(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "2x Qwen3-30B in bf16 on an RTX PRO 6000?")
    assert turn.answer_markdown.startswith("**Not as asked, but there are ways.**")


def test_files_that_are_needed_anyway_are_no_cost(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING_CARD)
    rows = [line for line in turn.answer_markdown.splitlines() if line.startswith("|") and "≈" in line]
    shared = next(row for row in rows if "Один движок" in row)
    smaller = next(row for row in rows if "FP8 + FP8" in row)
    assert "скачать" not in shared
    assert "скачать" in smaller


def test_the_cache_is_told_in_requests(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Will gpt-oss-120b fit on an H100?")
    assert turn.plan is not None
    [instance] = turn.plan.as_asked.instances
    tokens, at_once = instance.footprint.kv_pool_tokens, int(instance.footprint.max_concurrency or 0)
    assert f"holds {tokens:,} tokens, so requests of 8,192 tokens at once: {at_once}" in turn.answer_markdown


def test_status_of_a_source_is_said_once(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "mixtral 8x7b on 2x 4090")
    said = [s.strip() for line in turn.answer_markdown.splitlines() for s in re.split(r"(?<=\.)\s|^- ", line)]
    long = [s for s in said if len(s) > 40 and s.endswith(".")]
    assert len(long) == len(set(long))


def test_number_of_cards_comes_first_and_is_the_planners(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "сколько 3090 нужно для qwen2.5 72b в int4 на 10 пользователей с контекстом 16к?")
    assert turn.plan is not None
    count = len(turn.plan.request.rig.gpus)
    assert turn.answer_markdown.startswith(f"**Нужно карт NVIDIA GeForce RTX 3090: {count} ")
    assert turn.plan.as_asked.verdict == "fits"
    [fewer] = talk(tmp_path, f"qwen2.5 72b в int4 на {count - 1}x3090 на 10 пользователей с контекстом 16к", thread="2")
    assert fewer.plan is not None
    assert fewer.plan.as_asked.verdict == "does_not_fit"


def test_files_are_made_for_the_number_of_cards_that_was_found(tmp_path: Path) -> None:
    asked, made = talk(tmp_path, "сколько 3090 нужно для qwen3 32b?", "сделай compose")
    assert asked.plan is not None
    assert made.plan is not None
    assert len(made.plan.request.rig.gpus) == len(asked.plan.request.rig.gpus) > 1
    assert made.artifacts


def test_cards_on_choice_are_laid_side_by_side(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "3x3090 or A100 80GB for qwen3 32b?")
    assert turn.answer_markdown.startswith("**Take A100 80 GB")
    assert "| 3 × RTX 3090 | with changes | FP8 |" in turn.answer_markdown
    assert turn.plan is not None
    assert [gpu.name for gpu in turn.plan.request.rig.gpus] == ["NVIDIA A100 SXM 80GB"]


def test_models_on_choice_share_the_name_that_was_said(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "8B or 14B qwen3 on a 4060 Ti 16GB?")
    assert "| Qwen3 8B |" in turn.answer_markdown
    assert turn.plan is not None
    assert [i.model.name for i in turn.plan.request.instances] == ["Qwen/Qwen3-14B"]


def test_separate_setups_are_each_planned(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "llama 70b на 3090 и qwen 32b на a100 80gb — две отдельные машины")
    assert "Отдельных установок: 2" in turn.answer_markdown
    assert "| Llama 70B, RTX 3090 |" in turn.answer_markdown
    assert "Qwen 32B, A100 80 GB" in turn.answer_markdown


@pytest.mark.parametrize(
    "question",
    [
        "Will Llama 3.3 70B run on a single RTX 4090?",
        "llama 3.1 8b on a 4060 Ti 8GB?",
        "qwen2.5 7b on a 3060 12GB with 32k context",
        "qwen3 30b on a 4080",
    ],
)
def test_a_crawling_option_is_recommended_only_where_nothing_else_works(tmp_path: Path, question: str) -> None:
    [turn] = talk(tmp_path, question)
    assert turn.plan is not None
    here = [o for o in turn.plan.options if o.kind not in {"more_hardware", "share"}]
    paces = {o.id: o.costs.decode_tokens_per_s.value for o in here if o.costs.decode_tokens_per_s}
    chosen = recommended(turn.plan)
    if max(paces.values()) >= 3.0:
        assert paces[chosen.id] >= 3.0
    else:
        assert turn.plan.reason.code == "plan.reason_crawls_buy"
        assert str(turn.plan.reason.params["cards"]) in turn.answer_markdown


def test_one_engine_is_no_better_where_a_second_card_would_lie_idle(tmp_path: Path) -> None:
    one, two = talk(tmp_path, "две модели квен 30 на 98 гб, одна и та же модель", "и на двух картах?")
    assert recommended(one.plan).kind == "share"
    assert two.plan is not None
    assert two.plan.recommended == "as_asked"


def test_the_longest_context_is_that_of_one_request(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "max context for Qwen3-14B AWQ on a 3090?")
    assert "with 1 at once" in turn.answer_markdown
    assert "nothing was said), 4" not in turn.answer_markdown


def test_thanks_end_a_question(tmp_path: Path) -> None:
    _, turn = talk(tmp_path, FOUNDING_CARD, "Отлично, спасибо!")
    assert turn.answer_markdown.startswith("Пожалуйста!")
    assert turn.tool_calls == ()


def test_thanks_with_a_question_are_a_question(tmp_path: Path) -> None:
    _, turn = talk(tmp_path, FOUNDING_CARD, "спасибо, а если вторую в int4?")
    assert turn.plan is not None
    assert turn.plan.verdict == "fits"


def test_a_card_the_engine_does_not_run_on_is_said_first(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Mac Studio M2 Ultra 192GB, llama 70b?")
    assert turn.answer_markdown.startswith("**vLLM does not run on Apple M2 Ultra 192GB")


def test_speed_comes_first_where_it_was_asked(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "How fast will gpt-oss-120b run on an RTX PRO 6000?")
    assert re.match(r"\*\*One request at a time runs at about \d+–\d+ tokens/s", turn.answer_markdown)


@pytest.mark.parametrize(
    "text",
    ["😀😀😀🚀", "Q" * 20_001, "https://example.com/a/b", "**[x](javascript:1)** <img src=x onerror=y> on a 3090"],
)
def test_odd_messages_get_a_short_answer(tmp_path: Path, text: str) -> None:
    [turn] = talk(tmp_path, text)
    assert 0 < len(turn.answer_markdown) < 1500
    assert "<img" not in turn.answer_markdown


def test_what_can_be_read_from_a_log_is_used(tmp_path: Path) -> None:
    log = (
        "torch.OutOfMemoryError: CUDA out of memory. vllm serve Qwen/Qwen2.5-14B-Instruct --max-model-len 32768 "
        "on RTX 3090"
    )
    [turn] = talk(tmp_path, log)
    assert "Qwen2.5-14B-Instruct" in turn.answer_markdown
    assert "Paste the start-up log" in turn.answer_markdown
    assert turn.plan is not None
    assert turn.plan.request.instances[0].context == 32_768


@pytest.mark.parametrize(
    ("question", "again", "file"),
    [
        ("две модели квен 30, карта rtx pro 6000", "теперь для vllm", "serve"),
        ("two Qwen3-8B on an RTX PRO 6000", "now for compose", "compose.yaml"),
    ],
)
def test_another_kind_of_files_is_asked_for_in_a_word(tmp_path: Path, question: str, again: str, file: str) -> None:
    _, turn = talk(tmp_path, question, again)
    assert [call for call in turn.tool_calls if call["name"] == "generate_launch_config"]
    assert any(file in path.name for path in turn.artifacts), turn.artifacts


def test_a_stated_precision_leads_without_a_card_too(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "How much memory does Llama 3.3 70B need in 4 bits?")
    assert re.match(r"\*\*Llama-3.3-70B-Instruct: 4\d\.\d GiB in (AWQ|W4A16)\*\*", turn.answer_markdown)


def test_two_mild_changes_are_found_before_a_harsh_one(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Qwen3-8B on a 4090 with 20 users")
    chosen = recommended(turn.plan)
    assert chosen.costs.context_tokens == 8192
    assert all(i.deployment.max_num_seqs == 20 for i in chosen.placement.instances)


def test_a_smaller_sibling_is_of_the_same_kind(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Qwen3-14B on a 4090 with 20 users")
    assert turn.plan is not None
    assert not any("VL" in str(option.title.params) for option in turn.plan.options)


def test_what_is_compared_is_on_choice(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "сравни qwen3 32b на a100 80gb и на h100")
    assert "| **H100** |" in turn.answer_markdown
    assert turn.plan is not None
    assert len(turn.plan.request.rig.gpus) == 1


def test_one_question_is_asked_of_a_bare_card(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "3090")
    assert turn.asks == ("Which model do you want to run?",)


def test_a_card_known_by_its_memory_is_named_in_the_answers_language(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "три копии qwen3 14b на 2x24 гб")
    assert "(BF16) на 2 × 24 GB:" in turn.answer_markdown
    assert "карта на 24 GB" in turn.answer_markdown


def test_free_memory_in_a_log_is_not_the_cards(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Available KV cache memory: 3.21 GiB. vllm serve Qwen/Qwen3-14B-FP8, RTX 4090 3.21 GiB")
    assert turn.plan is not None
    assert all(gpu.memory_bytes > 20 * 2**30 for gpu in turn.plan.request.rig.gpus)
