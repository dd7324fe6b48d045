"""Speed and waiting: the worked examples of docs/speed.md, and what must hold for any model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_factory import GIB, card, dense

from tools.domain import Band, Deployment, Footprint, Gpu, MoeMlp
from tools.plan.speed import decode_tokens_per_s, operations_a_token, prefill_tokens_per_s, speed_of
from tools.plan.waiting import restart_seconds, wake_seconds
from tools.specs.checkpoints import checkpoints_for
from tools.vram.estimate import estimate

A100 = Gpu("A100", "nvidia", 40 * GIB, 40 * GIB, bandwidth_bytes_per_s=1.555e12, fp16_flops=312e12, nvlink=True)
PRO_6000 = replace(A100, cuda_total_bytes=95 * GIB, bandwidth_bytes_per_s=1.792e12, fp16_flops=503.8e12, nvlink=False)


def instance(models, name: str, gpu: Gpu, precision: str = "bf16", **fields) -> Footprint:
    spec = models.find(name).spec
    wanted: dict[str, Any] = {"max_model_len": 8192, "max_num_seqs": 1} | fields
    return estimate(Deployment(spec, checkpoints_for(spec, precision)[0], **wanted), gpu)


def value(band: Band | None) -> float:
    assert band is not None
    assert 0 < band.low <= band.value <= band.high
    return band.value


def test_a_dense_model_reads_all_but_its_embedding_table(models):
    footprint = instance(models, "meta-llama/Llama-3.1-8B-Instruct", A100, max_model_len=2048)
    read = 16_060_522_496 - 128_256 * 4096 * 2 + 1024 * 131_072
    seconds = read / (0.75 * 1.555e12) + 32 * 35e-6
    assert value(decode_tokens_per_s(footprint, A100)) == pytest.approx(1 / seconds, rel=0.002)
    band = decode_tokens_per_s(footprint, A100)
    assert band is not None
    assert band.low < 75 < band.high, "as published for this card and vLLM 0.23"


def test_a_mixture_reads_the_experts_that_were_chosen(models):
    alone = instance(models, "Qwen/Qwen3-30B-A3B", PRO_6000)
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    rest = 61_064_245_248 - experts - 151_936 * 2048 * 2
    seconds = (rest + experts * 8 / 128 + 4096 * 98_304) / (0.75 * 1.792e12) + 48 * 100e-6
    assert value(decode_tokens_per_s(alone, PRO_6000)) == pytest.approx(1 / seconds, rel=0.002)
    read = rest + experts * (1 - (15 / 16) ** 16) + 16 * 4096 * 98_304
    together = decode_tokens_per_s(alone, PRO_6000, 16)
    assert value(together) == pytest.approx(16 / (read / (0.75 * 1.792e12) + 48 * 100e-6), rel=0.002)


def test_two_ranks_halve_the_reading_and_talk(models):
    footprint = instance(models, "Qwen/Qwen3-32B", PRO_6000, tp=2)
    read = footprint.parameter_bytes - 151_936 * 5120 + 4096 * 131_072
    talk = 2 * 64 * (30e-6 + 2 * 5120 * 2 * 1 / 2 / 12e9)
    seconds = read / (0.75 * 1.792e12) + 64 * 35e-6 + talk
    assert value(decode_tokens_per_s(footprint, PRO_6000)) == pytest.approx(1 / seconds, rel=0.002)
    linked = replace(PRO_6000, nvlink=True)
    assert value(decode_tokens_per_s(footprint, linked)) > 1 / seconds


def test_offloaded_weights_come_over_pcie(models):
    footprint = instance(models, "Qwen/Qwen3-32B", PRO_6000, cpu_offload_bytes=20 * GIB)
    whole = footprint.parameter_bytes - 151_936 * 5120 * 2
    outside = whole * 20 * GIB / footprint.parameter_bytes
    inside = whole - outside + 4096 * 262_144
    seconds = inside / (0.75 * 1.792e12) + outside / 24e9 + 64 * 35e-6
    assert value(decode_tokens_per_s(footprint, PRO_6000)) == pytest.approx(1 / seconds, rel=0.02)


def test_a_prompt_is_bound_by_arithmetic(models):
    footprint = instance(models, "meta-llama/Llama-3.1-8B-Instruct", A100)
    weights = 2 * (8_030_261_248 - 128_256 * 4096)
    attention = 32 * 4 * 32 * 128 * 2048
    assert operations_a_token(footprint.deployment, 2048) == pytest.approx(weights + attention)
    assert value(prefill_tokens_per_s(footprint, A100)) == pytest.approx(
        0.45 * 312e12 / (weights + attention), rel=0.001
    )
    eight_bits = instance(models, "meta-llama/Llama-3.1-8B-Instruct", A100, "fp8")
    faster = value(prefill_tokens_per_s(eight_bits, replace(A100, fp8=True)))
    assert faster == pytest.approx(2 * value(prefill_tokens_per_s(eight_bits, A100)), rel=0.001)


def test_what_is_not_known_has_no_speed():
    model, gpu = dense("m8", 8), card(48)
    footprint = estimate(Deployment(model, model.checkpoints[0], max_model_len=1024, max_num_seqs=2), gpu)
    assert speed_of(footprint, replace(gpu, bandwidth_bytes_per_s=None)) is None
    known = speed_of(footprint, gpu)
    assert known is not None
    assert known.prefill_tokens_per_s is None
    assert known.first_token_s is None


@given(sequences=st.integers(1, 256), tp=st.sampled_from([1, 2, 4, 8]), length=st.integers(64, 65_536))
def test_more_sequences_get_more_in_all_and_less_each(models, sequences: int, tp: int, length: int):
    footprint = instance(models, "Qwen/Qwen3-30B-A3B", PRO_6000, tp=tp, max_model_len=length)
    assert any(isinstance(layer.mlp, MoeMlp) for layer in footprint.deployment.model.layers)
    alone, together = decode_tokens_per_s(footprint, PRO_6000), decode_tokens_per_s(footprint, PRO_6000, sequences)
    assert alone is not None
    assert together is not None
    assert together.value >= alone.value * 0.99
    assert together.value / sequences <= alone.value * 1.01


def test_waking_waits_for_the_other_to_fall_asleep():
    alone, after = wake_seconds(30 * GIB, 0), wake_seconds(30 * GIB, 30 * GIB)
    assert alone.low < alone.value < alone.high < 10
    assert after.value - alone.value == pytest.approx(10, abs=0.1)
    assert wake_seconds(30 * GIB, 15 * GIB).value == 8.0


def test_level_two_reads_the_disk_and_a_restart_starts_the_engine_too():
    deep, shallow = wake_seconds(30 * GIB, 30 * GIB, level=2), wake_seconds(30 * GIB, 30 * GIB)
    assert deep.value == pytest.approx(30 * GIB / 2.5e9 + 0.06, abs=0.1)
    assert deep.high > shallow.high
    assert restart_seconds(30 * GIB).value == pytest.approx(50 + 30 * GIB / 2.5e9, abs=0.1)


def test_layers_on_cards_and_in_ram(plan_for):
    """Qwen3-30B-A3B in Q4_K_M on an RTX 3090: (1.85 + 0.4 GiB) / (0.75 x 936 GB/s) + 48 x 100 us = 8.1 ms."""
    alone = plan_for(["Qwen/Qwen3-30B-A3B@gguf-Q4_K_M"], ["RTX 3090"], engine="llama.cpp", users=1)
    gpu = alone.request.rig.gpus[0]
    (fast,) = alone.as_asked.instances
    speed = speed_of(fast.footprint, gpu)
    assert speed is not None
    assert speed.decode_tokens_per_s.value == pytest.approx(123, rel=0.03)
    tight = plan_for(["Qwen/Qwen3-30B-A3B@gguf-Q4_K_M"], ["RTX 3060"], engine="llama.cpp", users=1)
    (slow,) = next(option for option in tight.options if option.kind == "offload").placement.instances
    apart = speed_of(slow.footprint, gpu)
    assert apart is not None
    assert apart.decode_tokens_per_s.value < 0.7 * speed.decode_tokens_per_s.value
    assert apart.prefill_tokens_per_s is not None
    assert speed.prefill_tokens_per_s is not None
    assert apart.prefill_tokens_per_s.value < speed.prefill_tokens_per_s.value
