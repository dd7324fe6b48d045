"""vLLM's lines about memory, from 0.4 to 0.32 (CUDA, ROCm, XPU and CPU workers).

Four formats, four meanings: "model weights take" (V0: graphs outside the budget); "Actual usage is A for weight" (V1
to about 0.26); an estimate of the graphs on a line of its own (0.21 and later: it comes out of the pool); "consumed
memory (weights + non-torch)" (0.27 and later: the printed activation holds the graphs' estimate).
A draft model is loaded by a line of its own in V0, and is in the target's figure in V1.
Sources: 0.32's ``v1/worker/gpu_worker.py``, ``gpu_model_runner.py``, ``cpu_worker.py``, ``v1/core/kv_cache_utils.py``;
start-up logs of the versions before.
"""

from __future__ import annotations

from tools.logs.pattern import COUNT, NUMBER, UNIT, Pattern, gib, pattern, whole

_GIB = NUMBER + r" ?Gi?[Bb]"


def _version(text: str) -> str:
    return text.strip("()v ,")


PATTERNS: tuple[Pattern, ...] = (
    pattern(
        "vLLM API server version", r"version v?([\w.+-]{3,30})", ("version", _version), start="server"
    ),
    pattern(
        "vLLM server version",
        r"version v?([\w.+-]{3,30}),? serving model (\S{1,200})",
        ("version", _version), ("model", str), start="server",
    ),
    pattern("█  version", r"█  version v?([\w.+-]{3,30})", ("version", _version), start="server"),
    pattern("█  model", r"█  model {1,6}(\S{1,200})", ("model", str)),
    pattern(
        "LLM engine (v", r"engine \(v([\w.+-]{3,30})\)", ("version", _version), phase="weights", start="engine"
    ),
    pattern("Starting to load model", r"load model ([^\s,'\"]{1,200}?)(?:\.\.\.|$| )", ("model", str), phase="weights"),
    pattern("Loading drafter model", "", drafter=True),
    pattern("Checkpoint size", rf"Checkpoint size: {_GIB}", ("checkpoint_bytes", gib), phase="weights"),
    pattern("Loading weights took", rf"weights took {NUMBER} seconds", ("weights_s", float)),
    pattern(
        "odel loading took",
        rf"odel loading took {_GIB}(?: memory)?(?: and {NUMBER} seconds)?",
        ("weights_bytes", gib), ("load_s", float),
        phase="profiling",
    ),
    pattern("init engine (", rf"\) took {NUMBER} s", ("init_s", float)),
    pattern("Loading model weights took", rf"weights took {_GIB}", ("weights_bytes", gib), phase="profiling", add=True),
    pattern(
        "total_gpu_memory (",
        rf"total_gpu_memory \({_GIB}\) x gpu_memory_utilization \({NUMBER}\) = {_GIB}",
        ("total_bytes", gib), ("gpu_memory_utilization", float), ("budget_bytes", gib),
    ),
    pattern(
        "odel weights take",
        rf"odel weights take {_GIB}; ?non_torch_memory (?:takes )?{_GIB}; ?(?:PyTorch )?activation peak (?:memory )?"
        rf"(?:takes )?{_GIB}(?:;.{{0,60}}?KV Cache is {_GIB})?",
        ("weights_bytes", gib), ("non_torch_bytes", gib), ("activation_bytes", gib), ("kv_bytes", gib),
        phase="cache", generation="V0",
    ),
    pattern(
        "Memory profiling results:",
        rf"total_gpu_memory={_GIB} initial_memory_usage={_GIB} peak_torch_memory={_GIB}"
        rf"(?: memory_usage_post_profile={_GIB})? non_torch_memory={_GIB} kv_cache_size={_GIB}"
        rf"(?: gpu_memory_utilization={NUMBER})?",
        ("total_bytes", gib), ("neighbours_bytes", gib), ("peak_torch_bytes", gib), None, ("non_torch_bytes", gib),
        ("kv_bytes", gib), ("gpu_memory_utilization", float),
        phase="cache", generation="V0",
    ),
    pattern(
        "Total non KV cache memory",
        rf"cache memory: {_GIB}; ?torch peak memory increase: {_GIB}; ?non-torch forward increase memory: {_GIB}; ?"
        rf"weights memory: {_GIB}",
        ("non_kv_bytes", gib), ("activation_bytes", gib), ("non_torch_bytes", gib), ("weights_bytes", gib),
    ),
    pattern(
        "Requested memory:",
        rf"free memory: {_GIB}; Requested memory: {NUMBER} \(util\), {_GIB}",
        ("free_bytes", gib), ("gpu_memory_utilization", float), ("budget_bytes", gib),
    ),
    pattern("Estimated CUDA graph memory", rf"memory: {_GIB}", ("graphs_estimated_bytes", gib)),
    pattern(
        "CUDA graph pool memory",
        rf"memory: {_GIB} \(actual\), {_GIB} \(estimated\)",
        ("graphs_bytes", gib), ("graphs_estimated_bytes", gib),
    ),
    pattern("vailable KV cache memory:", rf"cache memory: {_GIB}", ("kv_bytes", gib), phase="cache"),
    pattern(
        "for KV Cache as specified by kv_cache_memory_bytes",
        rf"free memory {_GIB}, reserved {_GIB}",
        ("free_bytes", gib), ("kv_bytes", gib),
        phase="cache", fixed_pool=True,
    ),
    pattern(
        "KV cache size:",
        rf"KV cache size: {COUNT} tokens(?:, Maximum concurrency for {COUNT} tokens per request: {NUMBER}x)?",
        ("kv_tokens", whole), ("concurrency_tokens", whole), ("max_concurrency", float),
        phase="graphs",
    ),
    pattern(
        "Maximum concurrency for",
        rf"for {COUNT} tokens per request: {NUMBER}x",
        ("concurrency_tokens", whole), ("max_concurrency", float),
        phase="graphs",
    ),
    pattern(
        " blocks: ", rf"# (?:GPU|CUDA|cuda|rocm|xpu|hpu) blocks: {COUNT}", ("blocks", whole), phase="graphs"
    ),
    pattern("Setting attention block size to", rf"size to {COUNT} tokens", ("block_tokens", whole)),
    pattern("Auto-fit max_model_len: reduced", rf"to {COUNT} to fit", ("max_model_len", whole), final=True),
    pattern("Auto-fit max_model_len: full", rf"length {COUNT} fits", ("max_model_len", whole)),
    pattern("Using max model len", rf"len {COUNT}", ("max_model_len", whole)),
    pattern("max_num_batched_tokens=", rf"max_num_batched_tokens={COUNT}", ("max_num_batched_tokens", whole)),
    pattern("data type to store kv cache", r"Using (\w{2,20}) data type", ("kv_cache_dtype", str)),
    pattern("Capturing CUDA graph", "", phase="graphs"),
    pattern(
        "Graph capturing finished",
        rf"finished in \d{{1,6}} secs?(?:, took {_GIB})?",
        ("graphs_bytes", gib), phase="sampler",
    ),
    pattern(
        "Desired GPU memory utilization is",
        rf"Free memory on device(?: \S{{1,12}})? \({NUMBER}/{NUMBER} GiB\) on startup.{{0,10}}Desired GPU memory "
        rf"utilization is \({NUMBER}, {_GIB}\)",
        ("free_bytes", gib), ("total_bytes", gib), ("gpu_memory_utilization", float), ("budget_bytes", gib),
        phase="running",
    ),
    pattern(
        "for peak activation",
        rf"{_GIB} for weights?, {_GIB} for peak activation, {_GIB} for non-torch(?: memory)?,? and "
        rf"{_GIB} for CUDAGraph",
        ("weights_bytes", gib), ("activation_bytes", gib), ("non_torch_bytes", gib), ("graphs_bytes", gib),
        phase="running",
    ),
    pattern(
        "for consumed memory",
        rf"{_GIB} for consumed memory \(weights \+ non-torch\), {_GIB} for peak activation, and {_GIB} for "
        r"CUDAGraph",
        ("consumed_bytes", gib), ("activation_bytes", gib), ("graphs_bytes", gib),
        phase="running", activation_with_graphs=True,
    ),
    pattern("Current kv cache memory in use is", rf"in use is {NUMBER}{UNIT}", ("in_use", str), ("in_use_unit", str)),
    pattern(
        "for KV cache on node",
        rf"(?:Explicitly|Auto) set \({NUMBER}/{NUMBER}\)? ?GiB\)? for KV cache",
        ("kv_bytes", gib), ("total_bytes", gib),
        phase="cache", runs_on="cpu",
    ),
    pattern("memory was consumed by non-kv usages", rf"{_GIB} memory was consumed", ("consumed_bytes", gib)),
    pattern(
        "Sleep mode freed",
        rf"freed {_GIB} memory(?:[^,]{{0,80}})?, {_GIB} memory is still in use",
        ("sleep_freed_bytes", gib), ("sleep_left_bytes", gib), phase="running",
    ),
    pattern("Application startup complete", "", phase="running"),
    pattern("Initializing a V0 LLM engine", "", generation="V0"),
    pattern("device_name=", r"device_name=([\w-]{3,60})", ("card", lambda name: name.replace("_", " "))),
)  # fmt: skip
"""In the order in which a line is tried; one line may be of several kinds."""
