"""What breaks during a turn is told on the page in one line, and the conversation goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from scripted_llm import broken_off, call, say, scripted_llm

from agent.keeping.database import database_of
from agent.keeping.keeper import Keeper
from agent.session import MAX_CHARS, MOST_CHARS, Assistant
from tools.search.web import WebSearch
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from tools.workbench import Workbench
from ui.assistants import AssistantFactory, AssistantKeeper
from ui.conversation import Conversation, Shown

QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"
PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
MEGABYTES = 2_000_000
LINE = "INFO 11-20 10:00:00 [gpu_worker.py:298] Available KV cache memory: 5.21 GiB\n"


@dataclass
class Seen:
    """What the page showed: the answer to each message, the last state of the box, and how much was sent."""

    answers: list[str] = field(default_factory=list[str])
    box: Any = None
    sent: int = 0


def talk(settings: Settings, *turns: str, factory: AssistantFactory | None = None) -> Seen:
    """Send messages one after the other on one page."""
    seen = Seen()

    async def run() -> None:
        keeper = AssistantKeeper(factory) if factory else AssistantKeeper.for_settings(settings)
        page = Conversation(keeper, settings, GpuCatalogue.load())
        state, chat = Shown(thread="a" * 12), list[Any]()
        for words in turns:
            before = len(chat)
            async for update in page.send(words, chat, state, "", "1", "", ""):
                seen.sent += len(str(update))
                seen.box, chat = update[0], update[1]
                state = update[3] if isinstance(update[3], Shown) else state
            said = [message for message in chat[before:] if message["role"] == "assistant"]
            seen.answers.append("\n".join(str(message["content"]) for message in said))
        await keeper.close()

    asyncio.run(run())
    return seen


@pytest.mark.parametrize("after", [0, 1, 5, 12])
def test_an_endpoint_that_dies_in_the_middle_leaves_no_half_answer(tmp_path: Path, after: int) -> None:
    broken = broken_off(say("No: the weights alone take 113.7 GiB. And now for something else"), after=after)
    with scripted_llm(PLAN, broken, say("Yes.")) as (url, _):
        settings = Settings(data_dir=tmp_path, network=False, llm_url=url, llm_model="scripted")
        seen = talk(settings, QUESTION, "and why is that?")
    first, second = seen.answers
    assert first.count("so the built-in rules answered instead") == 1
    assert "30.9 GiB" in first
    assert "And now" not in first
    assert "instead" not in second
    assert "Yes." in second
    assert seen.box.submit_btn is True


def test_an_endpoint_that_is_gone_for_the_next_turn_is_told_again(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say("No: 30.9 GiB are missing.")) as (url, _):
        settings = Settings(data_dir=tmp_path, network=False, llm_url=url, llm_model="scripted")
        [first] = talk(settings, QUESTION).answers
    [second] = talk(settings, "and in FP8?").answers
    assert "No: 30.9 GiB are missing." in first
    assert "can't be reached" in second
    assert "FP8" in second


class Breaks:
    """Stands for a search whose library fails in a way that nobody foresaw."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError("division by zero")


def broken_search(settings: Settings) -> AssistantFactory:
    """Return what opens an assistant with such a search."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Assistant]:
        keeper = Keeper(database_of(settings))
        await keeper.open()
        workbench = Workbench(settings, detect=False, search=cast(WebSearch, Breaks()))
        yield Assistant(settings, workbench, keeper, None)
        await keeper.close()

    def factory() -> AbstractAsyncContextManager[Assistant]:
        return opened()

    return factory


def test_a_tool_that_breaks_costs_one_line(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, network=True)
    seen = talk(settings, f"Search the web: {QUESTION}", "and in FP8?", factory=broken_search(settings))
    assert "30.9 GiB" in seen.answers[0]
    assert "ZeroDivisionError" in seen.answers[0]
    assert "Traceback" not in seen.answers[0]
    assert "FP8" in seen.answers[1]
    assert "ZeroDivisionError" not in seen.answers[1]
    assert seen.box.submit_btn is True


def test_files_that_cannot_be_written_cost_one_line(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("not a folder")
    [answer] = talk(
        Settings(data_dir=tmp_path, network=False), "Qwen3-8B on an RTX 3090, docker compose please"
    ).answers
    assert "Yes, it fits" in answer
    assert "Can't write to" in answer


PASTES = {
    "one word": "a" * MEGABYTES,
    "Russian": "карта " * (MEGABYTES // 6),
    "prose": f"{QUESTION}\n" + "lorem ipsum dolor sit amet\n" * (MEGABYTES // 27),
}


@pytest.mark.parametrize("kind", PASTES)
def test_two_megabytes_get_one_clear_sentence_on_the_page(tmp_path: Path, kind: str) -> None:
    seen = talk(Settings(data_dir=tmp_path, network=False), PASTES[kind], QUESTION)
    limit = "не больше 20000" if kind == "Russian" else "at most 20000"
    assert limit in seen.answers[0]
    assert len(seen.answers[0]) < 1000
    assert "30.9 GiB" in seen.answers[1]
    assert seen.sent < 3 * MEGABYTES


def test_two_megabytes_of_a_log_are_read(tmp_path: Path) -> None:
    seen = talk(Settings(data_dir=tmp_path, network=False), f"why so slow?\n{LINE * (MEGABYTES // len(LINE))}")
    assert "at most" not in seen.answers[0]
    assert len(seen.answers[0]) < MAX_CHARS
    assert seen.sent < MEGABYTES


def test_what_is_longer_than_any_message_is_refused_unread(tmp_path: Path) -> None:
    texts: Sequence[str] = ("x" * (MOST_CHARS + 1), QUESTION)
    seen = talk(Settings(data_dir=tmp_path, network=False), *texts)
    assert str(MOST_CHARS + 1) in seen.answers[0]
    assert "30.9 GiB" in seen.answers[1]
