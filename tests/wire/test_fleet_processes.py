"""The fleet with real processes: starts, deaths, hangs, ends, and nobody left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from engine_program import events, install, set_faults
from real_fleet import KEY, POLICY, fleet, processes_of, spec, until

from serving.engine_process import EngineProcess
from serving.engine_state import Stage
from serving.log_file import LogFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="engines run on Linux")


def run(work) -> None:
    asyncio.run(work)


def test_engines_start_one_after_the_other_answer_and_end(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", "b") as real:
            assert await real.fleet.start_all()
            ready_a, start_b = real.events("ready")[0], real.events("start")[1]
            assert (ready_a["name"], start_b["name"]) == ("a", "b")
            assert ready_a["at"] <= start_b["at"]
            for state in real.fleet.states:
                assert state.stage is Stage.READY
                assert state.pid in {event["pid"] for event in real.events("start") if event["name"] == state.name}
                assert state.log.read_text().count("Application startup complete") == 1
            stages = [state.stage for state in real.seen if state.name == "a"]
            assert stages.index(Stage.LOADING) < stages.index(Stage.PROFILING) < stages.index(Stage.ANSWERING)
            assert 0.5 in {state.share for state in real.seen}
            assert urlopen(real.specs[0].url + "/health", timeout=5).status == 200
            await real.fleet.stop("a")
            assert real.fleet.state("a").stage is Stage.STOPPED
            assert [event["name"] for event in real.events("term")] == ["a"]
            assert urlopen(real.specs[1].url + "/health", timeout=5).status == 200

    run(work())


def test_an_engine_gets_the_environment_without_rigfits_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_API_KEYS", "secret")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "4")
    monkeypatch.setenv("HF_TOKEN", "hub")

    async def work() -> None:
        async with fleet(tmp_path, "a") as real:
            assert await real.fleet.start_all()
            process = psutil.Process(real.fleet.state("a").pid)
            env = process.environ()
            assert not [name for name in env if name.startswith("RIGFIT_")]
            assert "VLLM_CPU_KVCACHE_SPACE" not in env
            assert (env["HF_TOKEN"], env["VLLM_API_KEY"]) == ("hub", KEY)
            others = [*process.parents()[:2], process]
            assert not any(KEY in word for one in others for word in one.cmdline())
            assert KEY not in real.log("a")
            # no descriptor of ours but what every program has
            opened = os.listdir(f"/proc/{process.pid}/fd")
            assert not [fd for fd in opened if os.readlink(f"/proc/{process.pid}/fd/{fd}") == str(tmp_path / "held")]

    with open(tmp_path / "held", "w"):
        run(work())


def test_children_that_hide_in_sessions_of_their_own_end_too(tmp_path: Path) -> None:
    async def work() -> None:
        faults = {"a": {"children": 2, "escape": True, "ignore_term": True}}
        async with fleet(tmp_path, "a", faults=faults, specs=[marked(tmp_path, "a")]) as real:
            assert await real.fleet.start_all()
            assert len(real.alive()) == 5  # two guardians, the engine, two children
            await real.fleet.stop("a")
            assert real.alive() == []

    run(work())


def marked(folder: Path, name: str):
    """An engine whose every process has a mark in its environment."""
    return spec(install(folder), name, STAND_IN=str(folder))


def test_a_killed_engine_leaves_no_child_and_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", faults={"a": {"children": 2}}, specs=[marked(tmp_path, "a")]) as real:
            set_faults(tmp_path, {"a": {"children": 2}})
            assert await real.fleet.start_all()
            before = {process.pid for process in real.alive()}
            os.kill(real.fleet.state("a").pid or 0, signal.SIGKILL)
            failed = await real.until("a", Stage.FAILED)
            assert failed.reason is not None
            assert (failed.reason.code, failed.reason.params) == ("fleet.signal", {"signal": "SIGKILL"})
            assert not before & {process.pid for process in real.alive()}
            ready = await real.until("a", Stage.READY)
            assert ready.restarts == 1

    run(work())


@pytest.mark.parametrize("which", ["outer", "inner", "both"])
def test_a_killed_guardian_leaves_nothing(tmp_path: Path, which: str) -> None:
    async def work() -> None:
        faults = {"a": {"children": 1, "escape": True}} if which != "both" else {}
        async with fleet(tmp_path, "a", faults=faults, specs=[marked(tmp_path, "a")]) as real:
            set_faults(tmp_path, faults)
            assert await real.fleet.start_all()
            before = {process.pid for process in real.alive()}
            inner, outer = psutil.Process(real.fleet.state("a").pid).parents()[:2]
            for process in {"outer": [outer], "inner": [inner], "both": [outer, inner]}[which]:
                process.kill()
            failed = await real.until("a", Stage.FAILED)
            assert failed.reason is not None
            # a child that ignores SIGTERM takes longer to clear than a silent engine is given here
            assert failed.reason.code in {"fleet.ended" if which == "outer" else "fleet.unseen", "fleet.hung"}
            assert not before & {process.pid for process in real.alive()}
            await real.until("a", Stage.READY)

    run(work())


def test_a_stopped_engine_counts_as_hung_and_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a") as real:
            assert await real.fleet.start_all()
            first = real.fleet.state("a").pid or 0
            os.kill(first, signal.SIGSTOP)
            failed = await real.until("a", Stage.FAILED)
            assert failed.reason is not None
            assert failed.reason.code == "fleet.hung"
            assert not psutil.pid_exists(first)
            assert (await real.until("a", Stage.READY)).pid != first

    run(work())


def test_a_child_that_is_halted_is_noticed_though_the_server_answers(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", faults={"a": {"children": 1}}) as real:
            assert await real.fleet.start_all()
            psutil.Process(real.fleet.state("a").pid).children()[0].suspend()
            await real.until("a", Stage.FAILED)
            await real.until("a", Stage.READY)

    run(work())


def test_an_engine_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", faults={"a": {"ignore_term": True}}) as real:
            assert await real.fleet.start_all()
            await real.fleet.stop("a")
            assert real.fleet.state("a").stage is Stage.STOPPED
            assert [event["what"] for event in real.events()] == ["start", "ready", "term"]

    run(work())


@pytest.mark.parametrize(
    ("fault", "stage", "code"),
    [
        ({"fail": "memory"}, Stage.GAVE_UP, "logs.free_below_budget_by"),
        ({"fail": "cache"}, Stage.GAVE_UP, "logs.kv_too_small_bytes"),
        ({"fail": "model"}, Stage.GAVE_UP, "logs.not_found"),
        ({"fail": "flag"}, Stage.GAVE_UP, "fleet.exit_words"),
        ({"fail": "oom"}, Stage.FAILED, "logs.oom_weights_by"),
        ({"fail": "silent"}, Stage.FAILED, "fleet.exit"),
        ({"hang_after_s": 0}, Stage.FAILED, "fleet.late"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path: Path, fault: dict[str, object], stage: Stage, code: str) -> None:
    async def work() -> None:
        one = spec(install(tmp_path), "a", load_s=1 if "hang_after_s" in fault else 60)
        async with fleet(tmp_path, "a", faults={"a": fault}, specs=[one], watched=False) as real:
            assert not await real.fleet.start_all()
            state = real.fleet.state("a")
            assert state.stage is stage
            assert state.reason is not None
            assert state.reason.code == code
            assert (state.next_try is None) is (stage is Stage.GAVE_UP)
            assert real.alive() == []

    run(work())


def test_what_fails_twice_starts_the_third_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", faults={"a": {"fail": "silent", "times": 2}}) as real:
            assert not await real.fleet.start_all()
            state = await real.until("a", Stage.READY)
            assert state.restarts == 2
            assert real.log("a").count("vllm serve a/b") == 3

    run(work())


def test_a_taken_port_is_said_and_not_shared(tmp_path: Path) -> None:
    async def work(port: int) -> None:
        one = spec(install(tmp_path), "a", port=port)
        async with fleet(tmp_path, specs=[one], watched=False) as real:
            assert not await real.fleet.start_all()
            state = real.fleet.state("a")
            assert state.reason is not None
            assert (state.reason.code, state.reason.params) == ("fleet.port_taken", {"port": port})
            assert real.events() == []

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        run(work(other.getsockname()[1]))


def test_no_program(tmp_path: Path) -> None:
    async def work() -> None:
        one = spec(tmp_path / "no" / "vllm", "a")
        async with fleet(tmp_path, specs=[one]) as real:
            assert not await real.fleet.start_all()
            assert real.fleet.state("a").stage is Stage.GAVE_UP

    run(work())


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    async def work() -> None:
        broken = tmp_path / "vllm"
        broken.write_bytes(b"\x7fnothing that runs")
        broken.chmod(0o755)
        async with fleet(tmp_path / "b", specs=[spec(broken, "a")]) as real:
            assert not await real.fleet.start_all()
            state = real.fleet.state("a")
            assert state.stage is Stage.GAVE_UP
            assert state.reason is not None
            assert "Exec format error" in state.reason.params["words"]

    run(work())


def test_an_end_may_be_hurried(tmp_path: Path) -> None:
    async def work() -> None:
        command = install(tmp_path, {"a": {"ignore_term": True}})
        one = spec(command, "a")
        log = LogFile(tmp_path / "a.log", 1 << 20, 1, lambda _: None)
        process = EngineProcess(one, log, lambda _: None, 60)
        await until(lambda: "startup complete" in log.said())
        patient = asyncio.create_task(process.stop(60))
        await until(lambda: any(event["what"] == "term" for event in events(tmp_path)))
        async with asyncio.timeout(20):
            await process.stop(0)
            await patient
        assert (await process.wait()).code == -signal.SIGKILL

    run(work())


def test_a_full_disk_for_logs_ends_no_engine(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "a.log").symlink_to("/dev/full")
        async with fleet(tmp_path, "a") as real:
            assert await real.fleet.start_all()
            state = real.fleet.state("a")
            assert state.reason is not None
            assert state.reason.code == "fleet.log_lost"
            told = [one for one in real.seen if one.reason and one.stage is Stage.STARTING]
            assert told
            set_faults(tmp_path, {"a": {"fail": "memory"}})
            await real.fleet.stop("a")
            assert not await real.fleet.start("a")
            state = real.fleet.state("a")  # the cause is known without the file
            assert state.reason is not None
            assert state.reason.code == "logs.free_below_budget_by"

    run(work())


def test_a_flood_of_output_stops_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        async with fleet(tmp_path, "a", faults={"a": {"noise_bytes": 5_000_000}}) as real:
            assert await real.fleet.start_all()
            assert (tmp_path / "logs" / "a.log").stat().st_size > 5_000_000

    run(work())


def test_nothing_outlives_a_rigfit_that_is_killed(tmp_path: Path) -> None:
    """Another process runs the fleet; it is killed while one engine is up and another one starts."""
    set_up = {"folder": str(tmp_path), "wire": str(Path(__file__).parent)}
    program = subprocess.Popen(
        [sys.executable, "-c", HOLDER, json.dumps(set_up)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert program.stdout
    try:
        assert program.stdout.readline() == "up\n"
        assert len(processes_of(tmp_path)) >= 7
        program.kill()
        program.wait()
        asyncio.run(until(lambda: not processes_of(tmp_path), POLICY.stop_s + 10))
    finally:
        for process in processes_of(tmp_path):
            process.kill()
        program.kill()
        program.stdout.close()
        program.wait()


HOLDER = """
import asyncio, json, sys
from pathlib import Path
given = json.loads(sys.argv[1])
sys.path.insert(0, given["wire"])
import real_fleet
from engine_program import install

async def main():
    folder = Path(given["folder"])
    faults = {"a": {"children": 2, "escape": True}, "b": {"load_s": 60, "children": 1}}
    command = install(folder)
    specs = [real_fleet.spec(command, name, STAND_IN=str(folder)) for name in "ab"]
    real = real_fleet.RealFleet(folder, (), faults, specs=specs)
    task = asyncio.create_task(real.fleet.start_all())
    await real_fleet.until(lambda: len(real.events("start")) == 2)
    print("up", flush=True)
    await task

asyncio.run(main())
"""
