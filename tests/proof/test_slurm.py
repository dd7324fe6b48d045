"""Job scripts in a real SLURM: it takes each script of the grid, and runs some with a stand-in for vLLM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from grid import Made, accepted

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import (  # pyright: ignore[reportMissingImports]
    CARD,
    make_checkpoint,
    make_instance,
    make_plan,
)

from tools.domain import Plan, Rig
from tools.launch.argv.vllm import vllm_argv
from tools.launch.checks.shell import check_shell
from tools.launch.checks.slurm import check_sbatch
from tools.launch.files import write
from tools.launch.generate import generate
from tools.launch.guard import CLASS
from tools.launch.targets.slurm import BATCH

CONTROL = Path(__file__).parents[2] / "scripts" / "proof" / "slurm.sh"
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
CASES = accepted("slurm")

STAND_IN = """\
#!{python}
import http.server, json, os, signal, sys, threading, time

words = sys.argv[1:]
log = os.path.join(os.environ["RIGFIT_STATE"], f"said-{{os.getpid()}}.json")
said = {{"words": words, "cards": os.environ.get("CUDA_VISIBLE_DEVICES"), "key": os.environ.get("VLLM_API_KEY"),
        "machine": os.environ["SLURMD_NODENAME"], "asleep": False, "stopped": False}}
done = threading.Event()

def tell(**more):
    said.update(more)
    with open(log + ".part", "w") as file:
        json.dump(said, file)
    os.replace(log + ".part", log)

class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        if self.headers["Authorization"] != f"Bearer {{said['key']}}":
            self.send_error(401)
            return
        tell(asleep=self.path.startswith("/sleep"))
        self.do_GET()

    def log_message(self, *words):
        pass

signal.signal(signal.SIGTERM, lambda *_: done.set())
tell()
if "--headless" not in words:
    port = int(words[words.index("--port") + 1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
done.wait(100)
time.sleep(2)  # as vLLM takes to end
tell(stopped=True)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.skip(f"needs root and {', '.join(NEEDED)} (Debian: slurmctld slurmd munge)")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([CONTROL, "start", folder], check=True, timeout=90)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    yield
    subprocess.run([CONTROL, "stop", folder], check=False, timeout=30)
    os.environ.pop("SLURM_CONF")
    if before is not None:
        os.environ["SLURM_CONF"] = before


def test_the_grid_is_wide_enough():
    assert len(CASES) >= 60


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_slurm_and_shellcheck_accept_it(made: Made, slurm: None):
    assert made.files
    files = {file.path: file.content for file in made.files.files}
    check = check_sbatch(files[BATCH])
    assert check.ok, check.detail
    for check in check_shell(made.files.files):
        assert check.ok, check.detail


def test_an_option_that_slurm_does_not_know_is_told(slurm: None):
    text = next(f.content for f in CASES[0].files.files if f.path == BATCH) if CASES[0].files else ""
    assert check_sbatch(text.replace("#SBATCH --gres=", "#SBATCH --cards=")).ok is False
    assert check_sbatch(text.replace("#SBATCH --nodes=1", "#SBATCH --nodes=99")).ok is False


@dataclass(frozen=True)
class Run:
    """A submitted job: ``folder`` is where its files are."""

    job: str
    folder: Path

    def log(self) -> str:
        file = self.folder / f"rigfit-{self.job}.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + 60
        while text not in self.log():
            state = self.folder / f"job-{self.job}"
            logs = [p.read_text(encoding="utf-8") for p in state.glob("*.log")] if state.exists() else []
            alive = time.monotonic() < until and "has stopped" not in self.log()
            assert alive, self.log() + "".join(logs)
            time.sleep(0.2)

    def said(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / f"job-{self.job}").glob("said-*.json"), key=lambda p: p.stat().st_ctime)
        return [json.loads(path.read_text(encoding="utf-8")) for path in files]

    def engines(self) -> dict[str, tuple[str, str]]:
        lines = (self.folder / f"job-{self.job}" / "engines").read_text(encoding="utf-8").splitlines()
        return {name: (node, port) for name, node, port in (line.split() for line in lines)}

    def tell(self) -> None:
        """Ask the engines to end, as SLURM may do several times while they are still ending."""
        subprocess.run(["scancel", "--signal=TERM", self.job], check=True)
        time.sleep(0.3)

    def end(self) -> None:
        subprocess.run(["scancel", self.job], check=True)
        until = time.monotonic() + 60
        while subprocess.run(["squeue", "-h", "-j", self.job], capture_output=True, text=True, check=False).stdout:
            assert time.monotonic() < until
            time.sleep(0.3)

    def all_stopped(self) -> bool:
        """Whether every engine ended by itself; the queue may be empty a moment before the last has said so."""
        until = time.monotonic() + 20
        while not all(said["stopped"] for said in self.said()) and time.monotonic() < until:
            time.sleep(0.3)
        return all(said["stopped"] for said in self.said())


def submit(plan: Plan, folder: Path) -> Run:
    """Submit the files as they are, with weights that have been fetched and a stand-in for vLLM on the path."""
    write(generate(plan, target="slurm", checked=False), folder)
    commands = folder / "bin"
    commands.mkdir()
    (commands / "vllm").write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    (commands / "vllm").chmod(0o755)
    for instance in plan.placement().instances:
        fetched(folder / "hub", instance.deployment.checkpoint.repo)
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        ["sbatch", "--parsable", BATCH], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return Run(done.stdout.strip(), folder)


def fetched(home: Path, repo: str) -> None:
    """The hub's cache as the download leaves it."""
    cache = home / "hub" / ("models--" + repo.replace("/", "--"))
    (cache / "refs").mkdir(parents=True, exist_ok=True)
    (cache / "refs" / "main").write_text("0" * 40)
    (cache / "snapshots" / ("0" * 40)).mkdir(parents=True, exist_ok=True)
    (home / (".rigfit-complete-" + (repo + "@main").replace("/", "--"))).write_text("")


def test_engines_run_in_order_on_their_cards_and_stop_cleanly(slurm: None, tmp_path: Path):
    plan = make_plan(
        make_instance("a", gpus=(0, 1), tp=2, checkpoint=make_checkpoint("Org/Big")),
        make_instance("b", gpus=(1,), order=1),
        rig=Rig((CARD, CARD)),
    )
    run = submit(plan, tmp_path)
    run.wait_for("Ready")
    first, second = run.said()
    assert (first["cards"], second["cards"]) == ("0,1", "1")
    for said, instance in zip((first, second), plan.placement().instances, strict=True):
        assert ["vllm", *said["words"]][:-2] == vllm_argv(instance, host="127.0.0.1", gpus=(CARD,), middleware=CLASS)
        assert said["key"] == (tmp_path / f"job-{run.job}" / "api-key").read_text().strip()
    ports = {name: port for name, (_, port) in run.engines().items()}
    assert len(set(ports.values())) == 2
    assert (tmp_path / f"job-{run.job}" / "api-key").stat().st_mode & 0o077 == 0
    for _ in range(3):
        run.tell()
    run.end()
    assert run.all_stopped()


def test_an_engine_across_machines_has_a_rank_on_each(slurm: None, tmp_path: Path):
    far = replace(CARD, node=1)
    plan = make_plan(
        make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2),
        make_instance("small", gpus=(4,), order=1),
        rig=Rig((CARD, CARD, far, far, far), nodes=2),
    )
    run = submit(plan, tmp_path)
    run.wait_for("Ready")
    by_rank = {}
    for said in run.said()[:2]:
        words = said["words"]
        by_rank[words[words.index("--node-rank") + 1]] = said
        assert words[words.index("--master-addr") + 1] == "rigfit1"
        assert words[words.index("--nnodes") + 1] == "2"
    assert {rank: said["machine"] for rank, said in by_rank.items()} == {"0": "rigfit1", "1": "rigfit2"}
    assert "--headless" in by_rank["1"]["words"]
    assert "--port" in by_rank["0"]["words"]
    assert {said["cards"] for said in by_rank.values()} == {"0,1"}
    small = run.said()[2]
    assert (small["machine"], small["cards"]) == ("rigfit2", "2")
    run.end()
    assert run.all_stopped()


def test_engines_take_turns(slurm: None, tmp_path: Path):
    plan = make_plan(make_instance("awake"), make_instance("asleep", order=1, awake=False), kind="swap")
    run = submit(plan, tmp_path)
    run.wait_for("Ready")
    assert [said["asleep"] for said in run.said()] == [True, False]
    subprocess.run(["./swap.sh", run.job, "asleep"], cwd=tmp_path, check=True, timeout=60)
    assert sorted(said["asleep"] for said in run.said()) == [False, True]
    run.end()


def test_the_job_ends_when_an_engine_does(slurm: None, tmp_path: Path):
    run = submit(make_plan(make_instance("a")), tmp_path)
    run.wait_for("Ready")
    pid = next((tmp_path / f"job-{run.job}").glob("said-*.json")).stem.removeprefix("said-")
    os.kill(int(pid), 9)
    run.wait_for("An engine has stopped")
    until = time.monotonic() + 60
    while subprocess.run(["squeue", "-h", "-j", run.job], capture_output=True, text=True, check=False).stdout:
        assert time.monotonic() < until, "the job goes on without its engine"
        time.sleep(0.3)
