"""A reload shows what was said, done and made; threads are listed and can be forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

from talking import FOUNDING_CARD, talk

from agent.events import History, ThreadInfo
from agent.session import Assistant
from tools.settings import Settings


def look_back(folder: Path, thread: str = "t") -> tuple[History, tuple[ThreadInfo, ...]]:
    async def run() -> tuple[History, tuple[ThreadInfo, ...]]:
        async with Assistant.open(Settings(data_dir=folder, network=False), rig=None) as assistant:
            return await assistant.history(thread), await assistant.threads()

    return asyncio.run(run())


def test_history_after_a_restart(tmp_path: Path) -> None:
    first, second = talk(tmp_path, FOUNDING_CARD, "сделай docker-compose")
    history, threads = look_back(tmp_path)
    assert [t.user for t in history.turns] == [FOUNDING_CARD, "сделай docker-compose"]
    assert [t.answer_markdown for t in history.turns] == [first.answer_markdown, second.answer_markdown]
    assert [s.name for s in history.turns[0].steps] == [c["name"] for c in first.tool_calls]
    assert history.turns[0].plan == first.plan
    assert history.turns[1].files == second.artifacts
    assert [t.suggestions for t in history.turns] == [first.suggestions, second.suggestions]
    assert first.suggestions
    assert [t.thread_id for t in threads] == ["t"]
    assert threads[0].title == FOUNDING_CARD[:80]


def test_files_deleted_since_are_not_offered(tmp_path: Path) -> None:
    _, second = talk(tmp_path, FOUNDING_CARD, "сделай docker-compose")
    second.artifacts[0].unlink()
    history, _ = look_back(tmp_path)
    assert history.turns[1].files == second.artifacts[1:]


def test_unknown_thread_has_no_history(tmp_path: Path) -> None:
    history, threads = look_back(tmp_path, "never")
    assert history.turns == ()
    assert threads == ()


def test_forgotten_thread_is_gone(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING_CARD)

    async def forget() -> None:
        async with Assistant.open(Settings(data_dir=tmp_path, network=False), rig=None) as assistant:
            await assistant.forget("t")

    asyncio.run(forget())
    history, threads = look_back(tmp_path)
    assert history.turns == ()
    assert threads == ()


def test_long_conversation_stays_small_on_disk(tmp_path: Path) -> None:
    talk(tmp_path, FOUNDING_CARD, *["а если вторую в int4?", "а если вторую в fp8?"] * 4)
    size = sum(p.stat().st_size for p in tmp_path.glob("threads.sqlite*"))
    assert size < 6 << 20
