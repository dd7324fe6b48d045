"""Weights off the card: in place in RAM, fetched layer by layer, or held by another process."""

from dataclasses import replace

import pytest
from test_registered_bytes import QWEN3_30B
from test_vllm_budget import H100, QWEN3_32B

from tools.domain import Checkpoint, Deployment, Footprint
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.estimate import estimate
from tools.vram.flags import read_flags

DENSE = Deployment(spec_from_config(QWEN3_32B, name="dense"), Checkpoint("dense", "bf16"), max_model_len=8192)
EXPERTS = replace(DENSE, model=spec_from_config(QWEN3_30B, name="experts"))
LAYER = 2 * (5120 * 128 * (64 + 16 + 64) + 3 * 5120 * 25600 + 2 * 5120 + 2 * 128)


def run(deployment: Deployment, **flags: object) -> Footprint:
    return estimate(replace(deployment, **flags), H100)


def test_what_is_read_in_place_leaves_the_card():
    whole = run(DENSE)
    some = run(DENSE, cpu_offload_bytes=20 * GIB)
    assert whole.weights_bytes - some.weights_bytes == 20 * GIB
    assert whole.kv_pool_bytes
    assert some.kv_pool_bytes
    assert some.kv_pool_bytes.value - whole.kv_pool_bytes.value == pytest.approx(20 * GIB, rel=0.001)


def test_no_more_than_the_layers_can_leave():
    left = run(DENSE, cpu_offload_bytes=500 * GIB).weights_bytes
    tables = 2 * 2 * 151_936 * 5120
    assert left == pytest.approx(tables, rel=0.02), "embeddings and head stay"


def test_only_experts_leave_where_only_they_may():
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    assert run(EXPERTS).weights_bytes - run(
        EXPERTS, cpu_offload_bytes=500 * GIB, offload_experts=True
    ).weights_bytes == (experts)


def test_groups_keep_a_buffer_for_each_layer_ahead():
    whole = run(DENSE).weights_bytes
    for ahead in (1, 2):
        fetched = run(DENSE, prefetch=(8, 2, ahead)).weights_bytes
        assert whole - fetched == (16 - ahead) * LAYER


def test_weights_of_another_process_count_on_the_card_all_the_same():
    own, lent = run(DENSE), run(DENSE, weights_elsewhere=True)
    assert own.kv_pool_bytes == lent.kv_pool_bytes
    assert own.weights_bytes == lent.weights_bytes


def test_flags_are_read():
    text = "--offload-group-size 8 --offload-num-in-group 2 --cpu-offload-params experts --load-format ipc_cache"
    found, notes = read_flags(text)
    assert found == {
        "offload_group": 8,
        "offload_in_group": 2,
        "offload_params": "experts",
        "load_format": "ipc_cache",
    }
    assert not notes


@pytest.mark.parametrize(
    ("version", "generation", "ignored"),
    [
        ("0.7.3", "V1", True),
        ("0.7.3", "V0", False),
        ("0.8.5", "V1", False),
        ("0.24.0", None, False),
        ("0.27.1", None, True),
        ("0.29.0", None, False),
    ],
)
def test_some_runners_ignore_the_flag(version: str, generation: str | None, ignored: bool):
    asked = replace(DENSE, engine_version=version, engine_generation=generation)
    some = run(asked, cpu_offload_bytes=20 * GIB)
    assert run(asked).weights_bytes - some.weights_bytes == (0 if ignored else 20 * GIB)
    assert ("vram.offload_ignored" in {one.code for one in some.assumptions}) == ignored


def test_the_first_runner_of_mixtures_heeds_the_flag():
    asked = replace(EXPERTS, engine_version="0.27.1")
    assert run(asked).weights_bytes - run(asked, cpu_offload_bytes=20 * GIB).weights_bytes == 20 * GIB
