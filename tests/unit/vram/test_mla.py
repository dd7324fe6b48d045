"""Latent attention: published counts, cached bytes a token, which layers have an indexer, copies after loading."""

import pytest

from tools.domain import Attention, Checkpoint, Deployment, Layer, MlaAttention, ModelSpec, Quantization
from tools.errors import BadValue
from tools.units import GIB
from tools.vram import kv, mixers
from tools.vram.architecture import layers_from_config, spec_from_config
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext
from tools.vram.loaded import Loaded, loaded, registered_bytes
from tools.vram.weights import parameter_bytes, parameter_count

DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "moe_layer_freq": 1,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "tie_word_embeddings": False,
    "topk_method": "noaux_tc",
    "v_head_dim": 128,
    "vocab_size": 129280,
}
FP8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
SPARSE = {"index_topk": 2048, "index_n_heads": 32, "index_head_dim": 128}
GLM_5 = {
    **DEEPSEEK_V3,
    **SPARSE,
    "model_type": "glm_moe_dsa",
    "hidden_size": 6144,
    "intermediate_size": 12288,
    "num_attention_heads": 64,
    "num_hidden_layers": 78,
    "q_lora_rank": 2048,
    "qk_nope_head_dim": 192,
    "v_head_dim": 256,
    "vocab_size": 154880,
}
SKIPPING = {"index_topk_freq": 4, "index_skip_topk_offset": 3}
V2_LITE = {
    **DEEPSEEK_V3,
    "model_type": "deepseek_v2",
    "first_k_dense_replace": 1,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "q_lora_rank": None,
    "topk_method": "greedy",
    "vocab_size": 102400,
}


def spec(config: dict[str, object]) -> ModelSpec:
    return spec_from_config(config, name="any")


def held(deployment: Deployment) -> tuple[Loaded, ...]:
    return loaded(deployment, None, registered_bytes(deployment))


def token_bytes(config: dict[str, object], tp: int = 1, dtype: str = "auto") -> int:
    context = CacheContext(tp, 1 if dtype.startswith("fp8") else 2, dtype=dtype)
    layers = layers_from_config(config)
    specs = [one for layer in layers for mixer in layer.mixers for one in mixers.kv_specs(mixer, context)]
    return sum(one.page_bytes for one in specs) // BLOCK_TOKENS


def mla(layer: Layer) -> MlaAttention:
    (mixer,) = layer.mixers
    assert isinstance(mixer, MlaAttention)
    return mixer


@pytest.mark.parametrize(
    ("config", "published"),
    [(DEEPSEEK_V3, 671_026_419_200), (V2_LITE, 15_706_484_224)],
    ids=["DeepSeek-V3 without its draft head", "DeepSeek-V2-Lite"],
)
def test_published_counts_are_met_exactly(config: dict[str, object], published: int):
    assert parameter_count(spec(config)) == published


def test_projections_down_are_on_every_rank_and_heads_are_shared():
    whole = spec(DEEPSEEK_V3)
    one, two = (parameter_bytes(whole, whole.checkpoints[0], tp) for tp in (1, 2))
    replicated = 61 * ((1536 + 576) * 7168 + 1536 + 512 + 2 * 7168) + 58 * 256 * (7168 + 2) + 7168
    assert 2 * two - one == 2 * replicated
    with pytest.raises(BadValue):
        parameter_bytes(whole, whole.checkpoints[0], 3)


def test_a_latent_is_cached_whole_on_every_rank():
    assert token_bytes(DEEPSEEK_V3) == token_bytes(DEEPSEEK_V3, tp=8) == 70_272
    assert token_bytes(DEEPSEEK_V3, dtype="fp8") == 35_136
    layers = layers_from_config(DEEPSEEK_V3)
    assert kv.plan(layers, (61,), CacheContext(8), kv.kv_rules((0, 32, 0))).token_bytes == 70_272


def test_an_indexer_caches_132_bytes_a_token_in_its_layers():
    assert token_bytes(GLM_5) == 100_152
    assert token_bytes({**GLM_5, **SKIPPING}, dtype="fp8") == 47_700
    assert token_bytes({**GLM_5, "num_hidden_layers": 79}, dtype="fp8_ds_mla") == 62_252


def test_which_layers_have_an_indexer():
    with_one = [i for i, layer in enumerate(layers_from_config({**GLM_5, **SKIPPING})) if mla(layer).indexer]
    assert with_one == [0, 1, 2, *range(6, 78, 4)]
    marked = layers_from_config({**GLM_5, **SKIPPING, "index_topk_pattern": "FSSF" + "S" * 74})
    assert [i for i, layer in enumerate(marked) if mla(layer).indexer] == [0, 3]
    assert all(mla(layer).sparse for layer in marked), "those without one attend to what an earlier layer chose"


def test_layers_named_one_by_one_say_the_same_as_a_count_of_dense_ones():
    named = {name: value for name, value in DEEPSEEK_V3.items() if name != "first_k_dense_replace"}
    kinds = ["dense"] * 3 + ["sparse"] * 58
    assert layers_from_config({**named, "mlp_layer_types": kinds}) == layers_from_config(DEEPSEEK_V3)


def test_minicpm3_caches_what_each_head_reads():
    small = {
        "model_type": "minicpm3",
        "num_hidden_layers": 62,
        "hidden_size": 2560,
        "intermediate_size": 6400,
        "num_attention_heads": 40,
        "num_key_value_heads": 40,
        "vocab_size": 73448,
        "q_lora_rank": 768,
        "kv_lora_rank": 256,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
    }
    assert token_bytes(small) == 62 * 40 * 2 * 96 * 2
    assert token_bytes(small, tp=4) == token_bytes(small) // 4
    assert spec(small).tied_embeddings


def test_decoding_adds_the_values_of_a_quantised_projection():
    native = spec({**DEEPSEEK_V3, "quantization_config": FP8})
    plain = spec(DEEPSEEK_V3)
    ours = [Deployment(one, one.checkpoints[0], tp=16) for one in (native, plain)]
    more = [held(one)[0].bytes - max(registered_bytes(one)) for one in ours]
    assert more[0] - more[1] == pytest.approx(61 * 8 * (128 + 128) * 512 * 2, abs=1 << 22)
    assert held(ours[0])[0].bytes / GIB == pytest.approx(40.3172, rel=1e-3), "as vLLM 0.8 logged"


@pytest.mark.parametrize("field", ["kv_lora_rank", "qk_nope_head_dim", "v_head_dim", "moe_intermediate_size"])
def test_a_missing_size_is_named(field: str):
    damaged = {name: value for name, value in DEEPSEEK_V3.items() if name != field}
    with pytest.raises(BadValue) as caught:
        layers_from_config(damaged)
    assert field in str(caught.value)


def test_other_attention_is_left_to_its_own_family():
    (layer,) = layers_from_config({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64,
                                   "intermediate_size": 64, "num_attention_heads": 4})  # fmt: skip
    assert isinstance(layer.mixers[0], Attention)


@pytest.mark.parametrize("tp", [1, 4])
def test_versions_before_0_8_keep_products_of_the_projections(tp: int):
    model = spec(V2_LITE)
    old, new = (
        held(Deployment(model, model.checkpoints[0], tp=tp, engine_version=one))[0] for one in ("0.7.3", "0.8.5")
    )
    layer = 2 * (16 // tp) * (512 * (2048 + 2048) + 64 * 2048)
    assert old.bytes - new.bytes == pytest.approx(27 * layer, rel=0.001)


def test_products_of_an_fp8_checkpoint_are_fp8():
    model, stored = spec(DEEPSEEK_V3), Quantization("fp8_block", 8, group_size=128)
    checkpoint = Checkpoint("any", "fp8", stored)
    old, new = (held(Deployment(model, checkpoint, tp=8, engine_version=one))[0] for one in ("0.7.3", "0.8.5"))
    layer = 16 * (512 * (1536 + 7168) + 2 * 64 * 1536)
    assert old.bytes - new.bytes == pytest.approx(61 * layer, rel=0.001)


def test_versions_before_latent_caches_keep_no_products():
    model = spec(V2_LITE)
    old, new = (held(Deployment(model, model.checkpoints[0], engine_version=one))[0] for one in ("0.6.4", "0.8.5"))
    assert old.bytes == new.bytes
