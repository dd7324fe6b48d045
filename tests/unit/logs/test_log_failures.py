"""Every known error has its kind, one sentence in both languages, and changes that help."""

# ruff: noqa: E501  (log lines as engines print them)

from __future__ import annotations

import pytest
from log_texts import OLD_OOM, text_of

import prompts
from tools.logs.explain import Explanation, explain
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue

MODELS, GPUS = ModelCatalogue.load(), GpuCatalogue.load()
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.58 GiB of which 1.00 GiB is free."
FRAME = 'Traceback (most recent call last):\n  File "/opt/vllm/v1/worker/gpu_worker.py", line 210, in {function}\n'
START = (
    "INFO 11-20 09:14:02 [core.py:1] Initializing a V1 LLM engine (v0.32.0) with config: model='Qwen/Qwen3-14B', "
    "dtype=torch.bfloat16, max_seq_len=32768, tensor_parallel_size={tp}, enforce_eager=False\n"
)
CASES = {
    "No available memory": (START + "ValueError: No available memory for the cache blocks. Try increasing", "kv_no_memory", ""),
    "needed": (text_of("vllm-0.32-cache-too-small"), "kv_too_small", "--max-model-len 19520"),
    "stored": (
        "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV "
        "cache (22032). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        "kv_too_small",
        "--max-model-len 22032",
    ),
    "free": (text_of("vllm-0.11-share-taken"), "free_below_budget", "--gpu-memory-utilization 0.61"),
    "cpu": (
        "ValueError: Available memory on node 0 (4.47/13.46 GiB) on startup is less than desired CPU memory utilization "
        "(0.9, 12.12 GiB). On the CPU backend",
        "free_below_budget",
        "--gpu-memory-utilization 0.33",
    ),
    "profiling": (
        START + "AssertionError: Error in memory profiling. Initial free memory 20.10 GiB, current free memory 22.00 GiB. "
        "This happens when other processes",
        "profiling_disturbed",
        "",
    ),
    "weights": (START + FRAME.format(function="load_model") + OOM, "oom_weights", "--tensor-parallel-size 2"),
    "profile run": (START + FRAME.format(function="determine_available_memory") + OOM, "oom_profiling", ""),
    "graphs": (START + FRAME.format(function="capture_model") + OOM, "oom_graphs", "--enforce-eager"),
    "serving": (START + FRAME.format(function="execute_model") + OOM, "oom_running", ""),
    "sampler": (
        START + OOM + "\nRuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please "
        "try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
        "oom_sampler",
        "",
    ),
    "transformers": (OLD_OOM, "oom_load", ""),
    "llama.cpp": (text_of("llamacpp-cache-oom"), "oom_cache", "-fa on -ctk q8_0 -ctv q8_0"),
    "llama.cpp weights": (
        "load_tensors: offloaded 41/41 layers to GPU\nggml_backend_cuda_buffer_type_alloc_buffer: allocating 20000.00 MiB on "
        "device 0: cudaMalloc failed: out of memory\nllama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "oom_weights",
        "",
    ),
    "sglang": (text_of("sglang-graph-oom"), "oom_graphs", "--cuda-graph-max-bs 16"),
    "sglang pool": (
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: mem_fraction_static=0.5\n"
        "[2026-01-01 10:00:00] Load weight begin. avail mem=23.19 GB",
        "kv_no_memory",
        "--mem-fraction-static 0.55",
    ),
    "block": (
        START + "AssertionError: In Mamba cache align mode, block_size (2096) must be <= max_num_batched_tokens (2048).",
        "block_too_long",
        "--max-num-batched-tokens 2096",
    ),
    "mamba": (
        START + "ValueError: max_num_seqs (256) exceeds available Mamba cache blocks (184). Each decode sequence requires",
        "mamba_blocks",
        "--max-num-seqs 184",
    ),
    "heads": (
        START + "ValueError: Total number of attention heads (40) must be divisible by tensor parallel size (3).",
        "tp_heads",
        "--tensor-parallel-size 2",
    ),
    "gpus": (
        "ValueError: Tensor parallel size (16) cannot be larger than the number of available GPUs (8).",
        "too_few_gpus",
        "--tensor-parallel-size 8 --pipeline-parallel-size 2 --distributed-executor-backend ray",
    ),
    "world": (
        "ValueError: World size (4) is larger than the number of available GPUs (2) in this node.",
        "too_few_gpus",
        "--tensor-parallel-size 2",
    ),
    "derived": (
        "ValueError: User-specified max_model_len (65536) is greater than the derived max_model_len "
        "(max_position_embeddings=40960.0 or model_max_length=None in model's config.json).",
        "context_too_long",
        "--max-model-len 40960",
    ),
    "bf16": (
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute "
        "capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag",
        "bf16_unsupported",
        "--dtype half",
    ),
    "fp8": (
        START + "ValueError: The quantization method modelopt is not supported for the current GPU. Minimum capability: 89. "
        "Current capability: 86.",
        "format_unsupported",
        "--model Qwen/Qwen3-14B-AWQ",
    ),
    "driver": (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update",
        "driver_old",
        "nvidia-smi",
    ),
    "kernel": ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "no_kernel", ""),
    "shm": ("RuntimeError: unable to open shared memory object </torch_1> in read-write mode", "shared_memory", "--ipc=host"),
    "nccl": ("torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1", "nccl", "NCCL_DEBUG=INFO"),
    "gated": ("huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: x)", "gated", "hf auth login"),
    "name": (
        "OSError: Qwen/Qwen3-80X is not a local folder and is not a valid model identifier listed on the hub",
        "not_found",
        "",
    ),
    "weights file": (
        START + "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not "
        "fully covered",
        "weights_broken",
        "hf download --force-download ...",
    ),
    "disk": ("OSError: [Errno 28] No space left on device: '/root/.cache'", "disk_full", "HF_HOME=..."),
    "port": (
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        "port_taken",
        "--port 8001",
    ),
    "killed": ("kernel: Out of memory: Killed process 4242 (VLLM::EngineCor) total-vm:99kB", "killed", "free -g"),
    "architecture": (
        "ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys([])",
        "architecture",
        "",
    ),
    "ollama": (
        'Error: model requires more system memory (21.4 GiB) than is available (14.9 GiB)',
        "host_memory",
        "free -g",
    ),
    "exllama": ("RuntimeError: Insufficient VRAM for model and cache", "oom_load", ""),
    "cut": (START + "RuntimeError: Engine core initialization failed. See root cause above.", "unknown", ""),
}  # fmt: skip


def explained(text: str) -> Explanation:
    return explain(text.replace("{tp}", "1"), MODELS, GPUS)


@pytest.mark.parametrize("case", CASES)
def test_each_error_has_its_kind_its_sentence_and_its_remedy(case: str) -> None:
    text, kind, command = CASES[case]
    found = explained(text)
    assert found.log.failure is not None
    assert found.log.failure.kind == kind
    for language in prompts.LANGUAGES:
        sentence = prompts.text(language, found.cause.code, **found.cause.params)
        assert sentence.endswith(".")
        assert "None" not in sentence
        for fix in found.fixes:
            assert prompts.text(language, fix.change.code, **fix.change.params)
    if command:
        assert command in [fix.command for fix in found.fixes]


def test_the_cause_goes_before_its_consequences() -> None:
    text = (
        "ERROR 11-20 09:14:02 [x.py:1] NCCL error in: ProcessGroupNCCL.cpp\n" + text_of("vllm-0.32-cache-too-small")
        + "\nvllm exited with code 137"
    )  # fmt: skip
    failure = explained(text).log.failure
    assert failure is not None
    assert failure.kind == "kv_too_small"


def test_every_kind_has_a_plain_sentence() -> None:
    from tools.logs.failures import FAILURES

    phases = {
        "oom_weights",
        "oom_cache",
        "oom_graphs",
        "oom_profiling",
        "oom_sampler",
        "oom_running",
        "oom_compute",
        "oom_load",
    }
    for kind in {kind for kind, _, _ in FAILURES} - {"oom"} | phases | {"unknown"}:
        assert prompts.text("ru", f"logs.{kind}")


def test_a_traceback_of_a_warning_is_no_failure_of_an_engine_that_runs() -> None:
    text = text_of("vllm-0.32-fits")
    warned = text.replace("(Worker pid=4402) INFO 11-20 09:14:35", "WARNING 11-20 09:14:34 [base.py:380] Traceback (most "
                          "recent call last):\n(Worker pid=4402) INFO 11-20 09:14:35")  # fmt: skip
    assert explained(warned).log.failure is None
    cut = warned.split("(Worker pid=4402) INFO 11-20 09:14:58")[0]
    failure = explained(cut).log.failure
    assert failure is not None
    assert failure.kind == "unknown"
