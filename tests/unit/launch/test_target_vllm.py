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
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan

from tools.domain import InstancePlan, Plan, Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv
from tools.launch.choices import Choices
from tools.launch.generate import LaunchFiles, generate, write
from tools.launch.job import prepare
from tools.launch.targets import vllm as vllm_scripts
from tools.launch.targets.vllm_systemd import unit_files
from tools.units import GIB

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
    repo = hub_id(name)
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


# --- who may come in -------------------------------------------------------------------------------------------------


def test_files_open_for_this_machine_unless_asked():
    launch = scripts(make_plan(make_instance()))
    assert "--host 127.0.0.1" in text_of(launch, "serve-a.sh")
    assert not any("0.0.0.0" in file.content for file in launch.files)


def test_open_files_ask_for_a_key_on_every_address():
    launch = generate(make_plan(make_instance()), target="vllm", choices=Choices(open=True))
    script = text_of(launch, "serve-a.sh")
    assert "--host 0.0.0.0" in script
    assert "--middleware rigfit_guard.Key" in script
    assert script.index("VLLM_API_KEY:-") < script.index("exec vllm")
    assert "class Key" in text_of(launch, "guard/rigfit_guard.py")
    assert "VLLM_API_KEY" in text_of(launch, "start-all.sh")
    assert "Authorization" in text_of(launch, "README.md")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_an_open_engine_without_its_key_does_not_start(tmp_path):
    write(generate(make_plan(make_instance()), target="vllm", choices=Choices(open=True)), tmp_path)
    for script in ("serve-a.sh", "start-all.sh"):
        done = subprocess.run(
            [str(tmp_path / script)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "VLLM_API_KEY" in done.stderr or "vllm" in done.stderr


def test_engines_that_take_turns_stay_on_this_machine_even_when_asked():
    """The routes that put them to sleep would be open to everybody who has the key."""
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap")
    launch = generate(plan, target="vllm", choices=Choices(open=True))
    assert not any("0.0.0.0" in file.content for file in launch.files)
    assert "SSH" in text_of(launch, "README.md")


def test_no_secret_has_a_value_in_any_file():
    launch = generate(make_plan(make_instance()), target="vllm", choices=Choices(open=True))
    for file in launch.files:
        assert not re.search(r"(HF_TOKEN|VLLM_API_KEY)=(?!\.\.\.)\S", file.content), file.path


# --- the processor ---------------------------------------------------------------------------------------------------


def test_on_the_processor_nothing_is_said_to_cards():
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap")
    launch = generate(plan, target="vllm", choices=Choices(cpu=True))
    script = text_of(launch, "serve-b.sh")
    assert "VISIBLE_DEVICES" not in script
    assert "gpu-memory-utilization" not in script
    assert "unset VLLM_CPU_KVCACHE_SPACE" in script
    assert "$(nproc) / 2" in script
    assert not any(file.path == "swap.sh" for file in launch.files)
    assert "put_to_sleep" not in text_of(launch, "start-all.sh")
    assert "NVIDIA driver" not in text_of(launch, "README.md")


# --- units of systemd ------------------------------------------------------------------------------------------------


def setting(unit: str, name: str) -> str:
    return next(line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{name}="))


def test_a_unit_starts_once_the_one_before_it_answers():
    plan = make_plan(make_instance("a"), make_instance("b", order=1), make_instance("c", order=2, gpus=(1,)))
    launch = scripts(plan)
    fetch = "rigfit-fetch.service"
    expected = {"a": fetch, "b": f"{fetch} rigfit-a.service", "c": f"{fetch} rigfit-b.service"}
    for number, (name, before) in enumerate(expected.items()):
        unit = text_of(launch, f"systemd/rigfit-{name}.service")
        assert setting(unit, "After") == setting(unit, "Requires") == before
        assert setting(unit, "ExecStart") == f"%h/rigfit/serve-{name}.sh"
        limit = prepare(plan, None, "en")[0].units[number].load_s
        assert setting(unit, "ExecStartPost") == f"%h/rigfit/wait-ready.sh {8000 + number} {limit}"
        assert int(setting(unit, "TimeoutStartSec")) > limit
        assert setting(unit, "PartOf") == "rigfit.target"
        assert setting(unit, "EnvironmentFile").startswith("-")
    target = text_of(launch, "systemd/rigfit.target")
    assert setting(target, "Wants").split() == [fetch, *(f"rigfit-{name}.service" for name in "abc")]


def test_a_unit_puts_its_sleeper_to_sleep():
    plan = make_plan(make_instance("a"), make_instance("b", order=1, awake=False), kind="swap")
    launch = scripts(plan)
    assert setting(text_of(launch, "systemd/rigfit-b.service"), "ExecStartPost").endswith(" sleep")
    assert not setting(text_of(launch, "systemd/rigfit-a.service"), "ExecStartPost").endswith(" sleep")


@pytest.mark.parametrize("language", ["en", "ru"])
@settings(max_examples=20, deadline=None)
@given(name=printable, revision=printable)
@example(name="x\\", revision="%h $HOME %%")
def test_nothing_foreign_stands_in_a_unit_but_in_its_comments(language: str, name: str, revision: str):
    checkpoint = make_checkpoint(hub_id(name), revision=revision, precision=name)
    plan = make_plan(make_instance(name, (name,), checkpoint=checkpoint))
    job = prepare(plan, None, language)[0]
    same = prepare(make_plan(make_instance(job.units[0].name)), None, language)[0]
    for made, plain in zip(unit_files(job), unit_files(same), strict=True):
        assert made.path == plain.path
        assert without_comments(made.content) == without_comments(plain.content)


def without_comments(unit: str) -> list[str]:
    return [line for line in unit.split("\n") if not line.startswith("#")]


# --- one copy of the weights -----------------------------------------------------------------------------------------


def shared(*instances: InstancePlan) -> LaunchFiles:
    return generate(make_plan(*instances), target="vllm", choices=Choices(share="weights"))


def value_of(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def test_one_engine_of_two_names_becomes_two_that_map_its_weights():
    """0.6 of 95 GiB is 57 GiB: less 16 GiB of weights 20.5 GiB for each, of which 1 GiB is no cache."""
    launch = shared(make_instance("a", ("planner", "coder"), gpu_memory_utilization=0.6, max_num_seqs=4))
    total = 0.0
    for number, name in ((1, "planner"), (2, "coder")):
        words = command_of(text_of(launch, f"serve-a-{number}.sh"))
        assert value_of(words, "--served-model-name") == name
        assert value_of(words, "--load-format") == "ipc_cache"
        assert value_of(words, "--model-loader-extra-config") == '{"fallback": false}'
        assert value_of(words, "--max-num-seqs") == "2"
        assert int(value_of(words, "--kv-cache-memory-bytes")) == pytest.approx(19.5 * GIB, abs=GIB / 100)
        total += float(value_of(words, "--gpu-memory-utilization")) * 95 - 16
    assert total + 16 <= 0.6 * 95
    steps = re.findall(r"^start (\S+) (\d+) \d+$", text_of(launch, "start-all.sh"), re.MULTILINE)
    assert steps == [("weights", "8002"), ("a-1", "8000"), ("a-2", "8001")]
    assert command_of(text_of(launch, "serve-weights.sh"))[:4] == ["vllm", "preload", "--model", "Org/Model-8B"]
    first = text_of(launch, "systemd/rigfit-a-1.service")
    assert "rigfit-weights.service" in setting(first, "Requires")
    assert all(check.ok is not False for check in launch.checks), launch.checks


def test_copies_of_one_checkpoint_on_the_same_cards_map_it_too():
    launch = shared(make_instance("a"), make_instance("b", ("other",), order=1))
    for name in "ab":
        words = command_of(text_of(launch, f"serve-{name}.sh"))
        assert value_of(words, "--load-format") == "ipc_cache"
        assert value_of(words, "--kv-cache-memory-bytes") == str(4 * GIB)


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        ((make_instance("a"),), "weights_nothing_shared"),
        ((make_instance("a"), make_instance("b", order=1, checkpoint=make_checkpoint("Org/B"))), "nothing_shared"),
        ((make_instance("a"), make_instance("b", order=1, gpus=(1,))), "nothing_shared"),
        ((make_instance("a"), make_instance("b", order=1, awake=False)), "nothing_shared"),
        ((make_instance("a", ("x", "y"), cpu_offload_bytes=GIB),), "nothing_shared"),
        (
            (make_instance("a", ("x", "y"), checkpoint=make_checkpoint(quantization=Quantization("awq", 4))),),
            "weights_format",
        ),
        ((make_instance("a", ("x", "y"), gpu_memory_utilization=0.18),), "weights_no_room"),
    ],
)
def test_weights_that_cannot_be_shared_are_refused_with_the_reason(instances: tuple[InstancePlan, ...], reason: str):
    with pytest.raises(BadValue, match=reason):
        shared(*instances)


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize("choices", [Choices(), Choices(open=True), Choices(cpu=True), Choices(share="weights")])
def test_the_validators_take_every_choice(choices: Choices):
    plan = make_plan(make_instance("a", ("x", "y"), gpu_memory_utilization=0.6))
    for language in ("en", "ru"):
        launch = generate(plan, target="vllm", choices=choices, language=language)
        assert {check.name for check in launch.checks} == {"vllm-flags", "shellcheck", "systemd"}
        assert all(check.ok is not False for check in launch.checks), launch.checks


def test_a_format_of_which_no_repository_is_known_is_said_to_be_needed():
    checkpoint = make_checkpoint(precision="w8a16", quantization=Quantization("w8a16", 8), hypothetical=True)
    with pytest.raises(BadValue, match="no_checkpoint"):
        scripts(make_plan(make_instance(checkpoint=checkpoint)))


# --- what the card makes of it ---------------------------------------------------------------------------------------


def test_what_the_card_makes_of_a_checkpoint_is_said_in_the_script_and_the_readme():
    checkpoint = make_checkpoint(precision="fp8", quantization=Quantization("fp8_block", 8))
    ampere = Rig((replace(CARD, compute_capability="8.6"),))
    unpacked, native = (scripts(make_plan(make_instance(checkpoint=checkpoint), rig=rig)) for rig in (ampere, None))
    for path in ("serve-a.sh", "README.md"):
        assert "weights are unpacked while computing" in text_of(unpacked, path)
        assert "unpacked" not in text_of(native, path)
    turing = Rig((replace(CARD, compute_capability="7.5"),))
    script = text_of(scripts(make_plan(make_instance(checkpoint=checkpoint), rig=turing)), "serve-a.sh")
    assert "--dtype float16" in script
    assert "has no bfloat16; float16 is set" in script
