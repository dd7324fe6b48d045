"""From a checkpoint's quantisation config to its formats; damaged configs give a clear error."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tools.domain import Checkpoint, Quantization
from tools.errors import BadValue, NotYetExact, RigfitError
from tools.specs.packed import unpacked
from tools.vram.architecture import spec_from_config
from tools.vram.checkpoint import quantization_from_config
from tools.vram.storage import Matrix, formats_of, matrix_bytes
from tools.vram.weights import parameter_bytes

TINY = {
    "model_type": "qwen3_moe",
    "num_hidden_layers": 3,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 2048,
    "tie_word_embeddings": False,
    "max_position_embeddings": 4096,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 512,
}
DOWN, ROUTER = Matrix("mlp.down_proj", (512,), 1024), Matrix("mlp.gate", (8,), 512)
EXPERTS, QKV = Matrix("mlp.experts.w2", (512,), 512, experts=8), Matrix("self_attn.qkv_proj", (1024, 512, 512), 512)


def method(config: Any, matrix: Matrix, layer: int = 0) -> str:
    stored = formats_of(quantization_from_config(config)).of(matrix, layer)
    return "none" if stored is None else stored.method


def test_a_rule_of_gptq_changes_bits_or_skips_modules():
    config = {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 128,
        "dynamic": {r"+:.*layers\.1\..*": {"bits": 8, "group_size": 64}, "-:.*mlp.*": {}},
    }
    formats = formats_of(quantization_from_config(config))
    assert formats.of(QKV, 0) == Quantization("gptq", 4, 128, excluded=(), parts=formats.whole.parts, naming="fused")
    changed = formats.of(QKV, 1)
    assert changed is not None
    assert (changed.bits, changed.group_size) == (8, 64)
    assert formats.of(DOWN, 0) is None


@pytest.mark.parametrize("key", ["lm_head"])
@pytest.mark.parametrize("writer", ["gptq", "awq"])
def test_a_quantised_head_is_stored_in_the_format(writer: str, key: str):
    config = {"quant_method": writer, "bits": 4, "group_size": 128, key: True}
    head = formats_of(quantization_from_config(config)).of_head()
    assert head is not None
    assert head.method == writer
    assert formats_of(quantization_from_config({**config, key: False})).of_head() is None


def test_groups_of_compressed_tensors_have_formats_of_their_own():
    four = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
    eight = {"num_bits": 8, "type": "float", "strategy": "channel"}
    token = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
    config = {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "ignore": ["re:.*mlp.gate$"],
        "config_groups": {
            "a": {"targets": ["re:.*self_attn.*"], "weights": eight, "input_activations": token},
            "b": {"targets": ["re:.*mlp.*"], "weights": four},
        },
    }
    assert method(config, QKV) == "fp8_channel"
    assert method(config, EXPERTS) == method(config, DOWN) == "nvfp4"
    assert method(config, ROUTER) == "none"


def test_a_table_of_modelopt_names_each_module():
    table = {
        "backbone.layers.0.mixer.in_proj": {"quant_algo": "FP8"},
        **{f"backbone.layers.0.mixer.experts.{n}.up_proj": {"quant_algo": "W4A16_NVFP4"} for n in range(8)},
    }
    config = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": table}
    assert method(config, Matrix("mixer.in_proj", (8,), 16)) == "fp8_tensor"
    assert method(config, EXPERTS) == "nvfp4"
    assert method(config, Matrix("mixer.out_proj", (8,), 16)) == "none"
    assert method(config, EXPERTS, 1) == "none"


def test_modelopts_table_may_be_listed_by_algorithm():
    table = [
        {"quant_algo": "FP8", "modules": ["backbone.layers.0.mixer.in_proj"]},
        {"quant_algo": "W4A16_NVFP4", "group_size": 16, "modules": ["backbone.layers.0.mixer.experts"]},
    ]
    config = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": table}
    assert method(config, Matrix("mixer.in_proj", (8,), 16)) == "fp8_tensor"
    assert method(config, EXPERTS) == "nvfp4"
    assert method(config, Matrix("mixer.out_proj", (8,), 16)) == "none"
    for damaged in ([], [{}], [{"modules": 3}], "x", {}):
        with pytest.raises(BadValue):
            quantization_from_config({**config, "quantized_layers": damaged})


def test_every_quantisation_of_the_catalogue_is_read():
    path = Path(__file__).parents[3] / "tools" / "specs" / "data" / "models.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    stated = [one for row in rows for one in (row, *row.get("quantized", ())) if one.get("quantization_config")]
    read = [quantization_from_config(unpacked(one["quantization_config"])) for one in stated]
    assert len(read) > 80


def test_a_file_of_modelopt_counts_where_the_config_says_nothing():
    own = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    spec = spec_from_config(TINY, name="x", quant_config=own)
    assert spec.checkpoints[0].precision == "nvfp4"
    said = {**TINY, "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}
    assert spec_from_config(said, name="x", quant_config=own).checkpoints[0].precision == "fp8"


def test_the_text_model_of_a_wrapper_may_hold_the_quantisation():
    inner = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}
    assert quantization_from_config({"text_config": inner}).group_size == 32


def test_auto_round_packs_as_gptq_or_awq():
    rounded = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "data_type": "int"}
    assert method(rounded, DOWN) == "gptq"
    assert method({**rounded, "packing_format": "auto_round:auto_awq"}, DOWN) == "awq"
    assert method({**rounded, "extra_config": {".*down_proj": {"bits": 16}}}, DOWN) == "none"


def test_blocks_that_experts_cut_are_refined():
    blocks = Quantization("fp8_block", 8, block=(128, 128))
    whole, cut = Matrix("w2", (2048,), 768, experts=1, split="in"), Matrix("w2", (2048,), 192, 0, 1, "in", 4)
    assert matrix_bytes(whole, blocks) == 2048 * 768 + 4 * 16 * 6
    assert matrix_bytes(cut, blocks) == 2048 * 192 + 4 * 32 * 3


def test_nf4_keeps_a_float32_maximum_a_block():
    matrix = Matrix("self_attn.o_proj", (1024,), 640)
    assert matrix_bytes(matrix, Quantization("bnb_nf4", 4, 64)) == 1024 * 640 // 2 + 4 * 1024 * 640 // 64


def test_an_unknown_format_is_said():
    with pytest.raises(NotYetExact):
        matrix_bytes(Matrix("x", (8,), 8), Quantization("exl2", 4.85))
    with pytest.raises(NotYetExact):
        quantization_from_config({"quant_method": "no such"})


WRITERS = (
    *("fp8", "fbgemm_fp8", "gptq", "awq", "mxfp4", "bitsandbytes", "auto-round", "compressed-tensors"),
    *("modelopt", "mxfp8", "quark", "experts_int8", "x"),
)
FIELDS = (
    *("bits", "group_size", "block", "weight_block_size", "w_bit", "sym", "desc_act", "dynamic", "lm_head", "format"),
    *("zero_point", "modules_to_not_convert", "ignore", "config_groups", "quant_algo", "quantization", "data_type"),
    *("quantized_layers", "exclude_modules", "extra_config", "global_quant_config", "layer_quant_config", "exclude"),
    *("export", "kv_cache_scheme", "activation_scheme", "packing_format", "llm_int8_skip_modules", "store_dtype"),
    *("modules_in_block_to_quantize", "load_in_8bit", "kv_cache_quant_algo", "producer"),
)


def absurd(dice: random.Random, depth: int = 0) -> Any:
    """Make any value a config may hold, sane or not."""
    plain = [None, True, 0, -1, 1, 3, 4, 8, 16, 128, 1 << 70, -5, 0.5, float("inf"), "", "x", "re:(.|.)*", "FP8"]
    plain += ["NVFP4", "MIXED_PRECISION", "group", "tensor", "float", "int", "model.layers.0.mlp*", "*", "lm_head"]
    choice = dice.random()
    if choice < 0.6 or depth > 3:
        return dice.choice(plain)
    if choice < 0.8:
        return [absurd(dice, depth + 1) for _ in range(dice.randrange(4))]
    keys = [*FIELDS, "weights", "input_activations", "targets", "num_bits", "type", "strategy", "weight", "dtype", "a"]
    return {dice.choice(keys): absurd(dice, depth + 1) for _ in range(dice.randrange(5))}


def test_ten_thousand_absurd_configs_give_an_error_or_sane_bytes():
    dice, model = random.Random(7), spec_from_config(TINY, name="tiny")
    plain, answered = parameter_bytes(model, Checkpoint("x", "bf16")), 0
    for _ in range(10_000):
        config = {dice.choice(FIELDS): absurd(dice) for _ in range(dice.randrange(8))}
        config["quant_method"] = dice.choice(WRITERS)
        try:
            found = parameter_bytes(model, Checkpoint("x", "any", quantization_from_config(config)), 1)
        except RigfitError:
            continue
        answered += 1
        assert plain // 8 <= found <= 2 * plain, config
    assert answered > 1000


def test_a_checkpoint_is_counted_with_its_own_sizes():
    model = spec_from_config({**TINY, "model_type": "qwen3"}, name="x")
    plain = Checkpoint("x", "bf16")
    padded = Checkpoint("x", "bf16", config_overrides={"intermediate_size": 1152})
    assert parameter_bytes(model, padded) - parameter_bytes(model, plain) == 3 * 3 * 128 * 512 * 2
    with pytest.raises(NotYetExact):
        parameter_bytes(model, Checkpoint("x", "bf16", config_overrides={"hidden_act": "gelu"}))


def test_assumed_groups_divide_every_width():
    model = spec_from_config({**TINY, "model_type": "qwen3", "intermediate_size": 1120}, name="x")
    assumed, read = Quantization("awq", 4, 128), Quantization("awq", 4, 128, excluded=(), naming="substring")
    assert parameter_bytes(model, Checkpoint("x", "awq", assumed)) == parameter_bytes(
        model, Checkpoint("x", "awq", Quantization("awq", 4, 32))
    )
    with pytest.raises(RigfitError, match="share_not_whole"):
        parameter_bytes(model, Checkpoint("x", "awq", read))
