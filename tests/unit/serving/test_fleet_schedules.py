"""Random schedules of wishes, failures and deaths: the fleet's rules hold, nobody waits for ever, nothing is left."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pretended_engines import Script, spec
from watched_fleet import Watched, within

from serving.engine_state import Stage

SCRIPTS = st.builds(
    Script,
    outcome=st.sampled_from(["ready"] * 6 + ["fails", "fails", "final", "mute", "no_process"]),
    takes_s=st.sampled_from([0.0, 0.3, 2.0, 7.0]),
    fetches_s=st.sampled_from([0.0, 0.0, 1.5]),
    stops_s=st.sampled_from([0.0, 1.0, 30.0]),
    stuck=st.just(False),
)
ACTIONS = st.tuples(
    st.sampled_from([0.0, 0.0, 0.1, 1.0, 5.0, 70.0]),
    st.sampled_from(["start", "stop", "start_all", "stop_all", "die", "hang", "cancel", "lack", "room", "port"]),
    st.integers(0, 4),
)
FLEETS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["nvidia:0", "nvidia:1", "nvidia:2"]), min_size=1),
        st.booleans(),
        st.booleans(),
        st.lists(SCRIPTS, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(FLEETS, st.lists(ACTIONS, max_size=25), st.booleans())
def test_any_schedule(
    engines: list[tuple[set[str], bool, bool, list[Script]]], actions: list[tuple[float, str, int]], watching: bool
) -> None:
    """Whatever comes when: the checks of every state hold, nothing waits for ever, and at the end nothing runs."""
    names = [f"e{number}" for number in range(len(engines))]
    scripts = {name: engine[3] for name, engine in zip(names, engines, strict=True)}
    specs = [spec(n, *sorted(e[0]), load_s=20, sleeps=e[1]) for n, e in zip(names, engines, strict=True)]
    demand = {n for n, e in zip(names, engines, strict=True) if e[2]}
    watched = Watched(specs, lambda name: chain(scripts[name], repeat(Script())), on_demand=demand)

    async def work() -> None:
        fleet, calls = watched.fleet, list[asyncio.Task[Any]]()
        watch = asyncio.create_task(fleet.watch()) if watching else None
        for wait, action, number in actions:
            await asyncio.sleep(wait)
            calls += act(watched, action, names[number % len(names)], calls)
        for call in calls:
            await asyncio.wait({call})
            assert call.cancelled() or call.exception() is None
        assert watch is None or not watch.done()
        await fleet.stop_all()
        assert {state.stage for state in fleet.states} == {Stage.STOPPED}
        await asyncio.sleep(1000)
        assert {state.stage for state in fleet.states} == {Stage.STOPPED}
        assert not any(process.alive for process in watched.world.processes.values())
        if watch is not None:
            watch.cancel()

    within(100_000, work)


def act(watched: Watched, action: str, name: str, calls: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Do one thing; returns the call that it is, where it is one."""
    fleet, world = watched.fleet, watched.world
    wishes = {
        "start": lambda: fleet.start(name),
        "stop": lambda: fleet.stop(name),
        "start_all": fleet.start_all,
        "stop_all": fleet.stop_all,
    }
    if action in wishes:
        return [asyncio.create_task(wishes[action]())]
    process = world.processes.get(name)
    match action:
        case "die" if process:
            process.end(-9)
        case "hang" if process:
            process.hung = True
        case "cancel" if calls:
            calls[-1].cancel()
        case "lack":
            world.lacks.add(name)
        case "port":
            world.busy_ports.add(name)
        case "room":
            world.lacks.clear()
            world.busy_ports.clear()
    return []
