"""llama.cpp's buffers: figures of real starts (logs, and a build of October 2026 on generated GGUF files)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import Checkpoint, Deployment, EngineOptions, Footprint, Gpu, Quantization
from tools.errors import BadValue, NotYetExact
from tools.units import GIB, MIB
from tools.vram.architecture import spec_from_config
from tools.vram.engines import llamacpp, ollama
from tools.vram.engines.llamacpp_cache import row_bytes, state_elements
from tools.vram.estimate import estimate

TINY: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 1536,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "max_position_embeddings": 131072,
}
SMOL = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
EXPERTS = {
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 256,
    "num_experts": 16,
    "num_experts_per_tok": 4,
    "decoder_sparse_step": 1,
}
SLIDING = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 6,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "tie_word_embeddings": True,
}
QWEN2_1B = {
    "model_type": "qwen2",
    "hidden_size": 1536,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "head_dim": 128,
    "intermediate_size": 8960,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
LLAMA_3B = {
    "hidden_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}
LLAMA_70B = {
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 28672,
    "vocab_size": 128256,
}


def deployed(config: dict[str, Any], kind: str = "F16", **said: Any) -> Deployment:
    """A model of TINY's sizes but for ``config``, as a GGUF file."""
    names = {name: said.pop(name) for name in list(said) if name in EngineOptions.__slots__}
    return Deployment(
        spec_from_config(TINY | config, name="x"),
        Checkpoint("x", f"gguf-{kind}", Quantization("gguf", 16, extra={"type": kind})),
        engine="llama.cpp",
        options=EngineOptions(**names),
        **said,
    )


def answer(config: dict[str, Any], kind: str = "F16", **said: Any) -> Footprint:
    return estimate(deployed(config, kind, **said), None)


@pytest.mark.parametrize(
    ("config", "said", "logged"),
    [
        (SMOL, {"max_model_len": 2048}, 16.64),
        (SMOL, {"max_model_len": 512, "max_num_seqs": 4}, 15.14),
        (SMOL, {"max_model_len": 4096, "kv_dtype": "q8_0"}, 18.67),
        (SMOL, {"max_model_len": 4096, "flash_attention": False}, 87.51),
        (SMOL, {"max_model_len": 1024, "max_num_seqs": 4, "max_num_batched_tokens": 256}, 7.82),
        (SMOL, {"max_model_len": 1024, "max_num_seqs": 4, "max_num_batched_tokens": 256, "unified": True}, 9.32),
        ({}, {"max_model_len": 2048}, 16.02),
        ({"intermediate_size": 4096}, {"max_model_len": 2048}, 31.02),
        ({"hidden_size": 1024}, {"max_model_len": 2048}, 21.02),
        ({"num_attention_heads": 16}, {"max_model_len": 2048}, 16.02),
        ({"vocab_size": 64000}, {"max_model_len": 2048}, 16.02),
        ({}, {"max_model_len": 32768}, 46.02),
        ({}, {"max_model_len": 4096, "flash_attention": False}, 78.51),
        ({"hidden_size": 1024}, {"max_model_len": 4096, "flash_attention": False}, 84.51),
        ({"num_attention_heads": 16}, {"max_model_len": 4096, "flash_attention": False}, 145.51),
        ({"num_key_value_heads": 8}, {"max_model_len": 4096, "flash_attention": False}, 80.01),
        (EXPERTS, {"max_model_len": 2048}, 13.02),
        (EXPERTS | {"num_experts_per_tok": 8}, {"max_model_len": 2048}, 19.02),
        (EXPERTS | {"hidden_size": 1024, "moe_intermediate_size": 128}, {"max_model_len": 2048}, 20.02),
        (SLIDING, {"max_model_len": 2048}, 17.03),
        (SLIDING, {"max_model_len": 2048, "max_num_seqs": 4}, 17.03),
        (SLIDING, {"max_model_len": 2048, "max_num_seqs": 4, "unified": True}, 24.53),
    ],
)
def test_compute_buffers_of_the_newest_build(config: dict[str, Any], said: dict[str, Any], logged: float):
    band = answer(config, **said).activation_bytes
    assert band.value / MIB == pytest.approx(logged, rel=0.005)
    assert band.low / MIB <= logged <= band.high / MIB


@pytest.mark.parametrize(
    ("config", "build", "said", "logged"),
    [
        (QWEN2_1B, "b4406 (0da5d860)", {"max_model_len": 4096}, 299.75),
        (
            QWEN2_1B,
            "b4462",
            {"max_model_len": 32768, "max_num_batched_tokens": 256, "flash_attention": True, "kv_dtype": "q8_0"},
            149.88,
        ),
        (LLAMA_3B, "b4404", {"max_model_len": 40128}, 1983.38),
        (LLAMA_70B, "b5002", {"max_model_len": 15360}, 2014.0),
    ],
)
def test_compute_buffers_of_older_builds(config: dict[str, Any], build: str, said: dict[str, Any], logged: float):
    band = answer(config, engine_version=build, **said).activation_bytes
    assert band.value / MIB == pytest.approx(logged, rel=0.001)


def test_a_pipeline_of_cards_holds_copies_of_its_inputs():
    phi = {
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "head_dim": 128,
        "intermediate_size": 17920,
        "vocab_size": 100352,
    }
    found = answer(phi, engine_version="b4753", max_model_len=4096, tp=2)
    assert found.activation_bytes.value / MIB == pytest.approx(437.01, rel=0.02)
    assert found.kv_pool_bytes is not None
    assert found.kv_pool_bytes.value / MIB in {420.0, 380.0}  # 21 layers and 19 with the output


@pytest.mark.parametrize(
    ("config", "said", "mebibytes"),
    [
        ({}, {"max_model_len": 2048}, 4.0),
        ({"num_key_value_heads": 8}, {"max_model_len": 2048}, 16.0),
        ({}, {"max_model_len": 32768, "kv_dtype": "q8_0"}, 34.0),
        ({}, {"context_total": 1000, "max_num_seqs": 3}, 3.0),
        (SLIDING, {"max_model_len": 2048}, 3.5),
        (SLIDING, {"context_total": 8192, "max_num_seqs": 4}, 14.0),
        (SLIDING, {"context_total": 8192, "max_num_seqs": 4, "unified": True}, 10.25),
        (SLIDING, {"max_model_len": 8192, "full_windows": True}, 24.0),
        (SLIDING, {"max_model_len": 8192, "engine_version": "b5000", "flash_attention": True}, 24.0),
        ({}, {"max_model_len": 2048, "cache_in_ram": True}, 0.0),
        (LLAMA_3B, {"max_model_len": 40128, "engine_version": "b4404"}, 4389.0),
        (LLAMA_70B, {"max_model_len": 15360, "engine_version": "b5002"}, 4800.0),
    ],
)
def test_caches(config: dict[str, Any], said: dict[str, Any], mebibytes: float):
    pool = answer(config, **said).kv_pool_bytes
    assert pool is not None
    assert pool.value / MIB == mebibytes


def test_latents_are_cached_since_build_5300():
    lite = {
        "model_type": "deepseek_v2",
        "hidden_size": 2048,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "q_lora_rank": None,
        "n_routed_experts": 64,
        "num_experts_per_tok": 6,
        "moe_intermediate_size": 1408,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "intermediate_size": 10944,
    }
    before = answer(lite, engine_version="b4887", max_model_len=4096)
    assert before.kv_needed_bytes / MIB == 1080.0  # as that build logs it
    assert answer(lite, max_model_len=4096).kv_bytes_per_token == 27 * 576 * 2


def test_layers_over_seven_cards_and_in_ram():
    placed = llamacpp.place(28, 7, None, build=4036)
    assert [len(placed.of(card)) for card in range(7)] == [5, 4, 4, 4, 4, 4, 3]
    assert placed.output == 6
    deep = llamacpp.place(61, 8, 48, build=4436)
    assert [len(deep.of(card)) for card in range(9)] == [6] * 8 + [13]
    assert deep.output == 8  # older builds offload the output last
    assert llamacpp.place(4, 1, 1).output == 0  # newer ones first
    assert [len(llamacpp.place(32, 2, None, (3, 1)).of(card)) for card in range(2)] == [25, 7]
    assert llamacpp.place(4, 1, 0).of(0) == ()


def test_a_tied_table_lies_on_the_card_too():
    tied, apart = answer(SMOL, max_model_len=512), answer(SMOL | {"tie_word_embeddings": False}, max_model_len=512)
    assert tied.weights_bytes == apart.weights_bytes
    parts = llamacpp.file_parts(deployed(SMOL))
    assert tied.weights_bytes == parts.total


@pytest.mark.parametrize(("share", "decides"), [(1.01, False), (1.08, True), (0.93, True), (1.4, False)])
def test_a_published_size_decides_beyond_its_rounding(share: float, decides: bool):
    asked = deployed({}, "Q4_K_M", max_model_len=512)
    tensors = llamacpp.file_parts(asked).total
    size = round(tensors * share)
    sized = replace(asked, checkpoint=replace(asked.checkpoint, file_bytes=size, file_provenance="published"))
    assert llamacpp.file_parts(sized).total == pytest.approx(size if decides else tensors, abs=10)


def test_files_that_are_no_mixture_of_llama_cpp_are_known_by_size():
    asked = deployed({}, "Q4_K_XL", max_model_len=512)
    sized = replace(asked, checkpoint=replace(asked.checkpoint, file_bytes=50_000_000))
    assert llamacpp.file_parts(sized).total == pytest.approx(50_000_000, abs=10)


def test_the_first_card_holds_a_matrix_of_layers_in_ram():
    whole, some = answer(LLAMA_70B, max_model_len=512), answer(LLAMA_70B, max_model_len=512, gpu_layers=40)
    matrix = llamacpp.file_parts(deployed(LLAMA_70B)).layers[0] / 4
    more = some.activation_bytes.value - whole.activation_bytes.value
    assert more == pytest.approx(matrix, rel=0.05)


def test_experts_in_ram():
    with_experts, without = answer(EXPERTS, max_model_len=512), answer(EXPERTS, max_model_len=512, experts_in_ram=4)
    assert with_experts.weights_bytes - without.weights_bytes == 4 * 16 * 3 * 512 * 256 * 2


def test_the_verdict_follows_the_card():
    card = Gpu("card", "", 2 * GIB, 2 * GIB, "measured")
    assert estimate(deployed({}, max_model_len=2048), card).verdict == "fits"
    assert estimate(deployed(LLAMA_3B, max_model_len=2048), card).verdict == "does_not_fit"


def test_sixteen_bit_weights_stand_for_a_converted_file_and_others_are_refused():
    plain = replace(deployed({}, max_model_len=512), checkpoint=Checkpoint("x", "bf16"))
    assert estimate(plain, None).weights_bytes == answer({}, max_model_len=512).weights_bytes
    with pytest.raises(NotYetExact):
        estimate(replace(plain, checkpoint=Checkpoint("x", "awq", Quantization("awq", 4))), None)
    with pytest.raises(BadValue):
        answer({}, max_model_len=512, kv_dtype="q3_x")
    with pytest.raises(BadValue):
        answer({}, max_model_len=512, engine_version="latest")


def test_states_are_of_32_bits_and_of_each_sequence():
    jamba = {
        "model_type": "jamba",
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mamba_dt_rank": 32,
        "num_hidden_layers": 8,
    }
    model = spec_from_config(TINY | jamba, name="x")
    states = sum(state_elements(mixer) for layer in model.layers for mixer in layer.mixers)
    assert states == 7 * (3 * 1024 + 16 * 1024)
    one, two = (answer(jamba, max_model_len=1024, max_num_seqs=users) for users in (1, 2))
    assert two.kv_needed_bytes == 2 * one.kv_needed_bytes
    assert one.kv_needed_bytes == 4 * states + 1024 * 2 * 2 * 64 * 2
    assert one.kv_bytes_per_token is None


@given(
    st.integers(1, 1 << 17),
    st.integers(1, 8),
    st.sampled_from([None, 0, 2, 5]),
    st.sampled_from(["f16", "q8_0", "q4_0"]),
)
def test_more_tokens_never_take_less(length: int, users: int, layers: int | None, kind: str):
    def sized(tokens: int, many: int) -> Footprint:
        return answer(SLIDING, max_model_len=tokens, max_num_seqs=many, gpu_layers=layers, kv_dtype=kind)

    found = sized(length, users)
    assert 0 <= found.kv_needed_bytes <= sized(length + 256, users).kv_needed_bytes
    assert found.kv_needed_bytes <= sized(length, users + 1).kv_needed_bytes
    parts = (found.weights_bytes, found.kv_needed_bytes, found.activation_bytes.value, found.context_bytes.value)
    assert found.total_bytes == pytest.approx(sum(parts), abs=2)


def test_rows_are_whole_blocks():
    assert row_bytes(1024, "auto") == 2048
    assert row_bytes(1024, "q8_0") == 1088
    assert row_bytes(1024, "q4_0") == 576


def test_ollama_has_defaults_of_its_own():
    small = Gpu("card", "", 16 * GIB, 16 * GIB, "measured")
    large = Gpu("card", "", 24 * GIB, 24 * GIB, "measured")
    asked = replace(deployed({}), engine="ollama")
    assert estimate(asked, small).kv_pool_tokens == 4096
    assert estimate(asked, large).kv_pool_tokens == 32768
    assert estimate(replace(asked, engine_version="0.5.7"), large).kv_pool_tokens == 4 * 2048
    assert ollama.default_context((0, 12, 0), 80 * GIB) == 4096
