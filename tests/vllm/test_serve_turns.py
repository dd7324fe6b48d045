"""Real engines that take turns behind the gateway: by vLLM's sleep routes, and by stopping and starting.

The processor's vLLM has the routes and the states of sleep mode (``VLLM_SERVER_DEV_MODE``) and frees no memory, so
that nothing is measured here but who is asked when.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from kept_models import models, plan_of
from running import KEY, Running, engine_specs, running

from serving.engine_state import Stage
from serving.orders import Policy
from serving.spec import EngineSpec

pytestmark = pytest.mark.timeout(600)
SOON = Policy(min_awake_s=0.5)


def ask(two: Running, name: str, tokens: int = 4) -> int:
    """Ask for some tokens; returns how many came."""
    asked = two.client().completions.create(
        model=name, prompt="import os", max_tokens=tokens, extra_body={"ignore_eos": True}
    )
    assert asked.usage
    return asked.usage.completion_tokens


def stream(two: Running, name: str, tokens: int) -> str:
    """Ask for a stream; returns why it ended."""
    pieces = two.client().completions.create(
        model=name, prompt="import os", max_tokens=tokens, stream=True, extra_body={"ignore_eos": True}
    )
    return [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1]


def told_by(spec: EngineSpec, path: str) -> str:
    """Ask an engine itself."""
    with urlopen(Request(spec.url + path, headers={"Authorization": f"Bearer {KEY}"}), timeout=10) as answer:
        return answer.read().decode()


def sleeps(spec: EngineSpec) -> bool:
    return json.loads(told_by(spec, "/is_sleeping"))["is_sleeping"]


def held(spec: EngineSpec) -> float:
    """Count the requests that an engine has, running or queued."""
    found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} ([\d.e+]+)$", told_by(spec, "/metrics"), re.M)
    assert len(found) >= 2
    return sum(map(float, found))


def served(spec: EngineSpec) -> float:
    """Count the requests that an engine has finished."""
    found = re.findall(r"^vllm:request_success_total\{[^}]*\} ([\d.e+]+)$", told_by(spec, "/metrics"), re.M)
    return sum(map(float, found))


class Watch:
    """Looks at engines all the time, and notes what must not be."""

    def __init__(self, specs: tuple[EngineSpec, ...]) -> None:
        self.specs, self.faults, self.seen, self.ends = specs, list[str](), set[str](), threading.Event()

    def look(self) -> None:
        for spec, other in (self.specs, self.specs[::-1]):
            if sleeps(spec):
                if (count := held(spec)) and sleeps(spec):
                    self.faults.append(f"{spec.name} sleeps and was given {count} requests")
            elif not sleeps(other) and not sleeps(spec):
                self.faults.append("both are awake")
            else:
                self.seen.add(spec.name)

    def run(self) -> None:
        while not self.ends.wait(0.02):
            self.look()


@contextmanager
def watched(specs: tuple[EngineSpec, ...]) -> Iterator[Watch]:
    watch = Watch(specs)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.ends.set()
        thread.join()


@pytest.fixture(scope="module")
def sleepers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    engines = engine_specs(plan_of(*models("tiny")), VLLM_SERVER_DEV_MODE="1")
    with running(engines, tmp_path_factory.mktemp("logs"), swap="sleep", turns=SOON) as two:
        for spec in engines:  # the first is put to sleep before the second starts
            assert ask(two, spec.name) == 4
        assert sleeps(engines[0])
        yield two


def test_none_is_lost_and_none_reaches_a_sleeper(sleepers: Running):
    engines = sleepers.fleet.specs
    before = [served(spec) for spec in engines]
    with watched(engines) as watch, ThreadPoolExecutor(16) as pool:
        jobs: list[Future[Any]] = []
        for number in range(60):
            name = engines[number * 7 % 5 % 2].name
            jobs.append(pool.submit(*((stream, sleepers, name, 60) if number % 3 else (ask, sleepers, name, 30))))
            time.sleep(0.1)
        assert [job.result(120) for job in jobs] == ["length" if number % 3 else 30 for number in range(60)]
    assert watch.faults == []
    assert watch.seen == {spec.name for spec in engines}
    assert sum(served(spec) for spec in engines) == sum(before) + 60  # none twice


def test_a_sleeper_that_is_killed_is_started_when_it_is_asked_for(sleepers: Running):
    first, second = (spec.name for spec in sleepers.fleet.specs)
    assert ask(sleepers, first) == 4
    assert sleeps(sleepers.fleet.specs[1])
    old = sleepers.state(second).pid
    sleepers.processes(second)[0].kill()
    sleepers.becomes(second, Stage.FAILED, within_s=30)
    assert ask(sleepers, first) == 4
    assert ask(sleepers, second) == 4
    assert sleepers.state(second).stage is Stage.READY
    assert sleepers.state(second).pid not in {None, old}
    assert sleeps(sleepers.fleet.specs[0])


def test_stopped_and_started_with_requests_on_their_way(tmp_path: Path):
    engines = engine_specs(plan_of(*models("tiny")))
    first, second = (spec.name for spec in engines)
    with running(engines, tmp_path, swap="restart", turns=SOON) as two, ThreadPoolExecutor(16) as pool:
        assert ask(two, first) == 4
        jobs: list[Future[Any]] = [pool.submit(stream, two, first, 1500)]
        time.sleep(0.5)
        jobs += [pool.submit(ask, two, name) for name in (second, first, second, second)]
        assert jobs[0].result(60) == "length"
        assert [job.result(240) for job in jobs[1:]] == [4] * 4
        assert two.state(second).stage is Stage.READY
        order = [(state.name, state.stage) for state in two.told]
        assert order.index((first, Stage.STOPPED)) < order.index((second, Stage.CHECKING))
        state = {row.id: row.model_dump()["state"] for row in two.client().models.list().data}
        assert state == {first: "stopped", second: "ready"}
