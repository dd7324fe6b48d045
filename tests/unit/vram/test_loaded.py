"""What the engine holds after loading, against start-up logs ("Model loading took ... GiB")."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.domain import Checkpoint, Deployment, Gpu, Quantization
from tools.units import GIB, MIB
from tools.vram.allocator import allocated, taken
from tools.vram.architecture import spec_from_config
from tools.vram.loaded import loaded, registered_bytes
from tools.vram.repack import held_sizes
from tools.vram.storage import Matrix, matrix_bytes

H100 = Gpu("NVIDIA H100 80GB", "nvidia", 80 * GIB, 79 * GIB, compute_capability="9.0")
A100 = Gpu("NVIDIA A100 80GB", "nvidia", 80 * GIB, 79 * GIB, compute_capability="8.0")
PRO = Gpu("RTX PRO 6000", "nvidia", 96 * GIB, 95 * GIB, compute_capability="12.0")

BF16 = Quantization()
AWQ = Quantization("awq", 4, 128, symmetric=False, excluded=(), naming="substring")


def config(kind: str, layers: int, hidden: int, inner: int, heads: int, kv: int, vocab: int, **more: Any) -> Any:
    return {
        "model_type": kind,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
        "tie_word_embeddings": False,
        **more,
    }


LLAMA_8B = config("llama", 32, 4096, 14336, 32, 8, 128256, max_position_embeddings=131072)
QWEN2_7B = config("qwen2", 28, 3584, 18944, 28, 4, 152064, max_position_embeddings=32768)
QWEN3_32B = config("qwen3", 64, 5120, 25600, 64, 8, 151936, head_dim=128, max_position_embeddings=40960)
QWEN25_32B = config("qwen2", 64, 5120, 27648, 40, 8, 152064, max_position_embeddings=32768)
GEMMA2_2B = config(
    "gemma2", 26, 2304, 9216, 8, 4, 256000, head_dim=256, max_position_embeddings=8192, tie_word_embeddings=True
)
QWEN3_30B = config(
    "qwen3_moe",
    48,
    2048,
    6144,
    32,
    4,
    151936,
    head_dim=128,
    max_position_embeddings=40960,
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
)
GPT_OSS_120B = config(
    "gpt_oss",
    36,
    2880,
    2880,
    64,
    8,
    201088,
    head_dim=64,
    max_position_embeddings=131072,
    sliding_window=128,
    num_local_experts=128,
    num_experts_per_tok=4,
    quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
)


def held(config: Any, quantization: Quantization | None = None, gpu: Gpu | None = H100, **more: Any) -> float:
    model = spec_from_config(config, name="any")
    checkpoint = model.checkpoints[0] if quantization is None else Checkpoint("any", "any", quantization)
    one = Deployment(model, checkpoint, **{"engine_version": "0.11.0", **more})
    return max(stage.bytes for stage in loaded(one, gpu, registered_bytes(one))) / GIB


@pytest.mark.parametrize(
    ("model", "tp", "logged", "within"),
    [
        (LLAMA_8B, 1, 14.9889, 2e-4),
        (QWEN2_7B, 1, 14.2487, 2e-4),
        (QWEN2_7B, 2, 7.1217, 2e-4),
        (QWEN3_32B, 1, 61.03, 2e-4),
        (QWEN3_32B, 2, 30.59, 3e-4),
        (QWEN25_32B, 2, 30.71, 3e-4),
        (GEMMA2_2B, 1, 4.8999, 2e-4),
        (QWEN3_30B, 1, 56.88, 1e-3),
    ],
)
def test_unquantised_weights_are_held_as_logged(model: Any, tp: int, logged: float, within: float):
    assert held(model, BF16, tp=tp) == pytest.approx(logged, rel=within)


@pytest.mark.parametrize(
    ("model", "quantization", "gpu", "logged"),
    [
        (QWEN3_32B, AWQ, A100, 18.145),
        (QWEN3_30B, Quantization("fp8_online", 8), PRO, 29.07),
        (GPT_OSS_120B, None, H100, 64.38),
        (GPT_OSS_120B, None, A100, 65.97),
    ],
)
def test_repacked_weights_are_held_as_logged(model: Any, quantization: Any, gpu: Gpu, logged: float):
    assert held(model, quantization, gpu) == pytest.approx(logged, rel=2e-3)


def test_in_flight_fp8_registers_16_bit_and_holds_half():
    model = spec_from_config(QWEN3_30B, name="any")
    one = Deployment(model, Checkpoint("any", "fp8-online", Quantization("fp8_online", 8), in_flight=True))
    assert registered_bytes(one) == (61_064_245_248,)


@pytest.mark.parametrize(
    ("mib", "counted"), [(0.5, 0.5), (9.5, 9.5), (10, 10), (31.5, 32), (24.5, 24.5), (259, 260), (129.5, 130)]
)
def test_the_allocator_counts_what_it_cannot_give_to_others(mib: float, counted: float):
    assert allocated(int(mib * MIB)) == counted * MIB


@given(st.integers(0, 1 << 40))
def test_a_tensor_counts_at_least_itself_and_at_most_a_mib_more(size: int):
    assert size <= allocated(size) <= size + MIB


def test_below_ada_fp8_blocks_get_scales_a_row():
    matrix = Matrix("mlp.down_proj", (4096,), 14336)
    blocks = Quantization("fp8_block", 8, block=(128, 128))
    assert sum(held_sizes(matrix, blocks, 2, H100)) == matrix_bytes(matrix, blocks)
    assert held_sizes(matrix, blocks, 2, A100)[1] == 2 * 4096 * 112


def test_blackwell_swizzles_the_scales_of_nvfp4():
    matrix, stored = Matrix("x", (1000,), 1040), Quantization("nvfp4", 4, 16)
    assert held_sizes(matrix, stored, 2, PRO)[1] == 1024 * 68
    assert held_sizes(matrix, stored, 2, H100)[1] == 1000 * 65


def opt_layer(hidden: int, inner: int) -> list[int]:
    return [3 * hidden * hidden, hidden * hidden, hidden * inner, hidden * inner]


@pytest.mark.parametrize(
    ("hidden", "inner", "layers", "outer", "gib"),
    [
        (768, 3072, 12, [50304 * 768, 2050 * 768], 0.2389),
        (1024, 4096, 24, [50304 * 512, 2050 * 1024, 512 * 1024, 512 * 1024], 0.6178),
    ],
)
def test_tensors_share_segments(hidden: int, inner: int, layers: int, outer: list[int], gib: float):
    runs = [
        ([2 * elements for elements in row], times) for row, times in ((outer, 1), (opt_layer(hidden, inner), layers))
    ]
    norms_and_biases = layers * 2 * (9 * hidden + inner) + 2 * 2 * hidden
    assert (taken(runs).allocated + norms_and_biases) / GIB == pytest.approx(gib, abs=1e-4), "as logged for OPT"


@given(st.lists(st.integers(0, 64 * MIB), max_size=60))
def test_a_run_of_tensors_takes_no_less_than_it_holds(sizes: list[int]):
    found = taken([(sizes, 1)])
    assert sum(sizes) <= found.allocated <= sum(sizes) + len(sizes) * MIB
    assert found.allocated <= found.reserved <= sum(sizes) + sum(size > 0 for size in sizes) * 20 * MIB


def test_old_versions_on_rocm_count_what_the_card_misses():
    amd = Gpu("MI50", "amd", 16 * GIB, 16 * GIB)
    small = config("qwen2", 28, 1536, 8960, 12, 2, 151936, max_position_embeddings=32768, tie_word_embeddings=True)
    assert held(small, gpu=amd, engine_version="0.11.0") == pytest.approx(3.0391, rel=0.01), "as logged on an MI50"
    assert held(small, gpu=amd, engine_version="0.21.0") == held(small, gpu=H100, engine_version="0.21.0")


MISTRAL_24B = config(
    "mistral", 40, 5120, 32768, 32, 8, 131072, head_dim=128, max_position_embeddings=32768, sliding_window=None
)


def test_a_bitsandbytes_copy_leaves_what_its_count_tells():
    plain = Quantization("bnb_nf4", 4, 64, extra={"double": True})
    dynamic = Quantization("bnb_nf4", 4, 64, extra={"double": True, "weights": 21_732_000_000})
    logged = held(MISTRAL_24B, dynamic, engine_version="0.7.3")
    assert logged == pytest.approx(13.9231, rel=1e-3), "as logged for Unsloth's copy on an L4"
    left = 22_229_811_200 - 21_732_000_000
    more = held(MISTRAL_24B, dynamic, engine_version="0.9.0") - held(MISTRAL_24B, plain, engine_version="0.9.0")
    assert more == pytest.approx(left * (2 - 0.5625) / GIB, rel=1e-6)


def test_double_quantisation_is_undone_from_0_9_on():
    copy = Quantization("bnb_nf4", 4, 64, extra={"double": True})
    single = Quantization("bnb_nf4", 4, 64)
    assert held(LLAMA_8B, copy, engine_version="0.8.5") == pytest.approx(5.342, abs=2e-3)
    assert held(LLAMA_8B, copy, engine_version="0.9.0") == held(LLAMA_8B, single, engine_version="0.8.5")


def test_from_0_26_1_on_nothing_is_left_of_blocks():
    plain = {"quantization": BF16, "tp": 2}
    older, newer = (held(QWEN3_32B, **plain, engine_version=version) for version in ("0.26.0", "0.26.1"))
    model = spec_from_config(QWEN3_32B, name="any")
    one = Deployment(model, Checkpoint("any", "any"), tp=2)
    assert newer == pytest.approx(registered_bytes(one)[0] / GIB + 40960 * 128 * 2 / GIB)
    assert older - newer > 0.03
