"""Measured against predicted, and what each change would bring by the calculator."""

# ruff: noqa: E501  (log lines as engines print them)

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from log_texts import CPU_RUNNER, GIB, V1_WITH_PARTS, text_of

from tools.domain import Band
from tools.logs.changed import Changed, read_changes, with_changes
from tools.logs.explain import Explanation, explain
from tools.logs.predict import names_of
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.vram.estimate import estimate

MODELS, GPUS = ModelCatalogue.load(), GpuCatalogue.load()


def explained(text: str, **options: str) -> Explanation:
    return explain(text, MODELS, GPUS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["vllm-0.32-fits", "vllm-0.7-v0-fits"])
def test_parts_are_set_beside_the_calculators(name: str) -> None:
    found = explained(text_of(name))
    rows = {row.part: row for row in found.differences}
    assert set(rows) == {"weights", "non_torch", "activation", "graphs", "kv_pool"}
    assert all(row.within for row in rows.values())
    for row in rows.values():
        assert row.difference_bytes == round(row.measured_bytes - row.predicted.value)


def test_what_lies_outside_its_band_is_marked() -> None:
    text = text_of("vllm-0.32-fits").replace("15.28 GiB", "17.10 GiB")
    rows = {row.part: row for row in explained(text).differences}
    assert not rows["weights"].within
    assert rows["weights"].difference_bytes > 1.7 * GIB


def test_weights_are_compared_in_the_format_made_while_loading() -> None:
    text = (
        "INFO 11-20 09:14:02 [core.py:1] Initializing a V1 LLM engine (v0.11.0) with config: model='Qwen/Qwen3-8B', "
        "quantization=fp8, tensor_parallel_size=1\nINFO 11-20 09:15:00 [x.py:1] Model loading took 8.81 GiB and 5.0 seconds\n"
    )
    found = explained(text)
    assert found.prediction.footprint is not None
    assert found.prediction.footprint.deployment.checkpoint.precision == "fp8-online"


def test_a_log_without_a_model_is_explained_without_a_prediction() -> None:
    found = explained("INFO 11-20 09:15:00 [x.py:1] Model loading took 8.81 GiB and 5.0 seconds\n")
    assert found.prediction.footprint is None
    assert found.prediction.problem is not None
    assert found.prediction.problem.code == "logs.no_model"
    named = explained("INFO 11-20 09:15:00 [x.py:1] Model loading took 15.27 GiB and 5.0 seconds\n", model="Qwen3-8B")
    assert [row.part for row in named.differences] == ["weights"]


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("/models/Qwen3-8B-AWQ/", "models/Qwen3-8B-AWQ"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/9c925d64", "Qwen/Qwen3-8B"),
        ("/srv/gguf/Qwen3-14B-Q4_K_M.gguf", "gguf/Qwen3-14B@gguf-Q4_K_M"),
        ("/srv/Meta-Llama-3.1-70B-Instruct-IQ4_XS-00001-of-00002.gguf", "srv/Meta-Llama-3.1-70B-Instruct@gguf-IQ4_XS"),
    ],
)
def test_paths_are_read_as_names(said: str, first: str) -> None:
    assert next(iter(names_of(said))) == first


def test_effects_are_the_calculators() -> None:
    found = explained(text_of("vllm-0.32-cache-too-small"))
    footprint = found.prediction.footprint
    assert footprint is not None
    effects = {fix.command: fix.effect_bytes for fix in found.fixes}
    one = replace(footprint.deployment, max_num_seqs=1)
    full = estimate(one, None).kv_needed_bytes
    half = estimate(replace(one, kv_dtype="fp8"), None).kv_needed_bytes
    assert effects["--kv-cache-dtype fp8"] == full - half
    smaller = next(fix for fix in found.fixes if fix.command == "--model Qwen/Qwen3-14B-AWQ")
    assert smaller.effect_bytes is not None
    assert 8.5 * GIB < smaller.effect_bytes < 9.5 * GIB
    assert found.missing_bytes == pytest.approx((3.13 - 1.49) * GIB, abs=2)


def test_a_change_is_enough_only_if_it_gives_what_is_missing() -> None:
    found = explained(text_of("vllm-0.32-cache-too-small"))
    assert found.missing_bytes is not None
    for fix in found.fixes:
        if fix.enough is not None and fix.effect_bytes is not None and not fix.command.startswith("--max-model-len"):
            assert fix.enough == (fix.effect_bytes >= 1.02 * found.missing_bytes), fix


def test_fewer_sequences_free_the_sorting_samplers_peak() -> None:
    text = V1_WITH_PARTS.replace("Available KV cache memory: 34.40 GiB", "Available KV cache memory: -0.40 GiB")
    text = text.split("INFO 09-01 08:01:10 [kv_cache_utils")[0]
    text += (
        "INFO 09-01 08:01:11 [gpu_worker.py:1] Free memory on device (78.70/79.18 GiB) on startup. Desired GPU memory "
    )
    text += "utilization is (0.9, 71.26 GiB).\nValueError: No available memory for the cache blocks."
    found = explained(text, gpu="H100")
    fix = next(fix for fix in found.fixes if fix.command == "--max-num-seqs 256")
    assert fix.effect_bytes is not None
    assert 3.5 * GIB < fix.effect_bytes < 5.0 * GIB  # 38.7 B x 768 sequences x 151,936 is 4.2 GiB
    assert fix.enough


def test_the_share_is_raised_as_far_as_the_card_is_free() -> None:
    text = text_of("vllm-0.32-fits").split("(Worker pid=4402) INFO 11-20 09:15:11 [gpu_worker.py:1040]")[0]
    text += (
        "INFO 11-20 09:15:00 [x.py:1] Free memory on device (23.19/23.58 GiB) on startup. Desired GPU memory utilization is "
        "(0.9, 21.22 GiB).\nValueError: To serve at least one request with the model's max seq len (40960), (5.62 GiB KV cache "
        "is needed, which is larger than the available KV cache memory (4.86 GiB). Based on the available memory, the estimated "
        "maximum model length is 35376. Try"
    )  # fmt: skip
    fix = next(fix for fix in explained(text).fixes if fix.command.startswith("--gpu-memory-utilization"))
    share = float(fix.command.split()[-1])
    assert 0.9 < share <= 23.19 / 23.58
    assert fix.enough
    assert fix.effect_bytes == pytest.approx((share - 0.9) * 23.58 * GIB, rel=0.001)


def test_the_share_is_lowered_for_what_is_outside_the_budget() -> None:
    found = explained(text_of("vllm-0.11-graphs-oom"))
    commands = [fix.command for fix in found.fixes]
    assert "--gpu-memory-utilization 0.87" in commands
    assert not any(command.startswith("--max-num-seqs") for command in commands)  # the pool would take what that frees


def test_other_arguments_are_anchored_on_the_measurement() -> None:
    found = explained(text_of("vllm-0.32-fits"))
    made = with_changes(found, read_changes("--gpu-memory-utilization 0.85"), MODELS, GPUS)
    assert isinstance(made, Changed)
    assert made.pool_bytes == pytest.approx((4.86 - 0.05 * 23.58) * GIB, abs=0.01 * GIB)
    assert made.verdict == "fits"
    longer = with_changes(found, read_changes("--max-model-len 40960"), MODELS, GPUS)
    assert isinstance(longer, Changed)
    assert longer.verdict == "pool_too_small"
    more = with_changes(found, read_changes("--gpu-memory-utilization 0.99"), MODELS, GPUS)
    assert isinstance(more, Changed)
    assert more.verdict == "not_free"


def test_bands_are_bands() -> None:
    for name in ("vllm-0.32-fits", "vllm-0.7-v0-fits", "vllm-0.11-graphs-oom"):
        for row in explained(text_of(name)).differences:
            assert isinstance(row.predicted, Band)


def test_the_cpu_runner_is_not_predicted_as_a_card() -> None:
    config = (
        "INFO 11-21 11:59:00 [core.py:1] Initializing a V1 LLM engine (v0.32.0) with config: model='Qwen/Qwen3-8B'\n"
    )
    found = explained(config + CPU_RUNNER)
    assert found.prediction.footprint is None
    assert found.prediction.problem is not None
    assert found.prediction.problem.code == "logs.on_cpu"


def test_a_config_stands_in_for_a_name(tmp_path: Path) -> None:
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    text = "INFO 11-20 09:15:00 [x.py:1] Model loading took 1.13 GiB memory and 2.0 seconds\n"
    found = explained(text, config=str(tmp_path))
    [row] = found.differences
    assert row.part == "weights"
    assert row.predicted.value == pytest.approx(1.13 * GIB, rel=0.03)


def test_flags_that_change_memory_reach_the_calculator() -> None:
    text = (
        "INFO 11-20 09:14:02 [api_utils.py:286] non-default args: {'model': 'Qwen/Qwen3-8B', 'cpu_offload_gb': 4.0, "
        "'enable_prefix_caching': False, 'block_size': 32, 'speculative_config': {'method': 'eagle3', 'model': 'x/y', "
        "'num_speculative_tokens': 3}}\nINFO 11-20 09:15:00 [x.py:1] Model loading took 11.90 GiB memory and 2.0 seconds\n"
    )
    found = explained(text)
    assert found.log.arguments["speculative_config"] == "eagle3 n=3"
    assert found.prediction.footprint is not None
    deployment = found.prediction.footprint.deployment
    assert deployment.cpu_offload_bytes == 4 * GIB
    assert deployment.block_size == 32
    assert deployment.prefix_caching is False
    assert deployment.draft_tokens == 3
    assert found.log.model == "Qwen/Qwen3-8B"


def test_an_unknown_models_context_is_cut_in_proportion_and_not_sure() -> None:
    text = (
        "ValueError: To serve at least one request with the model's max seq len (131072), (8.00 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (6.00 GiB). Try increasing `gpu_memory_utilization`"
    )
    [fix] = [fix for fix in explained(text).fixes if fix.command.startswith("--max-model-len")]
    assert fix.command == "--max-model-len 98304"
    assert fix.effect_bytes == 2 * GIB
    assert fix.enough is None


def test_a_format_made_while_loading_is_asked_for_by_its_flag() -> None:
    config = "INFO 11-20 09:14:02 [core.py:1] Initializing a V1 LLM engine (v0.11.0) with config: model='{}'\n"
    commands: set[str] = set()
    for name in ("Qwen/Qwen3-4B-Thinking-2507", "Qwen/Qwen2.5-7B", "Qwen/Qwen3-30B-A3B-Base"):
        failed = config.format(name) + "ValueError: No available memory for the cache blocks."
        for fix in explained(failed).fixes:
            commands.add(fix.command)
            assert fix.command != f"--model {name}"
    assert "--quantization bitsandbytes" in commands


def test_a_pool_that_is_printed_as_nothing_is_called_small() -> None:
    text = (
        "ValueError: To serve at least one request with the model's max seq len (2048), (0.25 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.00 GiB)."
    )
    cause = explained(text).cause
    assert (cause.params["needed"], cause.params["pool"]) == ("0.25 GiB", "<0.01 GiB")
