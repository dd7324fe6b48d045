"""Ranks of other kinds: experts spread whole, data-parallel ranks, pipeline stages and what each of them holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_mla import DEEPSEEK_V3
from test_registered_bytes import QWEN3_30B

from tools.domain import Deployment, ModelSpec, MoeMlp, Ranks
from tools.errors import BadValue
from tools.specs.gpus import GpuCatalogue
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.estimate import estimate
from tools.vram.feedforward import matrices
from tools.vram.flags import read_flags
from tools.vram.loaded import registered_bytes
from tools.vram.stages import stages
from tools.vram.weights import parameter_bytes

H100 = GpuCatalogue.load().find("H100 SXM 80GB").gpu
UNEVEN = MoeMlp(experts=10, active=2, intermediate=512, shared_intermediate=512, shared_whole=True)


def qwen() -> ModelSpec:
    return spec_from_config(QWEN3_30B, name="qwen")


def deepseek(**changed: object) -> ModelSpec:
    return spec_from_config({**DEEPSEEK_V3, **changed}, name="deepseek")


def test_experts_are_cut_among_all_ranks_or_spread_whole():
    by_name = [{one.name: one for one in matrices(UNEVEN, 256, Ranks(2, 2, ep=ep))} for ep in (False, True)]
    cut, spread = (found["mlp.experts.w13"] for found in by_name)
    assert (cut.experts, cut.outputs) == (10, (128, 128))
    assert (spread.experts, spread.outputs) == (3, (512, 512)), "ten experts on four ranks: three on the fullest"
    shared = [found["mlp.shared_expert.down_proj"].inputs for found in by_name]
    assert shared == [256, 512], "whole where each rank runs experts on a share of the tokens"


def test_one_rank_alone_spreads_nothing():
    assert matrices(UNEVEN, 256, Ranks(ep=True)) == matrices(UNEVEN, 256, Ranks())
    with pytest.raises(BadValue):
        matrices(UNEVEN, 256, Ranks(3))


def test_attention_is_whole_on_each_data_parallel_rank():
    model = qwen()
    alone, cut, spread = (
        parameter_bytes(model, model.checkpoints[0], dp=dp, ep=ep) for dp, ep in ((1, False), (2, False), (2, True))
    )
    experts = 2 * 48 * 128 * 3 * 768 * 2048
    assert alone - cut == alone - spread == experts // 2


@pytest.mark.parametrize(
    ("version", "layers"),
    [("0.6.6", [30, 31]), ("0.8.0", [31, 30]), (None, [31, 30])],
)
def test_layers_left_over_went_to_the_last_stage_before_0_8(version: str | None, layers: list[int]):
    model = deepseek(quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    deployment = Deployment(model, model.checkpoints[0], engine_version=version, tp=16, pp=2)
    split = stages(model, 2, rest_last=version == "0.6.6")
    assert [stage.end - stage.start for stage in split] == layers
    if version == "0.6.6":
        logged = [size / GIB for size in registered_bytes(deployment)]
        assert logged == pytest.approx([18.9152, 21.4118], rel=1e-2), "as the log of both stages says"


@given(pp=st.integers(1, 61), rest_last=st.booleans())
def test_stages_hold_every_layer_once(pp: int, rest_last: bool):
    split = stages(deepseek(), pp, rest_last=rest_last)
    assert [stage.start for stage in split] == [0, *(stage.end for stage in split)][:-1]
    assert split[-1].end == 61
    assert [stage.is_first for stage in split] == [True] + [False] * (pp - 1)
    sizes = [stage.end - stage.start for stage in split]
    assert rest_last or max(sizes) - min(sizes) <= 1


def test_a_stated_partition_is_kept_and_checked():
    assert [stage.end for stage in stages(qwen(), 2, (16, 32))] == [16, 48]
    for wrong in ((16, 31), (48,), (16, 16, 16)):
        with pytest.raises(BadValue, match="bad_partition"):
            stages(qwen(), 2, wrong)


def test_ranks_and_partitions_are_read_from_flags():
    found, _ = read_flags("VLLM_PP_LAYER_PARTITION=16,32 --data-parallel-size 4 --enable-expert-parallel")
    assert found == {"pp_layers": (16, 32), "dp": 4, "ep": True}
    assert "pp_layers" not in read_flags("VLLM_PP_LAYER_PARTITION=auto")[0]


def test_tables_that_the_engine_keeps_everywhere_are_on_every_stage():
    model = qwen()
    first, last = registered_bytes(Deployment(model, model.checkpoints[0], pp=2))
    assert first == last, "this family's code makes embeddings, head and last norm on each stage"
    dense = deepseek(num_hidden_layers=4, first_k_dense_replace=4)
    first, middle, last = registered_bytes(Deployment(dense, dense.checkpoints[0], pp=3, pp_layers=(1, 2, 1)))
    assert first - last == -2 * 7168
    assert first + last - middle == 2 * (2 * 129_280 * 7168 + 7168)


def test_the_fuller_stage_sets_the_pool():
    model = qwen()
    even, uneven = (
        estimate(Deployment(model, model.checkpoints[0], pp=2, pp_layers=split, max_model_len=8192), H100)
        for split in ((24, 24), (16, 32))
    )
    assert uneven.parameter_bytes > even.parameter_bytes
    assert uneven.kv_pool_bytes is not None
    assert even.kv_pool_bytes is not None
    assert uneven.kv_pool_bytes.value < even.kv_pool_bytes.value
    assert uneven.max_concurrency is not None
    assert even.max_concurrency is not None
    assert uneven.max_concurrency < even.max_concurrency
    assert uneven.kv_bytes_per_token == 32 * 2048


@given(tp=st.sampled_from([1, 2, 4]), dp=st.sampled_from([1, 2, 4]), ep=st.booleans())
def test_more_ranks_never_hold_more(tp: int, dp: int, ep: bool):
    model = qwen()
    held = parameter_bytes(model, model.checkpoints[0], tp, dp=dp, ep=ep)
    assert held <= parameter_bytes(model, model.checkpoints[0])
    assert parameter_bytes(model, model.checkpoints[0], tp, dp=2 * dp, ep=ep) <= held
