"""What stands around a message changes nothing of it; starts, services and ranks are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from log_texts import GIB, NAMES, text_of

from tools.logs.lines import read_lines
from tools.logs.read import read_log

MESSAGE = "Available KV cache memory: 9.62 GiB"


@pytest.mark.parametrize(
    ("line", "rank", "service"),
    [
        (MESSAGE, "", ""),
        (f"INFO 11-23 13:10:55 [gpu_worker.py:760] {MESSAGE}", "", ""),
        (f"(Worker_TP1 pid=7) INFO 11-23 13:10:55 [gpu_worker.py:760] {MESSAGE}", "TP1", ""),
        (f"(Worker_PP0_TP3 pid=7) INFO 11-23 13:10:55 [gpu_worker.py:760] {MESSAGE}", "PP0_TP3", ""),
        (
            f"(EngineCore_DP0 pid=7) (Worker_DP0_TP0_EP0 pid=8) INFO 11-23 13:10:55 [x.py:1] {MESSAGE}",
            "DP0_TP0_EP0",
            "",
        ),
        (f"(VllmWorker rank=2 pid=99) INFO 04-01 10:00:00 [gpu_worker.py:1] {MESSAGE}", "TP2", ""),
        (f"(VllmWorkerProcess pid=99) INFO 04-01 10:00:00 worker.py:1] {MESSAGE}", "pid 99", ""),
        (f"(RayWorkerWrapper pid=41, ip=10.0.0.2) INFO 04-01 10:00:00 worker.py:1] {MESSAGE}", "pid 41", ""),
        (f"\x1b[1;36m(EngineCore_DP0 pid=7)\x1b[0;0m INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "DP0", ""),
        (f"[1;36m(EngineCore_DP0 pid=7)[0;0m INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "DP0", ""),
        (f"vllm-planner-1  | INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "", "vllm-planner-1"),
        (f"[pod/llm-0/vllm] INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "", "llm-0"),
        (f"2026-11-23T13:10:55.123456789Z stdout F INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "", ""),
        (f"Nov 23 13:10:55 box vllm[991]: INFO 11-23 13:10:55 [x.py:1] {MESSAGE}", "", "vllm"),
        (f"[2026-11-23 13:10:55 TP3] {MESSAGE}", "TP3", ""),
        (f"[2026-11-23 13:10:55 DP1 TP3 EP3] {MESSAGE}", "DP1_TP3_EP3", ""),
        (
            f"(Worker_DP1_PP0_PCP0_TP3_DCP0_EP7 pid=5) INFO 11-23 13:10:55 [v1/worker/gpu_worker.py:7] {MESSAGE}",
            "DP1_PP0_PCP0_TP3_DCP0_EP7",
            "",
        ),
        (
            json.dumps(
                {
                    "asctime": "11-23",
                    "levelname": "INFO",
                    "processName": "VllmWorker-1",
                    "process": 77,
                    "message": MESSAGE,
                }
            ),
            "pid 77",
            "",
        ),
        (f"[rank2]: {MESSAGE}", "TP2", ""),
        (f"> > {MESSAGE}", "", ""),
        (json.dumps({"log": f"INFO 11-23 13:10:55 [x.py:1] {MESSAGE}\n", "stream": "stderr"}), "", ""),
        (f"0.01.980.004 I {MESSAGE}", "", ""),
    ],
)
def test_prefixes_are_taken_off(line: str, rank: str, service: str) -> None:
    [found] = list(read_lines(line))
    assert (found.text, found.rank, found.service) == (MESSAGE, rank, service)


WRAPPERS: list[Callable[[str], str]] = [
    lambda line: f"2026-11-23T13:10:55.123456789Z stderr F {line}",
    lambda line: json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-23T13:10:55Z"}),
    lambda line: f"\x1b[32m{line}\x1b[0m",
    lambda line: line + "\r",
    lambda line: f"> {line}",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_what_wraps_a_log_changes_nothing_of_it(name: str, wrap: Callable[[str], str]) -> None:
    text = text_of(name)
    wrapped = "\n".join(wrap(line) for line in text.split("\n"))
    assert read_log(wrapped) == read_log(text)


def test_the_fullest_rank_counts() -> None:
    log = read_log(text_of("vllm-0.32-cache-too-small"))
    assert log is not None
    assert log.memory.kv_bytes == round(1.49 * GIB)
    assert set(log.ranks) >= {"TP0", "TP1"}
    assert log.ranks["TP0"].kv_bytes == round(1.58 * GIB)


def test_the_last_start_of_a_loop_is_explained() -> None:
    first = text_of("vllm-0.32-fits")
    second = first.replace("16384", "32768").replace("4.86 GiB", "4.20 GiB")
    log = read_log(first + second)
    assert log is not None
    assert log.starts == 2
    assert log.memory.kv_bytes == round(4.20 * GIB)
    assert log.arguments["max_model_len"] == 32768


def test_of_two_services_the_one_that_failed_is_explained_and_the_other_is_its_neighbour() -> None:
    good = "\n".join(f"coder-1  | {line}" for line in text_of("vllm-0.32-fits").splitlines())
    mixed = [*good.splitlines()]
    for number, line in enumerate(text_of("vllm-0.32-cache-too-small").splitlines()):
        mixed.insert(2 * number, line)
    log = read_log("\n".join(mixed))
    assert log is not None
    assert log.model == "Qwen/Qwen3-14B"
    assert log.failure is not None
    assert log.failure.kind == "kv_too_small"
    assert log.neighbours == {"coder-1": round(15.66 * GIB) + round(4.86 * GIB) + round(0.17 * GIB)}


def test_messages_glued_into_one_line_are_parted() -> None:
    text = " ".join(line for line in text_of("vllm-0.7-v0-fits").splitlines())
    log, known = read_log(text), read_log(text_of("vllm-0.7-v0-fits"))
    assert log is not None
    assert known is not None
    assert replace(log.memory, blocks=None) == replace(known.memory, blocks=None)


def test_a_truncated_log_says_how_far_it_came() -> None:
    lines = text_of("vllm-0.32-fits").splitlines()
    cut = next(number for number, line in enumerate(lines) if "Model loading took" in line)
    log = read_log("\n".join(lines[: cut + 1]))
    assert log is not None
    assert (log.phase, log.failure) == ("profiling", None)


@pytest.mark.parametrize(
    "text", ["", "hello", "Will two Qwen3-30B fit on a 96 GB card?", "KV cache 12 GiB, weights 4 GiB"]
)
def test_no_log_is_none(text: str) -> None:
    assert read_log(text) is None


def test_ranks_that_print_their_configuration_each_are_one_start() -> None:
    text = text_of("vllm-0.32-fits")
    [config] = [line for line in text.splitlines() if "Initializing a V1" in line]
    doubled = text.replace(config, config + "\n" + config.replace("EngineCore", "EngineCore_DP1"))
    log = read_log(doubled)
    assert log is not None
    assert log.starts == 1


def test_a_draft_model_of_llama_cpp_is_part_of_the_start() -> None:
    text = text_of("llamacpp-fits")
    draft = (
        "0.03.1 I llama_model_loader: loaded meta data with 20 key-value pairs from /m/draft.gguf (version GGUF V3)\n"
        "load_tensors:        CUDA0 model buffer size =   400.00 MiB\nllama_context: n_ctx         = 4096\n"
        "llama_kv_cache:      CUDA0 KV buffer size =   112.00 MiB\n"
    )
    log = read_log(text + draft)
    assert log is not None
    assert (log.starts, log.arguments["max_model_len"]) == (1, 16384)
    assert log.memory.kv_bytes == 1200 << 20
    assert "Llama-3.1-8B" in str(log.model)


@pytest.mark.parametrize(
    ("line", "card"),
    [
        ("|   0  NVIDIA GeForce RTX 4060 Ti     Off |   00000000:01:00.0  On |", "NVIDIA GeForce RTX 4060 Ti"),
        ("GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)", "NVIDIA H100 80GB HBM3"),
        (
            "|   0  NVIDIA RTX PRO 6000 Blackwell Workstation Edition   Off |",
            "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        ),
        (
            "Using configuration from E=128,N=768,device_name=NVIDIA_H100_80GB_HBM3.json for MoE layer.",
            "NVIDIA H100 80GB HBM3",
        ),
        ("| NVIDIA-SMI 570.86.10    Driver Version: 570.86.10    CUDA Version: 12.8 |", None),
    ],
)
def test_a_card_named_beside_the_log_is_its_card(line: str, card: str | None) -> None:
    log = read_log(f"{line}\n{text_of('vllm-0.32-fits')}")
    assert log is not None
    assert log.card == card
