"""The question it all began with, in both languages, with and without the card, and what follows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from talking import FOUNDING, FOUNDING_CARD, FOUNDING_EN, names, one_card, talk, talk_events

from agent.events import AnswerText, Asked, FilesReady, Finished, PlanReady, StepFinished, StepStarted
from agent.session import Assistant
from tools.settings import Settings


def check_founding(answer: str) -> None:
    """What every right answer to it states."""
    assert "113.7 GiB" in answer
    assert "15.7 GiB" in answer
    assert "56.9 GiB" in answer
    assert "FP8" in answer


@pytest.mark.parametrize(("question", "language"), [(FOUNDING_CARD, "ru"), (FOUNDING_EN, "en")])
def test_with_the_card(tmp_path: Path, question: str, language: str) -> None:
    [turn] = talk(tmp_path, question)
    check_founding(turn.answer_markdown)
    assert turn.language == language
    assert turn.plan is not None
    assert turn.plan.verdict == "fits_with_changes"
    assert turn.plan.as_asked.verdict == "does_not_fit"
    assert "search_web" in names(turn)
    assert turn.grounded
    assert len(turn.asks) == 1


def test_says_that_four_bits_are_half_a_byte(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING_CARD)
    assert "полбайта на вес, а не 4 байта" in turn.answer_markdown


def test_without_the_card_it_asks_and_the_memory_alone_is_a_reply(tmp_path: Path) -> None:
    first, second = talk(tmp_path, FOUNDING, "98 гб")
    assert first.plan is None
    assert first.asks == ("Какая у вас видеокарта или сколько на ней памяти?",)
    assert "56.9 GiB" in first.answer_markdown
    check_founding(second.answer_markdown)
    assert second.language == "ru"
    assert "search_web" in names(first)
    assert "search_web" not in names(second)


def test_panel_rig_answers_without_asking(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING, panel=one_card("RTX PRO 6000"))
    check_founding(turn.answer_markdown)
    assert "Железо взято из панели." in turn.answer_markdown


def test_card_in_the_text_wins_over_the_panel_and_that_is_said(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, FOUNDING_CARD, panel=one_card("RTX 3090"))
    check_founding(turn.answer_markdown)
    assert turn.plan is not None
    assert "6000" in turn.plan.request.rig.gpus[0].name
    assert "а не по панели" in turn.answer_markdown


def test_known_rig_holds_where_the_text_names_none(tmp_path: Path) -> None:
    [turn] = talk(tmp_path, "Will Qwen3-8B fit?", rig=one_card("RTX 3090"))
    assert turn.plan is not None
    assert turn.plan.verdict == "fits"
    assert "3090" in turn.answer_markdown


def test_follow_up_keeps_what_was_said(tmp_path: Path) -> None:
    _, second, third = talk(tmp_path, FOUNDING_CARD, "а если вторую в int4?", "and with 64k context?")
    assert second.plan is not None
    precisions = [i.deployment.checkpoint.precision for i in second.plan.as_asked.instances]
    assert precisions[0] == "bf16"
    assert "int4" in precisions[1]
    assert second.plan.verdict == "fits"
    assert third.plan is not None
    assert {i.context for i in third.plan.request.instances} == {40_960}
    assert third.language == "en"


def test_compose_on_request(tmp_path: Path) -> None:
    (_, _), (turn, events) = talk_events(tmp_path, FOUNDING_CARD, "сделай docker-compose")
    assert names(turn)[-1] == "generate_launch_config"
    made = {path.name for path in turn.artifacts}
    assert "compose.yaml" in made
    assert all(path.is_file() for path in turn.artifacts)
    ready = [e for e in events if isinstance(e, FilesReady)]
    assert ready[0].paths == turn.artifacts
    assert "compose.yaml" in turn.answer_markdown


def test_events_come_in_order_and_the_chunks_are_the_answer(tmp_path: Path) -> None:
    [(turn, events)] = talk_events(tmp_path, FOUNDING_CARD)
    kinds = [type(e) for e in events]
    assert kinds[-1] is Finished
    assert kinds.index(StepStarted) < kinds.index(StepFinished) < kinds.index(PlanReady) < kinds.index(Asked)
    assert kinds.index(Asked) < kinds.index(AnswerText)
    assert "".join(e.markdown_chunk for e in events if isinstance(e, AnswerText)) == turn.answer_markdown
    started = {e.id for e in events if isinstance(e, StepStarted)}
    assert started == {e.id for e in events if isinstance(e, StepFinished)}


def test_restart_continues_the_conversation(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING)
    [turn] = talk(tmp_path, "98 гб")
    check_founding(turn.answer_markdown)


def test_threads_do_not_mix(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING_CARD, thread="a")
    [turn] = talk(tmp_path, "98 GB", thread="b")
    assert turn.plan is None


@pytest.mark.parametrize(("reply", "recommended"), [("одна и та же модель", "share"), ("две разные", "precision")])
def test_the_question_back_is_answered(tmp_path: Path, reply: str, recommended: str) -> None:
    _, turn = talk(tmp_path, FOUNDING_CARD, reply)
    assert turn.plan is not None
    chosen = next(o for o in turn.plan.options if o.id == turn.plan.recommended)
    assert chosen.kind == recommended
    assert turn.asks == ()


def test_a_turn_that_was_broken_off_does_no_harm(tmp_path: Path) -> None:
    async def run() -> str:
        async with Assistant.open(Settings(data_dir=tmp_path, network=False), rig=None) as assistant:
            stream = assistant.ask(FOUNDING_CARD, thread_id="t")
            async for event in stream:
                if isinstance(event, StepFinished):
                    break
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
            last = [e async for e in assistant.ask("а если вторую в int4?", thread_id="t")][-1]
            assert isinstance(last, Finished)
            assert last.result.plan is not None
            first, _ = (await assistant.history("t")).turns
            assert (first.user, first.answer_markdown) == (FOUNDING_CARD, "Этот ответ остановлен.")
            return last.result.plan.verdict

    assert asyncio.run(run()) == "fits"


def test_fifty_conversations_at_once_do_not_mix(tmp_path: Path) -> None:
    cards = ("RTX 3090", "RTX 4090", "RTX 5090", "RTX 6000 Ada", "RTX A6000")

    async def one(assistant: Assistant, number: int) -> tuple[int, str, list[str]]:
        question = f"Will {number % 4 + 1} copies of Qwen3-8B fit on an {cards[number % 5]}? Question {number}."
        last = [e async for e in assistant.ask(question, thread_id=str(number))][-1]
        assert isinstance(last, Finished)
        assert last.result.plan is not None
        said = [turn.user for turn in (await assistant.history(str(number))).turns]
        return len(last.result.plan.request.instances), last.result.plan.request.rig.gpus[0].name, said

    async def run() -> list[tuple[int, str, list[str]]]:
        async with Assistant.open(Settings(data_dir=tmp_path, network=False), rig=None) as assistant:
            return await asyncio.gather(*(one(assistant, n) for n in range(50)))

    for number, (copies, card, said) in enumerate(asyncio.run(run())):
        assert copies == number % 4 + 1
        assert cards[number % 5].removeprefix("RTX ").split()[0] in card
        assert len(said) == 1
        assert said[0].endswith(f"Question {number}.")
