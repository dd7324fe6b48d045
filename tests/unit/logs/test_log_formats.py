"""Each format of each engine gives the figures that it prints."""

# ruff: noqa: E501  (log lines as engines print them)

from __future__ import annotations

import pytest
from log_texts import CPU_RUNNER, GIB, OLD_LLAMA, OLD_OOM, SLEEP, V0_RESULTS, V1_WITH_PARTS, text_of

from tools.logs.facts import EngineLog
from tools.logs.predict import unexplained_bytes
from tools.logs.read import read_log


def log_of(text: str) -> EngineLog:
    found = read_log(text)
    assert found is not None
    return found


def gib(value: float) -> object:
    return pytest.approx(value * GIB, abs=1)


def test_consumed_memory_of_0_27_and_later() -> None:
    log = log_of(text_of("vllm-0.32-fits"))
    memory = log.memory
    assert (log.engine, log.version, log.model, log.phase) == ("vllm", "0.32.0", "Qwen/Qwen3-8B", "running")
    assert log.failure is None
    assert memory.total_bytes == gib(23.58)
    assert memory.free_bytes == gib(23.19)
    assert memory.budget_bytes == gib(21.22)
    assert memory.weights_bytes == gib(15.28)
    assert memory.non_torch_bytes == pytest.approx(0.38 * GIB, abs=2)  # 15.66 consumed - 15.28 weights
    assert memory.activation_bytes == gib(0.7)
    assert memory.activation_with_graphs
    assert memory.graphs_estimated_bytes == gib(0.46)
    assert memory.graphs_bytes == gib(0.17)
    assert memory.kv_bytes == gib(4.86)
    assert (memory.kv_tokens, memory.concurrency_tokens, memory.max_concurrency) == (35376, 16384, 2.16)
    assert log.arguments["max_num_seqs"] == 64
    assert log.arguments["gpu_memory_utilization"] == 0.9


def test_actual_usage_of_v1() -> None:
    log = log_of(V1_WITH_PARTS)
    assert (log.version, log.model, log.arguments["tp"]) == ("0.10.2", "Qwen/Qwen3-32B", 2)
    assert log.memory.weights_bytes == gib(30.6)
    assert log.memory.activation_bytes == gib(5.64)
    assert log.memory.non_torch_bytes == gib(0.62)
    assert log.memory.graphs_bytes == gib(0.44)
    assert log.memory.kv_bytes == gib(34.40)
    assert not log.memory.activation_with_graphs


def test_the_pool_may_be_printed_with_the_summary_alone() -> None:
    [line] = [line for line in V1_WITH_PARTS.splitlines() if "Actual usage" in line]
    assert log_of(line).memory.kv_bytes == 36936718746


def test_a_draft_model_of_v0_is_added_to_its_target() -> None:
    text = "model_runner.py:1] Loading model weights took 5.2000 GB\nLoading model weights took 0.4000 GB\n"
    assert log_of(text).memory.weights_bytes == gib(5.6)


def test_model_weights_take_of_v0() -> None:
    log = log_of(text_of("vllm-0.7-v0-fits"))
    assert (log.generation, log.version) == ("V0", "0.7.3")
    assert log.memory.total_bytes == gib(44.39)
    assert log.memory.budget_bytes == gib(39.95)
    assert log.memory.weights_bytes == gib(14.99)
    assert log.memory.activation_bytes == gib(1.20)
    assert log.memory.kv_bytes == gib(23.67)
    assert log.memory.blocks == 12119
    assert log.arguments["max_num_seqs"] == 256


def test_memory_profiling_results_of_0_6() -> None:
    log = log_of(V0_RESULTS)
    assert log.memory.weights_bytes == gib(13.5083)
    assert log.memory.activation_bytes == pytest.approx((14.91 - 13.5083) * GIB, abs=2)
    assert log.memory.non_torch_bytes == gib(0.43)
    assert log.memory.kv_bytes == gib(5.88)
    assert log.memory.blocks == 3011
    assert log.arguments["gpu_memory_utilization"] == 0.9


def test_cpu_runner() -> None:
    log = log_of(CPU_RUNNER)
    assert log.memory.kv_bytes == gib(5.68)
    assert log.memory.total_bytes == gib(12.46)
    assert log.memory.consumed_bytes == gib(0.55)
    assert log.memory.kv_tokens == 132096
    assert log.arguments["runs_on"] == "cpu"


def test_sleep_mode() -> None:
    log = log_of(SLEEP)
    assert log.memory.sleep_freed_bytes == gib(25.31)
    assert log.memory.sleep_left_bytes == gib(1.42)


def test_sglang() -> None:
    log = log_of(text_of("sglang-graph-oom"))
    assert (log.engine, log.model) == ("sglang", "Qwen/Qwen2.5-32B-Instruct")
    assert log.memory.free_bytes == gib(46.92)
    assert log.memory.weights_bytes == gib(30.65)
    assert log.memory.kv_bytes == gib(2 * 5.79)
    assert log.memory.kv_tokens == 94848
    assert log.arguments["mem_fraction_static"] == 0.9
    assert set(log.ranks) == {"TP0", "TP1"}
    assert log.memory.asked_bytes == gib(4.64)
    assert log.memory.free_then_bytes == gib(3.87)


def test_llama_cpp_by_device() -> None:
    log = log_of(text_of("llamacpp-fits"))
    assert (log.engine, log.version, log.card) == ("llama.cpp", "6801", "NVIDIA GeForce RTX 4060 Ti")
    assert set(log.ranks) == {"CUDA0", "CUDA1"}
    assert log.ranks["CUDA1"].kv_bytes == gib(960 / 1024)
    assert log.memory.weights_bytes == gib(3985.40 / 1024)  # the fuller card
    assert log.memory.kv_bytes == gib(1088 / 1024)
    assert log.memory.compute_bytes == gib(258.50 / 1024)
    assert log.memory.host_weights_bytes == gib(532.31 / 1024)
    assert (log.arguments["gpu_layers"], log.arguments["layers"], log.arguments["max_model_len"]) == (33, 33, 16384)


def test_llama_cpp_of_2024() -> None:
    log = log_of(OLD_LLAMA)
    assert log.engine == "llama.cpp"
    assert log.memory.weights_bytes == gib(4095.05 / 1024)
    assert log.memory.kv_bytes == gib(0.5)
    assert log.memory.compute_bytes == gib(296 / 1024)
    assert log.arguments["kv_cache_dtype"] == "f16"


def test_two_caches_of_one_device_are_added() -> None:
    text = "llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB\nllama_kv_cache:      CUDA0 KV buffer size =    32.00 MiB\n"
    assert log_of(text).memory.kv_bytes == 288 << 20


@pytest.mark.parametrize(
    ("text", "total", "free", "asked"),
    [
        (OLD_OOM, 23.69, 98.06 / 1024, 172 / 1024),
        (text_of("vllm-0.11-graphs-oom"), 15.57, 141.19 / 1024, 0.25),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB. GPU 1 has a total capacty of 79.11 "
            "GiB of which 1.02 GiB is free. Including non-PyTorch memory, this process has 78.08 GiB memory in use.",
            79.11,
            1.02,
            1.5,
        ),
        ("torch.OutOfMemoryError: HIP out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 63.98 "
         "GiB of which 200.00 MiB is free.", 63.98, 200 / 1024, 0.5),
    ],
)  # fmt: skip
def test_pytorch_says_what_lacked(text: str, total: float, free: float, asked: float) -> None:
    memory = log_of(text).memory
    assert memory.total_bytes == gib(total)
    assert memory.free_then_bytes == pytest.approx(free * GIB, abs=2)
    assert memory.asked_bytes == gib(asked)


def test_neighbours_of_a_full_card_are_summed() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.58 GiB of which 1.00 GiB is free. "
        "Process 11 has 3.25 GiB memory in use. Process 12 has 512.00 MiB memory in use. Including non-PyTorch memory, "
        "this process has 18.70 GiB memory in use. Of the allocated memory 18.00 GiB is allocated by PyTorch, and 310.00 "
        "MiB is reserved by PyTorch but unallocated."
    )
    memory = log_of(text).memory
    assert memory.neighbours_bytes == gib(3.75)
    assert memory.process_bytes == gib(18.70)
    assert memory.torch_bytes == gib(18.0)
    assert memory.unused_bytes == 310 << 20


@pytest.mark.parametrize(
    ("text", "rest"),
    [(text_of("vllm-0.32-fits"), 0.0), (text_of("vllm-0.7-v0-fits"), 0.0), (V1_WITH_PARTS, 0.0)],
)
def test_the_engines_books_close(text: str, rest: float) -> None:
    assert unexplained_bytes(log_of(text)) == pytest.approx(rest * GIB, abs=0.02 * GIB)


def test_what_the_books_leave_is_shown() -> None:
    text = text_of("vllm-0.32-fits").replace("Available KV cache memory: 4.86", "Available KV cache memory: 3.86")
    assert unexplained_bytes(log_of(text)) == pytest.approx(1.0 * GIB, abs=0.02 * GIB)


def test_the_estimate_of_the_graphs_is_in_the_books_from_0_21() -> None:
    text = V1_WITH_PARTS.replace("v0.10.2", "v0.22.0").replace("34.40 GiB", "33.50 GiB")
    text += "INFO 09-01 08:01:12 [gpu_model_runner.py:1] Estimated CUDA graph memory: 0.90 GiB total\n"
    assert unexplained_bytes(log_of(text)) == pytest.approx(0, abs=0.02 * GIB)
