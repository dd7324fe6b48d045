"""SGLang's lines about memory. It prints "GB" and means GiB (``utils.get_available_gpu_memory`` divides by 2**30).

Source: ``model_executor/model_runner.py``, ``mem_cache/memory_pool.py``, ``managers/scheduler.py``; logs of 0.4 to 0.5.
"""

from __future__ import annotations

from tools.logs.pattern import COUNT, NUMBER, Pattern, gib, pattern, whole

_GB = NUMBER + r" ?Gi?B"

PATTERNS: tuple[Pattern, ...] = (
    pattern("server_args=ServerArgs(", "", start="server"),
    pattern("Load weight begin", rf"avail mem={_GB}", ("free_bytes", gib), phase="weights"),
    pattern(
        "Load weight end",
        rf"avail mem={_GB}(?:, mem usage={_GB})?",
        ("after_weights_bytes", gib), ("weights_bytes", gib), phase="cache",
    ),
    pattern(
        "KV Cache is allocated",
        rf"#tokens: {COUNT}, K size: {_GB}, V size: {_GB}",
        ("kv_tokens", whole), ("k_bytes", gib), ("v_bytes", gib), phase="graphs",
    ),
    pattern(
        "KV Cache is allocated",
        rf"#tokens: {COUNT}, KV size: {_GB}",
        ("kv_tokens", whole), ("kv_bytes", gib), phase="graphs",
    ),
    pattern("Mamba Cache is allocated", rf"ssm_state size: {_GB}", ("recurrent_bytes", gib)),
    pattern("Memory pool end", rf"avail mem={_GB}", ("after_pool_bytes", gib), phase="graphs"),
    pattern("Using KV cache dtype", r"dtype: (?:torch\.)?(\w{2,20})", ("kv_cache_dtype", str)),
    pattern("apture cuda graph begin", "", phase="graphs"),
    pattern("apture CUDA graph begin", "", phase="graphs"),
    pattern("apture cuda graph end", rf"mem usage={_GB}", ("graphs_bytes", gib), phase="running"),
    pattern("apture CUDA graph end", rf"mem usage={_GB}", ("graphs_bytes", gib), phase="running"),
    pattern("max_total_num_tokens=", rf"max_total_num_tokens={COUNT}", ("kv_tokens", whole)),
    pattern("max_running_requests=", rf"max_running_requests={COUNT}", ("max_num_seqs", whole)),
    pattern("context_len=", rf"context_len={COUNT}", ("max_model_len", whole)),
    pattern("mem_fraction_static=", rf"mem_fraction_static={NUMBER}", ("mem_fraction_static", float)),
    pattern("The server is fired up", "", phase="running"),
)  # fmt: skip
