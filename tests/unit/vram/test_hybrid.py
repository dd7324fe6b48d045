"""State layers: worked examples of their states, what ranks share, and what configs may say; damage is refused."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import Attention, LinearAttention, Mamba, MoeMlp, ShortConv
from tools.errors import BadValue, NotYetExact, RigfitError
from tools.vram import mixers
from tools.vram.architecture import layers_from_config, spec_from_config
from tools.vram.kv.specs import CacheContext
from tools.vram.weights import parameter_bytes

DELTA = {
    "model_type": "qwen3_5_moe_text",
    "num_hidden_layers": 4,
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 1000,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "mamba_ssm_dtype": "float32",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
}
NANO = {
    "model_type": "nemotron_h",
    "num_hidden_layers": 4,
    "hybrid_override_pattern": "M*E-",
    "hidden_size": 2688,
    "intermediate_size": 1856,
    "num_attention_heads": 32,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "vocab_size": 1000,
    "mamba_num_heads": 64,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 1856,
    "n_shared_experts": 1,
    "moe_shared_expert_intermediate_size": 3712,
}
LFM2 = {
    "model_type": "lfm2",
    "num_hidden_layers": 2,
    "hidden_size": 2048,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 1000,
    "layer_types": ["conv", "full_attention"],
    "conv_L_cache": 3,
    "block_ff_dim": 12288,
}
KIMI = {
    "model_type": "kimi_linear",
    "num_hidden_layers": 3,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "vocab_size": 1000,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "linear_attn_config": {"kda_layers": [1, 3], "full_attn_layers": [2], "num_heads": 8, "head_dim": 128},
    "num_experts": 8,
    "num_experts_per_token": 2,
    "moe_intermediate_size": 1024,
    "first_k_dense_replace": 1,
}


def state_bytes(config: dict[str, Any], tp: int = 1, drafts: int = 0) -> int:
    """Bytes of the first state that a model's layers ask for."""
    context = CacheContext(tp, drafts=drafts)
    found = (spec for layer in layers_from_config(config) for m in layer.mixers for spec in mixers.kv_specs(m, context))
    return next(spec.page_bytes for spec in found if spec.kind == "state")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DELTA, 3 * 8192 * 2 + 32 * 128 * 128 * 4),
        (NANO, 3 * (4096 + 2 * 8 * 128) * 2 + 64 * 64 * 128 * 4),
        (LFM2, 2 * 2048 * 2),
        (KIMI, 3 * 3 * 1024 * 2 + 8 * 128 * 128 * 4),
    ],
)
def test_a_state_holds_the_last_inputs_and_a_matrix_a_head(config: dict[str, Any], expected: int):
    assert state_bytes(config) == expected
    assert state_bytes(config, tp=2) == expected // 2


def test_drafted_tokens_are_kept_as_inputs_of_the_convolution():
    assert state_bytes(DELTA, drafts=3) - state_bytes(DELTA) == 3 * 8192 * 2


def test_states_are_of_the_models_type_unless_the_config_says_otherwise():
    plain = {key: value for key, value in DELTA.items() if key != "mamba_ssm_dtype"}
    assert state_bytes(DELTA) - state_bytes(plain) == 32 * 128 * 128 * 2
    assert state_bytes(NANO) == state_bytes({**NANO, "mamba_ssm_cache_dtype": "float32"})
    with pytest.raises(BadValue):
        layers_from_config({**DELTA, "mamba_ssm_dtype": "int3"})


def test_every_fourth_layer_attends_and_its_queries_make_a_gate():
    layers = layers_from_config(DELTA)
    assert [type(layer.mixers[0]) for layer in layers] == [LinearAttention] * 3 + [Attention]
    assert layers[0] is layers[1]
    attention = layers[3].mixers[0]
    assert isinstance(attention, Attention)
    gated = next(iter(mixers.matrices(attention, 2048, 1)))
    assert gated.outputs == (2 * 16 * 256, 2 * 256, 2 * 256)


def test_letters_name_layers_that_are_one_thing_only():
    state, attention, experts, dense = layers_from_config(NANO)
    assert isinstance(state.mixers[0], Mamba)
    assert state.mlp is None
    assert isinstance(attention.mixers[0], Attention)
    assert experts.mixers == dense.mixers == ()
    assert isinstance(experts.mlp, MoeMlp)
    words = {key: value for key, value in NANO.items() if key != "hybrid_override_pattern"}
    words["layers_block_type"] = ["mamba", "attention", "moe", "mlp"]
    assert layers_from_config(words) == layers_from_config(NANO)


def test_experts_in_a_latent_width_are_narrower_and_projected():
    latent = {**NANO, "moe_latent_size": 1024}
    plain, narrow = (spec_from_config(config, name="x") for config in (NANO, latent))
    saved = 8 * 2 * 1856 * (2688 - 1024) - 2 * 2688 * 1024
    checkpoint = plain.checkpoints[0]
    assert parameter_bytes(plain, checkpoint) - parameter_bytes(narrow, checkpoint) == 2 * saved


def test_a_group_that_all_heads_share_is_repeated_on_each_rank():
    one, many = {**NANO, "n_groups": 1}, NANO
    assert state_bytes(one, tp=4) - state_bytes(many, tp=4) == 3 * 2 * (2 * 128 - 2 * 2 * 128)
    with pytest.raises(BadValue):
        state_bytes({**NANO, "n_groups": 3}, tp=2)


def test_widths_of_short_convolutions_blocks_are_two_thirds_rounded_up():
    layer = layers_from_config(LFM2)[0]
    assert isinstance(layer.mixers[0], ShortConv)
    assert layer.mlp is not None
    assert layer.mlp.intermediate == 8192
    off = layers_from_config({**LFM2, "block_auto_adjust_ff_dim": False})[0].mlp
    assert off is not None
    assert off.intermediate == 12288


def test_narrow_shares_of_experts_are_padded_with_tensor_parallelism():
    spec = spec_from_config(KIMI, name="x")
    held = [parameter_bytes(spec, spec.checkpoints[0], tp) for tp in (4, 8)]
    experts = [2 * 8 * 3 * 512 * 256 for _ in held]
    assert held[0] - held[1] < held[0] - experts[0]
    assert held[1] > 2 * experts[1]


@pytest.mark.parametrize("config", [DELTA, NANO, LFM2, KIMI])
def test_a_kind_of_layer_the_family_has_not_is_said(config: dict[str, Any]):
    field = "hybrid_override_pattern" if config is NANO else "layer_types"
    damaged = {**config, field: ["no such"] * config["num_hidden_layers"], "linear_attn_config": None}
    with pytest.raises(NotYetExact):
        layers_from_config(damaged)


_ANY = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 1 << 50), st.text(max_size=9), st.lists(st.integers(-3, 9), max_size=4)
)


@given(st.sampled_from([DELTA, NANO, LFM2, KIMI]), st.data())
def test_a_damaged_field_gives_layers_or_a_clear_error(config: dict[str, Any], data: st.DataObject):
    field = data.draw(st.sampled_from(sorted(config)))
    damaged = {**config, field: data.draw(_ANY)}
    with suppress(RigfitError):
        spec = spec_from_config(damaged, name="x")
        if spec.layers:
            assert parameter_bytes(spec, spec.checkpoints[0]) > 0


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_more_heads_or_wider_heads_never_take_less(heads: int, wider: int, more: int):
    small = {**DELTA, "linear_num_key_heads": heads, "linear_num_value_heads": heads}
    large = {**small, "linear_num_value_heads": heads * more, "linear_value_head_dim": 128 * wider}
    assert state_bytes(large) >= state_bytes(small)


def test_an_lfm2_head_is_the_embeddings_whatever_the_config_says():
    said = spec_from_config({**LFM2, "tie_word_embeddings": False}, name="x")
    assert said.tied_embeddings
