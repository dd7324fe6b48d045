"""Weights of multi-token-prediction heads: what is published beyond the model itself."""

from dataclasses import replace

import pytest

from tools.domain import Checkpoint, Deployment, ModelSpec, Quantization
from tools.vram.architecture import spec_from_config
from tools.vram.drafts import draft_bytes
from tools.vram.estimate import estimate

SIZES = {
    "hidden_size": 4096,
    "num_hidden_layers": 3,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 11008,
    "vocab_size": 151680,
}
MIMO = {
    **SIZES,
    "model_type": "mimo",
    "attention_bias": True,
    "num_nextn_predict_layers": 1,
}


def asked(config: dict[str, object], **more: object) -> Deployment:
    spec = spec_from_config(config, name="x")
    return Deployment(spec, Checkpoint("x", "bf16"), draft="mtp", **more)


def test_mimo_7b_publishes_what_its_head_takes():
    assert draft_bytes(asked(MIMO)) == 2 * 210_790_400


def test_without_speculative_decoding_nothing_is_counted():
    deployment = replace(asked(MIMO), draft=None)
    assert draft_bytes(deployment) == 0
    assert draft_bytes(replace(deployment, draft="eagle")) == 0


def test_a_head_is_on_the_last_stage():
    plain, drafting = (
        estimate(replace(asked(MIMO), draft=draft, max_model_len=64), None).parameter_bytes for draft in (None, "mtp")
    )
    assert drafting - plain == 2 * 210_790_400


def test_each_layer_of_a_head_counts():
    assert draft_bytes(asked({**MIMO, "num_nextn_predict_layers": 3})) == 3 * draft_bytes(asked(MIMO))


@pytest.mark.parametrize("tp", [2, 4])
def test_the_layer_is_shared_and_the_projection_is_whole(tp: int):
    beside = 2 * 4096 * (2 * 4096 + 3)
    one, share = draft_bytes(asked(MIMO)) - beside, draft_bytes(asked(MIMO, tp=tp)) - beside
    assert one / tp <= share < one / tp + 4 * 4096 * 2


def test_experts_of_a_model_whose_head_is_dense_are_not_in_it():
    experts = {"moe_num_experts": 8, "moe_k": 2, "moe_intermediate_size": 512, "moe_layer_start_index": 1}
    ernie = {**SIZES, **experts, "model_type": "ernie4_5_moe"}
    dense = {**SIZES, "model_type": "ernie4_5"}
    assert draft_bytes(asked(ernie)) == draft_bytes(asked(dense))


def test_a_head_kept_in_16_bits_is_not_quantised():
    stored = Quantization("fp8_tensor", 8, excluded=("mtp.layers.0",), extra={"writer": "fp8"})
    kept = replace(asked(MIMO), checkpoint=Checkpoint("x", "fp8", stored))
    everything = replace(kept, checkpoint=Checkpoint("x", "fp8", replace(stored, excluded=("lm_head",))))
    assert draft_bytes(kept) == 2 * 210_790_400 > draft_bytes(everything)


def test_the_model_itself_says_how_many_layers_its_head_has():
    spec: ModelSpec = spec_from_config(MIMO, name="x")
    assert spec.draft_layers == 1
    assert spec_from_config({**MIMO, "num_nextn_predict_layers": 0}, name="x").draft_layers == 0
