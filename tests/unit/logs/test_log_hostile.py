"""Any text at all is read in linear time and without an error."""

from __future__ import annotations

import random
import re
import string
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from log_texts import NAMES, V1_WITH_PARTS, text_of

import prompts
from tools.errors import BadValue
from tools.logs.arguments import NAMES as ARGUMENTS
from tools.logs.arguments import commanded, printed
from tools.logs.explain import explain
from tools.logs.paste import excerpt, pasted
from tools.logs.read import read_log
from tools.logs.report import explanation_json
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue

MODELS, GPUS = ModelCatalogue.load(), GpuCatalogue.load()
NAMED = [
    *ARGUMENTS,
    "vllm serve",
    "sglang serve",
    *(f"_{short}" for short in ["tp", "pp", "dp", "c", "ngl", "np", "m", "hf", "ctk", "q", "ub"]),
]
"""What a flag or a command is named by, dashes as underscores."""
CORPUS = "\n".join([*map(text_of, NAMES), V1_WITH_PARTS])


@given(st.text(st.characters(exclude_characters=string.ascii_letters), max_size=400))
def test_what_has_no_words_is_no_log_and_no_command(text: str) -> None:
    """Whatever an engine says or takes is named in Latin letters."""
    assert read_log(text) is None
    assert pasted(text) is None
    assert commanded(text) == {}
    assert printed(text) == {}


@given(st.text(max_size=400))
def test_what_names_no_flag_sets_none(text: str) -> None:
    read_log(text)
    pasted(text)
    bare = re.sub(r"[\"'\\]", "", text).replace("-", "_")
    assume(not any(name in bare for name in NAMED))
    assert commanded(text) == {}
    assert printed(text) == {}


@pytest.mark.parametrize(
    "words",
    [
        "--quantization 0",
        "--quantization",
        "--kv-cache-dtype 8",
        "--dtype 16",
        "--tensor-parallel-size two",
        "--max-model-len -5",
        "--max-num-seqs 0",
        "--gpu-memory-utilization 90",
        "--gpu-memory-utilization nan",
        "--max-model-len 1e400",
        "--port --max-num-seqs",
    ],
)
def test_a_flag_whose_value_makes_no_sense_says_nothing(words: str) -> None:
    assert commanded(words) == {}
    assert commanded(f"vllm serve Qwen/Qwen3-8B {words}") == {"model": "Qwen/Qwen3-8B"}


@given(seed=st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_damaged_logs_are_explained_or_refused(seed: int) -> None:
    """Lines dropped, doubled, cut and swapped; characters changed; numbers made absurd."""
    draw = random.Random(seed)
    lines = draw.sample(CORPUS.split("\n"), k=draw.randint(1, 30))
    for _ in range(draw.randint(0, 12)):
        at = draw.randrange(len(lines))
        line = lines[at]
        lines[at] = draw.choice(
            [
                line[: draw.randint(0, len(line))],
                line.replace("1", "9" * 12),
                line.replace(".", "-"),
                line * 2,
                line[::-1],
            ]
        )
    try:
        found = explain("\n".join(lines), MODELS, GPUS)
    except BadValue:
        assert read_log("\n".join(lines)) is None
        return
    for language in prompts.LANGUAGES:
        told = explanation_json(found, language)
        assert told["summary"]
        assert all(fix["change"] for fix in told["fixes"])


SLOW = [
    "(" * 100_000,
    "[" * 50_000 + "Available KV cache memory: ",
    "Available KV cache memory: " + "9" * 100_000,
    "non-default args: {" + "'a': " * 40_000,
    "a=" * 100_000,
    "max seq len (" * 20_000 + "KV cache is needed",
    "CUDA out of memory. Tried to allocate " + "1." * 50_000,
    "Process 1 has 1 GiB memory in use. " * 20_000 + "CUDA out of memory. Tried to allocate 1 GiB",
    "\x1b[" + "1;" * 100_000 + "m",
    "INFO 11-20 09:14:02 [" + "x" * 200_000,
    "pod | " * 50_000,
    '{"log":' * 20_000,
    "--max-model-len " * 20_000,
    "general.name str = " + " " * 100_000,
    "Actual usage is " * 20_000,
]


@pytest.mark.parametrize("text", SLOW, ids=lambda text: text[:12])
def test_nothing_takes_long(text: str) -> None:
    began = time.perf_counter()
    read_log(text)
    pasted(text)
    assert time.perf_counter() - began < 2.0


def test_two_megabytes_are_read_in_seconds() -> None:
    text = (CORPUS + "\n") * (2_000_000 // len(CORPUS))
    began = time.perf_counter()
    log = read_log(text)
    assert time.perf_counter() - began < 6.0
    assert log is not None


def test_of_a_huge_text_the_beginning_and_the_end_are_read() -> None:
    noise = "INFO 11-20 09:14:02 [loggers.py:1] Running: 1 reqs, Waiting: 0 reqs\n" * 80_000
    log = read_log(text_of("vllm-0.32-fits") + noise + "ValueError: No available memory for the cache blocks.")
    assert log is not None
    assert log.failure is not None
    assert log.model == "Qwen/Qwen3-8B"


def test_a_long_message_is_cut_to_its_words_and_the_telling_lines() -> None:
    noise = "(APIServer pid=7) INFO 11-20 09:14:02 [loggers.py:1] Running: 1 reqs\n" * 2000
    message = f"why does it die?\n{noise}{text_of('vllm-0.32-cache-too-small')}{noise}"
    short = excerpt(message, 20_000)
    assert short is not None
    assert len(short) <= 20_000
    found = pasted(short)
    assert found is not None
    assert found.words == "why does it die?"
    before, after = read_log(message), read_log(short)
    assert before is not None
    assert after is not None
    assert (after.memory, after.failure, after.model) == (before.memory, before.failure, before.model)


def test_a_long_message_without_a_log_is_not_cut() -> None:
    assert excerpt("Will two Qwen3-30B fit on a 96 GB card? " * 1000, 20_000) is None


@pytest.mark.parametrize("name", NAMES)
def test_words_are_told_from_the_log(name: str) -> None:
    for message in (f"помоги разобраться\n\n{text_of(name)}", f"{text_of(name)}\n\nпомоги разобраться"):
        found = pasted(message)
        assert found is not None
        assert found.whole
        assert found.words == "помоги разобраться"


def test_a_quoted_error_stays_with_its_sentence() -> None:
    text = (
        "max seq len (40960) is larger than the maximum number of tokens that can be stored in KV cache (13552), why?"
    )
    found = pasted(text)
    assert found is not None
    assert not found.whole
    assert found.words == text
