"""How ``rigfit serve`` ends: by signals, by a kill, and by engines that can't start."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from serve_process import ON_CPU, QWENS, Place, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_that_was_killed_is_seen_and_starts_again(place: Place) -> None:
    words = (*ON_CPU, "--port", str(place.port), "--alias", "small=qwen3-0.6b")
    with place.serving(QWENS[0], *words) as served:
        served.process.kill()
        served.process.wait()
        until(lambda: not place.living())
        (run,) = place.json("ps")["runs"]
        assert (run["state"], run["engines"][0]["stage"]) == ("gone", "gone")
        assert "--resume" in place.rigfit("ps").stdout
    with place.serving("--resume") as again:
        assert f"{place.url}/v1" in again.line
        assert place.ask("small")[0] == 200
        assert again.end(signal.SIGTERM) == (0, "")
    assert place.json("ps")["runs"][0]["state"] == "interrupted"
    with place.serving("--resume", "--json") as third:
        assert json.loads(third.line)["models"] == ["qwen3-0.6b", "Qwen/Qwen3-0.6B", "small"]
        assert third.end(signal.SIGINT) == (0, "")
    assert place.json("ps")["runs"] == []
    assert place.json("serve", "--resume")["resumed"] is None


def test_running_requests_are_finished_unless_the_signal_comes_twice(place: Place) -> None:
    answers: list[Any] = []

    def slowly(seconds: float) -> None:
        try:
            answers.append(place.ask("qwen3-0.6b", gap=seconds, n=1)[0])
        except OSError:
            answers.append("cut")

    def is_asking() -> bool:
        with urlopen(f"{place.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return any(line.startswith("rigfit_gateway_requests_in_flight{") and line.endswith(" 1.0") for line in lines)

    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port)) as served:
        asking = threading.Thread(target=slowly, args=(1.5,))
        asking.start()
        until(is_asking)
        assert served.end(signal.SIGTERM) == (0, "")
        asking.join()
        assert answers == [200]
    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port)) as served:
        asking = threading.Thread(target=slowly, args=(25.0,))
        asking.start()
        until(is_asking)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert served.process.poll() is None
        assert served.end(signal.SIGTERM) == (0, "")
        asking.join()
        assert answers[1] in {"cut", 502, 503}
    assert not place.living()


def test_an_engine_that_can_not_start_is_said_and_the_others_go_on(place: Place) -> None:
    place.behave(**{"qwen3-1.7b": {"fail": "flag"}})
    with place.serving(*QWENS, *ON_CPU, "--port", str(place.port), ready=False) as served:
        until(lambda: "the others are not ready" in served.said())
        assert "qwen3-1-7b was given up: " in served.said()
        assert "unrecognized arguments" in served.said()
        assert [place.ask(name)[0] for name in ("qwen3-0.6b", "qwen3-1.7b")] == [200, 503]
        assert [engine["stage"] for engine in place.json("ps")["runs"][0]["engines"]] == ["gave_up", "ready"]
        assert served.end(signal.SIGINT) == (0, "")
    (run,) = place.json("ps", "--all")["runs"]
    assert [engine["stage"] for engine in run["engines"]] == ["gave_up", "stopped"]


def test_where_no_engine_is_left_it_ends_with_3(place: Place) -> None:
    place.behave(**{"*": {"fail": "cache"}})
    done = place.rigfit("serve", QWENS[0], *ON_CPU, "--port", str(place.port))
    assert done.returncode == 3
    assert done.stdout == ""
    assert "1.00 GiB" in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = place.json("ps")["runs"]
    assert (run["state"], run["engines"][0]["stage"]) == ("failed", "gave_up")
    assert "1.00 GiB" in run["engines"][0]["reason"]


def test_a_model_that_is_still_starting_says_so_and_a_start_can_be_stopped(place: Place) -> None:
    place.behave(**{"*": {"load_s": 20.0}})
    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port), ready=False) as served:
        until(lambda: "loading weights" in served.said())
        assert place.get("/v1/models")["data"][0]["state"] == "starting"
        status, error = place.ask("qwen3-0.6b")
        assert (status, error["error"]["code"]) == (503, "model_starting")
        (run,) = place.json("ps")["runs"]
        assert (run["state"], run["ready"]) == ("running", None)
        assert place.json("stop", "--port", str(place.port))["runs"][0]["stopped"] is True
        assert served.process.wait(20) == 0
    assert not place.living()
