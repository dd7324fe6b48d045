"""Towers as published models have them, and what a published count settles."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.domain import Checkpoint, DenseMlp, Linear
from tools.errors import BadValue
from tools.vram.architecture import spec_from_config
from tools.vram.families import towers
from tools.vram.sharding import on_rank
from tools.vram.weights import parameter_bytes, parameter_count

QWEN3_VL_2B: dict[str, Any] = {
    "model_type": "qwen3_vl",
    "num_hidden_layers": 28,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}
VISION: dict[str, Any] = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "deepstack_visual_indexes": [5, 11, 17],
}
GEMMA_E4B: dict[str, Any] = {
    "model_type": "gemma4",
    "multimodal": True,
    "num_hidden_layers": 42,
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 262144,
    "sliding_window": 512,
    "num_kv_shared_layers": 18,
    "hidden_size_per_layer_input": 256,
    "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 7,
}


def elements(linears: tuple[Linear, ...], tp: int = 1) -> int:
    return sum(linear.times * on_rank(linear, tp).elements for linear in linears)


def test_a_described_tower_is_registered_to_the_byte():
    spec = spec_from_config({**QWEN3_VL_2B, "vision_config": VISION}, name="x")
    assert parameter_bytes(spec, Checkpoint("x", "bf16")) == 4_255_064_064
    assert parameter_bytes(spec, Checkpoint("x", "bf16"), 8) == 539_301_888


def test_the_published_count_tells_which_tower_of_the_family_it_is():
    spec = spec_from_config({**QWEN3_VL_2B, "multimodal": True}, name="x", params_total=2_127_532_032)
    described = spec_from_config({**QWEN3_VL_2B, "vision_config": VISION}, name="x")
    assert (spec.outer, spec.tower_params) == (described.outer, 0)


def test_another_count_leaves_the_rest_to_a_tower_of_unknown_kind():
    spec = spec_from_config({**QWEN3_VL_2B, "multimodal": True}, name="x", params_total=2_200_000_000)
    assert spec.tower_params == 2_200_000_000 - 1_720_574_976


def test_gemma_4_hears_although_its_count_leaves_that_out():
    spec = spec_from_config({**GEMMA_E4B, "params_counted_without_mtp": 7_632_344_064}, name="x", params_total=1)
    assert parameter_count(spec) == 7_941_100_832
    assert any(linear.name.startswith("audio_tower") for linear in spec.outer)


def test_a_width_that_a_row_lacks_is_what_its_count_gives():
    row = {name: value for name, value in QWEN3_VL_2B.items() if name not in {"intermediate_size", "model_type"}}
    row |= {"model_type": "qwen3", "tie_word_embeddings": None}
    for width, total in ((6144, 1_720_574_976), (6176, 1_720_574_976 + 3 * 28 * 2048 * 32)):
        spec = spec_from_config(row, name="x", params_total=total)
        assert spec.layers[0].mlp == DenseMlp(width)
        assert spec.tied_embeddings
    with pytest.raises(BadValue, match="intermediate_size"):
        spec_from_config(row, name="x", params_total=1_720_574_977)


def test_a_layer_that_is_published_and_not_built_does_not_hide_the_width():
    row = {
        "model_type": "phi3_v",
        "num_hidden_layers": 32,
        "hidden_size": 3072,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
    }
    spec = spec_from_config(row, name="x", params_total=4_146_621_440)
    assert spec.layers[0].mlp == DenseMlp(8192)
    assert spec.params_total - parameter_count(spec) == 12_598_272


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_ranks_share_projections_and_hold_norms_whole(tp: int):
    tower = towers.of({**QWEN3_VL_2B, "vision_config": VISION})
    assert tower is not None
    assert elements(tower) / tp < elements(tower, tp) < elements(tower) / tp * 1.2


def test_ranks_that_do_not_divide_the_heads_hold_moonvit_whole():
    config = {**QWEN3_VL_2B, "model_type": "kimi_k25", "vision_config": {"num_attention_heads": 12}}
    tower = towers.of(config)
    assert tower is not None
    assert elements(tower, 8) == elements(tower)
    assert elements(tower, 4) < elements(tower)


def test_a_tower_up_to_the_layer_whose_output_is_used():
    config = {**QWEN3_VL_2B, "model_type": "llava", "vision_config": {}}
    depth = {layer: towers.of({**config, "vision_feature_layer": layer}) for layer in (-1, -2, 12)}
    block = elements(depth[-1] or ()) - elements(depth[-2] or ()) - 2 * 1024
    assert block == 12_596_224
    assert elements(depth[-2] or ()) - elements(depth[12] or ()) == 11 * block


@pytest.mark.parametrize("value", [0, -1, "x", 1 << 62, None, [], {}])
def test_an_absurd_size_of_a_tower_is_refused_or_the_usual(value: Any):
    config = {**QWEN3_VL_2B, "vision_config": {**VISION, "patch_size": value}}
    if value is None:
        assert towers.of(config) == towers.of({**QWEN3_VL_2B, "vision_config": VISION})
        return
    with pytest.raises(BadValue):
        towers.of(config)


def test_a_language_model_alone_has_no_tower():
    """Bytes that vLLM 0.32 registers for these two with ``language_model_only``, and without it."""
    groups = json.loads(Path(__file__).with_name("text_only.json").read_text(encoding="utf-8"))
    for case in groups:
        spec = spec_from_config(case["config"], name="x")
        alone = towers.without(spec)
        assert parameter_bytes(spec, spec.checkpoints[0]) == case["whole"]
        assert parameter_bytes(alone, spec.checkpoints[0]) == case["text_only"]
        assert alone.encoder is None
