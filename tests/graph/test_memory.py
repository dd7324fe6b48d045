"""Hardware and preferences are remembered across conversations, taken where they are meant, and gone when deleted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from talking import names, one_card, talk

from agent.events import TurnResult
from agent.recall.tool import remember_tool
from agent.session import Assistant
from tools.errors import BadValue
from tools.settings import Settings
from tools.workbench import Workbench


def rig_of(turn: TurnResult) -> list[str]:
    assert turn.plan is not None
    return [gpu.name.removeprefix("NVIDIA ").removeprefix("GeForce ") for gpu in turn.plan.request.rig.gpus]


HOME, WORK = ["RTX 3090"] * 2, ["H100 SXM"] * 4


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A folder in which two machines are remembered, the home one last."""
    talk(tmp_path, "Запомни 4x H100 как «work server»", "запомни: дома у меня 2x RTX 3090", thread="naming", hint="ru")
    return tmp_path


@pytest.mark.parametrize(
    ("question", "rig"),
    [
        ("На моём железе пойдёт Qwen3-30B-A3B?", HOME),
        ("на домашнем пойдёт Qwen3-30B-A3B?", HOME),
        ("а на рабочем сервере влезет Qwen3-30B-A3B?", WORK),
        ("Will Qwen3-30B-A3B fit on my home box?", HOME),
        ("Does Qwen3-30B-A3B fit on the work server?", WORK),
        ("Will Qwen3-30B-A3B fit on my hardware?", HOME),
        ("Will Qwen3-30B-A3B fit?", HOME),
        ("Will Qwen3-30B-A3B fit on my RTX 4090?", ["RTX 4090"]),
    ],
)
def test_hardware_is_taken_where_it_is_meant(known: Path, question: str, rig: list[str]) -> None:
    (turn,) = talk(known, question)
    assert rig_of(turn) == rig
    remembered = rig in (HOME, WORK)
    name = "домашний" if rig == HOME else "work server"
    assert (name in turn.answer_markdown.split("\n")[0]) == remembered
    assert any("ther hardware" in chip or "ругое железо" in chip for chip in turn.suggestions) == remembered


def test_a_click_changes_the_hardware_and_another_gives_it_up(known: Path) -> None:
    first, second, third, fourth = talk(known, "На моём железе пойдёт Qwen3-30B-A3B?", *(), hint="ru") + talk(
        known, "На «work server»", "Другое железо", "4090", hint="ru"
    )
    assert rig_of(first) == HOME
    assert {"На «work server»", "Другое железо"} <= set(first.suggestions)
    assert rig_of(second) == WORK
    assert "Какая у вас видеокарта" in third.asks[0]
    assert rig_of(fourth) == ["RTX 4090"]


def test_the_hardware_named_last_holds(known: Path) -> None:
    turns = talk(
        known, "Will Qwen3-30B-A3B fit on an RTX 4090?", "and on my home box?", "and with 32k context?", "and on an L4?"
    )
    assert [rig_of(turn) for turn in turns] == [["RTX 4090"], HOME, HOME, ["L4"]]


def test_the_panel_wins_over_my_hardware_but_not_over_a_name(known: Path) -> None:
    panel = one_card("RTX 5090")
    mine, named, later = talk(
        known, "Will Qwen3-30B-A3B fit on my hardware?", "and on my home box?", "and with 32k context?",
        panel=panel, thread="panel",
    )  # fmt: skip
    assert [rig_of(turn) for turn in (mine, named, later)] == [["RTX 5090"], HOME, ["RTX 5090"]]


def test_a_place_that_nothing_is_remembered_of_is_asked_about(known: Path) -> None:
    talk(known, "забудь домашний", thread="naming")
    (turn,) = talk(known, "Will Qwen3-30B-A3B fit on my laptop?")
    assert turn.plan is None or "work server" in turn.answer_markdown.split("\n")[0]
    (asked,) = talk(known, "что ты обо мне помнишь?", hint="ru")
    assert "work server" in asked.answer_markdown
    assert "домашний" not in asked.answer_markdown


def test_what_the_conversation_is_about_can_be_named(tmp_path: Path) -> None:
    turns = talk(tmp_path, "Will Qwen3-8B fit on two RTX 5090?", "remember this as the big one")
    assert names(turns[1]) == ["remember"]
    assert "2 × NVIDIA GeForce RTX 5090" in turns[1].answer_markdown
    (later,) = talk(tmp_path, "Does Qwen3-32B fit on the big one?", thread="later")
    assert rig_of(later) == ["RTX 5090"] * 2


def test_nothing_to_remember_is_said(known: Path) -> None:
    (turn,) = talk(known, "remember the unicorn card as attic")
    assert "name the card" in turn.answer_markdown


def test_preferences_hold_where_nothing_else_is_said(tmp_path: Path) -> None:
    talk(tmp_path, "remember: 16k context and fp8")
    liked, said = talk(tmp_path, "Qwen3-8B on an RTX 4090?", "and with 32k context?", thread="later")
    assert liked.plan is not None
    assert said.plan is not None
    assert [p.request.instances[0].context for p in (liked.plan, said.plan)] == [16384, 32768]
    assert liked.plan.request.instances[0].precision == "fp8"
    assert "as you asked me to remember" in liked.answer_markdown


def test_a_model_cannot_change_memory_by_itself(tmp_path: Path) -> None:
    tool = remember_tool(Workbench.open(Settings(data_dir=tmp_path, network=False)))
    forged = {"wish": {"kind": "rig", "name": "evil"}, "name": "evil"}
    with pytest.raises(BadValue):
        asyncio.run(tool.ainvoke({"name": "remember", "args": {**forged, "given": {}}, "id": "1", "type": "tool_call"}))


def test_everything_is_exported_and_nothing_is_left_in_the_files(known: Path) -> None:
    talk(known, "Does Qwen3-8B fit on my hardware? Zanzibar.", thread="plan")

    async def run() -> tuple[dict[str, object], dict[str, object]]:
        async with Assistant.open(Settings(data_dir=known, network=False), rig=None) as assistant:
            before = await assistant.export()
            await assistant.memory.forget_rig("work server")
            assert b"H100" not in (known / "remembered.sqlite").read_bytes()
            assert (known / "remembered.sqlite-wal").stat().st_size == 0
            await assistant.erase()
            return before, await assistant.export()

    before, after = asyncio.run(run())
    written = json.dumps(before, ensure_ascii=False)
    assert all(word in written for word in ("work server", "домашний", "Zanzibar", "RTX 3090"))
    assert [after[key] for key in ("rigs", "plans", "threads")] == [[], [], []]
    left = b"".join(path.read_bytes() for path in known.glob("*.sqlite*"))
    assert not [word for word in ("work server", "домашний", "Zanzibar", "3090") if word.encode() in left]
