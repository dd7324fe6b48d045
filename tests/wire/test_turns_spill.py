"""A model whose engine takes turns here may have another engine elsewhere: it is asked while the local one sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway_client import Client, run, run_and_fronted, until
from simulated_engine import Card, SimulatedEngine
from simulated_fleet import SimulatedFleet

from serving.orders import Policy

QUICK = Policy(min_awake_s=0.05, grace_s=0.03, max_wait_s=10.0, first_backoff_s=0.2)


@asynccontextmanager
async def spilling(
    policy: Policy = QUICK, **changes: Any
) -> AsyncIterator[tuple[Client, SimulatedFleet, SimulatedEngine]]:
    """Models ``a`` and ``b`` on one card, ``a`` is awake; ``b`` has another engine elsewhere."""
    card = Card()
    here = [SimulatedEngine(n, card, sleeping=True, start_s=0.02, sleep_s=0.01, wake_s=0.02) for n in "ab"]
    elsewhere: dict[str, Any] = {"has_health": False, "can_sleep": False} | changes
    there = SimulatedEngine("b", **elsewhere)
    async with run_and_fronted(*here, elsewhere=(there,), policy=policy) as (client, fleet, _):
        await until(lambda: bool(there.url))
        assert (await client.post({"model": "a"}))[0] == 200
        yield client, fleet, there
    assert card.clashes == []


async def asked_there(client: Client, there: SimulatedEngine) -> bool:
    before = len(there.got)
    assert (await client.post({"model": "b"}))[0] == 200
    return len(there.got) > before


def test_the_other_engine_is_asked_while_the_local_one_sleeps() -> None:
    async def test() -> None:
        async with spilling() as (client, fleet, there):
            for _ in range(3):
                assert await asked_there(client, there)
            assert fleet.started == ["a"]  # nothing was switched
            assert await client.states() == {"a": "ready", "b": "ready"}

    run(test)


def test_the_local_engine_is_asked_while_it_is_awake() -> None:
    async def test() -> None:
        async with spilling() as (client, fleet, there):
            assert (await client.post({"model": "b"}, "/rigfit/wake"))[0] == 202
            await until(lambda: fleet.engines["b"].runner is not None)
            await asyncio.sleep(0.1)
            for _ in range(3):
                assert not await asked_there(client, there)

    run(test)


def test_the_local_engine_is_woken_where_the_other_one_is_down() -> None:
    async def test() -> None:
        async with spilling() as (client, fleet, there):
            await there.stop()
            assert not await asked_there(client, there)  # it was not known yet: nobody is refused
            assert fleet.started == ["a", "b"]
            assert (await client.post({"model": "a"}))[0] == 200
            await asyncio.sleep(0.2)
            assert not await asked_there(client, there)

    run(test)


def test_the_local_engine_is_woken_where_the_other_one_is_overloaded() -> None:
    async def test() -> None:
        async with spilling() as (client, fleet, there):
            there.status = 503
            status, answer, _ = await client.post({"model": "b", "id": 1})
            assert (status, answer["by"]) == (200, "b")
            assert len(there.got) == 1
            assert fleet.started == ["a", "b"]

    run(test)


def test_the_other_engine_is_asked_at_last_where_the_local_one_can_not_be_woken() -> None:
    async def test() -> None:
        async with spilling() as (client, fleet, there):
            there.status = 500  # its look says that it is down, and it is not
            await asyncio.sleep(0.25)
            there.status = 200
            fleet.engines["b"].fail_starts = 1
            status, _, _ = await client.post({"model": "b"})
            assert status == 200
            assert len(there.got) == 1

    run(test)
