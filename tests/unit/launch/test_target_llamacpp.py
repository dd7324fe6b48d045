"""llama.cpp's scripts: what bash would run is what went in, in the order of the plan."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, make_gguf, make_llama, make_plan

from tools.domain import Encoder, InstancePlan, Plan, Rig
from tools.errors import BadValue
from tools.launch.argv.llamacpp import llamacpp_argv
from tools.launch.choices import Choices
from tools.launch.generate import LaunchFiles, generate
from tools.launch.job import prepare
from tools.launch.targets import llamacpp

names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=",")
    | st.sampled_from(list("$`'\"\\{}[]&*!|><%@#:;?~^= яЯ")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-") and text == text.strip())


def made(*instances: InstancePlan, language: str = "en", choices: Choices | None = None, **plan: object) -> LaunchFiles:
    plan_made = make_plan(*instances, engine="llama.cpp", **plan)  # pyright: ignore[reportArgumentType]
    return generate(plan_made, target="llamacpp", language=language, choices=choices or Choices())


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def command_of(script: str) -> list[str]:
    """The words of the last command, as a shell reads them."""
    return shlex.split(script[script.index("\nexec ") + 6 :].replace(" \\\n", " "))


def unchecked(plan: Plan) -> LaunchFiles:
    return LaunchFiles("llamacpp", "", llamacpp.files(prepare(plan, None, "en")[0]), ())


def test_a_script_each_with_its_cards_and_port():
    launch = made(make_llama("a"), make_llama("b", ("model-b",), gpus=(1, 2)))
    for name, port, cards, served, gpus in (("a", 8000, "0", "model-a", (0,)), ("b", 8001, "1,2", "model-b", (1, 2))):
        script = text_of(launch, f"serve-{name}.sh")
        expected = llamacpp_argv(make_llama(name, (served,), gpus=gpus), host="127.0.0.1", port=port)
        assert command_of(script) == [*expected, "--cors-origins", "localhost", "$@"]
        assert f"export CUDA_VISIBLE_DEVICES={cards}\n" in script
    rows = re.findall(r"^ {8}(start \S+ \d+)$", text_of(launch, "start-all.sh"), re.MULTILINE)
    assert rows == ["start a 8000", "start b 8001"]
    assert "    set -- a b\n" in text_of(launch, "start-all.sh")


def test_a_card_is_asked_for_what_the_plan_takes_of_it_rounded_up():
    script = text_of(made(make_llama(gpus=(0, 1))), "start-all.sh")
    assert re.findall(r"enough (\d) (\d+)$", script, re.MULTILINE) == [("0", "21504"), ("1", "21504")]
    uneven = replace(make_llama(gpus=(0, 1)), card_bytes=((5 << 30) + 1, 3 << 30))
    script = text_of(made(uneven), "start-all.sh")
    assert re.findall(r"enough (\d) (\d+)$", script, re.MULTILINE) == [("0", "5121"), ("1", "3072")]


@pytest.mark.parametrize(
    ("vendor", "shown"), [("amd", "HIP_VISIBLE_DEVICES=0"), ("intel", "ONEAPI_DEVICE_SELECTOR=level_zero:0")]
)
def test_other_makers_cards(vendor: str, shown: str):
    launch = made(make_llama(), rig=Rig((replace(CARD, vendor=vendor),)))
    assert f"export {shown}\n" in text_of(launch, "serve-a.sh")
    assert "nvidia-smi" not in text_of(launch, "start-all.sh")


def test_one_server_answers_to_several_names():
    launch = made(make_llama("a", ("one", "two")), kind="share")
    words = command_of(text_of(launch, "serve-a.sh"))
    assert words[words.index("--alias") + 1] == "one,two"
    assert "`one`, `two`" in text_of(launch, "README.md")


def test_what_waits_is_started_by_name_only():
    waiting = replace(make_llama("b", ("model-b",)), awake=False, start_order=1)
    launch = made(make_llama("a"), waiting, kind="swap")
    script = text_of(launch, "start-all.sh")
    assert "    set -- a\n" in script
    assert "start b 8000" in script
    assert "`./start-all.sh b`" in text_of(launch, "README.md")


def test_the_disk_is_asked_for_each_repository_once_with_all_its_types():
    launch = made(make_llama("a"), make_llama("b", ("b",)), make_llama("c", ("c",), checkpoint=make_gguf(kind="Q8_0")))
    script = text_of(launch, "fetch.sh")
    assert re.findall(r"^missing (\S+) (\d+)$", script, re.MULTILINE) == [
        ("models--Org--Model-8B-GGUF", str(2 * 5 * 1024 * 1024))
    ]
    assert script.count("llama download --hf-repo Org/Model-8B-GGUF:Q4_K_M\n") == 1
    assert script.count("llama download --hf-repo Org/Model-8B-GGUF:Q8_0\n") == 1


def test_a_file_that_no_repository_has_is_converted_first():
    launch = made(make_llama(checkpoint=make_gguf("Org/Model-8B", "Q6_K", hypothetical=True)))
    assert "make Org/Model-8B models/Org-Model-8B models/Org-Model-8B-Q6_K.gguf bf16 Q6_K" in text_of(
        launch, "make-gguf.sh"
    )
    assert "made models/Org-Model-8B-Q6_K.gguf" in text_of(launch, "fetch.sh")
    assert "make-gguf.sh" in text_of(launch, "README.md")
    whole = made(make_llama(checkpoint=make_gguf("Org/Model-8B", "BF16", hypothetical=True)))
    assert "models/Org-Model-8B-BF16.gguf bf16 ''" in text_of(whole, "make-gguf.sh")


def test_open_to_others_only_with_a_key_and_by_reference():
    script = text_of(made(make_llama(), choices=Choices(open=True)), "serve-a.sh")
    assert "--host 0.0.0.0" in script
    assert "LLAMA_API_KEY:-" in script
    assert "--api-key" not in script
    assert "--cors-origins" not in script
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={"PATH": "/bin:/usr/bin"})
    assert done.returncode == 1
    assert "LLAMA_API_KEY" in done.stderr
    assert "--host 127.0.0.1" in text_of(made(make_llama()), "serve-a.sh")


def test_without_cards():
    launch = made(make_llama(), choices=Choices(cpu=True))
    assert "--device none" in " ".join(command_of(text_of(launch, "serve-a.sh")))
    assert "CUDA_VISIBLE_DEVICES" not in text_of(launch, "serve-a.sh")
    assert "enough" not in text_of(launch, "start-all.sh")


def test_what_is_special_is_said_in_the_script():
    one = make_llama(checkpoint=make_gguf(revision="abc123"))
    model = replace(one.deployment.model, encoder=Encoder(1000, 4096))
    script = text_of(made(replace(one, deployment=replace(one.deployment, model=model))), "serve-a.sh")
    assert "abc123" in script
    assert "--mmproj-offload" in script


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("kind", ["Q4_K_M", "Q6_K"])
def test_everything_is_accepted_and_begins_with_what_it_is_for(language: str, kind: str):
    file = make_gguf(kind=kind, hypothetical=kind == "Q6_K")
    launch = made(make_llama(checkpoint=file), make_llama("b", ("b",), gpus=(0, 1)), language=language)
    assert all(check.ok for check in launch.checks), launch.checks
    for one in launch.files:
        assert one.executable == one.path.endswith(".sh")
        assert "b11434" in one.content.splitlines()[1]
        assert "rigfit explain" in one.content


@settings(max_examples=150, deadline=None)
@given(st.lists(names, min_size=1, max_size=3, unique=True), st.text(max_size=30), st.text(max_size=20))
@example(["$(touch /tmp/x)", '"; exit', "`id`"], "x\nrm -rf ~", "a\r\nreboot")
@example(["a b\\", "!!", "#x"], "\u2028exec", "${IFS}")
def test_whatever_a_name_holds_the_shell_reads_it_back(served: list[str], repo: str, revision: str):
    file = make_gguf(f"Org/{repo or 'x'}", "Q6_K", hypothetical=True, revision=revision)
    try:
        launch = unchecked(make_plan(make_llama("a", tuple(served), checkpoint=file), engine="llama.cpp"))
    except BadValue:
        return  # what no command line carries is refused, never written
    words = command_of(text_of(launch, "serve-a.sh"))
    assert words[words.index("--alias") + 1] == ",".join(served)
    assert re.fullmatch(r"models/[A-Za-z0-9._-]+\.gguf", words[words.index("--model") + 1])
    make = next(line for line in text_of(launch, "make-gguf.sh").splitlines() if line.startswith("make "))
    assert shlex.split(make)[1] == f"Org/{repo or 'x'}"
    for script in (one.content for one in launch.files if one.executable):
        head, found, _ = script.partition("\nset -euo pipefail\n")
        assert found
        assert all(line.startswith("#") for line in head.split("\n"))
