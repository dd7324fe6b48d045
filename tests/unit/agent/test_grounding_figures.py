"""Every figure is matched by value and kind of unit, within the rounding it is shown in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.answer.mending import Mending
from agent.grounding import Facts, figures, ungrounded
from agent.state import State


def facts(**data: float) -> Facts:
    found = Facts()
    found.add_data(data)
    return found


@given(st.integers(min_value=2**20, max_value=2**45))
def test_what_the_templates_print_of_a_fact_is_grounded(size: int) -> None:
    known = facts(weights_bytes=size)
    assert ungrounded(f"It takes {size / 2**30:.1f} GiB.", known) == ()
    assert ungrounded(f"It takes **{size / 2**30:.2f}\u00a0GiB**.", known) == ()


@given(st.integers(min_value=2**33, max_value=2**45), st.sampled_from([0.97, 1.03, 2.0, 1.0737]))
def test_another_size_is_not(size: int, wrong: float) -> None:
    assert ungrounded(f"{size * wrong / 2**30:.2f} GiB", facts(weights_bytes=size))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("113.7 GiB", "bytes", 113.7 * 2**30),
        ("97,887 MiB", "bytes", 97_887 * 2**20),
        ("8 192 токенов", "tokens", 8192),
        ("8,192 tokens", "tokens", 8192),
        ("≈ 152 токенов/с", "speed", 152),
        ("30,5 млрд", "params", 30.5e9),
        ("98 ГБ", "bytes", 98e9),
        ("25 с;", "seconds", 25),
    ],
)
def test_figures_in_both_languages(text: str, kind: str, value: float) -> None:
    [figure] = figures(text)
    assert (figure.kind, pytest.approx(figure.value)) == (kind, value)


def test_names_and_plain_counts_are_no_figures() -> None:
    assert figures("Qwen3-30B-A3B, RTX 4090, fp8, section 4.2, 3 options") == ()


def test_the_kind_of_unit_counts() -> None:
    known = facts(kv_pool_tokens=98_304)
    assert ungrounded("98,304 tokens", known) == ()
    assert ungrounded("98,304 MiB", known) == ("98,304 MiB",)


def conversation(said: str, result: str) -> State:
    messages = [
        HumanMessage(said),
        AIMessage("", tool_calls=[{"name": "calculate_vram", "args": {}, "id": "1"}]),
        ToolMessage(result, tool_call_id="1", name="calculate_vram"),
    ]
    return {"messages": messages}


def mended(text: str, state: State) -> tuple[dict[str, Any], str]:
    shown: list[str] = []
    draft = asyncio.run(Mending(state, "", shown.append, None).mend(text))
    return draft, "".join(shown)


def test_draft_is_checked_by_sentence_and_the_failing_one_replaced() -> None:
    state = conversation("I have 98 GB", '{"weights_bytes":"113.7 GiB"}')
    draft, shown = mended("Weights take 113.7 GiB. That is 150 GB. Your card has 98 GB.", state)
    assert draft["grounded"] is False
    assert (draft["checked"], draft["taken_out"]) == (3, 1)
    assert shown == "Weights take 113.7 GiB. (a figure without a source was left out here) Your card has 98 GB."
    assert draft["text"] == shown


def test_grounded_draft_is_kept_to_the_letter() -> None:
    text = "Weights: 113.7 GiB.\n\n| a | b |\n|---|---|\n| x | 113.7 GiB |\n"
    draft, shown = mended(text, conversation("hi", '{"weights_bytes":"113.7 GiB"}'))
    assert draft["grounded"]
    assert draft["text"] == shown == text.strip()


def test_both_ends_of_a_range_need_a_source() -> None:
    facts = Facts()
    facts.add_data({"decode_tokens_per_s": {"low": 63.7, "value": 105.0, "high": 164.0}})
    assert ungrounded("about 64–160 tokens/s", facts) == ()
    assert ungrounded("about 40–160 tokens/s", facts) == ("40 tokens/s",)
    assert ungrounded("about 64–190 tokens/s", facts) == ("190 tokens/s",)
