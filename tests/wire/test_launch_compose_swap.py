"""``swap.sh`` of a Compose folder, run for real with a stand-in for Docker that writes down what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import CARD, make_instance, make_plan  # pyright: ignore[reportMissingImports]

from tools.domain import Rig
from tools.launch.generate import generate, write

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")

NAP = "/sleep?level=1&mode=wait"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four engines that take turns in pairs, each pair on a card of its own."""
    pairs = [
        make_instance(name, gpus=(card,), order=order, awake=awake)
        for order, (name, card, awake) in enumerate([("a", 0, False), ("b", 0, True), ("c", 1, False), ("d", 1, True)])
    ]
    write(generate(make_plan(*pairs, rig=Rig((CARD, CARD)), kind="swap")), tmp_path / "files")
    tools = tmp_path / "bin"
    tools.mkdir()
    docker = tools / "docker"
    docker.write_text(f'#!/bin/sh\necho "$4 ${{8#*8000}}" >>{tmp_path}/asked\n[ "$4" != "$BROKEN" ]\n')
    docker.chmod(0o755)
    return tmp_path


def swap(folder: Path, *names: str, broken: str = "none") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./swap.sh", *names],
        cwd=folder / "files",
        env={"PATH": f"{folder}/bin:{os.environ['PATH']}", "BROKEN": broken},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_only_those_on_the_same_card_go_to_sleep(folder: Path):
    done = swap(folder, "a")
    assert (done.returncode, done.stdout) == (0, "a\n")
    assert asked(folder) == [f"b {NAP}", "a /wake_up"]


def test_an_engine_that_will_not_sleep_stops_it(folder: Path):
    assert swap(folder, "c", broken="d").returncode != 0
    assert asked(folder) == [f"d {NAP}"]


@pytest.mark.parametrize("names", [(), ("x",), ("*",), ("@",), ("",), ("a b",), ("$(touch /tmp/never)",)])
def test_an_unknown_name_does_nothing_and_is_told_the_names(folder: Path, names: tuple[str, ...]):
    done = swap(folder, *names)
    assert done.returncode == 2
    assert set("abcd") <= set(done.stderr)
    assert asked(folder) == []
