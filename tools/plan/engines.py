"""What the planner knows of each engine, as data: how it takes memory, what it loads, how it makes room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["budget", "layers", "fraction"]


@dataclass(frozen=True, slots=True)
class Step:
    """One level of precision that an engine's checkpoints come in.

    Attributes:
        bits: class of the level (16, 8, 6, 4, 3).
        words: precision words that make it up, best first.
        loss: how much a person gives up; smaller is better.
    """

    bits: int
    words: tuple[str, ...]
    loss: float


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is planned for.

    Attributes:
        name: as people write it.
        family: ``budget``: a share of the whole card is set aside at start (vLLM); ``fraction``: a share of what is
            free at start (SGLang); ``layers``: a process takes what it needs, and cards hold whole layers.
        loads: ``vllm`` (repositories that vLLM loads), ``gguf``, ``exl3``, or ``webui`` (all three kinds).
        ladder: levels of precision below 16 bits, highest first.
        small_cache: type of the smaller KV cache; "" where there is none.
        other_caches: further types that may be asked for.
        sleeps: an instance that waits keeps its process and sleeps; else it is stopped and started again.
        cuts_layers: every layer can be cut over several cards, which makes it faster.
        uneven: a model may lie on cards of different size.
        keeps_experts: layers may leave only their experts in RAM.
        offloads: weights may stay in RAM in an amount that is counted.
        spans_machines: one model may lie on cards of several machines.
        words: the engine's own names of context and sequences, for titles.
    """

    name: str
    family: Family
    loads: Literal["vllm", "gguf", "exl3", "webui"]
    ladder: tuple[Step, ...]
    small_cache: str = ""
    other_caches: tuple[str, ...] = ()
    sleeps: bool = False
    cuts_layers: bool = False
    uneven: bool = False
    keeps_experts: bool = False
    offloads: bool = True
    spans_machines: bool = False
    words: tuple[str, str] = ("context", "sequences")


_VLLM_STEPS = (Step(8, ("fp8", "fp8-online", "int8", "w8a16"), 1.0), Step(4, ("int4",), 3.0))
_GGUF_STEPS = (
    Step(8, ("gguf-Q8_0",), 0.8),
    Step(6, ("gguf-Q6_K",), 1.4),
    Step(4, ("gguf-Q4_K_M",), 3.0),
    Step(3, ("gguf-Q3_K_M",), 5.0),
)
"""Loss grows as perplexity does: Llama-3.1-8B loses 0.0 % in Q8_0, 0.3 % in Q6_K, 2.4 % in Q4_K_M and 8 % in Q3_K_M
(llama.cpp ``tools/quantize/README.md``)."""
_EXL_STEPS = (
    Step(8, ("exl3-8",), 0.8),
    Step(6, ("exl3-6",), 1.4),
    Step(4, ("exl3-4",), 2.5),
    Step(3, ("exl3-3",), 4.5),
)
_WEBUI_STEPS = (
    Step(8, ("gguf-Q8_0",), 0.8),
    Step(6, ("gguf-Q6_K",), 1.4),
    Step(4, ("exl3-4", "gguf-Q4_K_M", "bnb-4bit"), 3.0),
    Step(3, ("gguf-Q3_K_M",), 5.0),
)

_CACHES = ("q4_0", "q5_0", "q5_1", "q4_1", "iq4_nl")
"""Types of llama.cpp's cache beside q8_0 (``--cache-type-k``)."""

_LLAMA = Engine(
    "llama.cpp",
    "layers",
    "gguf",
    _GGUF_STEPS,
    "q8_0",
    _CACHES,
    uneven=True,
    keeps_experts=True,
    words=("ctx", "parallel"),
)

ENGINES: dict[str, Engine] = {
    "vllm": Engine(
        "vLLM",
        "budget",
        "vllm",
        _VLLM_STEPS,
        "fp8",
        sleeps=True,
        cuts_layers=True,
        spans_machines=True,
        words=("max-model-len", "max-num-seqs"),
    ),
    "sglang": Engine(
        "SGLang",
        "fraction",
        "vllm",
        _VLLM_STEPS,
        "fp8",
        cuts_layers=True,
        offloads=False,
        words=("context-length", "max-running-requests"),
    ),
    "llama.cpp": _LLAMA,
    "lm studio": Engine("LM Studio", "layers", "gguf", _GGUF_STEPS, "q8_0", _CACHES, uneven=True, keeps_experts=True),
    "exllamav3": Engine("ExLlamaV3", "layers", "exl3", _EXL_STEPS, "q8", ("q6", "q4"), offloads=False),
    "text-generation-webui": Engine(
        "text-generation-webui",
        "layers",
        "webui",
        _WEBUI_STEPS,
        "q8_0",
        ("q4_0",),
        uneven=True,
        keeps_experts=True,
        words=("ctx-size", "parallel"),
    ),
    "ollama": Engine(
        "Ollama", "layers", "gguf", _GGUF_STEPS, "q8_0", ("q4_0",), uneven=True, words=("num_ctx", "num_parallel")
    ),
}
"""By the command line's word. Engines that are not here are planned with vLLM's figures, which is said."""


def engine(word: str) -> Engine:
    """Return what is known of an engine; vLLM for one that is not computed."""
    return ENGINES.get(word) or ENGINES["vllm"]


def cache_type(word: str, method: str, asked: str) -> str:
    """Return an engine's type of cache for a format: of text-generation-webui's loaders each has its own words.

    Args:
        word: the engine.
        method: how the checkpoint is stored.
        asked: ``auto``, or a type of the engine.
    """
    if word != "text-generation-webui" or asked == "auto" or method == "gguf":
        return asked
    return {"q8_0": "q8", "q4_0": "q4"}.get(asked, "auto") if method == "exl3" else "auto"


def display_name(word: str) -> str:
    """Return an engine's name as people write it."""
    return ENGINES[word].name if word in ENGINES else word
