"""Plain scripts: what bash would run is what went in."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, make_checkpoint, make_instance, make_plan

from tools.domain import Plan, Quantization, Rig
from tools.launch.argv.vllm import vllm_argv
from tools.launch.generate import LaunchFiles, generate, write
from tools.launch.job import prepare
from tools.launch.targets import vllm as vllm_scripts

printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from(list("$`'\"\\{}[]&*!|><%@#:,;?~^= ")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-"))


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def scripts(plan: Plan, language: str = "en") -> LaunchFiles:
    return generate(plan, target="vllm", language=language)


def unchecked(plan: Plan) -> LaunchFiles:
    return LaunchFiles("vllm", "", vllm_scripts.files(prepare(plan, None, "en")[0]), ())


def command_of(script: str) -> list[str]:
    """The words of the last command, as a shell reads them."""
    return shlex.split(script[script.index("\nexec ") + 6 :].replace(" \\\n", " "))


def test_a_script_each_with_its_card_and_port():
    plan = make_plan(make_instance("a"), make_instance("b", gpus=(1,), order=1), kind="more_hardware")
    launch = scripts(plan)
    for name, port, card in (("a", 8000, 0), ("b", 8001, 1)):
        script = text_of(launch, f"serve-{name}.sh")
        instance = next(i for i in plan.placement().instances if i.name == name)
        assert command_of(script) == [*vllm_argv(instance, host="127.0.0.1", port=port), "$@"]
        assert f"export CUDA_VISIBLE_DEVICES={card}\n" in script
    steps = re.findall(r"^start (\S+) (\d+) \d+$", text_of(launch, "start-all.sh"), re.MULTILINE)
    assert steps == [("a", "8000"), ("b", "8001")]


def test_a_swap_puts_each_to_sleep_before_the_next():
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap")
    launch = scripts(plan)
    steps = re.findall(r"^(start|put_to_sleep) (\S+)", text_of(launch, "start-all.sh"), re.MULTILINE)
    assert steps == [("start", "b"), ("put_to_sleep", "b"), ("start", "a")]
    for name in "ab":
        assert "VLLM_SERVER_DEV_MODE=1" in text_of(launch, f"serve-{name}.sh")
        assert "--host 127.0.0.1" in text_of(launch, f"serve-{name}.sh")


def test_without_a_swap_no_developer_routes():
    assert not any("DEV_MODE" in file.content for file in scripts(make_plan(make_instance())).files)


def test_amd_cards_are_chosen_the_amd_way():
    rig = Rig((replace(CARD, vendor="amd"),))
    launch = scripts(make_plan(make_instance(), rig=rig))
    assert "export HIP_VISIBLE_DEVICES=0\n" in text_of(launch, "serve-a.sh")
    assert "NVIDIA driver" not in text_of(launch, "README.md")


def test_bitsandbytes_is_mentioned_where_needed():
    checkpoint = make_checkpoint(in_flight=True, quantization=Quantization("bnb_nf4", 4))
    launch = scripts(make_plan(make_instance(checkpoint=checkpoint)))
    assert "vllm-bnb-plugin==" in text_of(launch, "serve-a.sh")
    assert "vllm-bnb-plugin==" in text_of(launch, "README.md")


def test_what_must_run_is_executable():
    for file in scripts(make_plan(make_instance())).files:
        assert file.executable == file.path.endswith(".sh")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("awake", [True, False])
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_scripts_please_bash_and_shellcheck(language: str, awake: bool):
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=awake))
    for target in ("vllm", "compose"):
        launch = generate(plan, target=target, language=language)
        for file in launch.files:
            if file.executable:
                subprocess.run(["bash", "-n"], input=file.content, text=True, check=True)
        assert all(check.ok is not False for check in launch.checks), launch.checks


@settings(max_examples=60, deadline=None)
@given(printable, st.lists(printable, min_size=1, max_size=3), printable)
@example("$(touch /tmp/x)", ["a'b", '"; exit'], "`id`")
@example("a b\\", ["!!", "#x"], "~")
def test_whatever_a_name_holds_the_shell_reads_it_back(name: str, served: list[str], revision: str):
    repo = f"{name}/{name}"
    instance = make_instance("a", tuple(served), checkpoint=make_checkpoint(repo, revision=revision))
    launch = unchecked(make_plan(instance))
    assert command_of(text_of(launch, "serve-a.sh")) == [*vllm_argv(instance, host="127.0.0.1", port=8000), "$@"]
    fetch = next(line for line in text_of(launch, "fetch.sh").splitlines() if line.startswith("exec "))
    assert shlex.split(fetch)[3:5] == [repo, revision]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
@example("x\nrm -rf ~", "a\r\nreboot")
def test_no_text_leaves_a_comment(name: str, precision: str):
    launch = unchecked(make_plan(make_instance(name, checkpoint=make_checkpoint(precision=precision))))
    for file in launch.files:
        if file.path.startswith("serve-"):
            code = [line for line in file.content.split("\n") if not line.startswith("#")]
            assert code[0] == "set -euo pipefail"
            known = ("    ", "export ", "exec ", "set ", "here=$(", 'python3 "$here"/preflight.py ')
            assert [line for line in code if line and not line.startswith(known)] == []
        if file.path.startswith("systemd/"):
            lines = file.content.split("\n")
            assert all(re.fullmatch(r"#.*|\[\w+\]|\w+=[ -~]+|", line) for line in lines)
            assert lines[lines.index("[Unit]") - 1].startswith("#")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_itself_passes_hostile_words_on(tmp_path):
    """A stand-in for ``vllm`` on the path writes down the words it was given."""
    words = ("$(touch hacked)", "`touch hacked`", "a'b\"c", "${HOME}", "x;touch hacked", "*")
    instance = make_instance("a", words)
    write(scripts(make_plan(instance)), tmp_path)
    (tmp_path / "vllm").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "serve-a.sh"), "--seed", "1"],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [*vllm_argv(instance, host="127.0.0.1", port=8000)[1:], "--seed", "1"]
    assert not (tmp_path / "hacked").exists()
