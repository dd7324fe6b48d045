"""Weights of multi-token-prediction heads: what is published beyond the model itself."""

from dataclasses import replace
from typing import Any

import pytest

from tools.domain import Attention, Checkpoint, DenseMlp, Deployment, MoeMlp, Quantization
from tools.errors import BadValue
from tools.vram.architecture import spec_from_config
from tools.vram.estimate import estimate
from tools.vram.loaded import registered_bytes

SIZES = {
    "hidden_size": 4096,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 11008,
    "vocab_size": 151680,
}
MIMO = {**SIZES, "model_type": "mimo", "attention_bias": True, "num_nextn_predict_layers": 1}
HYBRID = {
    **SIZES,
    "model_type": "qwen3_5_text",
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "mtp_num_hidden_layers": 1,
}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 512}


def asked(config: dict[str, object], **more: Any) -> Deployment:
    spec = spec_from_config(config, name="x")
    return Deployment(spec, Checkpoint("x", "bf16"), draft="mtp", **more)


def head_bytes(deployment: Deployment) -> int:
    """What the last stage holds with the head more than without."""
    return registered_bytes(deployment)[-1] - registered_bytes(replace(deployment, draft=None))[-1]


def test_mimo_7b_publishes_what_its_head_takes():
    assert head_bytes(asked(MIMO)) == 2 * 210_790_400


def test_another_repositorys_head_is_not_counted():
    assert head_bytes(replace(asked(MIMO), draft="eagle")) == 0


def test_an_estimate_has_the_heads_bytes_and_says_whether_they_are_known():
    known, unknown = asked(MIMO, max_model_len=64), asked({**SIZES, "model_type": "llama"}, max_model_len=64)
    assert estimate(known, None).parameter_bytes == registered_bytes(known)[0]
    assert "vram.draft_head" in {one.code for one in estimate(known, None).assumptions}
    assert "vram.draft_cache" in {one.code for one in estimate(unknown, None).assumptions}


def test_each_layer_of_a_head_counts():
    assert head_bytes(asked({**MIMO, "num_nextn_predict_layers": 3})) == 3 * head_bytes(asked(MIMO))


@pytest.mark.parametrize("tp", [2, 4])
def test_the_layer_is_shared_and_the_projection_is_whole(tp: int):
    beside = 2 * 4096 * (2 * 4096 + 3)
    one, share = head_bytes(asked(MIMO)) - beside, head_bytes(asked(MIMO, tp=tp)) - beside
    assert one / tp <= share < one / tp + 4 * 4096 * 2


def test_a_projection_in_rows_is_shared():
    norms = 2 * (5 * 4096 + 2 * 128)
    one, half = head_bytes(asked(HYBRID)) - norms, head_bytes(asked(HYBRID, tp=2)) - norms
    assert one == 2 * half


def test_projection_and_norms_that_layers_have_in_common_count_once():
    spec = asked({**HYBRID, "mtp_num_hidden_layers": 2}).model
    assert spec.draft is not None
    assert len(spec.draft.layers) == 2
    assert spec.draft.norms == 3
    assert [one.name for one in spec.draft.outer] == ["mtp.fc"]


def test_in_a_pipeline_the_head_has_its_own_embeddings():
    assert head_bytes(asked(MIMO, pp=2)) == 2 * (210_790_400 + 151_680 * 4096)


def test_a_head_attends_to_everything_although_the_models_last_layer_holds_a_state():
    spec = asked({**HYBRID, "layer_types": ["full_attention", *["linear_attention"] * 3]}).model
    assert spec.draft is not None
    assert isinstance(spec.draft.layers[0].mixers[0], Attention)


def test_a_head_is_dense_where_its_family_says_so():
    config = {**SIZES, "model_type": "ernie4_5_moe", "moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 512}
    spec = asked(config).model
    assert spec.draft is not None
    assert isinstance(spec.layers[-1].mlp, MoeMlp)
    assert isinstance(spec.draft.layers[0].mlp, DenseMlp)


def test_a_head_kept_in_16_bits_is_not_quantised():
    stored = Quantization("fp8_tensor", 8, excluded=("re:^mtp.*",), naming="regex", extra={"writer": "fp8"})
    kept = replace(asked(HYBRID), checkpoint=Checkpoint("x", "fp8", stored))
    whole = replace(kept, checkpoint=Checkpoint("x", "fp8", replace(stored, excluded=("lm_head",))))
    scales = 4 * 2
    assert head_bytes(kept) == head_bytes(asked(HYBRID)) + scales
    assert head_bytes(whole) < 0.6 * head_bytes(kept)


def test_names_of_a_head_are_told_from_those_of_the_model():
    stored = Quantization("fp8_tensor", 8, naming="exact", extra={"writer": "fp8"})
    names = {"model": "model.layers.0.mlp.down_proj", "head": "mtp.layers.0.mlp.down_proj"}
    sizes = {}
    for place, name in names.items():
        checkpoint = Checkpoint("x", "fp8", replace(stored, excluded=("lm_head", name)))
        sizes[place] = head_bytes(replace(asked(HYBRID), checkpoint=checkpoint))
    assert sizes["head"] - sizes["model"] == 4096 * 11008 - 4


def test_the_config_says_how_many_layers_a_head_has():
    assert asked({**MIMO, "num_nextn_predict_layers": 0}).model.draft is None
    with pytest.raises(BadValue):
        asked({**MIMO, "num_nextn_predict_layers": 65})


def test_a_pattern_that_is_not_known_gives_no_head():
    nemotron = {
        **SIZES,
        **EXPERTS,
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "*E*E",
        "n_routed_experts": 8,
        "moe_shared_expert_intermediate_size": 512,
        "num_nextn_predict_layers": 1,
    }
    known = asked({**nemotron, "mtp_hybrid_override_pattern": "*E"}).model.draft
    assert known is not None
    assert len(known.layers) == 2
    assert asked({**nemotron, "mtp_hybrid_override_pattern": "M?"}).model.draft is None
