"""What is pasted rather than said: log lines and links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.reader import read
from tools.domain import GpuAsk, ModelAsk

ASKED = "why does Qwen3-32B-AWQ not start on a 5090?"
NUMBERS = st.sampled_from([0, 1, 2, 4, 8, 24, 80, 3060, 3090, 4090, 5090, 6000, 32768])


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-20 10:15:02 [gpu_worker.py:634] init",
        "(Worker pid=123) ERROR 11-20 10:15:02 [core.py:70] failed",
        "(VllmWorker rank=0 pid=4090) (APIServer pid=3090) INFO 11-20 10:15:02 [core.py:8] done",
        "[rank0]: Traceback (most recent call last):",
        "Nov 20 10:15:02 box vllm[3090]: failed",
        "[2026-11-20 10:15:02,123 TP0] server_args.py:3060 starts at 10.0.0.8:8000",
        '  File "/opt/vllm/worker.py", line 4090, in load_model',
        "INFO 11-20 10:15:02 GPU KV cache size: 23,648 tokens",
        "INFO 11-20 10:15:02 Available KV cache memory: 3.5 GiB",
    ],
)
def test_log_prefixes_say_nothing(line: str) -> None:
    reading = read([f"{line}\n{ASKED}"])
    assert reading.models == (ModelAsk("Qwen3", 32, precision="awq"),)
    assert reading.gpus == (GpuAsk("RTX 5090", None, 1),)
    assert (reading.context, reading.users, reading.nodes, reading.ram_gb) == (None, None, None, None)


def test_the_length_of_a_request_in_a_log_is_the_context() -> None:
    assert (
        read([f"INFO 11-20 10:15:02 Maximum concurrency for 40,960 tokens per request: 2.4x\n{ASKED}"]).context == 40960
    )


@given(pid=NUMBERS, line=NUMBERS, rank=NUMBERS)
def test_no_number_of_a_prefix_is_read(pid: int, line: int, rank: int) -> None:
    reading = read([f"(Worker pid={pid}) [rank{rank}]: INFO 11-20 10:15:02 [gpu_worker.py:{line}] OOM\n{ASKED}"])
    assert reading.models == (ModelAsk("Qwen3", 32, precision="awq"),)
    assert reading.gpus == (GpuAsk("RTX 5090", None, 1),)
    assert reading.context is None


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("https://huggingface.co/Qwen/Qwen3-14B-AWQ", ModelAsk("Qwen3", 14, precision="awq")),
        ("<https://huggingface.co/zai-org/GLM-4.5-Air-FP8>", ModelAsk("GLM-4.5-Air", precision="fp8")),
        ("https://huggingface.co/Qwen/Qwen3-14B/tree/main?x=70b", ModelAsk("Qwen3", 14)),
        ("hf.co/unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", ModelAsk("Qwen3", 30, "A3B", "Q4_K_M")),
        ("https://ollama.com/library/qwen3:14b", ModelAsk("Qwen3", 14)),
        ("Qwen/Qwen3-14B-AWQ", ModelAsk("Qwen3", 14, precision="awq")),
        ("https://huggingface.co/some-org/own_model-v2", ModelAsk("some-org/own_model-v2")),
        ("some-org/own_model-v2-awq", ModelAsk("some-org/own_model-v2-awq", precision="awq")),
        ("some-org/own_model-v2.", ModelAsk("some-org/own_model-v2")),
    ],
)
def test_a_link_to_a_model_is_the_model(text: str, model: ModelAsk) -> None:
    reading = read([text])
    assert reading.models == (model,)
    assert reading.intent == "fit"


def test_the_number_of_an_issue_is_no_count() -> None:
    reading = read(["https://github.com/vllm-project/vllm/issues/123 Qwen3-8B on a 4090"])
    assert reading.models == (ModelAsk("Qwen3", 8),)
    assert reading.gpus == (GpuAsk("RTX 4090", None, 1),)
