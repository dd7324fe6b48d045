"""Logs in the engines' own formats; the numbers are invented and obey the formats."""

# ruff: noqa: E501  (log lines as engines print them)

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "fixtures" / "logs"
GIB = 1 << 30


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.log").read_text(encoding="utf-8")


NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.log")))

V1_WITH_PARTS = """\
INFO 09-01 08:00:00 [core.py:58] Initializing a V1 LLM engine (v0.10.2) with config: model='Qwen/Qwen3-32B', dtype=torch.bfloat16, max_seq_len=16000, tensor_parallel_size=2, enforce_eager=False
INFO 09-01 08:00:40 [gpu_model_runner.py:1] Model loading took 30.5912 GiB and 20.1 seconds
INFO 09-01 08:01:10 [gpu_worker.py:1] Available KV cache memory: 34.40 GiB
INFO 09-01 08:01:10 [kv_cache_utils.py:1] GPU KV cache size: 281,808 tokens
INFO 09-01 08:01:10 [kv_cache_utils.py:1] Maximum concurrency for 16,000 tokens per request: 17.61x
INFO 09-01 08:01:50 [gpu_worker.py:1] Free memory on device (78.70/79.18 GiB) on startup. Desired GPU memory utilization is (0.9, 71.26 GiB). Actual usage is 30.6 GiB for weight, 5.64 GiB for peak activation, 0.62 GiB for non-torch memory, and 0.44 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with `--kv-cache-memory=36000000000` to fit into requested memory, or `--kv-cache-memory=44000000000` to fully utilize gpu memory. Current kv cache memory in use is 36936718746 bytes.
"""
V0_RESULTS = """\
INFO 11-02 10:00:00 config.py:1] Initializing an LLM engine (v0.6.3) with config: model='mistralai/Mistral-7B-Instruct-v0.3', dtype=torch.bfloat16, max_seq_len=32768, tensor_parallel_size=1
INFO 11-02 10:00:10 model_runner.py:1067] Loading model weights took 13.5083 GB
INFO 11-02 10:00:12 worker.py:232] Memory profiling results: total_gpu_memory=23.58GiB initial_memory_usage=13.93GiB peak_torch_memory=14.91GiB memory_usage_post_profile=14.02GiB non_torch_memory=0.43GiB kv_cache_size=5.88GiB gpu_memory_utilization=0.90
INFO 11-02 10:00:12 gpu_executor.py:122] # GPU blocks: 3011, # CPU blocks: 2048
"""
CPU_RUNNER = """\
(Worker pid=91) INFO 11-21 12:00:00 [cpu_worker.py:260] Auto set (5.68/12.46) GiB for KV cache on node 0, with 6.23 GiB requested memory for the worker. 0.55 GiB memory was consumed by non-kv usages.
(EngineCore pid=90) INFO 11-21 12:00:01 [kv_cache_utils.py:2327] CPU KV cache size: 132,096 tokens, Maximum concurrency for 2,048 tokens per request: 64.50x
"""
SLEEP = """\
INFO 11-21 12:00:00 [gpu_worker.py:327] Sleep mode freed 25.31 GiB memory, 1.42 GiB memory is still in use.
"""
OLD_LLAMA = """\
llm_load_tensors: offloaded 33/33 layers to GPU
llm_load_tensors:        CPU buffer size =    70.31 MiB
llm_load_tensors:      CUDA0 model buffer size =  4095.05 MiB
llama_new_context_with_model: n_ctx      = 4096
llama_kv_cache_init:      CUDA0 KV buffer size =   512.00 MiB
llama_new_context_with_model: KV self size  =  512.00 MiB, K (f16):  256.00 MiB, V (f16):  256.00 MiB
llama_new_context_with_model:      CUDA0 compute buffer size =   296.00 MiB
"""
OLD_OOM = (
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 172.00 MiB (GPU 0; 23.69 GiB total capacity; "
    "22.10 GiB already allocated; 98.06 MiB free; 22.31 GiB reserved in total by PyTorch) If reserved memory is >> "
    "allocated memory try setting max_split_size_mb to avoid fragmentation."
)
