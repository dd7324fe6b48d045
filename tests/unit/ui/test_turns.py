from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agent.events import AnswerText, Finished, Notice, PastTurn, StepFinished, StepStarted, TurnResult
from ui.turns import Turn, past_messages, plain_markdown


def test_a_turn_grows_in_order() -> None:
    turn = Turn("hello", "en")
    assert [message["role"] for message in turn.shown()] == ["user"]
    turn.apply(StepStarted("look_up_specs", {}, "1"))
    assert turn.shown()[1]["metadata"]["title"] == "Look up the specs"
    turn.apply(StepFinished("look_up_specs", 0.021, True, "found <b>", "1"))
    assert turn.shown()[1]["metadata"] == {"title": "Look up the specs · 0.02 s", "status": "done"}
    assert "<b>" not in turn.shown()[1]["content"]
    turn.apply(AnswerText("It "))
    turn.apply(AnswerText("fits."))
    assert turn.shown()[-1] == {"role": "assistant", "content": "It fits."}
    turn.apply(Notice("set aside"))
    turn.apply(Finished(TurnResult("t", "It fits.", "en", {}, suggestions=("64k?",))))
    assert turn.finished
    assert turn.shown()[-1]["options"] == [{"value": "64k?"}]
    assert "set aside" in turn.shown()[-1]["content"]


def test_a_failed_step_says_so_and_a_failed_turn_keeps_what_it_has() -> None:
    turn = Turn("привет", "ru")
    turn.apply(StepFinished("search_web", 0.5, False, "нет сети"))
    assert "не вышло" in turn.shown()[1]["metadata"]["title"]
    turn.apply(AnswerText("Половина"))
    turn.fail("Что-то сломалось.")
    assert turn.shown()[-1]["content"] == "Половина\n\nЧто-то сломалось."


def test_a_stored_conversation_looks_as_it_did() -> None:
    step = StepFinished("calculate_vram", 0.01, True, "ok")
    messages = past_messages([PastTurn("q", "a", (step,)), PastTurn("q2", "a2")])
    assert [message["content"] for message in messages] == ["q", "ok", "a", "q2", "a2"]


def test_follow_up_questions_come_back_under_the_last_answer_only() -> None:
    messages = past_messages([PastTurn("q", "a", suggestions=("64k?",)), PastTurn("q2", "a2", suggestions=("fp8?",))])
    assert [message.get("options") for message in messages] == [None, None, None, [{"value": "fp8?"}]]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_what_was_typed_is_never_markup(words: str) -> None:
    allowed = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "softbreak", "hardbreak"}
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(plain_markdown(words).strip())
    inner = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in [*tokens, *inner]} <= allowed, words
