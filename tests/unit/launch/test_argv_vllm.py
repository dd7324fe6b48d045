"""The builder of engine flags, against the recorded parser of the supported vLLM."""

from __future__ import annotations

import json
import shlex
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_factory import make_checkpoint, make_instance

from tools.domain import Quantization
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv, vllm_flags
from tools.units import GIB

TABLE = json.loads((resources.files("tools.launch") / "data" / "vllm-0.32.0-flags.json").read_text())["flags"]


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
        "max_model_len": st.integers(1, 10**7),
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
    },
)


@given(
    deployments, st.sampled_from(["none", "fp8_online", "bnb_nf4"]), st.sampled_from(["bfloat16", "float16", "fp32"])
)
def test_every_flag_and_value_exists_in_the_recorded_parser(fields, method, dtype):
    checkpoint = make_checkpoint(quantization=Quantization(method), in_flight=method != "none", dtype=dtype)
    words = vllm_argv(make_instance(checkpoint=checkpoint, **fields), host="127.0.0.1", port=8000)
    assert shlex.split(shlex.join(words)) == words
    assert words == vllm_argv(make_instance(checkpoint=checkpoint, **fields), host="127.0.0.1", port=8000)
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
