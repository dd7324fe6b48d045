"""llama.cpp's lines about memory, old wording (``llm_load_tensors``, ``KV self size``) and new (``sched_reserve``).

Buffers are printed a device (``CUDA0``, ``ROCm0``, ``Vulkan0``, ``Metal``, ``CPU``), which here is the rank. Source:
``src/llama-model.cpp``, ``llama-kv-cache.cpp``, ``llama-context.cpp`` of ggml-org/llama.cpp, and logs since 2023.
"""

from __future__ import annotations

from tools.logs.pattern import COUNT, NUMBER, Pattern, mib, pattern, whole

_DEVICE = r"([A-Za-z][\w.-]{0,40}) "
_MIB = NUMBER + r" ?Mi?B"


def _device(text: str) -> str:
    """A device by the name of its main buffers: ``Metal_Mapped`` and ``CUDA0_Split`` belong to ``Metal``, ``CUDA0``."""
    for ending in ("_Mapped", "_Split", "_Private", "-REPACK", "_REPACK", "_AARCH64"):
        text = text.removesuffix(ending)
    return text


PATTERNS: tuple[Pattern, ...] = (
    pattern("build: ", r"build: (\d{3,6}) \([0-9a-f]{6,12}\)", ("version", str), start="server"),
    pattern("llama_model_loader: loaded meta data", r"from (.{1,300}?) \(version", ("model", str)),
    pattern("main: build = ", r"build = (\d{3,6}) ", ("version", str), start="server"),
    pattern("print_info: build ", r"common_params_print_info: build (\d{3,6}) ", ("version", str), start="server"),
    pattern("starting llama server", "", start="server"),
    pattern("starting runner", "", start="server"),
    pattern("general.name", r"general\.name\s{1,30}(?:str)?\s{0,10}= (.{1,100})", ("model_name", str)),
    pattern("model type", r"print_info: model type\s{1,20}= (\S{1,20})", ("model_size", str)),
    pattern("file type", r"print_info: file type\s{1,20}= (\S{1,12})", ("file_type", str)),
    pattern("model ftype", r"model ftype\s{1,20}= (\S{1,12})", ("file_type", str)),
    pattern("file size", rf"print_info: file size\s{{1,20}}= {NUMBER} GiB", ("checkpoint_gib", float)),
    pattern("Device ", r"Device \d{1,3}: ([^,]{3,80}), compute capability", ("card", str)),
    pattern(
        "model buffer size",
        rf"{_DEVICE}{{1,3}}model buffer size ?= {{0,20}}{_MIB}",
        ("device", _device), ("weights_bytes", mib), phase="cache", add=True,
    ),
    pattern(
        "KV buffer size",
        rf"{_DEVICE}{{1,3}}KV buffer size ?= {{0,20}}{_MIB}",
        ("device", _device), ("kv_bytes", mib), phase="graphs", add=True,
    ),
    pattern(
        "RS buffer size",
        rf"{_DEVICE}{{1,3}}RS buffer size ?= {{0,20}}{_MIB}",
        ("device", _device), ("recurrent_bytes", mib), phase="graphs", add=True,
    ),
    pattern(
        "compute buffer size",
        rf"{_DEVICE}{{1,3}}compute buffer size ?= {{0,20}}{_MIB}",
        ("device", _device), ("compute_bytes", mib), phase="sampler",
    ),
    pattern("offloaded ", rf"offloaded {COUNT}/{COUNT} layers", ("gpu_layers", whole), ("layers", whole)),
    pattern("n_ctx ", rf"n_ctx\s{{1,20}}= {COUNT}", ("max_model_len", whole)),
    pattern("n_seq_max", rf"n_seq_max\s{{1,20}}= {COUNT}", ("max_num_seqs", whole)),
    pattern("n_ubatch", rf"n_ubatch\s{{1,20}}= {COUNT}", ("max_num_batched_tokens", whole)),
    pattern("flash_attn", r"flash_attn\s{1,20}= (\w{1,10})", ("flash_attn", str)),
    pattern("MiB, K (", r", K \((\w{2,8})\)", ("kv_cache_dtype", str)),
    pattern("type_k = '", r"type_k = '(\w{2,8})'", ("kv_cache_dtype", str)),
    pattern("server is listening", "", phase="running"),
    pattern("llama_server: listening on ", "", phase="running"),
    pattern("main: model loaded", "", phase="running"),
    pattern("llama runner started", "", phase="running"),
)  # fmt: skip
