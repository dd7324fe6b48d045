"""``rigfit serve`` under signals that come again and again, at every moment of its end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from serve_process import ON_CPU, QWENS, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_further_signals_while_engines_are_ended_leave_none_behind(place: Place) -> None:
    place.behave(**{"*": {"term_s": 1.5}})
    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port)) as served:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            served.process.send_signal(number)
            time.sleep(0.2)
            assert served.process.poll() is None
        assert served.process.wait(timeout=10) == 0
        assert place.living() == []
        assert "Traceback" not in served.said()
    assert place.json("stop", "--port", str(place.port))["runs"][0]["stopped"] is False
    (run,) = place.json("ps", "--all")["runs"]
    assert (run["state"], run["engines"][0]["stage"]) == ("stopped", "stopped")


def test_stop_now_takes_an_engine_that_ends_slowly_along(place: Place) -> None:
    place.behave(**{"*": {"term_s": 1.0}})
    with place.serving(QWENS[0], *ON_CPU, "--port", str(place.port)) as served:
        assert place.json("stop", "--now")["runs"] == [{"port": place.port, "stopped": True, "left_over": []}]
        assert served.process.wait(timeout=5) == 0
        assert place.living() == []
