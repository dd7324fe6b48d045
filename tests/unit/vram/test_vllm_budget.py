"""vLLM's budget: version rules, defaults by card, activation, the pool, the start rule."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_registered_bytes import AWQ, FP8, GPTQ, qwen

from tools.domain import Checkpoint, Deployment, Gpu, Quantization
from tools.errors import BadValue
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.engines import vllm
from tools.vram.engines.rules import rules_for
from tools.vram.estimate import estimate

H100 = Gpu("NVIDIA H100 80GB", "nvidia", 80 * GIB, round(79.18 * GIB), compute_capability="9.0")
A100 = Gpu("NVIDIA A100 80GB", "nvidia", 80 * GIB, round(79.2 * GIB), compute_capability="8.0")
RTX = Gpu("RTX 3090", "nvidia", 24 * GIB, round(23.58 * GIB), compute_capability="8.6")
PRO = Gpu("RTX PRO 6000", "nvidia", 96 * GIB, round(95.0 * GIB), compute_capability="12.0")
BF16 = Checkpoint("any", "bf16")
QWEN3_32B = {
    "model_type": "qwen3",
    "num_hidden_layers": 64,
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
}


def deployment(**more: object) -> Deployment:
    return replace(Deployment(qwen(), BF16, max_model_len=8192, max_num_seqs=4), **more)


@pytest.mark.parametrize(
    ("version", "generation", "name"),
    [
        ("0.6.3", None, "V0 to 0.6.5"),
        ("0.7.2", None, "V0"),
        ("0.8.3", None, "V1 to 0.16"),
        ("0.8.3", "V0", "V0"),
        ("0.7.3", "V1", "V1 to 0.16"),
        ("0.20.9", None, "0.17 to 0.20"),
        ("0.21.0", None, "0.21 to 0.24"),
        ("v0.27", None, "0.27 to 0.28"),
        (None, None, "0.29 and later"),
    ],
)
def test_each_version_has_its_rules(version: str | None, generation: str | None, name: str):
    assert rules_for(version, generation).name == name


def test_a_version_that_is_none_is_refused():
    with pytest.raises(BadValue):
        rules_for("newest")


def test_defaults_by_card():
    newest = rules_for(None)
    assert vllm.batch_defaults(newest, H100) == vllm.BatchDefaults(8192, 1024)
    assert vllm.batch_defaults(newest, A100) == vllm.BatchDefaults(2048, 256)
    assert vllm.batch_defaults(newest, RTX) == vllm.BatchDefaults(2048, 256)
    assert vllm.batch_defaults(newest, replace(H100, cuda_total_bytes=180 * GIB)) == vllm.BatchDefaults(16384, 1024)


def test_the_sampler_sets_the_activation_peak_before_0_21():
    model = spec_from_config(QWEN3_32B, name="Qwen/Qwen3-32B")
    old = Deployment(model, BF16, engine_version="0.11.0", max_model_len=16000)
    assert vllm.activation(old, H100).value / GIB == pytest.approx(5.64, abs=0.1)
    assert vllm.activation(replace(old, engine_version="0.32.0"), H100).value < 2 * GIB
    few = vllm.activation(replace(old, max_num_seqs=8), H100).value
    assert few < 1.6 * GIB


def test_a_logged_pool():
    """Qwen3-32B on an H100 with vLLM 0.11.0 and utilization 0.9: 4.45 GiB of cache in the start-up log."""
    model = spec_from_config(QWEN3_32B, name="Qwen/Qwen3-32B")
    asked = Deployment(model, BF16, engine_version="0.11.0", max_model_len=16000, gpu_memory_utilization=0.9)
    pool = estimate(asked, H100).kv_pool_bytes
    assert pool is not None
    assert pool.value / GIB == pytest.approx(4.45, abs=0.1)
    assert pool.low / GIB <= 4.45 <= pool.high / GIB


def test_a_stated_pool_is_the_pool():
    footprint = estimate(deployment(kv_cache_memory_bytes=3 * GIB), None)
    assert footprint.kv_pool_bytes is not None
    assert footprint.kv_pool_bytes.value == 3 * GIB
    assert footprint.max_concurrency == 4
    assert footprint.provenance["max_concurrency"] == "computed"


def test_without_a_card_there_is_no_pool():
    footprint = estimate(deployment(), None)
    assert footprint.kv_pool_bytes is None
    assert footprint.verdict is None
    assert footprint.kv_needed_bytes == 3 * GIB + 16 * 98_304, "a block is set aside"


def test_the_engines_defaults_are_listed():
    codes = [note.code for note in estimate(Deployment(qwen(), BF16), H100).assumptions]
    assert codes == ["vram.default_length", "vram.default_sequences", "vram.default_utilization"]
    stated = deployment(gpu_memory_utilization=0.9)
    assert estimate(stated, H100).assumptions == ()


def test_the_start_rule():
    assert vllm.start_check(95 * GIB, 95 * GIB, 0.9).ok
    refused = vllm.start_check(95 * GIB, 40 * GIB, 0.5)
    assert not refused.ok
    assert refused.shortfall_bytes == math.ceil(47.5 * GIB) - 40 * GIB


@given(st.integers(8 * GIB, 300 * GIB), st.floats(0.01, 1.2))
def test_a_share_for_what_is_needed(total: int, part: float):
    needed = int(total * part)
    share = vllm.utilization_for(total, needed)
    assert math.ceil(total * share) >= needed
    assert math.ceil(total * (share - 0.001)) < needed
    assert share == round(share, 3)


def test_offloaded_weights_leave_the_card():
    here, away = estimate(deployment(), PRO), estimate(deployment(cpu_offload_bytes=10 * GIB), PRO)
    assert here.weights_bytes - away.weights_bytes == 10 * GIB
    assert away.max_concurrency is not None
    assert here.max_concurrency is not None
    assert away.max_concurrency > here.max_concurrency


@given(
    quantization=st.sampled_from([Quantization(), FP8, GPTQ, AWQ]),
    length=st.integers(1, 262_144),
    sequences=st.one_of(st.none(), st.integers(1, 2048)),
    tp=st.sampled_from([1, 2, 4, 8]),
    kv_dtype=st.sampled_from(["auto", "fp8"]),
    version=st.sampled_from([None, "0.6.3", "0.7.3", "0.11.0", "0.24.0", "0.30.0"]),
    share=st.one_of(st.none(), st.floats(0.05, 1)),
    gpu=st.sampled_from([None, RTX, H100, PRO]),
)
def test_parts_are_bands_and_sum_to_the_total(quantization, length, sequences, tp, kv_dtype, version, share, gpu):
    asked = deployment(
        checkpoint=Checkpoint("any", "any", quantization),
        max_model_len=length,
        max_num_seqs=sequences,
        tp=tp,
        kv_dtype=kv_dtype,
        engine_version=version,
        gpu_memory_utilization=share,
    )
    footprint = estimate(asked, gpu)
    cache = max(0, footprint.kv_pool_bytes.value) if footprint.kv_pool_bytes else footprint.kv_needed_bytes
    others = (footprint.activation_bytes, footprint.cuda_graph_bytes, footprint.context_bytes)
    assert all(band.low >= 0 for band in others)
    parts = footprint.weights_bytes + cache + sum(band.value for band in others)
    assert footprint.total_bytes == pytest.approx(parts, abs=1)
    if footprint.max_concurrency is not None:
        assert (footprint.verdict == "fits") == (footprint.max_concurrency >= 1)
        longer = estimate(replace(asked, max_model_len=length + 1024), gpu)
        assert longer.max_concurrency is not None
        assert longer.max_concurrency <= footprint.max_concurrency


@pytest.mark.parametrize(
    "change",
    [
        {"tp": 0},
        {"pp": 1000},
        {"max_model_len": -5},
        {"max_num_seqs": 10**18},
        {"gpu_memory_utilization": 1.7},
        {"kv_dtype": "fp9"},
        {"engine_version": "x"},
        {"tp": 3},
    ],
)
def test_absurd_flags_are_refused(change: dict[str, object]):
    with pytest.raises(BadValue):
        estimate(deployment(**change), PRO)


@given(layers=st.integers(1, 200), tp=st.sampled_from([1, 2, 4, 8]), users=st.integers(1, 500))
def test_more_layers_and_users_never_take_less(layers: int, tp: int, users: int):
    def taken(count: int, sequences: int) -> tuple[int, int, int]:
        model = spec_from_config({**QWEN3_32B, "num_hidden_layers": count}, name="any")
        asked = Deployment(model, BF16, max_model_len=4096, max_num_seqs=sequences, tp=tp)
        footprint = estimate(asked, None)
        return footprint.parameter_bytes, footprint.kv_needed_bytes, footprint.total_bytes

    here = taken(layers, users)
    assert all(more > less for more, less in zip(taken(layers + 1, users), here, strict=True))
    assert all(more >= less for more, less in zip(taken(layers, users + 1), here, strict=True))
