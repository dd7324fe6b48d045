"""Taking turns with real processes: the fleet, stand-ins for vLLM, and the gateway in front of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import engine_program
import pytest
from gateway_client import Client, run
from real_fleet import KEY, POLICY, RealFleet, fleet, spec, until

from serving.config import GatewayConfig, Upstream
from serving.engine_state import Stage
from serving.fleet_control import OwnEngines
from serving.orders import Policy
from serving.server import Endpoint, opened_endpoint

QUICK = Policy(min_awake_s=0.1, grace_s=0.03, max_wait_s=20.0, first_backoff_s=0.3)
KEY_VARIABLE = "ENGINE_KEY"


@asynccontextmanager
async def turning(
    folder: Path, *names: str, sleep_mode: bool = False
) -> AsyncIterator[tuple[Client, RealFleet, Endpoint]]:
    """Run processes that take turns, and a gateway, inside the block."""
    command = engine_program.install(folder)
    specs = [spec(command, name, VLLM_SERVER_DEV_MODE="1" if sleep_mode else "0") for name in names]
    specs = [replace(one, can_sleep=sleep_mode) for one in specs]
    patient = replace(POLICY, answer_s=5, hang_s=30)  # a busy machine is no hung engine
    async with fleet(folder, specs=tuple(specs), on_demand=names, policy=patient) as real:
        own = OwnEngines.of(real.fleet, real.specs)
        upstreams = tuple(Upstream(one.name, one.url, KEY_VARIABLE) for one in real.specs)
        config = GatewayConfig(upstreams, port=0, check_s=0.1, groups=(names,), policy=QUICK, switch_s=1.0)
        async with (
            opened_endpoint(config, {KEY_VARIABLE: KEY}, lambda _: None, own) as endpoint,
            aiohttp.ClientSession() as session,
        ):
            yield Client(endpoint.url, session), real, endpoint


def never_two(real: RealFleet) -> None:
    """Check by what the processes wrote down that no two of them ran at once."""
    running = set[str]()
    for event in real.events("start", "end"):
        (running.add if event["what"] == "start" else running.discard)(event["name"])
        assert len(running) <= 1, running


def test_stop_and_start_with_requests_in_flight(tmp_path: Path) -> None:
    async def test() -> None:
        async with turning(tmp_path, "a", "b") as (client, real, endpoint):
            assert await endpoint.bring_up() == []
            stream = asyncio.create_task(client.post({"model": "a", "stream": True, "n": 5, "gap": 0.1}))
            await asyncio.sleep(0.15)
            answers = await asyncio.gather(*(client.post({"model": name}) for name in "babab"))
            assert {status for status, _, _ in answers} == {200}
            assert (await client.post({"model": "b" if real.fleet.state("a").stage is Stage.READY else "a"}))[0] == 200
            status, answer, _ = await stream
            assert (status, answer.endswith("data: [DONE]\n\n")) == (200, True)
            assert len(real.events("start")) >= 3
            never_two(real)

    run(test, 60)


@pytest.mark.parametrize(("asleep", "how"), [(True, signal.SIGSTOP), (False, signal.SIGKILL)])
def test_an_engine_that_is_killed_or_hangs_comes_back(tmp_path: Path, asleep: bool, how: signal.Signals) -> None:
    async def test() -> None:
        async with turning(tmp_path, "a", "b", sleep_mode=True) as (client, real, endpoint):
            assert await endpoint.bring_up() == []
            struck = "a" if asleep else "b"
            pid = real.fleet.state(struck).pid
            assert pid is not None
            os.kill(pid, how)
            first, answer, _ = await client.post({"model": struck})
            # one that sleeps is found out before it gets the request; one that is awake may have had it
            assert first == 200 or (not asleep and answer["error"]["code"] == "engine_unreachable"), answer
            assert (await client.post({"model": struck}))[0] == 200
            assert (await client.post({"model": "b" if asleep else "a"}))[0] == 200
            await until(lambda: len([e for e in real.events("start") if e["name"] == struck]) == 2)

    run(test, 60)


def test_a_start_that_fails_says_the_engines_own_reason(tmp_path: Path) -> None:
    async def test() -> None:
        async with turning(tmp_path, "a", "b") as (client, real, _):
            engine_program.set_faults(tmp_path, {"b": {"fail": "memory", "times": 1}})
            assert (await client.post({"model": "a"}))[0] == 200
            status, answer, response = await client.post({"model": "b"})
            assert (status, answer["error"]["code"]) == (503, "model_start_failed")
            assert "Retry-After" in response.headers
            assert (await client.post({"model": "a"}))[0] == 200
            assert real.fleet.state("b").stage in {Stage.FAILED, Stage.GAVE_UP}
            async with asyncio.timeout(20):
                while (await client.post({"model": "b"}))[0] != 200:
                    await asyncio.sleep(0.2)

    run(test, 60)
