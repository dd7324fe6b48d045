"""What the profiling run peaks at, by version, runner and sampler; graphs; machines that share memory with the CPU."""

from dataclasses import replace

import pytest
from test_registered_bytes import QWEN3_30B
from test_vllm_budget import H100, QWEN3_32B

from tools.domain import Checkpoint, Deployment, Gpu
from tools.units import GIB
from tools.vram.architecture import spec_from_config
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
