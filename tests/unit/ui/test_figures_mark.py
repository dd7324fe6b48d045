"""The line under an answer says who wrote it and how its figures were found."""

from __future__ import annotations

import pytest

from agent.events import AnswerText, Finished, PastTurn, TurnResult
from ui.turns import Turn, figures_mark, past_messages


def turn(llm: str = "m", *, checked: int = 3, taken_out: int = 0, grounded: bool = True) -> TurnResult:
    return TurnResult("t", "It fits.", "en", {}, llm=llm, checked=checked, taken_out=taken_out, grounded=grounded)


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (turn(), "checked", "Written by m. Figures checked: 3; all have a source."),
        (turn(checked=0), "bare", "Written by m. It has no figures to check."),
        (turn(taken_out=2, grounded=False), "taken_out", "taken out for want of a source: 2."),
        (turn(taken_out=1), "taken_out", "taken out for want of a source: 1."),
        (turn("embedded"), "rules", "No model wrote this; figures of the calculation: 3."),
        (turn("embedded", grounded=False), "unproven", "Not every figure"),
    ],
)
def test_each_case_has_words_of_its_own(result: TurnResult, kind: str, words: str) -> None:
    mark = figures_mark(result, "en")
    assert f'class="rf-mark rf-mark-{kind}"' in mark
    assert words in mark


@pytest.mark.parametrize("result", [turn("embedded", checked=0), turn(""), PastTurn("q", "a")])
def test_where_there_is_nothing_to_say_nothing_is_said(result: TurnResult | PastTurn) -> None:
    assert figures_mark(result, "en") == ""


def test_a_models_name_is_no_markup() -> None:
    assert "<img" not in figures_mark(turn("<img src=x>"), "ru")


def test_the_mark_comes_with_the_end_and_after_a_reload() -> None:
    shown = Turn("q", "en")
    shown.apply(AnswerText("It fits."))
    assert "rf-mark" not in shown.shown()[-1]["content"]
    shown.apply(Finished(turn()))
    assert "rf-mark-checked" in shown.shown()[-1]["content"]
    assert "rf-mark-checked" in past_messages([PastTurn("q", "It fits.", llm="m", checked=3)])[-1]["content"]
