"""What goes wrong at a start: the messages, by kind. The more telling of two messages wins, then the earlier.

Sources: vLLM 0.32 (``v1/core/kv_cache_utils.py``, ``v1/worker/utils.py``, ``config/*.py``, ``platforms/cuda.py``) and
its earlier wordings; SGLang's ``model_runner.py``; llama.cpp's ``ggml-backend``; PyTorch's
``CUDACachingAllocator.cpp``; huggingface_hub's errors; safetensors' and PyTorch's of files they can't read.
"""

from __future__ import annotations

from tools.logs.pattern import COUNT, NUMBER, UNIT, Pattern, gib, mib, pattern, whole

_GIB = NUMBER + r" ?Gi?B"

CERTAIN, LIKELY, VAGUE = 3, 2, 1
"""How much a message tells of the cause: the engine's own account, an allocation that failed, a consequence."""

FAILURES: tuple[tuple[str, int, Pattern], ...] = (
    ("kv_no_memory", CERTAIN, pattern("No available memory for the cache blocks", "")),
    ("kv_no_memory", CERTAIN, pattern("Not enough memory. Please try to increase --mem-fraction-static", "")),
    ("kv_no_memory", CERTAIN, pattern("Cannot auto-fit max_model_len: not enough", "")),
    (
        "kv_too_small",
        CERTAIN,
        pattern(
            "KV cache is needed",
            rf"(?:max seq len \({COUNT}\).{{0,40}}?)?\(?{NUMBER} Gi?B KV cache is needed.{{0,80}}?\({NUMBER} Gi?B\)"
            rf"(?:.{{0,80}}?model length is {COUNT})?",
            ("max_model_len", whole), ("kv_needed_bytes", gib), ("kv_bytes", gib), ("fitting_tokens", whole),
        ),
    ),
    (
        "kv_too_small",
        CERTAIN,
        pattern(
            "number of tokens that can be stored in KV cache",
            rf"max seq len \({COUNT}\) is larger than the maximum number of tokens that can be stored in KV cache "
            rf"\({COUNT}\)",
            ("max_model_len", whole), ("fitting_tokens", whole),
        ),
    ),
    (
        "free_below_budget",
        CERTAIN,
        pattern(
            "memory utilization (",
            rf"\({NUMBER}/{NUMBER} GiB\) on startup is less than desired (?:GPU|(CPU)) memory utilization "
            rf"\({NUMBER}, {_GIB}\)",
            ("free_bytes", gib), ("total_bytes", gib), ("processor", str), ("gpu_memory_utilization", float),
            ("budget_bytes", gib),
        ),
    ),
    (
        "free_below_budget",
        CERTAIN,
        pattern(
            "less than the engine's budget",
            rf"\({NUMBER}/{NUMBER} GiB\) on startup is less than the engine's budget.{{0,80}}?\({NUMBER}, {_GIB}\)",
            ("free_bytes", gib), ("total_bytes", gib), ("gpu_memory_utilization", float), ("budget_bytes", gib),
        ),
    ),
    (
        "profiling_disturbed",
        CERTAIN,
        pattern(
            "Error in memory profiling",
            rf"memory profiling(?:.{{0,20}}nitial free memory {NUMBER} GiB, current free memory {NUMBER} GiB)?",
            ("free_bytes", gib), ("free_later_bytes", gib),
        ),
    ),
    (
        "oom_sampler",
        CERTAIN,
        pattern("when warming up sampler with", rf"sampler with {COUNT} dummy", ("max_num_seqs", whole)),
    ),
    (
        "mamba_blocks",
        CERTAIN,
        pattern(
            "exceeds available Mamba cache blocks",
            rf"max_num_seqs \({COUNT}\) exceeds available Mamba cache blocks \({COUNT}\)",
            ("max_num_seqs", whole), ("blocks", whole),
        ),
    ),
    (
        "block_too_long",
        CERTAIN,
        pattern(
            "max_num_batched_tokens",
            rf"block_size \({COUNT}\) must be <= max_num_batched_tokens \({COUNT}\)",
            ("block_tokens", whole), ("max_num_batched_tokens", whole),
        ),
    ),
    (
        "tp_heads",
        CERTAIN,
        pattern(
            "must be divisible by tensor parallel size",
            rf"attention heads \({COUNT}\) must be divisible by tensor parallel size \({COUNT}\)",
            ("heads", whole), ("tp", whole),
        ),
    ),
    (
        "too_few_gpus",
        CERTAIN,
        pattern(
            "number of available GPUs",
            rf"(?:World|arallel) size \({COUNT}\) (?:is|cannot be) larger than the number of available GPUs "
            rf"\({COUNT}\)",
            ("ranks", whole), ("gpus", whole),
        ),
    ),
    (
        "context_too_long",
        CERTAIN,
        pattern(
            "greater than the derived max_model_len",
            rf"max_model_len \({COUNT}\) is greater than the derived max_model_len \([\w=]{{0,40}}?{COUNT}",
            ("max_model_len", whole), ("allowed", whole),
        ),
    ),
    (
        "bf16_unsupported",
        CERTAIN,
        pattern(
            "Bfloat16 is only supported",
            r"is only supported(?:.{0,80}?Your (.{1,60}?) GPU has compute capability (\d{1,2}\.\d))?",
            ("card", str), ("capability", str),
        ),
    ),
    (
        "format_unsupported",
        CERTAIN,
        pattern(
            "not supported for the current GPU",
            r"(?:method (\w{1,40}) is |scheme is ).{0,60}?apability: (\d{1,3})\. Current capability: (\d{1,3})",
            ("format", str), ("least", whole), ("capability", whole),
        ),
    ),
    ("architecture", CERTAIN, pattern("are not supported for now", r"\['(\w{1,80})'", ("name", str))),
    ("architecture", CERTAIN, pattern("unknown model architecture", r"architecture: '([\w.-]{1,80})'", ("name", str))),
    ("gated", CERTAIN, pattern("GatedRepoError", "")),
    ("gated", CERTAIN, pattern("Cannot access gated repo", "")),
    ("gated", CERTAIN, pattern("You are trying to access a gated repo", "")),
    ("gated", LIKELY, pattern("401 Client Error", "")),
    ("gated", LIKELY, pattern("403 Client Error", "")),
    ("not_found", LIKELY, pattern("RepositoryNotFoundError", "")),
    ("not_found", CERTAIN, pattern("is not a valid model identifier", "")),
    ("not_found", LIKELY, pattern("failed to open GGUF file", "")),
    ("weights_broken", CERTAIN, pattern("Error while deserializing header", "")),
    ("weights_broken", LIKELY, pattern("SafetensorError", "")),
    ("weights_broken", LIKELY, pattern("PytorchStreamReader failed", "")),
    (
        "port_taken",
        CERTAIN,
        pattern("ddress already in use", r"(?:(\d{2,5})\)?:? ?)?\[?[Aa]ddress already in use", ("port", whole)),
    ),
    (
        "driver_old",
        CERTAIN,
        pattern("driver on your system", r"is too old(?: \(found version (\d{4,6})\))?", ("found", whole)),
    ),
    ("driver_old", CERTAIN, pattern("CUDA driver version is insufficient", "")),
    ("no_kernel", CERTAIN, pattern("no kernel image is available", "")),
    ("no_gpu", CERTAIN, pattern("No CUDA GPUs are available", "")),
    ("no_gpu", CERTAIN, pattern("Found no NVIDIA driver", "")),
    ("no_gpu", LIKELY, pattern("Failed to infer device type", "")),
    ("shared_memory", CERTAIN, pattern("unable to open shared memory object", "")),
    ("shared_memory", CERTAIN, pattern("Error while creating shared memory segment", "")),
    ("shared_memory", LIKELY, pattern("Bus error", "")),
    ("shared_memory", LIKELY, pattern("insufficient shared memory", "")),
    ("disk_full", LIKELY, pattern("No space left on device", "")),
    ("nccl", VAGUE, pattern("NCCL error", "")),
    ("nccl", VAGUE, pattern("ncclSystemError", "")),
    ("nccl", VAGUE, pattern("ncclUnhandledCudaError", "")),
    ("killed", LIKELY, pattern("Out of memory: Killed process", "")),
    ("killed", LIKELY, pattern("oom-kill", "")),
    ("killed", VAGUE, pattern("SIGKILL", "")),
    ("killed", VAGUE, pattern("exitcode: -9", "")),
    ("killed", VAGUE, pattern("exit code: -9", "")),
    ("killed", VAGUE, pattern("exit code 137", "")),
    ("killed", VAGUE, pattern("exited with code 137", "")),
    ("oom", LIKELY, pattern("CUDA Error: out of memory", "")),
    ("oom", LIKELY, pattern("CUDA error: out of memory", "")),
    ("oom", LIKELY, pattern("Insufficient VRAM for model and cache", "")),
    ("oom", LIKELY, pattern("ErrorOutOfDeviceMemory", "")),
    ("oom", LIKELY, pattern("Insufficient Memory (00000008", "")),
    ("oom", LIKELY, pattern("cudaMalloc failed: out of memory", "")),
    (
        "oom",
        LIKELY,
        pattern(" on device ", rf"allocating {NUMBER} MiB on device (\d{{1,3}})", ("asked_bytes", mib), None),
    ),
    ("oom_weights", CERTAIN, pattern("unable to allocate ", r"unable to allocate \w{1,40} buffer")),
    ("oom_cache", CERTAIN, pattern("failed to allocate buffer for kv cache", "")),
    ("oom_compute", CERTAIN, pattern("failed to allocate compute", "")),
    (
        "host_memory",
        CERTAIN,
        pattern(
            "requires more system memory",
            rf"system memory \({_GIB}\) than is available \({_GIB}\)",
            ("needed_bytes", gib), ("available_bytes", gib),
        ),
    ),
    ("cache_full", LIKELY, pattern("Decode out of memory", "")),
)  # fmt: skip

SOME_FAILURE = (
    pattern("ngine core initialization failed", ""),
    pattern("EngineCore failed to start", ""),
    pattern("Engine process failed to start", ""),
    pattern("orker failed with error", ""),
    pattern("failed to load model", ""),
)  # fmt: skip
"""That something failed, without what: the cause stands before it, or is not in the text."""

TRACEBACK = "Traceback (most recent call last)"
OUT_OF_MEMORY = pattern(
    "out of memory",
    rf"(?:CUDA|HIP|XPU) out of memory\. ?Tried to allocate {NUMBER}{UNIT}",
    ("asked", str), ("unit", str),
)  # fmt: skip
"""PyTorch's own; what follows on the line or the next ones is read by ``tools.logs.oom``."""
