"""Parameters a rank registers: the published examples, and what vLLM 0.32's model code said for generated configs."""

from dataclasses import replace

import pytest

from tools.domain import Checkpoint, ModelSpec, Quantization
from tools.errors import BadValue, NotYetExact
from tools.units import GIB
from tools.vram.architecture import layers_from_config, spec_from_config
from tools.vram.stages import stages
from tools.vram.weights import parameter_bytes, parameter_count

QWEN3_30B = {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}
GPTQ = Quantization("gptq", 4, 128)
AWQ = Quantization("awq", 4, 128, symmetric=False)
FP8 = Quantization("fp8_block", 8, block=(128, 128))


def qwen() -> ModelSpec:
    return spec_from_config(QWEN3_30B, name="Qwen/Qwen3-30B-A3B")


def stored(quantization: Quantization, tp: int = 1) -> int:
    return parameter_bytes(qwen(), Checkpoint("any", "any", quantization), tp)


def test_the_worked_examples_of_qwen3_30b():
    assert stored(Quantization()) == 61_064_245_248
    assert stored(FP8) == 31_174_545_792
    assert stored(GPTQ) == pytest.approx(15.672 * GIB, rel=1e-3)
    assert stored(AWQ) == pytest.approx(15.649 * GIB, rel=1e-3)
    assert stored(Quantization(), tp=2) == 30_544_916_480


def test_packed_formats_are_never_counted_as_parameters():
    assert parameter_count(qwen()) == 30_532_122_624
    assert qwen().params_total == 30_532_122_624


def test_a_published_count_settles_an_unsaid_switch():
    config = {**QWEN3_30B, "model_type": "glm4", "head_dim": 64}
    with_bias = spec_from_config({**config, "attention_bias": True}, name="x").params_total
    settled = spec_from_config(config, name="x", params_total=with_bias)
    unsaid = spec_from_config(config, name="x")
    assert settled.layers[0] == replace(unsaid.layers[0], mixers=(replace(unsaid.layers[0].mixers[0], qkv_bias=True),))


def test_towers_are_what_the_published_count_has_beyond_the_text_model():
    config = {**QWEN3_30B, "multimodal": True}
    spec = spec_from_config(config, name="x", params_total=30_532_122_624 + 500_000_000)
    assert spec.tower_params == 500_000_000
    assert parameter_bytes(spec, Checkpoint("x", "bf16")) == 61_064_245_248 + 1_000_000_000
    assert spec_from_config(config, name="x").not_exact is not None


@pytest.mark.parametrize("kind", ["bitnet", "rwkv", None, 7, ["llama"], "no such"])
def test_an_unknown_architecture_is_said_and_never_guessed(kind: object):
    config = {**QWEN3_30B, "model_type": kind}
    with pytest.raises(NotYetExact):
        layers_from_config(config)
    spec = spec_from_config(config, name="x")
    assert spec.layers == ()
    with pytest.raises(NotYetExact):
        parameter_bytes(spec, spec.checkpoints[0])


@pytest.mark.parametrize("field", ["kv_lora_rank", "mamba_d_state", "num_kv_shared_layers", "index_topk"])
def test_announced_structure_that_is_not_covered_is_refused(field: str):
    with pytest.raises(NotYetExact, match="not_covered"):
        layers_from_config({**QWEN3_30B, field: 512})


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(BadValue, match="does_not_divide"):
        stored(Quantization(), tp=3)


def test_more_ranks_than_kv_heads_replicate_them():
    one, eight = stored(Quantization(), 1), stored(Quantization(), 8)
    assert eight == 7_680_585_728
    assert 8 * eight > one


@pytest.mark.parametrize(
    ("pp", "sizes"), [(1, [48]), (5, [9, 10, 10, 10, 9]), (7, [7, 7, 7, 7, 7, 7, 6]), (48, [1] * 48)]
)
def test_pipeline_stages_hold_every_layer_once(pp: int, sizes: list[int]):
    split = stages(qwen(), pp)
    assert [stage.end - stage.start for stage in split] == sizes
    assert (split[0].start, split[-1].end) == (0, 48)


def test_the_fullest_stage_counts():
    whole, stage = stored(Quantization()), parameter_bytes(qwen(), Checkpoint("x", "bf16"), 1, 2)
    assert whole / 2 <= stage < whole
