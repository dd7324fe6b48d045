"""Job scripts for SLURM: what they ask for, what bash would run, and that nothing in a name can act."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan

from tools.domain import Plan, Quantization, Rig
from tools.errors import BadValue
from tools.launch import guard
from tools.launch.argv.vllm import vllm_argv
from tools.launch.checks.slurm import check_sbatch, directives
from tools.launch.choices import Choices
from tools.launch.files import LaunchFiles
from tools.launch.generate import generate
from tools.launch.job import prepare
from tools.launch.targets import slurm
from tools.units import GIB

FAR = replace(CARD, node=1)
TWO_MACHINES = Rig((CARD, CARD, FAR, FAR), nodes=2)


def made(plan: Plan, **options: Any) -> LaunchFiles:
    return generate(plan, target="slurm", **options)


def unchecked(plan: Plan) -> LaunchFiles:
    return LaunchFiles("slurm", "", slurm.files(prepare(plan, None, "en", cluster=True)[0]), ())


def texts(launch: LaunchFiles) -> dict[str, str]:
    return {file.path: file.content for file in launch.files}


def asked(launch: LaunchFiles) -> dict[str, str]:
    found = directives(texts(launch)["rigfit.sbatch"])
    return dict(line.removeprefix("#SBATCH --").split("=", 1) for line in found)


def steps(launch: LaunchFiles) -> list[tuple[str, str, list[str]]]:
    """What starts: name, port after the first, machines."""
    found = re.findall(
        r"^start (\S+) \$\(\(first_port \+ (\d+)\)\) \d+ (.*)$", texts(launch)["rigfit.sbatch"], re.MULTILINE
    )
    return [(name, port, re.findall(r"nodes\[(\d)\]", where)) for name, port, where in found]


def started(script: str, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """The words that a script of an engine would start, and the environment of the cards, as bash has them."""
    body = script[: script.index('run "${engine[@]}" &')]
    body = re.sub(r"^cd -- .*$|^\. \./environment\.sh$|^python3 preflight\.py .*$", "", body, flags=re.MULTILINE)
    shown = 'printf "%s\\0" "${CUDA_VISIBLE_DEVICES:-}" "${HIP_VISIBLE_DEVICES:-}" "${engine[@]}"'
    done = subprocess.run(
        ["bash", "-c", body + shown, "serve", *words],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        check=True,
        timeout=20,
    )
    cuda, hip, *engine = done.stdout.decode().split("\0")[:-1]
    return engine, {"cuda": cuda, "hip": hip}


def test_the_job_asks_for_what_its_engines_take():
    plan = make_plan(
        make_instance("a", gpus=(0, 1), tp=2),
        make_instance("b", gpus=(1,), order=1),
        make_instance("c", gpus=(2,), order=2, cpu_offload_bytes=10 * GIB),
        rig=TWO_MACHINES,
    )
    wanted = asked(made(plan))
    assert (wanted["nodes"], wanted["ntasks-per-node"], wanted["gres"]) == ("2", "1", "gpu:2")
    assert wanted["cpus-per-task"] == "7"  # a: 2 + 2, b: 2 + 1 on one machine
    assert wanted["mem"] == "26G"  # a: 4 + 2 x 6, b: 4 + 6; c alone: 4 + 6 + 10
    assert wanted["signal"] == "B:TERM@120"


def test_engines_start_one_after_the_other_on_their_machines_with_ports_of_their_own():
    plan = make_plan(
        make_instance("late", gpus=(2,), order=2), make_instance("early", gpus=(0,), order=1), rig=TWO_MACHINES
    )
    assert steps(made(plan)) == [("early", "0", ["0"]), ("late", "2", ["1"])]


def test_machines_that_are_not_used_are_not_asked_for():
    launch = made(make_plan(make_instance("far", gpus=(3,)), rig=TWO_MACHINES))
    assert (asked(launch)["nodes"], asked(launch)["gres"]) == ("1", "gpu:1")
    assert steps(launch) == [("far", "0", ["0"])]


def test_an_engine_gets_exactly_the_flags_of_the_builder():
    plan = make_plan(make_instance("a", ("qwen",)))
    words, _ = started(texts(made(plan))["serve-a.sh"], "20000", "20001", "n1", SLURMD_NODENAME="n1")
    assert words == [
        *vllm_argv(plan.placement().instances[0], host="127.0.0.1", middleware=guard.CLASS),
        "--port",
        "20000",
    ]


@pytest.mark.parametrize(
    ("given_cards", "expected"), [("", "1"), ("0,1", "1"), ("5,7", "7"), ("GPU-aaa,GPU-bbb", "GPU-bbb")]
)
def test_an_engine_takes_its_cards_among_those_that_slurm_gave(given_cards: str, expected: str):
    plan = make_plan(make_instance("a", gpus=(0,)), make_instance("b", gpus=(1,)), rig=Rig((CARD, CARD)))
    script = texts(made(plan))["serve-b.sh"]
    _, cards = started(script, "20000", "20001", "n1", SLURMD_NODENAME="n1", CUDA_VISIBLE_DEVICES=given_cards)
    assert cards["cuda"] == expected


def test_amd_cards_are_counted_among_those_that_slurm_left_visible():
    amd = replace(CARD, vendor="amd")
    plan = make_plan(make_instance("a", gpus=(0,)), make_instance("b", gpus=(1,)), rig=Rig((amd, amd)))
    launch = made(plan)
    _, cards = started(texts(launch)["serve-b.sh"], "1", "2", "n1", SLURMD_NODENAME="n1", CUDA_VISIBLE_DEVICES="4,6")
    assert cards == {"cuda": "", "hip": "1"}  # vLLM refuses both at once
    assert "--rocm" in texts(launch)["environment.sh"]


@pytest.mark.parametrize(("machine", "rank"), [("n1", "0"), ("n2", "1")])
def test_an_engine_across_machines_knows_its_rank(machine: str, rank: str):
    plan = make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES)
    launch = made(plan)
    assert steps(launch) == [("big", "0", ["0", "1"])]
    words, cards = started(texts(launch)["serve-big.sh"], "20000", "20001", "n1", "n2", SLURMD_NODENAME=machine)
    base = vllm_argv(plan.placement().instances[0], host="127.0.0.1", middleware=guard.CLASS)
    place = ["--nnodes", "2", "--node-rank", rank, "--master-addr", "n1", "--master-port", "20001"]
    assert words == [*base, *place, *(["--port", "20000"] if rank == "0" else ["--headless"])]
    assert cards["cuda"] == "0,1"


def test_ray_connects_the_machines_where_it_is_asked_for():
    plan = make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), rig=TWO_MACHINES)
    script = texts(made(plan))["serve-big.sh"]
    words, _ = started(script, "20000", "20001", "n1", "n2", SLURMD_NODENAME="n2", BACKEND="ray")
    base = [*vllm_argv(plan.placement().instances[0], host="127.0.0.1", middleware=guard.CLASS), "--port", "20000"]
    ray = ["ray", "symmetric-run", "--address", "n1:20001", "--min-nodes", "2", "--num-gpus", "2", "--"]
    assert words == [*ray, *base, "--distributed-executor-backend", "ray"]


def test_an_engine_across_machines_may_have_other_cards_on_each():
    plan = make_plan(
        make_instance("one", gpus=(0,)), make_instance("big", gpus=(1, 2), pp=2, order=1), rig=TWO_MACHINES
    )
    script = texts(made(plan))["serve-big.sh"]
    found = [started(script, "1", "2", "n1", "n2", SLURMD_NODENAME=n)[1]["cuda"] for n in ("n1", "n2")]
    assert found == ["1", "0"]


def test_unequal_shares_of_machines_are_refused():
    with pytest.raises(BadValue, match="uneven_machines"):
        made(make_plan(make_instance("a", gpus=(0, 1, 2), pp=3), rig=TWO_MACHINES))


def test_engines_stay_on_their_machine_unless_asked_and_always_want_a_key():
    for choices, host in ((Choices(), "127.0.0.1"), (Choices(open=True), "0.0.0.0")):
        launch = texts(made(make_plan(make_instance("a")), choices=choices))
        assert f"--host {host}\n" in launch["serve-a.sh"]
        assert "export VLLM_API_KEY" in launch["rigfit.sbatch"]
        # vLLM's own key leaves some routes open
        assert "--middleware rigfit_guard.Key" in launch["serve-a.sh"]
        assert launch[guard.FILE] == guard.PROGRAM
        assert "VLLM_API_KEY" not in launch["serve-a.sh"]


def test_in_a_swap_an_engine_sleeps_before_it_is_ready():
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap")
    launch = made(plan)
    assert [name for name, _, _ in steps(launch)] == ["b", "a"]
    asleep, awake = texts(launch)["serve-b.sh"], texts(launch)["serve-a.sh"]
    assert asleep.index("/sleep?level=1") < asleep.index("b.ready")
    assert "/sleep" not in awake
    assert "VLLM_SERVER_DEV_MODE=1" in awake
    assert "swap.sh" in texts(launch)


def test_bitsandbytes_is_mentioned_where_needed():
    checkpoint = make_checkpoint(in_flight=True, quantization=Quantization("bnb_nf4", 4))
    launch = texts(made(make_plan(make_instance("a", checkpoint=checkpoint))))
    for path in ("serve-a.sh", "environment.sh", "README.md"):
        assert "vllm-bnb-plugin==" in launch[path]


@pytest.mark.parametrize(("language", "word"), [("en", "weights"), ("ru", "веса")])
def test_files_begin_with_what_they_rest_on_and_say_when_deepspeed_makes_sense(language: str, word: str):
    launch = texts(made(make_plan(make_instance("a")), language=language))
    for path in ("rigfit.sbatch", "serve-a.sh", "environment.sh", "fetch.sh"):
        top = launch[path].split("set -euo")[0].split("\n\n")[0]
        assert "rigfit explain" in top
        assert word in top
    assert "ZeRO-Inference" in launch["README.md"]
    assert "DeepSpeed" in launch["rigfit.sbatch"]


def test_no_check_fails():
    plans = (
        make_plan(make_instance("a"), make_instance("b", order=1)),
        make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap"),
        make_plan(make_instance("big", gpus=(0, 1, 2, 3), tp=2, pp=2), make_instance("c"), rig=TWO_MACHINES),
        make_plan(make_instance("a"), rig=Rig((replace(CARD, vendor="amd"),))),
    )
    for plan in plans:
        for language in ("en", "ru"):
            checks = {check.name: check for check in made(plan, language=language).checks}
            assert {"vllm-flags", "sbatch", "shellcheck"} <= set(checks)
            assert all(check.ok is not False for check in checks.values()), checks


def test_without_slurm_the_script_is_not_called_accepted(monkeypatch: pytest.MonkeyPatch):
    text = texts(made(make_plan(make_instance("a"))))["rigfit.sbatch"]
    monkeypatch.setenv("PATH", "")
    assert check_sbatch(text).ok is None
    assert check_sbatch(text.replace("#SBATCH --nodes=1", "#SBATCH --nodes 1; touch x")).ok is False


printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    | st.sampled_from(list("$`'\"\\{}()[]&*!|><%@#:,;?~^= ")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@settings(max_examples=40, deadline=None)
@given(printable, st.lists(printable, min_size=1, max_size=3), printable)
@example("$(touch /tmp/x)", ["${HOME}", "a'b"], "`id`")
@example("' ; reboot #", ['"', "\\"], "!!")
@example("a \\", ["b \\"], "c")
def test_whatever_a_name_holds_it_reaches_the_engine_as_it_is(name: str, served: list[str], revision: str):
    repo = hub_id(name)
    instance = make_instance("a", tuple(served), checkpoint=make_checkpoint(repo, revision=revision))
    launch = texts(unchecked(make_plan(instance)))
    words, _ = started(launch["serve-a.sh"], "20000", "20001", "n1", SLURMD_NODENAME="n1")
    assert words == [*vllm_argv(instance, host="127.0.0.1", middleware=guard.CLASS), "--port", "20000"]
    fetch = launch["fetch.sh"].splitlines()[-1].replace("run python3 download.py", "printf '%s\\0'")
    done = subprocess.run(["bash", "-c", fetch], capture_output=True, check=True, timeout=20)
    assert done.stdout.decode().split("\0")[:2] == [repo, revision]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
@example("x\n#SBATCH --uid=0\nreboot", "a\r\n#SBATCH --wrap=x")
def test_no_text_becomes_a_directive_or_a_command(name: str, precision: str):
    instance = make_instance(name, checkpoint=make_checkpoint(precision=precision))
    launch = unchecked(make_plan(instance))
    names = {line.split("=")[0] for line in directives(texts(launch)["rigfit.sbatch"])}
    assert len(names) == len(directives(texts(launch)["rigfit.sbatch"])) == 9
    plain = unchecked(make_plan(make_instance("a")))
    for file, other in zip(launch.files, plain.files, strict=True):
        if file.path.endswith(".sh"):
            assert file.content.count("\n") == other.content.count("\n"), file.path
