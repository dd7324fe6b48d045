"""How each peer is asked, and how what it prints is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from peers import adapters, hub
from peers.rows import GIB, Row

STATED = {
    "gpu": "H100 80GB",
    "quant": "bf16",
    "tp": 2,
    "total_gpu_gib": 79.18,
    "gpu_mem_util": 0.9,
    "max_concurrency_tokens": 16000,
}


class Printed:
    """Stands for the peers' commands: prints what is recorded for a command that has a word, and keeps the commands."""

    def __init__(self, **said: str) -> None:
        self.said, self.commands = said, []

    def __call__(self, *command: str) -> str:
        self.commands.append(command)
        return next((text for word, text in self.said.items() if f"--{word}" in command), self.said.get("other", ""))


def question(config: dict[str, Any] | None = None, **changes: Any) -> adapters.Question:
    row = Row("A1", "example/dense-8b", STATED | changes, 7.5, 65536.0, 60.0, 71.26, 100.0, 60.0)
    repository = hub.Repository(row.model, config or {"torch_dtype": "bfloat16"}, (), 8_030_000_000)
    return adapters.Question(row, repository, Path("folder"))


KVFIT = json.dumps(
    {
        "layouts": [
            {
                "tensor_parallel": 2,
                "budget_per_rank_gib": 71.262,
                "weights_per_rank_gib": 7.5,
                "runtime_reserve_per_rank_gib": 0.0,
                "fixed_cache_per_rank_gib": 0.5,
                "kv_per_sequence_per_rank_gib": 0.9765625,
            }
        ]
    }
)
VRAMSCOUT = json.dumps(
    {
        "memory_budget_gib": 71.262,
        "parts_gib": {
            "Model weights / rank": 7.48,
            "KV cache": 0.9765625,
            "CUDA / runtime": 0.75,
            "Prefill scratch": 0.3125,
            "Safety reserve": 0.0,
        },
    }
)
RIDGEPOINT = json.dumps(
    {
        "memory": {"weights_bytes": {"best": 1.6e10}, "kv_pool_bytes": {"low": 1.2e11, "best": 1.3e11}},
        "capacity": {"bytes_per_seq": 2097152000},
    }
)
MODELINFO = """VRAM (est):      ~19.88 GB Total Minimum Required
                   ├─ Weights:    14.96 GB
                   ├─ KV Cache:   527.34 MB (16000 tokens)
                   └─ Overhead:   2.97 GB (CUDA Contexts + TP/pcie4 Penalty)"""
MODELINFO_POOL = """vLLM Allocation:      ├─ Usable VRAM:      142.52 GB (90% gpu_memory_utilization)
                      ├─ Static Weights:  -14.96 GB (BF16)
                      └─ Paged KV Pool:   = 125.77 GB Available for Context"""
WIZARD = {"vram_target_alloc_gb": 142.5, "overhead_gb": 3.5, "weights_gb": 7.5, "kv_cache_gb": 1.953125}


def test_kvfit_says_a_ranks_share():
    run = Printed(other=KVFIT)
    answer = adapters.kvfit(question(), run)
    assert (answer.weights, answer.sequence) == (7.5 * GIB, 0.9765625 * GIB)
    assert answer.pool == pytest.approx(63.262 * GIB)
    for option, value in {
        "--hardware": "custom:79.18",
        "--tp": "2",
        "--context": "16000",
        "--kv-dtype": "bf16",
    }.items():
        assert run.commands[0][run.commands[0].index(option) + 1] == value


def test_vramscouts_state_is_what_is_no_other_part():
    answer = adapters.vramscout(question(), Printed(other="a warning\n" + VRAMSCOUT))
    assert answer.sequence == 0.9765625 * GIB
    assert answer.pool == pytest.approx((71.262 - 7.48 - 0.75 - 0.3125) * GIB)


def test_ridgepoints_figures_for_all_cards_are_divided():
    run = Printed(other=RIDGEPOINT)
    assert adapters.ridgepoint(question(), run) == adapters.Answer(8e9, 6.5e10, 1048576000)
    assert "h100-80gb:2" in run.commands[0]


@pytest.mark.parametrize("changes", [{"gpu": "GB10"}, {"gpu_mem_util": 0.8}])
def test_ridgepoint_has_a_pool_only_for_its_cards_and_its_share(changes: dict[str, Any]):
    answer = adapters.ridgepoint(question(**changes), Printed(other=RIDGEPOINT))
    assert answer.pool is None
    assert answer.weights == 8e9


def test_ridgepoint_has_no_weights_in_formats_it_has_no_word_for():
    answer = adapters.ridgepoint(question(quant="nvfp4"), Printed(other=RIDGEPOINT))
    assert answer == adapters.Answer(sequence=1048576000)


def test_hf_mem_is_asked_again_without_the_cache():
    run = Printed(experimental="", other='{"memory": 16000, "kv_cache": null}')
    assert adapters.hf_mem(question(), run) == adapters.Answer(8000, None, None)
    assert len(run.commands) == 2


def test_modelinfo_prints_gib_as_gb():
    run = Printed(vllm=MODELINFO_POOL, other=MODELINFO)
    answer = adapters.modelinfo(question(), run)
    assert answer.weights == 14.96 * GIB / 2
    assert answer.sequence == pytest.approx(527.34 * (1 << 20) / 2)
    assert answer.pool == 125.77 * GIB / 2
    assert "2x79.18" in run.commands[0]


def test_vllm_wizard_is_asked_by_the_count_and_by_the_config():
    run = Printed(**{"params-b": json.dumps({"feasibility": WIZARD}), "model": json.dumps({"feasibility": WIZARD})})
    answer = adapters.vllm_wizard(question(), run)
    assert answer.weights == 7.5 * GIB
    assert answer.pool == pytest.approx((139 / 2 - 7.5) * GIB)
    assert answer.sequence == 1.953125 * GIB / 2
    assert [command[command.index("--model") + 1] for command in run.commands] == ["folder", "example/dense-8b"]


def test_vllm_wizard_is_not_told_a_utilisation_it_refuses():
    run = Printed(**{"params-b": json.dumps({"feasibility": WIZARD}), "model": json.dumps({"feasibility": WIZARD})})
    answer = adapters.vllm_wizard(question(gpu_mem_util=0.1, kv_cache_dtype="fp8"), run)
    assert (answer.weights, answer.pool) == (7.5 * GIB, None)
    assert all("--gpu-memory-utilization" not in command and "fp8_e4m3fn" in command for command in run.commands)


def test_vllm_wizard_has_no_weights_in_formats_it_does_not_offer():
    run = Printed(model=json.dumps({"feasibility": WIZARD}))
    assert adapters.vllm_wizard(question(quant="mxfp4"), run).weights is None
    assert len(run.commands) == 1


@pytest.mark.parametrize("tool", adapters.ADAPTERS)
@pytest.mark.parametrize("printed", ["", "Traceback (most recent call last)", '{"error": "no such model"}', "{", "[1]"])
def test_a_crash_or_a_refusal_is_no_answer(tool: str, printed: str):
    assert adapters.ADAPTERS[tool](question(), Printed(other=printed)) == adapters.Answer()


@pytest.mark.parametrize(
    ("config", "quant", "word"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16", None),
        ({"torch_dtype": "float32"}, "fp16", "fp16"),
        ({"torch_dtype": "bfloat16"}, "fp8 (online)", "fp8"),
        ({"text_config": {"dtype": "bfloat16"}}, "bitsandbytes", "bnb-4bit"),
        ({"quantization_config": {"quant_method": "awq"}}, "awq", None),
        ({"torch_dtype": "float32"}, None, None),
    ],
)
def test_only_what_the_engine_makes_itself_is_said(config: dict[str, Any], quant: str | None, word: str | None):
    assert question(config, quant=quant).in_flight == word


def test_the_cache_is_as_the_row_says():
    assert question(kv_cache_dtype="fp8_e4m3").cache == "fp8"
    assert question().cache == "bf16"
    assert question(quant="awq").cache == "auto"
