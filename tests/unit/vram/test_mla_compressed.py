"""DeepSeek-V4: its caches, its experts by hash, the formats its checkpoints leave unsaid."""

import pytest

from tools.domain import CompressedAttention, Layer, ModelSpec, MoeMlp, Ranks
from tools.errors import BadValue
from tools.vram.architecture import layers_from_config, quantization_from_config, spec_from_config
from tools.vram.families.deepseek_v4 import stored
from tools.vram.feedforward import matrices
from tools.vram.kv.specs import CacheContext
from tools.vram.mixers import kv_specs
from tools.vram.weights import parameter_bytes

FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
FLASH: dict[str, object] = {
    "model_type": "deepseek_v4",
    "expert_dtype": "fp4",
    "hc_mult": 4,
    "head_dim": 512,
    "hidden_size": 4096,
    "index_head_dim": 128,
    "index_n_heads": 64,
    "index_topk": 512,
    "max_position_embeddings": 1048576,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 64,
    "num_experts_per_tok": 6,
    "num_hidden_layers": 43,
    "num_hash_layers": 3,
    "o_groups": 8,
    "o_lora_rank": 1024,
    "q_lora_rank": 1024,
    "qk_rope_head_dim": 64,
    "sliding_window": 128,
    "topk_method": "noaux_tc",
    "vocab_size": 129280,
    "tie_word_embeddings": False,
    "compress_ratios": [0, 0, *[4, 128] * 20, 4, 0],
    "quantization_config": FP8,
}


def spec(**changed: object) -> ModelSpec:
    return spec_from_config({**FLASH, **changed}, name="any")


def attention(layer: Layer) -> CompressedAttention:
    (mixer,) = layer.mixers
    assert isinstance(mixer, CompressedAttention)
    return mixer


def pages(layer: Layer) -> set[tuple[int, int | None, int | None]]:
    found = kv_specs(layer.mixers[0], CacheContext())
    return {(one.page_of(one.block or 256), one.block, one.window) for one in found}


@pytest.mark.parametrize(("tp", "registered"), [(4, 39_982_256_476), (8, 20_644_900_892)])
def test_v4_flash_registers_what_vllm_does(tp: int, registered: int):
    model = spec()
    assert parameter_bytes(model, model.checkpoints[0], tp) == registered


def test_layers_cache_a_window_entries_and_running_states():
    window, fine, coarse = (layers_from_config(FLASH)[i] for i in (0, 2, 3))
    assert pages(window) == {(37_440, 64, 128)}
    keys, states = {(37_440, None, None), (8_640, None, None)}, {(32_832, 4, 8), (8_640, 4, 8)}
    assert pages(fine) == {(37_440, 64, 128)} | keys | states
    assert pages(coarse) == {(37_440, 64, 128), (1_728, None, None), (32_832, 8, 128)}
    assert attention(fine).indexer is not None
    assert attention(coarse).indexer is None


def test_a_row_may_give_ratios_as_runs():
    runs = [[0, 2], *[[4, 1], [128, 1]] * 20, [4, 1], [0, 1]]
    assert layers_from_config({**FLASH, "compress_ratios": runs}) == layers_from_config(FLASH)


@pytest.mark.parametrize("ratios", [None, [], [0, 2, 4], [3] * 44, "4", [[4]], [[4, 1 << 40]], [None] * 44])
def test_absurd_ratios_are_refused(ratios: object):
    with pytest.raises(BadValue):
        layers_from_config({**FLASH, "compress_ratios": ratios})


def test_the_first_layers_choose_experts_by_hash_and_correct_no_scores():
    layers = layers_from_config(FLASH)
    by_hash = [any(extra.name.endswith("tid2eid") for extra in layer.extras) for layer in layers]
    corrected = [isinstance(layer.mlp, MoeMlp) and layer.mlp.score_bias for layer in layers]
    assert by_hash == [True] * 3 + [False] * 40
    assert corrected == [not one for one in by_hash]


def test_experts_are_in_mxfp4_and_scales_are_bytes_unless_experts_are_in_fp8():
    plain = quantization_from_config(FP8)
    assert stored(plain, {"expert_dtype": "fp8"}) == plain
    fp4 = stored(plain, {})
    assert fp4.extra["scale_bytes"] == 1
    assert fp4.parts[0].format.method == "mxfp4"
    assert quantization_from_config(FLASH) == fp4
    by_fp8, by_fp4 = spec(expert_dtype="fp8"), spec()
    assert parameter_bytes(by_fp8, by_fp8.checkpoints[0], 8) > parameter_bytes(by_fp4, by_fp4.checkpoints[0], 8)


def test_a_share_of_the_shared_expert_is_rounded_up_to_whole_blocks():
    (layer,) = layers_from_config({**FLASH, "moe_intermediate_size": 384, "num_hidden_layers": 1})
    shared = {tp: matrices(layer.mlp, 4096, Ranks(tp))[-1] for tp in (1, 2, 4)}
    assert {tp: matrix.inputs for tp, matrix in shared.items()} == {1: 384, 2: 256, 4: 128}
    assert shared[1].name == "mlp.shared_experts.down_proj"
