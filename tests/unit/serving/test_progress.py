"""Lines of a start, as vLLM 0.32 prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.engine_state import Stage
from serving.progress import Progress, ProgressReader, progress_of

WORKER = "(Worker pid=32347) INFO 11-23 19:59:30 "
COLOURED = "\x1b[0;36m(EngineCore pid=12)\x1b[0;0m INFO 11-23 19:59:33 "
START = (
    "(APIServer pid=1) INFO 11-23 19:59:10 [api_utils.py:286] non-default args: {'model': 'a/b', 'port': 18111}\n"
    f"{WORKER}[gpu_model_runner.py:5040] Starting to load model a/b...\n"
    "Loading safetensors checkpoint shards:   0% Completed | 0/2 [00:00<?, ?it/s]\n"
    "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<00:00,  3.86it/s]\n"
    "Loading safetensors checkpoint shards: 100% Completed | 2/2 [00:00<00:00,  3.85it/s]\n\n"
    f"{WORKER}[default_loader.py:501] Loading weights took 0.33 seconds\n"
    f"{WORKER}[gpu_model_runner.py:5150] Model loading took 15.27 GiB memory and 4.1 seconds\n"
    f"{WORKER}[gpu_worker.py:760] Available KV cache memory: 40.00 GiB\n"
    "\rCapturing CUDA graphs (mixed prefill-decode, PIECEWISE):   0%|          | 0/35 [00:00<?, ?it/s]"
    "\rCapturing CUDA graphs (mixed prefill-decode, PIECEWISE):  49%|####9     | 17/35 [00:01<00:01, 16.81it/s]"
    "\rCapturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|##########| 35/35 [00:02<00:00, 17.21it/s]\n"
    f"{WORKER}[gpu_model_runner.py:6582] Graph capturing finished in 3 secs, took 0.58 GiB\n"
    f"{COLOURED}[core.py:402] init engine (profile, create kv cache, warmup model) took 12.09 s\n"
    "(APIServer pid=1) INFO 11-23 19:59:34 [entry.py:140] Starting vLLM server on http://127.0.0.1:18111\n"
    "INFO:     Application startup complete.\n"
)
STEPS = [
    Progress(Stage.LOADING),
    Progress(Stage.LOADING, 0.0),
    Progress(Stage.LOADING, 0.5),
    Progress(Stage.LOADING, 1.0),
    Progress(Stage.PROFILING),
    Progress(Stage.CAPTURING, 0.0),
    Progress(Stage.CAPTURING, 0.49),
    Progress(Stage.CAPTURING, 1.0),
    Progress(Stage.CAPTURING),
    Progress(Stage.ANSWERING),
]


def test_a_whole_start() -> None:
    assert list(ProgressReader().feed(START.encode())) == STEPS


@given(st.lists(st.integers(1, 400), max_size=60), st.binary(max_size=3))
def test_pieces_of_any_size_tell_the_same(sizes: list[int], rubbish: bytes) -> None:
    rest = rubbish.replace(b"\n", b"").replace(b"\r", b"") + b"\xff\n" + START.encode()
    reader, found = ProgressReader(), list[Progress]()
    for size in sizes:
        found += reader.feed(rest[:size])
        rest = rest[size:]
    found += reader.feed(rest)
    assert found == STEPS


@given(st.binary(max_size=3000))
def test_any_bytes_are_taken(data: bytes) -> None:
    for step in ProgressReader().feed(data + b"\n"):
        assert step.share is None or 0 <= step.share <= 1


def test_a_line_of_a_megabyte_is_passed_over() -> None:
    reader = ProgressReader()
    for _ in range(16):
        assert list(reader.feed(b"x" * 65536)) == []
    assert list(reader.feed(b"Application startup complete.")) == []
    assert list(reader.feed(b"\nApplication startup complete.\n")) == [Progress(Stage.ANSWERING)]


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Multi-thread loading shards:  25% Completed | 1/4 [00:01<00:03]", Progress(Stage.LOADING, 0.25)),
        ("Loading pt checkpoint shards: 100% Completed | 1/1", Progress(Stage.LOADING, 1.0)),
        ("Loading safetensors using Runai Model Streamer:  7% Completed", Progress(Stage.LOADING, 0.07)),
        ("Loading safetensors checkpoint shards: 999% Completed", Progress(Stage.LOADING, 1.0)),
        ("[backends.py:1105] Using cache directory: /x for vLLM's torch.compile", Progress(Stage.PROFILING)),
        ("Loading weights took 12.5% of 3 seconds", Progress(Stage.PROFILING)),
        ("INFO 127.0.0.1 - POST /v1/completions 200", None),
        ("", None),
    ],
)
def test_lines(line: str, step: Progress | None) -> None:
    assert progress_of(line) == step
