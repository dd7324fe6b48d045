"""A database that is locked, read-only or full, a process that is killed: the answer comes and nothing is doubled."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.events import AnswerText, Finished, Language, TurnResult
from agent.keeping.database import database_of
from agent.session import Assistant
from tools.errors import StorageError
from tools.settings import Settings

QUESTION = "Will two Qwen3-30B-A3B run at once on an RTX PRO 6000?"
NEXT = "and with 32k context?"


async def ask(assistant: Assistant, text: str, thread: str = "t") -> TurnResult:
    last = [event async for event in assistant.ask(text, thread_id=thread)][-1]
    assert isinstance(last, Finished)
    return last.result


def here(folder: Path) -> Settings:
    return Settings(data_dir=folder, network=False)


def said_in(folder: Path, thread: str = "t") -> list[str]:
    async def run() -> list[str]:
        async with Assistant.open(here(folder), rig=None) as assistant:
            return [turn.user for turn in (await assistant.history(thread)).turns]

    return asyncio.run(run())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the write lock of both files as another program would."""
    files = [sqlite3.connect(folder / name, isolation_level=None) for name in ("threads.sqlite", "remembered.sqlite")]
    for file in files:
        file.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        for file in files:
            file.rollback()
            file.close()


def test_locked_files_cost_one_sentence_and_are_written_later(tmp_path: Path) -> None:
    async def run() -> list[TurnResult]:
        async with Assistant.open(here(tmp_path), rig=None) as assistant:
            turns = [await ask(assistant, QUESTION)]
            with locked(tmp_path):
                turns.append(await ask(assistant, NEXT))
                turns.append(await ask(assistant, "remember this as attic"))
                turns.append(await ask(assistant, QUESTION, "other"))
            turns.append(await ask(assistant, "and in fp8?"))
            assert [one.name for one in await assistant.memory.rigs()] == ["attic"]
            return turns

    turns = asyncio.run(run())
    assert [len(turn.notices) for turn in turns] == [0, 1, 0, 0, 1]
    assert "another program holds their file" in turns[1].notices[0]
    assert "saved again" in turns[4].notices[0]
    assert turns[1].plan is not None
    assert turns[1].plan.request.instances[0].context == 32768
    assert said_in(tmp_path) == [QUESTION, NEXT, "remember this as attic", "and in fp8?"]
    assert said_in(tmp_path, "other") == [QUESTION]


def test_files_locked_from_the_start_are_written_at_the_end(tmp_path: Path) -> None:
    asyncio.run(_once(tmp_path, QUESTION))

    async def run() -> TurnResult:
        with locked(tmp_path):
            context = Assistant.open(here(tmp_path), rig=None)
            assistant = await context.__aenter__()
            turn = await ask(assistant, NEXT)
        await context.__aexit__(None, None, None)
        return turn

    turn = asyncio.run(run())
    assert len(turn.notices) == 1
    assert turn.plan is not None
    assert said_in(tmp_path) == [QUESTION, NEXT]


async def _once(folder: Path, *texts: str) -> list[TurnResult]:
    async with Assistant.open(here(folder), rig=None) as assistant:
        return [await ask(assistant, text) for text in texts]


@pytest.fixture
def shut_folder() -> Iterator[Path]:
    """A folder with a conversation that nobody may write; root writes everywhere, so root becomes nobody."""
    folder = Path(tempfile.mkdtemp(prefix="rigfit-shut-"))
    asyncio.run(_once(folder, QUESTION))
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(was)
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_written_is_read_and_told(shut_folder: Path) -> None:
    async def run() -> tuple[list[TurnResult], list[str]]:
        async with Assistant.open(here(shut_folder), rig=None) as assistant:
            turns = [await ask(assistant, NEXT), await ask(assistant, "and in fp8?")]
            with pytest.raises(StorageError) as refused:
                await assistant.erase()
            assert refused.value.code == "errors_agent.not_erased"
            return turns, [turn.user for turn in (await assistant.history("t")).turns]

    turns, said = asyncio.run(run())
    assert [len(turn.notices) for turn in turns] == [1, 0]
    assert "may not be written" in turns[0].notices[0]
    assert turns[0].plan is not None
    assert said == [QUESTION, NEXT, "and in fp8?"]


def test_a_full_disk_costs_one_sentence_and_no_answer(tmp_path: Path) -> None:
    async def run() -> list[TurnResult]:
        async with Assistant.open(here(tmp_path), rig=None) as assistant:
            turns = [await ask(assistant, QUESTION)]
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "threads.sqlite-wal").stat().st_size, hard))
            try:
                turns += [await ask(assistant, f"a new question {n}: Qwen3-8B on a T4?", f"new-{n}") for n in range(3)]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            turns.append(await ask(assistant, NEXT))
            return turns

    turns = asyncio.run(run())
    assert sum(len(turn.notices) for turn in turns[:4]) == 1
    assert all(turn.plan is not None for turn in turns)
    assert "saved again" in turns[4].notices[0]
    assert said_in(tmp_path) == [QUESTION, NEXT]
    assert [len(said_in(tmp_path, f"new-{n}")) for n in range(3)] == [1, 1, 1]


def _die_at(folder: Path, write: int) -> None:
    """Ask, and die as by ``kill -9`` when a checkpoint is to be written for the given time."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    stored, left = AsyncSqliteSaver.aput, [write]

    async def aput(*args: object) -> object:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return await stored(*args)  # pyright: ignore[reportArgumentType]

    AsyncSqliteSaver.aput = aput  # pyright: ignore[reportAttributeAccessIssue]
    asyncio.run(_once(folder, QUESTION))


@pytest.mark.parametrize(("again", "writes"), [(QUESTION, (1, 2, 4, 6)), (NEXT, (1, 4)), (None, (1, 3, 6))])
def test_a_killed_turn_goes_on_from_its_last_step(tmp_path: Path, again: str | None, writes: tuple[int, ...]) -> None:
    """Killed at one write or another; then the same is asked again, or something else, or the page is opened."""
    asyncio.run(_once(tmp_path / "whole", QUESTION))  # what is loaded once is loaded before the forks
    fork = multiprocessing.get_context("fork")
    for write in writes:
        folder = tmp_path / str(write)
        child = fork.Process(target=_die_at, args=(folder, write))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        first = [] if write == 1 and again != QUESTION else [QUESTION]  # nothing was stored of it yet
        assert asyncio.run(_afterwards(folder, again)) == ([*first, NEXT] if again == NEXT else first)


async def _afterwards(folder: Path, again: str | None) -> list[str]:
    """Return what a conversation holds after it went on, having checked that messages and history agree."""
    async with Assistant.open(here(folder), rig=None) as assistant:
        if again:
            await ask(assistant, again)
        history = await assistant.history("t")
        transcript = (await assistant.transcript("t")).messages if history.turns else ()
    said = [turn.user for turn in history.turns]
    assert [m.text for m in transcript if m.role == "user"] == said
    assert [m.role for m in transcript] == ["user", "agent"] * len(said)
    assert all("113.7 GiB" in turn.answer_markdown for turn in history.turns if turn.user == QUESTION)
    return said


def test_a_turn_of_another_program_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    async def run() -> list[bool]:
        one, other = database_of(here(tmp_path)), database_of(here(tmp_path))
        async with one.turn("t"), other.turn("t", wait_s=0.2) as same, other.turn("u", wait_s=0.2) as another:
            taken = [same, another]
        async with other.turn("t", wait_s=0.2) as same:
            return [*taken, same]

    assert asyncio.run(run()) == [False, True, True]


@contextmanager
def answered_elsewhere(folder: Path, thread: str) -> Iterator[None]:
    """Another process that is at a thread's turn, as a second copy of the program would be."""
    program = (
        "import asyncio, sys; from pathlib import Path; from agent.keeping.sqlite import SqliteDatabase\n"
        "async def hold():\n"
        "    async with SqliteDatabase(Path(sys.argv[1])).turn(sys.argv[2]) as held:\n"
        "        print(held, flush=True); sys.stdin.read()\n"
        "asyncio.run(hold())"
    )
    command = [sys.executable, "-c", program, str(folder), thread]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "True"
        yield
        process.communicate(timeout=20)


@pytest.mark.parametrize(("language", "said"), [("en", "answered elsewhere"), ("ru", "сейчас отвечают в другом окне")])
def test_a_message_to_a_thread_that_is_answered_elsewhere_is_refused_in_one_sentence(
    tmp_path: Path, language: Language, said: str
) -> None:
    async def run() -> list[tuple[TurnResult, str]]:
        turns: list[tuple[TurnResult, str]] = []
        async with Assistant.open(here(tmp_path), rig=None, busy_wait_s=0.2) as assistant:

            async def ask_it(text: str, thread: str = "t") -> None:
                asked = assistant.ask(text, thread_id=thread, language_hint=language)
                events = [event async for event in asked]
                assert isinstance(events[-1], Finished)
                shown = "".join(event.markdown_chunk for event in events if isinstance(event, AnswerText))
                turns.append((events[-1].result, shown))

            await ask_it(QUESTION)
            with answered_elsewhere(tmp_path, "t"):
                await ask_it(NEXT)
                await ask_it(QUESTION, "another thread")
            await ask_it(NEXT)
        return turns

    first, refused, other, later = asyncio.run(run())
    assert said in refused[0].answer_markdown
    assert refused[1] == refused[0].answer_markdown
    assert refused[0].answer_markdown.count(".") == 1
    assert refused[0].language == language
    assert refused[0].plan is None
    assert refused[0].tool_calls == ()
    assert all(turn.plan is not None for turn, _ in (first, other, later))
    assert said_in(tmp_path) == [QUESTION, NEXT]  # the refused message left no trace


def test_a_locked_file_is_told_in_the_askers_language(tmp_path: Path) -> None:
    async def run() -> TurnResult:
        async with Assistant.open(here(tmp_path), rig=None) as assistant:
            await ask(assistant, QUESTION)
            with locked(tmp_path):
                return await ask(assistant, "Пойдёт ли Qwen3-8B на RTX 3090?", "other")

    turn = asyncio.run(run())
    [notice] = turn.notices
    assert "занят другой программой" in notice
    assert turn.plan is not None
