"""What an engine's container runs first: the check of free memory, and the share of the cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import make_instance, make_plan  # pyright: ignore[reportMissingImports]

from tools.launch.compose_start import program
from tools.launch.job import prepare

GIB = 1 << 30
TORCH = """\
import types
version = types.SimpleNamespace(cuda="13.0")

class cuda:
    @staticmethod
    def device_count():
        return len(CARDS)

    @staticmethod
    def mem_get_info(number):
        return CARDS[number][:2]

    @staticmethod
    def get_device_properties(number):
        return types.SimpleNamespace(is_integrated=len(CARDS[number]) > 2)
"""
USUAL = {"MEMORY_WAIT_S": "0", "CARDS": "3,5"}
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('VLLM_CPU_OMP_THREADS_BIND')]))"


class Container:
    """A folder with the program, and a stand-in for torch that knows these cards: ``(free, total)`` in bytes.

    A third word says that a card shares the machine's memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "start.py").write_text(program(prepare(make_plan(make_instance()), None, "en")[0]))

    def run(self, *flags: str, cards: object = (), **env: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "torch.py").write_text(f"CARDS = {cards!r}\n{TORCH}" if cards != "broken" else "import nothing")
        return subprocess.run(
            [sys.executable, "start.py", sys.executable, "-c", SHOW, *flags],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder), "MEMORY_WAIT_S": "0", "CARDS": "3,5"}
            | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_with_its_share_free_the_engine_starts_with_its_own_words(container: Container):
    words = ["--gpu-memory-utilization=0.5", "--x", "$(reboot) ы '\""]
    done = container.run(*words, cards=[(50 * GIB, 95 * GIB)])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [words, None]


@pytest.mark.parametrize(
    ("flags", "cards", "said"),
    [
        (["--gpu-memory-utilization=0.6"], [(40 * GIB, 95 * GIB)], "Card 3: 40.0 GiB of 95.0 GiB are free"),
        (["--gpu-memory-utilization=0.6"], [(90 * GIB, 95 * GIB), (1 * GIB, 95 * GIB)], "Card 5: 1.0 GiB"),
        ([], [(80 * GIB, 95 * GIB)], "takes 87.4"),  # vLLM's own default: 0.92
        ([], [], "No card is visible"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(container: Container, flags: list[str], cards: object, said: str):
    done = container.run(*flags, cards=cards)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_on_shared_memory_what_the_system_could_free_counts_as_free(container: Container):
    assert container.run("--gpu-memory-utilization=0.9", cards=[(0, 1 << 20, "shared")]).returncode == 0
    assert container.run("--gpu-memory-utilization=0.9", cards=[(0, 1 << 50, "shared")]).returncode == 1


def test_where_the_cards_cannot_be_asked_the_engine_speaks_for_itself(container: Container):
    done = container.run(cards="broken")
    assert done.returncode == 0
    assert "starts without that check" in done.stderr


def test_on_a_processor_the_ram_must_do(container: Container):
    done = container.run(SHARE_OF_CORES="1/1", RAM_NEEDED=str(1 << 50))
    assert done.returncode == 1
    assert "the engine takes about 1048576.0 GiB" in done.stderr
    assert container.run(SHARE_OF_CORES="1/1", RAM_NEEDED="1").returncode == 0


def test_it_speaks_the_askers_language(container: Container):
    plan = make_plan(make_instance())
    (container.folder / "start.py").write_text(program(prepare(plan, None, "ru")[0]))
    done = container.run("--gpu-memory-utilization=0.5", cards=[(GIB, 95 * GIB)], PYTHONUTF8="1")
    assert "Карта 3: свободно 1.0 из 95.0 GiB, а движок при запуске займёт 47.5 GiB" in done.stderr


def test_each_engine_on_a_processor_has_cores_of_its_own(container: Container):
    def cores(share: str, **env: str) -> list[str]:
        return json.loads(container.run(SHARE_OF_CORES=share, **env).stdout)[1].split(",")

    allowed = {str(cpu) for cpu in os.sched_getaffinity(0)}
    first, second = cores("1/2"), cores("2/2")
    assert first
    assert set(first) <= allowed
    if len(allowed) > 1 and len(cores("1/1")) > 1:
        assert not set(first) & set(second)
    assert cores("1/2", VLLM_CPU_OMP_THREADS_BIND="7") == ["7"]
    assert cores("1/999")  # more engines than cores: they share
