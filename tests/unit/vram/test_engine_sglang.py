"""SGLang's budget: figures of start-up logs, and how the share is computed by version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import Checkpoint, Deployment, EngineOptions, Gpu
from tools.errors import BadValue
from tools.units import GIB, MIB
from tools.vram.architecture import spec_from_config
from tools.vram.engines.sglang import default_share, token_bytes
from tools.vram.engines.words import read_engine_flags
from tools.vram.estimate import estimate

QWEN_7B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
    "max_position_embeddings": 32768,
}
LATENT: dict[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 1024,
    "num_hidden_layers": 61,
    "num_attention_heads": 16,
    "kv_lora_rank": 512,
    "q_lora_rank": 256,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 128,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "intermediate_size": 2048,
    "vocab_size": 32000,
}
A100 = Gpu("A100", "", round(39.39 * GIB), round(39.39 * GIB), "measured")
H100 = Gpu("H100", "", 81559 * MIB, 81559 * MIB, "measured")


def deployed(config: dict[str, Any], **said: Any) -> Deployment:
    return Deployment(spec_from_config(config, name="x"), Checkpoint("x", "bf16"), engine="sglang", **said)


def test_a_start_on_an_a100():
    found = estimate(deployed(QWEN_7B, engine_version="0.4.3"), A100)
    assert found.kv_bytes_per_token == 57344
    assert found.weights_bytes / GIB == pytest.approx(14.38, rel=0.003)
    assert found.kv_pool_bytes is not None
    assert found.kv_pool_bytes.value / GIB == pytest.approx(19.92, rel=0.01)
    assert found.kv_pool_bytes.low / GIB <= 19.92 <= found.kv_pool_bytes.high / GIB
    assert found.kv_pool_tokens == pytest.approx(372945, rel=0.01)
    assert found.verdict == "fits"


def test_latents_are_whole_on_every_rank():
    assert token_bytes(deployed(LATENT)) == token_bytes(deployed(LATENT, tp=8)) == 70272


def test_heads_are_shared_among_ranks():
    assert token_bytes(deployed(QWEN_7B, tp=2)) == 57344 // 2
    assert token_bytes(deployed(QWEN_7B, kv_dtype="fp8_e5m2")) == 57344 // 2


@pytest.mark.parametrize(
    ("version", "ranks", "share"),
    [("0.4.3", 1, 0.88), ("0.4.3", 8, 0.81), ("0.4.7.post1", 1, 0.874), (None, 1, 0.835), (None, 8, 0.818)],
)
def test_the_share_by_version_and_ranks(version: str | None, ranks: int, share: float):
    assert default_share(deployed(QWEN_7B, engine_version=version, tp=ranks), H100) == pytest.approx(share, abs=0.001)


def test_what_was_asked_goes_before():
    half = EngineOptions(static_share=0.5)
    pool = estimate(deployed(QWEN_7B, options=half), A100).kv_pool_bytes
    assert pool is not None
    assert pool.value / GIB == pytest.approx(38.94 * 0.5 - 14.38, abs=0.05)
    capped = estimate(deployed(QWEN_7B, options=EngineOptions(total_tokens=1000)), A100)
    assert capped.kv_pool_tokens == 1000
    assert capped.kv_pool_bytes is not None
    assert capped.kv_pool_bytes.value == 57344 * 1000


def test_a_model_with_windows_has_a_pool_that_is_not_divided():
    windows = {**QWEN_7B, "model_type": "gemma3_text", "head_dim": 128, "sliding_window": 1024}
    found = estimate(deployed(windows, max_model_len=8192), A100)
    assert found.kv_bytes_per_token is None
    assert found.kv_pool_tokens is None
    assert found.kv_pool_bytes is not None
    assert found.kv_needed_bytes > 0
    assert "engines.pool_divided" in {note.code for note in found.assumptions}


def test_too_large_a_model_does_not_fit():
    small = replace(A100, memory_bytes=8 * GIB, cuda_total_bytes=8 * GIB)
    assert estimate(deployed(QWEN_7B, engine_version="0.4.3"), small).verdict == "does_not_fit"


@given(st.integers(9, 200), st.sampled_from(["0.4.3", "0.4.8", "0.5.4", None]), st.sampled_from([1, 2, 4]))
def test_a_larger_card_never_holds_less(gib: int, version: str | None, ranks: int):
    asked = deployed(QWEN_7B, engine_version=version, tp=ranks, options=EngineOptions(static_share=0.85))
    cards = (Gpu("c", "", size * GIB, size * GIB, "measured") for size in (gib, gib + 1))
    less, more = (estimate(asked, card) for card in cards)
    assert less.kv_pool_tokens is not None
    assert more.kv_pool_tokens is not None
    assert 0 <= less.kv_pool_tokens <= more.kv_pool_tokens


def test_flags_are_read_and_damaged_ones_refused():
    text = "--mem-fraction-static 0.8 --max-total-tokens=4096 --max-running-requests 4 --other"
    options, fields, left = read_engine_flags("sglang", text)
    assert (options.static_share, options.total_tokens, fields["max_num_seqs"]) == (0.8, 4096, 4)
    assert left == "--other"
    with pytest.raises(BadValue):
        read_engine_flags("sglang", "--mem-fraction-static 1.7")


def test_flags_of_llama_cpp_and_ollama():
    said = "-ngl 99 -c 32768 -np 4 -ub 256 -fa on -ctk q8_0 -ctv q4_0 -ts 3,1 -nkvo --swa-full -sm row"
    options, fields, left = read_engine_flags("llama.cpp", said)
    assert options == EngineOptions(
        context_total=32768,
        gpu_layers=99,
        split=(3.0, 1.0),
        by_rows=True,
        cache_in_ram=True,
        full_windows=True,
        flash_attention=True,
        value_dtype="q4_0",
    )
    assert fields == {"max_num_seqs": 4, "max_num_batched_tokens": 256, "kv_cache_dtype": "q8_0"}
    assert left == ""
    options, fields, _ = read_engine_flags("ollama", "OLLAMA_NUM_PARALLEL=2 OLLAMA_CONTEXT_LENGTH=8192")
    assert fields == {"max_num_seqs": 2, "max_model_len": 8192}
    assert options.context_total is None
