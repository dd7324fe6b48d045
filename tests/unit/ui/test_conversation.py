from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from prompts import text
from tools.errors import BadValue
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from ui.assistants import AssistantKeeper
from ui.conversation import Conversation, Shown
from ui.server import PolicyMiddleware, require_free_port

QUESTION = "Will two Qwen3-30B run at once on an RTX PRO 6000?"


def conversation(settings: Settings, keeper: AssistantKeeper | None = None) -> Conversation:
    return Conversation(keeper or AssistantKeeper.for_settings(settings), settings, GpuCatalogue.load())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, network=False)


def run(
    settings: Settings, *turns: str, shown: Shown | None = None, fields: tuple[str, ...] = ("", "1", "", "")
) -> Any:
    """Send messages one after the other; returns the last chat, panel and state, and the page as it reopens."""

    async def talk() -> Any:
        keeper = AssistantKeeper.for_settings(settings)
        page = conversation(settings, keeper)
        state, chat, panel, last = shown or Shown(thread="a" * 12), [], "", []
        for words in turns:
            async for update in page.send(words, chat, state, *fields):
                last = update
                chat = update[1]
                panel = update[2] if isinstance(update[2], str) else panel
                state = update[3] if isinstance(update[3], Shown) else state
        reopened = await page.opened(json.dumps({"thread": state.thread, "language": "ru"}), "en-US")
        await keeper.close()
        return chat, panel, state, last, reopened

    return asyncio.run(talk())


def test_a_conversation_can_be_opened_again(settings: Settings) -> None:
    chat, panel, state, last, (shown, updates) = run(settings, QUESTION, "and with 64k context?")
    assert "113.7" in "".join(message["content"] for message in chat)
    assert "rf-bar" in panel
    assert state.plan is not None
    assert last[0].submit_btn is True
    messages = updates[0]
    assert [m["content"] for m in messages if m["role"] == "user"] == [
        m["content"] for m in chat if m["role"] == "user"
    ]
    assert shown.language == "ru"
    assert shown.plan == state.plan


def test_a_folder_that_cannot_be_written_costs_only_the_files(settings: Settings) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / "files").write_text("not a folder")
    chat, panel, _, last, _ = run(settings, QUESTION)
    assert "113.7" in chat[-1]["content"]
    assert "rf-bar" in panel
    assert 'role="status"' in panel
    assert "Traceback" not in panel
    assert last[0].submit_btn is True


def test_hardware_from_the_fields_is_used(settings: Settings) -> None:
    chat, _, state, _, _ = run(settings, "Will two Qwen3-30B run at once?", fields=("2xRTX 3090", "1", "", ""))
    assert state.plan is not None
    assert [gpu.name for gpu in state.plan.request.rig.gpus] == ["NVIDIA GeForce RTX 3090"] * 2
    assert chat[-1]["content"]


def test_hardware_that_cannot_be_read_is_one_sentence(settings: Settings) -> None:
    chat, _, _, last, _ = run(settings, "Will two Qwen3-30B run at once?", fields=("RTX 3090", "-5", "", ""))
    assert "-5" in chat[-1]["content"]
    assert "\n" not in chat[-1]["content"]
    assert last[0].submit_btn is True


@pytest.mark.parametrize(("words", "said"), [("будет?", "сломалось"), ("will it fit my card?", "went wrong")])
def test_a_broken_assistant_is_one_sentence_in_the_askers_language(settings: Settings, words: str, said: str) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[Any]:
        raise OSError("disk on fire")
        yield

    async def talk() -> list[Any]:
        page = conversation(settings, AssistantKeeper(broken))
        return [update async for update in page.send(words, [], Shown(thread="b" * 12), "", "1", "", "")]

    updates = asyncio.run(talk())
    answer = updates[-1][1][-1]["content"]
    assert said in answer
    assert "Traceback" not in answer
    assert updates[-1][0].submit_btn is True
    assert "disk on fire" in (settings.data_dir / "logs" / "rigfit.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("memory", ["", "{", "[]", '{"thread": "../../etc"}', '{"thread": 5, "language": "xx"}'])
@pytest.mark.parametrize(
    ("accepted", "language"), [("ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("de,en;q=0.5", "en"), ("", "en")]
)
def test_any_browser_memory_opens_the_page(settings: Settings, memory: str, accepted: str, language: str) -> None:
    async def opened() -> Any:
        keeper = AssistantKeeper.for_settings(settings)
        try:
            return await conversation(settings, keeper).opened(memory, accepted)
        finally:
            await keeper.close()

    shown, updates = asyncio.run(opened())
    assert shown.language == language
    assert shown.thread.isalnum()
    assert "rf-caption" in updates[1]


def test_an_unknown_option_changes_nothing(settings: Settings) -> None:
    page = conversation(settings)
    updates = asyncio.run(page.picked(Shown(thread="c" * 12), "<script>"))
    assert all(not isinstance(update, str) for update in updates)
    picked = asyncio.run(page.picked(Shown(thread="c" * 12), "as_asked"))
    assert "rf-overfull" in picked[0]


def test_every_answer_carries_the_policy() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(PolicyMiddleware(app)({"type": "http"}, None, send))
    headers = dict(sent[0]["headers"])
    assert b"connect-src 'self'" in headers[b"content-security-policy"]
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize("path", ["/gradio_api/file=http://e/x", "/gradio_api/file/HTTPS://e", "/file=http:/e"])
def test_the_page_fetches_nothing_from_elsewhere(path: str) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("passed on")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(PolicyMiddleware(app)({"type": "http", "path": path}, None, send))
    assert sent[0]["status"] == 404


def test_a_free_port_is_no_error() -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert require_free_port("127.0.0.1", port) is None


@pytest.mark.parametrize("command", ["ui", "gateway"])
def test_a_taken_port_names_the_command_that_wants_it(command: str) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(BadValue) as refused:
            require_free_port("127.0.0.1", holder.getsockname()[1], command)
    assert f"rigfit {command} --port" in text("en", refused.value.code, **refused.value.params)
