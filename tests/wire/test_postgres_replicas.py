"""Two copies of the app on one real PostgreSQL share conversations and hardware, one turn after another."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PASSWORD, PostgresServer
from replicas import Replica

from agent.events import Finished, TurnResult
from agent.keeping.database import database_of
from agent.session import Assistant
from tools.settings import Settings

QUESTION = "Will two Qwen3-30B-A3B run at once on an RTX PRO 6000?"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.stop()
    server.remove()


@pytest.fixture
def pair(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """Two copies that start at the same time, so that both find an empty database."""
    both = tuple(Replica(tmp_path / name, RIGFIT_DATABASE_URL=postgres.url) for name in ("a", "b"))
    yield both[0].ready(), both[1].ready()
    for one in both:
        one.close()


async def ask(assistant: Assistant, text: str, thread: str = "t") -> TurnResult:
    last = [event async for event in assistant.ask(text, thread_id=thread)][-1]
    assert isinstance(last, Finished)
    return last.result


def settings(postgres: PostgresServer, folder: Path, **changes: Any) -> Settings:
    return Settings(data_dir=folder, network=False, **{"database_url": postgres.url, **changes})


def test_two_copies_share_threads_rigs_and_turns(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    first.ask("remember 2x RTX 3090 as the attic box", "naming")
    assert second.do(rigs=True) == ["attic box"]
    begun = first.ask("Will Qwen3-30B-A3B fit on my hardware?", "shared")
    assert "attic box" in begun["answer"]
    assert second.do(history="shared") == [["Will Qwen3-30B-A3B fit on my hardware?", begun["answer"]]]
    gone_on = second.ask("and with 64k context?", "shared")
    assert "attic box" in gone_on["answer"]
    assert len(first.do(history="shared")) == 2

    for one in pair:  # at the same moment, in the same thread
        one.send(ask=QUESTION, thread="crowded")
    answers = [one.result()["answer"] for one in pair]
    history = first.do(history="crowded")
    assert history == second.do(history="crowded")
    assert sorted(answer for _, answer in history) == sorted(answers)
    assert all("56.9 GiB" in answer for answer in answers)

    # one dies in the middle of a turn, and the other goes on with it
    first.send(ask=QUESTION, thread="killed")
    assert first.line().startswith("step ")
    first.kill()
    assert "113.7 GiB" in second.ask(QUESTION, "killed")["answer"]
    assert [user for user, _ in second.do(history="killed")] == [QUESTION]


def test_a_turn_that_another_copy_does_not_end_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    async def run() -> list[bool]:
        one, other = (database_of(settings(postgres, tmp_path)) for _ in range(2))
        await one.ready()
        async with one.turn("t"), other.turn("t", wait_s=0.2) as held, other.turn("u", wait_s=0.2) as another:
            taken = [held, another]
        async with other.turn("t", wait_s=0.2) as held:
            taken.append(held)
        await one.close()
        await other.close()
        return taken

    assert asyncio.run(run()) == [False, True, True]


def test_a_server_that_goes_away_costs_no_answer_and_no_turn(postgres: PostgresServer, tmp_path: Path) -> None:
    server = postgres

    async def run() -> list[TurnResult]:
        async with Assistant.open(settings(server, tmp_path), rig=None) as assistant:
            turns = [await ask(assistant, QUESTION)]
            await asyncio.to_thread(server.stop)
            turns.append(await ask(assistant, "and with 64k context?"))
            turns.append(await ask(assistant, "remember that hardware as attic"))
            await asyncio.to_thread(server.start)
            turns.append(await ask(assistant, "and with three of them?"))
        async with Assistant.open(settings(server, tmp_path), rig=None) as assistant:
            assert len((await assistant.history("t")).turns) == 4
            assert "attic" in [one.name for one in await assistant.memory.rigs()]
        return turns

    turns = asyncio.run(run())
    assert [len(turn.notices) for turn in turns] == [0, 1, 0, 1]
    assert "can't be saved" in turns[1].notices[0]
    assert "saved again" in turns[3].notices[0]
    assert all(turn.plan is not None for turn in turns)


def test_deleting_all_empties_the_tables(postgres: PostgresServer, tmp_path: Path) -> None:
    async def run() -> Any:
        async with Assistant.open(settings(postgres, tmp_path), rig=None) as assistant:
            await ask(assistant, "remember 2x RTX 3090 as attic")
            before = await assistant.export()
            await assistant.erase()
            return before, await assistant.export()

    before, after = asyncio.run(run())
    assert before["rigs"]
    assert before["threads"]
    assert (after["rigs"], after["plans"], after["threads"]) == ([], [], [])


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://rigfit:{secret}@127.0.0.1:1/x", "can't be saved"),
        ("postgresql://rigfit:{secret} wrong@[127.0.0.1/x y", "RIGFIT_DATABASE_URL can't be read"),
        (None, "password authentication failed"),
    ],
)
def test_a_database_that_cannot_be_had_is_told_without_its_password(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str | None, told: str
) -> None:
    secret = f"not-{PASSWORD}"
    chosen = url.format(secret=secret) if url else postgres.url_with(secret)
    here = settings(postgres, tmp_path, database_url=chosen)

    async def run() -> TurnResult:
        async with Assistant.open(here, rig=None) as assistant:
            return await ask(assistant, QUESTION)

    with caplog.at_level(logging.DEBUG):
        turn = asyncio.run(run())
    assert turn.plan is not None
    assert len(turn.notices) == 1
    assert told in turn.notices[0]
    kept = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert secret not in "".join([caplog.text, repr(here), kept, json.dumps(turn.notices)])
