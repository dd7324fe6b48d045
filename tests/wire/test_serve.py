"""``rigfit serve`` and the commands around it, as processes, with engines that stand in for vLLM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serve_process import ON_CPU, QWENS, RIGFIT, Place, Served, ask, free_port, is_alive, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Served]]:
    """Two models of a plan's file, served together."""
    place = Place(tmp_path_factory.mktemp("pair"))
    planned = place.rigfit("plan", *QWENS, "--vram", "20GiB", "--json")
    plan = place.folder / "plan.json"
    plan.write_text(planned.stdout)
    words = ("--plan", str(plan), "--cpu", "--no-memory-check", "--alias", "small=qwen3-0.6b", "--json")
    with place.serving(*words, "--port", str(place.port)) as served:
        yield place, served


def test_one_line_says_that_every_engine_is_ready(pair: tuple[Place, Served]) -> None:
    place, served = pair
    said = json.loads(served.line)
    assert said["url"] == place.url
    assert said["models"] == ["qwen3-0.6b", "qwen3-1.7b", *QWENS, "small"]
    for engine in said["engines"]:
        assert engine["stage"] == "ready"
        assert is_alive(engine["pid"])
        assert Path(engine["log"]).is_file()
        assert engine["predicted"]["kv_pool_bytes"] == 1 << 30
        assert engine["measured"]["kv_pool_tokens"] == 8192
    starts = [(event["what"], event["name"]) for event in place.events("start", "ready")]
    larger, smaller = "qwen3-1.7b", "qwen3-0.6b"
    assert starts == [("start", larger), ("ready", larger), ("start", smaller), ("ready", smaller)]
    assert "loading weights" in served.said()


@pytest.mark.parametrize("name", ["qwen3-0.6b", "small", "Qwen/Qwen3-0.6B"])
def test_models_answer_by_every_name(pair: tuple[Place, Served], name: str) -> None:
    place, _ = pair
    assert place.ask(name) == (200, {"model": "qwen3-0.6b", "by": "qwen3-0.6b", "choices": [_HELLO]})
    assert {row["id"]: row["state"] for row in place.get("/v1/models")["data"]}[name] == "ready"


_HELLO = {"message": {"content": "hello"}}


def test_ps_shows_the_run_from_another_process(pair: tuple[Place, Served]) -> None:
    place, served = pair
    (run,) = place.json("ps")["runs"]
    assert (run["state"], run["port"], run["pid"]) == ("running", place.port, served.process.pid)
    assert [engine["name"] for engine in run["engines"]] == ["qwen3-1-7b", "qwen3-0-6b"]
    lines = place.rigfit("ps").stdout.splitlines()
    assert f"{place.url}/v1" in lines[0]
    assert "8,192 (9,344)" in lines[2]
    assert "готов" in place.rigfit("ps", "--lang", "ru").stdout


def test_logs_show_what_an_engine_wrote(pair: tuple[Place, Served]) -> None:
    place, _ = pair
    one = place.rigfit("logs", "small-is-none")
    assert one.returncode == 2
    assert "qwen3-0.6b" in one.stderr
    lines = place.rigfit("logs", "qwen3-0.6b", "-n", "2").stdout.splitlines()
    assert len(lines) == 2
    assert lines[-1].endswith("Application startup complete.")
    both = place.rigfit("logs", "-n", "1").stdout.splitlines()
    assert [line.partition(" | ")[0] for line in both] == ["qwen3-1-7b", "qwen3-0-6b"]
    assert [len(row["lines"]) for row in place.json("logs", "-n", "1")["engines"]] == [1, 1]


def test_no_secret_is_written_down_or_shown(pair: tuple[Place, Served]) -> None:
    place, served = pair
    engine = psutil.Process(json.loads(served.line)["engines"][0]["pid"])
    key = engine.environ()["VLLM_API_KEY"]
    assert len(key) > 30
    for path in (place.folder / "data").rglob("*"):
        assert not path.is_file() or key not in path.read_text(errors="replace"), path
    assert key not in served.said() + served.line
    words = [word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or ()]
    assert not any(key in word for word in words)
    url = engine.cmdline()[engine.cmdline().index("--port") + 1]
    assert ask(f"http://127.0.0.1:{url}", "qwen3-1.7b")[0] == 401


def test_another_rigfit_leaves_the_card_and_the_port_alone(pair: tuple[Place, Served]) -> None:
    place, served = pair
    words = ("serve", QWENS[0], *ON_CPU)
    taken = place.rigfit(*words, "--port", str(free_port()))
    assert taken.returncode == 2
    assert f"process {served.process.pid}, port {place.port}" in taken.stderr
    assert place.rigfit(*words, "--port", str(place.port)).returncode == 2
    dry = place.json(*words, "--port", str(place.port), "--dry-run")
    assert len(dry["refusals"]) == 2
    assert place.json("serve", "--resume")["resumed"] is None
    assert len(place.events("start")) == 2


def test_stop_from_another_process_leaves_nothing(place: Place) -> None:
    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port), "--lang", "ru") as served:
        assert served.line.startswith(f"Готово: {place.url}/v1")
        assert "загрузка весов" in served.said()
        (run,) = place.json("stop")["runs"]
        assert run == {"port": place.port, "stopped": True, "left_over": []}
        assert served.process.wait(20) == 0
        assert served.process.stdout is not None
        assert served.process.stdout.read() == ""
    assert [event["what"] for event in place.events()] == ["start", "ready", "term", "end"]
    assert place.json("ps")["runs"] == []
    (run,) = place.json("ps", "--all")["runs"]
    assert (run["state"], run["engines"][0]["stage"]) == ("stopped", "stopped")
    assert place.rigfit("serve", "--resume").returncode == 0
    assert place.rigfit("stop").returncode == 0


def test_models_take_turns_by_being_stopped_and_started(place: Place) -> None:
    words = (*QWENS, *ON_CPU, "--residency", "swap", "--port", str(place.port))
    with place.serving(*words) as served:
        assert f"{place.url}/v1" in served.line
        assert [event["name"] for event in place.events("ready")] == ["qwen3-0.6b"]
        assert [place.ask(name)[1]["by"] for name in ("qwen3-1.7b", "qwen3-0.6b")] == ["qwen3-1.7b", "qwen3-0.6b"]
        alive, most = set[int](), 0
        for event in place.events("ready", "end"):
            (alive.add if event["what"] == "ready" else alive.discard)(event["pid"])
            most = max(most, len(alive))
        assert most == 1
        assert len(place.events("ready")) == 3


ON_A_CARD = """
import sys
from pathlib import Path
from serving.run import Anything, compose, serve
from serving.runs import Runs
from serving.wish import Wish
from tools.settings import Settings
from ui.commands.serve_plan import job_of, plan_from_file, vllm_command
from ui.commands.serve_progress import Progress
import json

plan, settings = json.loads(Path(sys.argv[1]).read_text()), Settings.from_env()
job = job_of(plan_from_file(plan), None, cpu=False, language="en", again="")
run = compose(job, Wish(port=int(sys.argv[2]), min_awake_s=0.1), plan=plan, command=vllm_command(settings))
names = [spec.name for spec in run.specs]
said = Progress("en", run.config.models, names, (), as_json=False, put=sys.stderr.write, live=False)
serve(run, Runs(settings.data_dir), Path(sys.argv[3]), Anything(), said)
"""
"""``rigfit serve`` without its look at whether this machine has the plan's cards."""


def test_ps_shows_who_sleeps(place: Place) -> None:
    planned = place.rigfit("plan", *QWENS, "--gpu", "RTX 3060", "--residency", "swap", "--json")
    plan = place.folder / "plan.json"
    plan.write_text(planned.stdout)

    def stages() -> dict[str, str]:
        runs = place.json("ps")["runs"]
        return {engine["models"][0]: engine["stage"] for engine in runs[0]["engines"]} if runs else {}

    with (place.folder / "said").open("w") as errors:
        words = [sys.executable, "-c", ON_A_CARD, str(plan), str(place.port), str(place.folder / "locks")]
        process = subprocess.Popen(words, stdout=errors, stderr=errors, env=place.environment)
    try:
        until(lambda: sorted(stages().values()) == ["asleep", "ready"], within_s=60)
        for name in ("qwen3-0.6b", "qwen3-1.7b"):
            assert place.ask(name)[0] == 200
            until(lambda name=name: stages().get(name) == "ready")
            until(lambda: sorted(stages().values()) == ["asleep", "ready"])
        assert place.json("stop")["runs"][0]["stopped"]
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        until(lambda: not place.living())


def test_logs_follow_what_comes(place: Place) -> None:
    words = (*ON_CPU, "--port", str(place.port))
    with place.serving(QWENS[0], *words):
        log = Path(place.json("ps")["runs"][0]["engines"][0]["log"])
        follower = subprocess.Popen(
            [RIGFIT, "logs", "-f", "-n", "1"], stdout=subprocess.PIPE, text=True, env=place.environment
        )
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline().endswith("Application startup complete.\n")
            with log.open("a") as file:
                file.write("a line \x1b[31mof its own\n")
            assert follower.stdout.readline() == "a line of its own\n"
        finally:
            follower.send_signal(signal.SIGINT)
            follower.communicate()
        assert follower.returncode == 130


def test_a_dry_run_starts_nothing(place: Place) -> None:
    said = place.json("serve", *QWENS, *ON_CPU, "--port", str(place.port), "--dry-run")
    assert said["refusals"] == []
    assert [engine["name"] for engine in said["engines"]] == ["qwen3-1-7b", "qwen3-0-6b"]
    first = said["engines"][0]
    assert first["command"][:3] == [str(place.bin / "vllm"), "serve", "Qwen/Qwen3-1.7B"]
    assert first["environment"]["VLLM_API_KEY"] == "***"
    text = place.rigfit("serve", *QWENS, *ON_CPU, "--dry-run", "--port", str(place.port)).stdout
    assert f"{place.bin}/vllm serve Qwen/Qwen3-1.7B --served-model-name qwen3-1.7b" in text
    assert place.events() == []
    assert place.json("ps", "--all")["runs"] == []
