from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_factory import make_checkpoint, make_instance, make_plan

from tools.domain import EngineOptions, InstancePlan, Quantization
from tools.errors import BadValue
from tools.launch.argv.sglang import sglang_argv, sglang_flags
from tools.launch.checks.sglang import check_sglang_flags
from tools.launch.choices import Choices
from tools.launch.job import Job, prepare
from tools.launch.targets import sglang


def instance(name: str = "a", **more: Any) -> InstancePlan:
    options = EngineOptions(static_share=0.4, total_tokens=32768)
    budget = {"gpu_memory_utilization": None, "kv_cache_memory_bytes": None, "options": options}
    return make_instance(name, more.pop("served", (name,)), engine="sglang", **(budget | more))


def job(*instances: InstancePlan, **more: Any) -> Job:
    return prepare(make_plan(*instances, engine="sglang"), None, "en", made_on="2026-01-02", **more)[0]


def command(script: str) -> list[str]:
    body = script[script.index("exec ") + 5 :].replace("\\\n", " ")
    return shlex.split(body)


def test_the_plan_is_what_the_command_says() -> None:
    flags = sglang_flags(instance(tp=2, gpus=(0, 1), kv_dtype="fp8"))
    assert flags["mem-fraction-static"] == 0.4
    assert flags["max-total-tokens"] == 32768
    assert flags["context-length"] == 8192
    assert flags["max-running-requests"] == 4
    assert flags["tp-size"] == 2
    assert flags["kv-cache-dtype"] == "fp8_e4m3"
    assert flags["tool-call-parser"] == "auto"


def test_a_base_model_and_a_quantised_repository() -> None:
    base = instance(checkpoint=make_checkpoint("Org/Model-8B-Base"))
    assert "reasoning-parser" not in sglang_flags(base)
    awq = instance(checkpoint=make_checkpoint(quantization=Quantization("awq"), precision="awq"))
    assert not {"dtype", "quantization"} & set(sglang_flags(awq))
    online = make_checkpoint(quantization=Quantization("fp8_online"), in_flight=True, precision="fp8-online")
    assert sglang_flags(instance(checkpoint=online))["quantization"] == "fp8"


def test_a_colon_would_name_an_adapter() -> None:
    with pytest.raises(BadValue, match="bad_name"):
        sglang_flags(instance(served=("qwen3:14b",)))


def test_engines_start_in_order_and_pass_the_validators() -> None:
    two = job(instance("b", order=1), instance("a"))
    made = {file.path: file.content for file in sglang.files(two)}
    start = made["start-all.sh"]
    assert start.index("start a 8000") < start.index("start b 8001")
    assert "CUDA_VISIBLE_DEVICES=0" in made["serve-a.sh"]
    assert all(check.ok is not False for check in sglang.check(two, sglang.files(two)))
    assert command(made["serve-a.sh"])[:-1] == sglang_argv(two.units[0].instance, host="127.0.0.1", port=8000)


def test_one_that_waits_its_turn_is_not_started() -> None:
    made = {f.path: f.content for f in sglang.files(job(instance("a"), instance("b", order=1, awake=False)))}
    assert "set -- a\n" in made["start-all.sh"]
    assert "not started" in made["README.md"]


def test_cards_that_sglang_is_not_published_for() -> None:
    apple = job(instance())
    with pytest.raises(BadValue, match="no_card"):
        sglang.files(replace(apple, units=tuple(replace(unit, vendor="apple") for unit in apple.units)))


def test_open_to_the_network_needs_a_key() -> None:
    made = {file.path: file.content for file in sglang.files(job(instance(), choices=Choices(open=True)))}
    assert "--host 0.0.0.0" in made["serve-a.sh"]
    assert '--api-key "$SGLANG_API_KEY"' in made["serve-a.sh"]
    assert "$SGLANG_API_KEY" in made["README.md"]
    assert "SGLANG_API_KEY" in made["start-all.sh"]
    assert not any("VLLM" in text for path, text in made.items() if path.endswith((".sh", ".md")))
    assert made["serve-a.sh"].index("exit 1") < made["serve-a.sh"].index("exec ")


@pytest.mark.parametrize("words", ["--nope", "--tp-size two", "--kv-cache-dtype fp9", "--disable-cuda-graph yes"])
def test_what_the_parser_refuses_is_found(words: str) -> None:
    assert check_sglang_flags([["python3", "-m", "sglang.launch_server", *words.split()]]).ok is False
    assert check_sglang_flags([["rm", "-rf", "/", *words.split()]]).ok is False


@given(repo=st.text(min_size=1, max_size=40), served=st.text(min_size=1, max_size=40), context=st.integers(1, 1 << 30))
def test_every_script_reads_back(repo: str, served: str, context: int) -> None:
    one = instance(checkpoint=make_checkpoint(f"Org/{repo}"), max_model_len=context)
    try:
        made = sglang.files(job(replace(one, served_names=(served,))))
    except BadValue:
        return
    words = command(made[0].content)
    assert words[words.index("--model-path") + 1] == f"Org/{repo}"
    assert words[words.index("--served-model-name") + 1] == served
    assert words[words.index("--context-length") + 1] == str(context)
    for line in made[0].content.split("set -euo pipefail")[0].splitlines():
        assert line.startswith("#")
