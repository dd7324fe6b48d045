from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_factory import make_checkpoint, make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import EngineOptions, InstancePlan, Quantization
from tools.errors import BadValue
from tools.launch.argv.webui import folder_name, loader_of, webui_flags
from tools.launch.checks.webui import check_cmd_flags, check_user_config, flags_in
from tools.launch.files import LaunchFile
from tools.launch.job import Job, prepare
from tools.launch.targets import webui
from tools.units import GIB

ENGINE = "text-generation-webui"
GGUF = Quantization("gguf", bits=4.85, extra={"type": "Q4_K_M"})


def instance(name: str = "a", method: str = "gguf", repo: str = "Org/Model-8B-GGUF", **more: Any) -> InstancePlan:
    quantization = GGUF if method == "gguf" else Quantization(method)
    words = {"gguf": "gguf-Q4_K_M", "exl3": "exl3-4.0", "none": "bf16", "bnb_nf4": "bnb-4bit", "bnb_int8": "bnb-8bit"}
    checkpoint = make_checkpoint(
        repo,
        precision=words.get(method, method),
        quantization=quantization,
        dtype="bfloat16",
        in_flight=method.startswith("bnb"),
    )
    return make_instance(name, (name,), checkpoint=checkpoint, engine=ENGINE, **more)


def job(*instances: InstancePlan, **more: Any) -> Job:
    return prepare(make_plan(*instances, engine=ENGINE), None, "en", made_on="2026-01-02", **more)[0]


def by_path(made: tuple[LaunchFile, ...]) -> dict[str, str]:
    return {file.path: file.content for file in made}


def test_two_models_have_pages_of_their_own() -> None:
    two = job(instance("a"), instance("b", repo="Org/Other-GGUF", order=1))
    made = by_path(webui.files(two))
    first, second = flags_in(made["user_data/CMD_FLAGS.txt"]), flags_in(made["user_data-b/CMD_FLAGS.txt"])
    assert first[first.index("--model") + 1] == "Org_Model-8B-GGUF-Q4_K_M"
    assert second[second.index("--model-dir") + 1] == "user_data/models"
    ports = [words[words.index(f"--{name}") + 1] for words in (first, second) for name in ("listen-port", "api-port")]
    assert ports == ["7860", "5000", "7861", "5001"]
    assert "--listen" not in first + second
    assert all(check.ok is not False for check in webui.check(two, webui.files(two)))
    table = YAML(typ="safe").load(made["user_data/models/config-user.yaml"])
    assert list(table) == ["org_model-8b-gguf-q4_k_m$", "org_other-gguf-q4_k_m$"]
    assert table["org_model-8b-gguf-q4_k_m$"]["ctx_size"] == 32768


def test_the_loader_follows_the_format() -> None:
    methods = {"gguf": "llama.cpp", "exl3": "ExLlamav3", "none": "Transformers", "bnb_nf4": "Transformers"}
    assert {method: loader_of(instance(method=method).deployment.checkpoint) for method in methods} == methods
    with pytest.raises(BadValue, match="no_loader"):
        loader_of(make_checkpoint(quantization=Quantization("awq"), precision="awq"))


def test_llama_cpp_takes_what_the_plan_counts_with() -> None:
    options = EngineOptions(context_total=16384, gpu_layers=1, experts_in_ram=1, split=(3.0, 1.0))
    flags = webui_flags(instance(gpus=(0, 1), options=options, kv_dtype="q8_0"))
    assert flags["ctx-size"] == 16384
    assert flags["gpu-layers"] == 1
    assert flags["ubatch-size"] == 512
    assert flags["cache-type"] == "q8_0"
    assert flags["tensor-split"] == "3,1"
    assert flags["extra-flags"] == "n-cpu-moe=1"
    whole = webui_flags(instance(options=EngineOptions(experts_in_ram=2)))
    assert whole["cpu-moe"] is True
    assert whole["gpu-layers"] == 3  # two layers and the output


def test_exllama_and_bitsandbytes() -> None:
    exl = webui_flags(instance(method="exl3", gpus=(0, 1), max_model_len=1000, max_num_seqs=1, kv_dtype="fp8"))
    assert (exl["ctx-size"], exl["cache-type"], exl["gpu-split"]) == (1024, "q8", "21,21")
    four, eight = webui_flags(instance(method="bnb_nf4")), webui_flags(instance(method="bnb_int8"))
    assert four["load-in-4bit"] is four["use_double_quant"] is True
    assert four["compute_dtype"] == "bfloat16"
    assert eight["load-in-8bit"] is True
    assert webui_flags(instance(method="none"))["bf16"] is True
    half = instance(method="none")
    half = replace(half, deployment=replace(half.deployment, checkpoint=make_checkpoint(dtype="float16")))
    assert "bf16" not in webui_flags(half)


def test_a_file_that_nobody_published_is_made_by_commands() -> None:
    one = instance()
    checkpoint = replace(one.deployment.checkpoint, hypothetical=True, repo="Org/Model-8B")
    made = by_path(webui.files(job(replace(one, deployment=replace(one.deployment, checkpoint=checkpoint)))))
    step = made["make-gguf.sh"].rstrip().splitlines()[-1]
    file = "user_data/models/Org_Model-8B-Q4_K_M/model-Q4_K_M.gguf"
    assert step == f"make Org/Model-8B rigfit-sources/Org_Model-8B-Q4_K_M {file} bf16 Q4_K_M"
    assert f"made {file}" in made["start-models.sh"]
    assert "make-gguf.sh" in made["README-rigfit.md"]
    assert "fetch_models.py" not in made["start-models.sh"]


@pytest.mark.parametrize("words", ["--nope 1", "--ctx-size many", "--split-mode diagonal", "--api yes", "--ctx-size"])
def test_flags_that_the_page_does_not_know_are_found(words: str) -> None:
    assert check_cmd_flags("CMD_FLAGS.txt", words).ok is False


def test_settings_that_a_loader_lacks_are_found() -> None:
    assert check_user_config("m$: {loader: ExLlamav3, gpu_layers: 3}\n").ok is False
    assert check_user_config("m$: {loader: nope}\n").ok is False
    assert check_user_config("m$: {loader: llama.cpp, gpu_layers: 3}\n").ok is True


def test_open_pages_are_said_and_the_key_stays_out_of_files() -> None:
    from tools.launch.choices import Choices

    made = webui.files(job(instance(), choices=Choices(open=True)))
    start = by_path(made)["start-models.sh"]
    assert start.index("WEBUI_API_KEY:-") < start.index("WEBUI_LOGIN:-") < start.index("start()")
    assert "$WEBUI_API_KEY" in by_path(made)["README-rigfit.md"]
    assert "--listen\n" in by_path(made)["user_data/CMD_FLAGS.txt"]
    assert all("--api-key " not in file.content for file in made if file.path.endswith("CMD_FLAGS.txt"))


names = st.text(min_size=1, max_size=40)


@given(repo=names, served=names, context=st.integers(1, 1 << 30), users=st.integers(1, 4096))
def test_every_file_reads_back(repo: str, served: str, context: int, users: int) -> None:
    one = instance(repo=f"Org/{repo}", max_model_len=context, max_num_seqs=users)
    try:
        made = by_path(webui.files(job(replace(one, served_names=(served,)))))
    except BadValue:
        return
    words = flags_in(made["user_data/CMD_FLAGS.txt"])
    assert words[words.index("--model") + 1] == folder_name(one.deployment.checkpoint)
    assert words[words.index("--ctx-size") + 1] == str(context * users)
    assert check_cmd_flags("x", made["user_data/CMD_FLAGS.txt"]).ok
    assert check_user_config(made["user_data/models/config-user.yaml"]).ok
    for line in made["start-models.sh"].split("set -euo pipefail")[0].splitlines():
        assert line.startswith("#")


def test_memory_words_name_the_engine() -> None:
    made = by_path(webui.files(job(instance())))
    assert made["user_data/CMD_FLAGS.txt"].startswith("# Made by Rigfit on 2026-01-02")
    assert f"{21 * GIB / GIB:.1f} GiB" in made["user_data/CMD_FLAGS.txt"]
