"""The builder of engine flags, against the recorded parser of the supported vLLM."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_factory import CARD, make_checkpoint, make_instance, make_plan

from tools.domain import InstancePlan, Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.vllm import CPU_CACHE_BYTES, cpu_cache_bytes, preload_argv, vllm_argv, vllm_flags
from tools.launch.argv.vllm_environment import vllm_environment
from tools.launch.argv.vllm_parsers import words_of
from tools.launch.checks.vllm import check_flags
from tools.launch.choices import Choices
from tools.launch.job import Unit, prepare
from tools.launch.recorded import recorded
from tools.units import GIB

TABLE = recorded()["flags"]
TURING, AMPERE = replace(CARD, compute_capability="7.5"), replace(CARD, compute_capability="8.6")


def named(name: str, kind: str, **deployment: Any) -> InstancePlan:
    """An instance of a model of that name and type."""
    made = make_instance(checkpoint=make_checkpoint(name), **deployment)
    model = replace(made.deployment.model, name=name, model_type=kind)
    return replace(made, deployment=replace(made.deployment, model=model))


def test_flags_say_what_the_deployment_says():
    instance = make_instance(served=("planner", "coder"), tp=2, kv_dtype="fp8", ep=True)
    assert vllm_flags(instance) == {
        "served-model-name": "planner coder",
        "dtype": "bfloat16",
        "tensor-parallel-size": 2,
        "enable-expert-parallel": True,
        "max-model-len": 8192,
        "max-num-seqs": 4,
        "gpu-memory-utilization": 0.25,
        "kv-cache-memory-bytes": 4 * GIB,
        "kv-cache-dtype": "fp8",
    }


def test_the_command_carries_each_served_name_as_its_own_word():
    words = vllm_argv(make_instance(served=("planner", "coder")), host="127.0.0.1", port=8001)
    assert words[:6] == ["vllm", "serve", "Org/Model-8B", "--served-model-name", "planner", "coder"]
    assert words[-4:] == ["--host", "127.0.0.1", "--port", "8001"]


@pytest.mark.parametrize(("method", "flag"), [("fp8_online", "fp8_per_tensor"), ("bnb_nf4", "bitsandbytes")])
def test_quantisation_in_flight_is_asked_for(method: str, flag: str):
    checkpoint = make_checkpoint(in_flight=True, quantization=Quantization(method))
    assert vllm_flags(make_instance(checkpoint=checkpoint))["quantization"] == flag


def test_a_published_quantised_repository_speaks_for_itself():
    flags = vllm_flags(make_instance(checkpoint=make_checkpoint(precision="awq", quantization=Quantization("awq", 4))))
    assert "quantization" not in flags
    assert "dtype" not in flags


def test_offload_is_rounded_up_so_that_the_rest_fits():
    flags = vllm_flags(make_instance(cpu_offload_bytes=10 * GIB + 1))
    assert flags["cpu-offload-gb"] == 10.01


def test_extra_flags_override():
    flags = vllm_flags(make_instance(extra_flags=("--max-num-seqs=9", "--enable-prefix-caching", "--seed", "3")))
    assert flags["max-num-seqs"] == "9"
    assert flags["enable-prefix-caching"] is True
    assert flags["seed"] == "3"


@pytest.mark.parametrize(
    "words", [("x",), ("--",), ("--A",), ("--a b",), ("--a", "x\x00"), ("--a=x\ny",), ("--$(id)",)]
)
def test_extra_flags_no_command_line_can_carry_are_refused(words: tuple[str, ...]):
    with pytest.raises(BadValue, match="bad_word"):
        vllm_flags(make_instance(extra_flags=words))


def test_an_extra_value_may_be_empty_or_negative():
    words = vllm_argv(make_instance(extra_flags=("--a=-1", "--b=", "--c.d=1")))
    assert words[-5:] == ["--a=-1", "--b", "", "--c.d", "1"]


@pytest.mark.parametrize("name", ["", "-rf", "a\nb", "a\x00b", "a\x1b[0m", "a\u2028b"])
def test_a_word_no_command_line_can_carry_is_refused(name: str):
    with pytest.raises(BadValue, match="bad_word"):
        vllm_flags(make_instance(served=(name,)))
    with pytest.raises(BadValue, match="bad_word"):
        vllm_argv(make_instance(checkpoint=make_checkpoint(name)))


@pytest.mark.parametrize("port", [0, -5, 65536])
def test_a_port_out_of_range_is_refused(port: int):
    with pytest.raises(BadValue, match="bad_port"):
        vllm_argv(make_instance(), port=port)


deployments = st.fixed_dictionaries(
    {},
    optional={
        "max_model_len": st.integers(1, 40_960),
        "max_num_seqs": st.none() | st.integers(1, 4096),
        "max_num_batched_tokens": st.integers(1, 65536),
        "kv_dtype": st.sampled_from(["auto", "fp8"]),
        "tp": st.sampled_from([1, 2, 4, 8]),
        "pp": st.sampled_from([1, 2]),
        "ep": st.booleans(),
        "gpu_memory_utilization": st.none() | st.floats(0.01, 0.99),
        "kv_cache_memory_bytes": st.none() | st.integers(1, 1 << 42),
        "enforce_eager": st.booleans(),
        "cpu_offload_bytes": st.integers(0, 1 << 40),
        "sleep_mode": st.booleans(),
        "dp": st.sampled_from([1, 2]),
        "dcp": st.sampled_from([1, 2]),
        "block_size": st.none() | st.sampled_from([16, 128]),
        "prefix_caching": st.none() | st.booleans(),
        "cache_groups": st.none() | st.booleans(),
        "offload_experts": st.booleans(),
        "prefetch": st.none() | st.just((8, 2, 1)),
        "weights_elsewhere": st.booleans(),
        "text_only": st.booleans(),
        "draft": st.just("mtp"),
        "draft_tokens": st.integers(0, 4),
    },
)


@given(
    deployments,
    st.sampled_from(["none", "fp8_online", "bnb_nf4"]),
    st.sampled_from(["bfloat16", "float16", "fp32"]),
    st.sampled_from([(), (TURING,), (AMPERE,)]),
    st.booleans(),
)
def test_every_flag_and_value_exists_in_the_recorded_parser(fields, method, dtype, gpus, cpu):
    checkpoint = make_checkpoint(quantization=Quantization(method), in_flight=method != "none", dtype=dtype)
    instance = make_instance(checkpoint=checkpoint, **fields)
    words = vllm_argv(instance, host="127.0.0.1", port=8000, gpus=gpus, cpu=cpu)
    assert shlex.split(shlex.join(words)) == words
    assert words == vllm_argv(instance, host="127.0.0.1", port=8000, gpus=gpus, cpu=cpu)
    assert check_flags([words, preload_argv(instance, health_port=8001, gpus=gpus)]).ok is True
    rest = words[3:]
    while rest:
        row = TABLE[rest.pop(0)]
        values = []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        assert len(values) == row.get("nargs", 1) or row.get("nargs") == "+"
        if "choices" in row:
            assert values[0] in row["choices"]
        if "type" in row:
            {"int": int, "float": float}[row["type"]](values[0])


# --- the card --------------------------------------------------------------------------------------------------------


def test_sixteen_bits_are_float16_before_ampere():
    plain, quantised = make_instance(), make_instance(checkpoint=make_checkpoint(quantization=Quantization("awq", 4)))
    assert vllm_flags(plain, gpus=[TURING])["dtype"] == "float16"
    assert vllm_flags(quantised, gpus=[TURING])["dtype"] == "float16"
    assert vllm_flags(plain, gpus=[AMPERE])["dtype"] == "bfloat16"
    assert "dtype" not in vllm_flags(quantised, gpus=[AMPERE])


def test_a_model_that_float16_breaks_is_refused_before_ampere():
    gemma = named("google/gemma-3-27b-it", "gemma3")
    with pytest.raises(BadValue, match="no_half"):
        prepare(make_plan(gemma, rig=Rig((TURING,))), None, "en")
    unit = prepare(make_plan(gemma, rig=Rig((AMPERE,))), None, "en")[0].units[0]
    assert vllm_flags(unit.instance, gpus=unit.gpus)["dtype"] == "bfloat16"


def test_a_small_cache_is_refused_where_no_kernel_reads_it():
    small = make_instance(kv_dtype="fp8")
    with pytest.raises(BadValue, match="no_fp8_cache"):
        prepare(make_plan(small, rig=Rig((TURING,))), None, "en")
    assert prepare(make_plan(small, rig=Rig((AMPERE,))), None, "en")


@pytest.mark.parametrize(
    ("kv_dtype", "planned", "needed", "cache"),
    [
        ("auto", None, 100, CPU_CACHE_BYTES),
        ("auto", 20 * GIB, 4 * 100, CPU_CACHE_BYTES),
        ("auto", GIB // 4, 100, GIB // 4),
        ("auto", 20 * GIB, 8 * GIB, 2 * GIB + 128 * 1000),
        ("fp8", 20 * GIB, 8 * GIB, 2 * (2 * GIB + 128 * 1000)),
    ],
)
def test_the_cache_on_the_processor_holds_one_sequence_at_least(
    kv_dtype: str, planned: int | None, needed: int, cache: int
):
    instance = make_instance(kv_dtype=kv_dtype, kv_cache_memory_bytes=planned)
    footprint = replace(instance.footprint, kv_needed_bytes=needed, kv_bytes_per_token=1000)
    assert cpu_cache_bytes(replace(instance, footprint=footprint)) == cache


def test_the_processor_gets_a_small_cache_and_no_flags_of_cards():
    instance = make_instance(
        tp=2, kv_dtype="fp8", sleep_mode=True, kv_cache_memory_bytes=20 * GIB, cpu_offload_bytes=GIB
    )
    assert vllm_flags(instance, cpu=True) == {
        "served-model-name": "model-a",
        "dtype": "bfloat16",
        "max-model-len": 8192,
        "max-num-seqs": 4,
        "kv-cache-memory-bytes": cpu_cache_bytes(instance),
        "enforce-eager": True,
    }


# --- parsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "reasoning", "tools"),
    [
        ("Qwen/Qwen3-30B-A3B", "qwen3_moe", "qwen3", "hermes"),
        ("Qwen/Qwen3-30B-A3B-GPTQ-Int4", "qwen3_moe", "qwen3", "hermes"),
        ("unsloth/Qwen3-30B-A3B-Thinking-2507", "qwen3_moe", "qwen3", "hermes"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3_moe", None, "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_moe", None, "qwen3_coder"),
        ("Qwen/Qwen3.6-35B-A3B", "qwen3_5_moe", "qwen3", "qwen3_coder"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "llama", "deepseek_r1", None),
        ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "qwen3", "deepseek_r1", None),
        ("openai/gpt-oss-120b", "gpt_oss", None, "openai"),
        ("zai-org/GLM-4.5-Air", "glm4_moe", "glm45", "glm45"),
        ("moonshotai/Kimi-K2-Instruct-0905", "kimi_k2", None, "kimi_k2"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama", None, "llama3_json"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama4", None, "llama4_pythonic"),
        ("mistralai/Mistral-Small-3.2-24B-Instruct-2506", "mistral3", None, "mistral"),
        ("google/gemma-4-31B-it", "gemma4", "gemma4", "gemma4"),
    ],
)
def test_a_known_family_gets_its_parsers(name: str, kind: str, reasoning: str | None, tools: str | None):
    flags = vllm_flags(named(name, kind))
    assert flags.get("reasoning-parser") == reasoning
    assert flags.get("tool-call-parser") == tools
    assert flags.get("enable-auto-tool-choice") == (True if tools else None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Qwen/Qwen3-30B-A3B-Base", "qwen3_moe"),
        ("google/gemma-4-31B", "gemma4"),
        ("meta-llama/Llama-3.1-8B", "llama"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama"),
        ("Qwen/Qwen3-Embedding-8B", "qwen3"),
        ("Qwen/Qwen3Guard-Gen-8B", "qwen3"),
        ("somebody/qwen3-1.7b-gsm8k-sft", "qwen3"),
        ("Qwen/Qwen3-8B", "llama"),
        ("tiny-qwen3", "qwen3"),
    ],
)
def test_what_the_table_does_not_list_gets_no_parser(name: str, kind: str):
    assert not {"reasoning-parser", "tool-call-parser", "enable-auto-tool-choice"} & set(vllm_flags(named(name, kind)))


def test_a_sibling_is_judged_by_its_own_name():
    base = named("Qwen/Qwen3-30B-A3B-Base", "qwen3_moe")
    sibling = make_checkpoint("Qwen/Qwen3-30B-A3B-GPTQ-Int4", sibling_of="Qwen/Qwen3-30B-A3B-Base")
    flags = vllm_flags(replace(base, deployment=replace(base.deployment, checkpoint=sibling)))
    assert flags["reasoning-parser"] == "qwen3"


def test_every_family_names_parsers_that_the_engine_has_and_its_source():
    file = resources.files("tools.launch") / "data" / "parsers.toml"
    families = tomllib.loads(file.read_text(encoding="utf-8"))["family"]
    keys = [(kind, words_of(name)) for row in families for kind in row["types"] for name in row["names"]]
    assert len(keys) == len(set(keys))
    for row in families:
        assert row["source"]
        assert row.get("reasoning") or row.get("tools")
        assert row.get("reasoning", "qwen3") in recorded()["reasoning_parsers"]
        assert row.get("tools", "hermes") in recorded()["tool_parsers"]
        assert all(words_of("-".join(name.split())) == frozenset(name.split()) for name in row["names"])


@given(st.text(max_size=60))
def test_any_text_has_words(name: str):
    assert all(re.fullmatch(r"[a-z0-9.]+", word) for word in words_of(name))


# --- context, offload, drafts ----------------------------------------------------------------------------------------


def test_a_context_beyond_the_models_is_reached_by_yarn_where_its_publisher_says_so():
    flags = vllm_flags(named("Qwen/Qwen3-30B-A3B", "qwen3_moe", max_model_len=65_536))
    assert json.loads(str(flags["hf-overrides"])) == {
        "max_position_embeddings": 65_536,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 32_768,
            "rope_theta": 1_000_000,
        },
    }
    assert "hf-overrides" not in vllm_flags(named("Qwen/Qwen3-30B-A3B", "qwen3_moe", max_model_len=40_960))


@pytest.mark.parametrize(
    ("name", "kind", "asked"), [("Org/Other", "llama", 40_961), ("Qwen/Qwen3-8B", "qwen3", 131_073)]
)
def test_a_context_nobody_reaches_is_refused(name: str, kind: str, asked: int):
    with pytest.raises(BadValue, match="context_beyond"):
        vllm_flags(named(name, kind, max_model_len=asked))


def test_offload_by_groups_of_layers():
    flags = vllm_flags(make_instance(prefetch=(8, 2, 1), cpu_offload_bytes=GIB, offload_experts=True))
    assert {name: value for name, value in flags.items() if "offload" in name} == {
        "offload-group-size": 8,
        "offload-num-in-group": 2,
        "offload-prefetch-step": 1,
        "offload-params": "experts",
    }


def test_a_draft_layer_of_the_models_own():
    flags = vllm_flags(make_instance(draft="mtp", draft_tokens=2))
    assert json.loads(str(flags["speculative-config"])) == {"method": "mtp", "num_speculative_tokens": 2}
    with pytest.raises(BadValue, match="no_draft"):
        vllm_flags(make_instance(draft="eagle", draft_tokens=2))


def test_switches_say_no_where_they_are_off():
    flags = vllm_flags(make_instance(prefix_caching=False, cache_groups=False))
    assert flags["no-enable-prefix-caching"] is True
    assert flags["disable-hybrid-kv-cache-manager"] is True


def test_code_from_the_repository_is_run_only_where_nothing_else_reads_the_model():
    assert vllm_flags(named("moonshotai/Kimi-K2-Instruct", "kimi_k2"))["trust-remote-code"] is True
    assert vllm_flags(named("inclusionAI/Ling-mini-2.0", "bailing_moe"))["trust-remote-code"] is True
    assert "trust-remote-code" not in vllm_flags(named("Qwen/Qwen3-8B", "qwen3"))


def test_the_daemon_is_told_what_decides_the_weights_and_nothing_else():
    instance = make_instance(checkpoint=make_checkpoint(revision="abc"), tp=2, weights_elsewhere=True)
    words = preload_argv(instance, health_port=8009)
    assert shlex.join(words) == (
        "vllm preload --model Org/Model-8B --revision abc --dtype bfloat16 --tensor-parallel-size 2"
        " --max-model-len 8192 --weight-cache-health-host 127.0.0.1 --weight-cache-health-port 8009"
    )
    assert vllm_flags(instance)["load-format"] == "ipc_cache"
    assert check_flags([words]).ok is True


# --- environment -----------------------------------------------------------------------------------------------------


def unit_of(instance: InstancePlan, vendor: str = "nvidia", *, cpu: bool = False) -> Unit:
    plan = make_plan(instance, rig=Rig((replace(CARD, vendor=vendor),) * 2))
    return prepare(plan, None, "en", choices=Choices(cpu=cpu))[0].units[0]


def test_the_environment_names_the_cards():
    assert vllm_environment(unit_of(make_instance(gpus=(0, 1), tp=2))) == {
        "VLLM_NO_USAGE_STATS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    assert vllm_environment(unit_of(make_instance(gpus=(1,)), "amd"))["HIP_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in vllm_environment(unit_of(make_instance()), pick_cards=False)


def test_sleep_needs_its_routes_and_an_allocator_without_expandable_segments():
    found = vllm_environment(unit_of(make_instance(sleep_mode=True)))
    assert found["VLLM_SERVER_DEV_MODE"] == "1"
    assert found["PYTORCH_ALLOC_CONF"] == "expandable_segments:False"
    assert not {"VLLM_SERVER_DEV_MODE", "PYTORCH_ALLOC_CONF"} & set(vllm_environment(unit_of(make_instance())))


def test_uneven_pipeline_stages_are_said_in_the_environment():
    found = vllm_environment(unit_of(make_instance(gpus=(0, 1), pp=2, pp_layers=(20, 28))))
    assert found["VLLM_PP_LAYER_PARTITION"] == "20,28"


def test_on_the_processor_no_engine_sleeps_and_no_core_is_taken_for_good():
    unit = unit_of(make_instance(sleep_mode=True, awake=False), cpu=True)
    assert not unit.sleeps
    assert not unit.can_sleep
    assert vllm_environment(unit, cpu=True) == {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
