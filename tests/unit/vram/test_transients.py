"""What the profiling run peaks at, by version, runner and sampler; graphs; machines that share memory with the CPU."""

from dataclasses import replace

import pytest
from test_registered_bytes import QWEN3_30B
from test_vllm_budget import H100, QWEN3_32B

from tools.domain import Checkpoint, Deployment, Gpu
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.engines.vllm import batched_tokens_of
from tools.vram.estimate import estimate

DENSE = Deployment(spec_from_config(QWEN3_32B, name="dense"), Checkpoint("dense", "bf16"), max_model_len=16_000)
EXPERTS = replace(DENSE, model=spec_from_config(QWEN3_30B, name="experts"))
SPARK = Gpu("GB10", "nvidia", 128 * GIB, round(121.69 * GIB), compute_capability="12.1", unified=True)


def activation(deployment: Deployment, version: str) -> float:
    return estimate(replace(deployment, engine_version=version), H100).activation_bytes.value / GIB


def test_sorting_the_vocabulary_takes_what_logs_show():
    assert activation(DENSE, "0.11.0") == pytest.approx(5.64, rel=0.01), "as logged on an H100"


def test_the_sort_went_with_0_17_and_the_noise_with_the_second_runner():
    assert activation(DENSE, "0.16.0") > 2 * activation(DENSE, "0.17.0") > 2 * activation(DENSE, "0.25.0")
    assert activation(EXPERTS, "0.25.0") == activation(EXPERTS, "0.17.0"), "mixtures of experts kept the first runner"
    assert activation(EXPERTS, "0.29.0") < activation(EXPERTS, "0.28.0"), "until 0.29"


def test_graphs_come_out_of_the_pool_where_the_runner_profiles_them():
    pools = {}
    for version in ("0.20.0", "0.21.0", "0.27.1", "0.29.0"):
        with_graphs = replace(DENSE, engine_version=version)
        eager = replace(with_graphs, enforce_eager=True)
        pair = [estimate(one, H100).kv_pool_bytes for one in (with_graphs, eager)]
        assert all(pair)
        pools[version] = pair[0] != pair[1]
    assert pools == {"0.20.0": False, "0.21.0": True, "0.27.1": False, "0.29.0": True}


def test_fewer_sequences_free_the_sampler():
    few = replace(DENSE, max_num_seqs=8, engine_version="0.11.0")
    freed = activation(DENSE, "0.11.0") - estimate(few, H100).activation_bytes.value / GIB
    assert freed > 4


def test_on_unified_memory_the_page_cache_counts():
    discrete = estimate(DENSE, replace(SPARK, unified=False)).context_bytes
    shared = estimate(DENSE, SPARK).context_bytes
    assert shared.value - discrete.value > 4 * GIB, "61 GiB of weights stay in the page cache"


VL = {
    "model_type": "qwen2_vl",
    "architectures": ["Qwen2VLForConditionalGeneration"],
    **{key: value for key, value in QWEN3_32B.items() if key not in {"model_type", "num_attention_heads"}},
    "num_attention_heads": 40,
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 5120, "patch_size": 14, "spatial_merge_size": 2},
}
MLLAMA = {
    "model_type": "mllama",
    "architectures": ["MllamaForConditionalGeneration"],
    "text_config": {
        "model_type": "mllama_text_model",
        "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "tie_word_embeddings": False,
    },
    "vision_config": {
        "hidden_size": 1280,
        "image_size": 560,
        "intermediate_size": 5120,
        "max_num_tiles": 4,
        "num_channels": 3,
        "num_global_layers": 8,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
        "vision_output_dim": 7680,
    },
}


def test_v0_samples_for_no_more_sequences_than_it_has_images():
    seeing = replace(DENSE, model=spec_from_config(VL, name="seeing"), max_num_batched_tokens=4097)
    blind = replace(DENSE, max_num_batched_tokens=4097)
    assert activation(blind, "0.6.5") == pytest.approx(38.7 * 256 * 151936 / GIB)
    assert activation(seeing, "0.6.5") < 0.75, "one image of a step's size and one sequence"
    few = [replace(one, max_num_seqs=16) for one in (seeing, blind)]
    assert activation(few[0], "0.8.0") > activation(few[1], "0.8.0"), "V1 looks at the largest image all the same"


def test_cross_attention_gets_an_image_for_each_sequence():
    model = spec_from_config(MLLAMA, name="mllama")
    few = replace(DENSE, model=model, max_model_len=65_536, max_num_seqs=128, enforce_eager=True)
    assert activation(few, "0.6.6") == pytest.approx(36.63, rel=0.01), "as logged for Llama-3.2-11B-Vision on an H100"
    half = replace(few, max_num_seqs=64)
    assert activation(half, "0.6.6") == pytest.approx(18.3, rel=0.01)


@pytest.mark.parametrize(
    ("length", "more", "vendor", "tokens"),
    [
        (8192, {}, "nvidia", 8192),
        (1024, {}, "nvidia", 2048),
        (40_960, {}, "nvidia", 2048),
        (40_960, {}, "amd", 40_960),
        (40_960, {"pools": True}, "nvidia", 40_960),
        (1024, {"pools": True}, "nvidia", 32_768),
        (1024, {"tower_params": 5}, "nvidia", 5120),
    ],
)
def test_a_step_of_v0_is_a_whole_prompt(length: int, more: dict[str, object], vendor: str, tokens: int):
    model, gpu = replace(DENSE.model, **more), replace(H100, vendor=vendor)
    old = replace(DENSE, model=model, max_model_len=length, engine_version="0.6.6")
    assert batched_tokens_of(old, gpu) == tokens
