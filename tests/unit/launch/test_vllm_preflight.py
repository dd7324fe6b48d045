"""The program that looks at the cards before an engine starts: stand-ins for the makers' tools tell it what is free."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from launch_factory import CARD, make_instance, make_plan

from tools.domain import InstancePlan, Rig
from tools.launch import preflight
from tools.launch.argv.vllm import cpu_cache_bytes
from tools.launch.choices import Choices
from tools.launch.job import Job, prepare
from tools.units import GIB, MIB

Run = Callable[..., subprocess.CompletedProcess[str]]
BLACKWELL = "0, 90000, 97887, 580.65.06\n1, 20000, 97887, 580.65.06\n"
ROCM = '{"card0": {"VRAM Total Memory (B)": "103079215104", "VRAM Total Used Memory (B)": "93079215104"}}'


def job_of(instance: InstancePlan | None = None, language: str = "en", *, cpu: bool = False) -> Job:
    plan = make_plan(instance or make_instance(), rig=Rig((CARD, CARD)))
    return prepare(plan, None, language, choices=Choices(cpu=cpu))[0]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the program with tools on its path that print what they are given here."""

    def ran(*words: str, language: str = "en", **said: str) -> subprocess.CompletedProcess[str]:
        text = preflight.program(job_of(language=language)).replace("time.sleep(5)", "time.sleep(0)")
        (tmp_path / "preflight.py").write_text(text, encoding="utf-8")
        for name, output in said.items():
            tool = tmp_path / name.replace("_", "-")
            (tmp_path / name).write_text(output.strip() + "\n")
            tool.write_text(f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <'{tmp_path / name}'\n")
            tool.chmod(0o755)
        command = [sys.executable, str(tmp_path / "preflight.py"), *words]
        env = {"PATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)

    return ran


def test_room_enough_is_passed_in_silence(run: Run):
    done = run("nvidia", "0", "0.9", "580", nvidia_smi=BLACKWELL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("cards", ["1", "0,1"])
def test_too_little_room_on_any_card_is_said_with_its_numbers(run: Run, cards: str):
    done = run("nvidia", cards, "0.5", "580", nvidia_smi=BLACKWELL)
    assert done.returncode == 1
    assert "Card 1: 19.5 GiB of 95.6 GiB are free, and the engine takes 47.8 GiB" in done.stderr


def test_the_sentence_is_in_the_language_of_the_files(run: Run):
    assert "свободно 19.5 из 95.6 GiB" in run("nvidia", "1", "0.5", language="ru", nvidia_smi=BLACKWELL).stderr


def test_an_old_driver_is_said_and_does_not_stop(run: Run):
    done = run("nvidia", "0", "0.5", "580", nvidia_smi=BLACKWELL.replace("580.65.06", "560.35.03"))
    assert done.returncode == 0
    assert "560.35.03" in done.stderr
    assert "580" in done.stderr


UNKNOWN = (
    "0, [N/A], [N/A], 580.65.06\n",
    "",
    "NVIDIA-SMI has failed\n",
    "0, 1\n",
    "7, 1, 97887, 580.0\n",
    "0, 1, 0, x\n",
)


@pytest.mark.parametrize("said", UNKNOWN)
def test_what_a_tool_does_not_tell_is_not_guessed(run: Run, said: str):
    done = run("nvidia", "0", "0.5", "580", nvidia_smi=said)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_tool_nothing_is_checked(run: Run):
    assert run("nvidia", "0", "0.99", "580").returncode == 0
    assert run("amd", "0", "0.99").returncode == 0


def test_amds_tool_tells_what_is_used(run: Run):
    done = run("amd", "0", "0.5", rocm_smi=ROCM)
    assert done.returncode == 1
    assert "Card 0: 9.3 GiB of 96.0 GiB are free" in done.stderr
    assert run("amd", "0", "0.05", rocm_smi=ROCM).returncode == 0
    assert run("amd", "0", "0.5", rocm_smi='{"system": []}').returncode == 0


def test_on_the_processor_the_ram_counts(run: Run):
    assert run("cpu", str(MIB)).returncode == 0
    done = run("cpu", str(1 << 60))
    assert done.returncode == 1
    assert "GiB of RAM are free" in done.stderr


# --- what it is told -------------------------------------------------------------------------------------------------


def words_of(instance: InstancePlan, *, cpu: bool = False) -> list[str]:
    job = job_of(instance, cpu=cpu)
    return preflight.arguments(job, job.units[0])


def test_the_share_is_the_engines_of_what_the_driver_shows():
    """0.25 of 95 GiB that the engine sees, of 97,887 MiB that the driver shows: 0.2484 (downwards)."""
    assert words_of(make_instance()) == ["nvidia", "0", "0.2484", "580"]
    assert words_of(make_instance(gpus=(0, 1), tp=2, gpu_memory_utilization=None))[1:3] == ["0,1", "0.9142"]


def test_weights_that_lie_there_already_are_not_asked_for_again():
    """0.25 of 95 GiB less 16 GiB of weights, which a daemon holds, leaves 7.75 GiB of 95.59."""
    (share,) = words_of(make_instance(weights_elsewhere=True))[2:3]
    assert float(share) == pytest.approx(7.75 * GIB / (97_887 * MIB), abs=1e-4)


def test_the_processor_needs_weights_cache_and_the_engine_itself():
    needed = 16 * GIB + cpu_cache_bytes(make_instance()) + preflight.ON_CPU_BYTES
    assert words_of(make_instance(), cpu=True) == ["cpu", str(needed)]


def test_an_amd_card_has_no_driver_floor():
    plan = make_plan(make_instance(), rig=Rig((replace(CARD, vendor="amd"),)))
    job = prepare(plan, None, "en")[0]
    assert preflight.arguments(job, job.units[0]) == ["amd", "0", "0.2484"]
