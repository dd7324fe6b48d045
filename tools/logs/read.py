"""Text to EngineLog: the starts that a text holds, and the one to be explained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.logs import llamacpp, sglang, vllm
from tools.logs.arguments import commanded, is_command, printed
from tools.logs.facts import MEMORY_FIELDS, EngineLog, Failure, Memory, Phase
from tools.logs.failures import FAILURES, OUT_OF_MEMORY, SOME_FAILURE, TRACEBACK
from tools.logs.lines import Line, read_lines
from tools.logs.oom import read_oom
from tools.logs.pattern import Pattern, size

ENGINES: Mapping[str, Sequence[Pattern]] = {
    "vllm": vllm.PATTERNS,
    "sglang": sglang.PATTERNS,
    "llama.cpp": llamacpp.PATTERNS,
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "vllm": ("vllm",),
    "sglang": ("sglang",),
    "llama.cpp": ("llama_", "llama.cpp", "ggml", "gguf"),
    "ollama": ("ollama",),
    "exllama": ("exllama",),
}
"""Words that tell an engine where no line of memory does (a traceback's paths)."""
_PRINTED_ARGUMENTS = ("non-default args", "args: Namespace(", "with config:", "ServerArgs(", "Namespace(")
_ARGUMENTS = frozenset(
    {"max_model_len", "max_num_seqs", "max_num_batched_tokens", "kv_cache_dtype", "gpu_memory_utilization"}
    | {"mem_fraction_static", "gpu_layers", "layers", "flash_attn"}
)
"""What lines of memory say beside sizes and belongs to the arguments."""
_PHASES: tuple[Phase, ...] = ("start", "weights", "profiling", "cache", "graphs", "sampler", "running")
_FRAMES: Mapping[str, Phase] = {
    "in load_model": "weights", "in load_weights": "weights", "in process_weights_after_loading": "weights",
    "in determine_available_memory": "profiling", "in determine_num_available_blocks": "profiling",
    "in profile_run": "profiling", "in initialize_kv_cache": "cache", "in init_memory_pool": "cache",
    "in initialize_from_config": "cache", "in _allocate_kv_cache": "cache", "in capture_model": "graphs",
    "in init_cuda_graphs": "graphs", "in init_device_graphs": "graphs", "in _dummy_sampler_run": "sampler",
    "in execute_model": "running", "in forward_decode": "running", "in forward_extend": "running",
}  # fmt: skip
"""Functions in a traceback by the phase of a start they belong to; the outermost tells."""
_BEGINNINGS = tuple(
    one for patterns in ENGINES.values() for one in patterns if any(name == "start" for name, _ in one.marks)
)
_CARD = re.compile(
    r"\b(NVIDIA (?:GeForce |RTX |Tesla |TITAN |Quadro |[ABHL]\d|G[BH]\d)[\w-]{0,12}(?: [\w-]{1,12}){0,5}?)"
    r"(?=\s{2,}|\s?[,|(]|$)"
)
"""A card as the driver names it, in what nvidia-smi prints."""
_OOM_LINES = 6
_MAX_STARTS, _MAX_RANKS = 200, 256
_STEPS = ("weights", "load", "init")


@dataclass(slots=True)
class _Start:
    """One start while its lines are read."""

    service: str = ""
    hits: dict[str, int] = field(default_factory=dict[str, int])
    named: dict[str, int] = field(default_factory=dict[str, int])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    printed: dict[str, Any] = field(default_factory=dict[str, Any])
    commanded: dict[str, Any] = field(default_factory=dict[str, Any])
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    ranks: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    phase: Phase = "start"
    frame: Phase | None = None
    failure: Failure | None = None
    weight: int = 0
    failed: bool = False
    doubtful: bool = False
    oom: list[str] = field(default_factory=list[str])
    open_command: bool = False
    started: set[str] = field(default_factory=set[str])

    @property
    def broke(self) -> bool:
        """Whether the start failed; a traceback alone is a warning where the engine came to run all the same."""
        return self.failed or self.failure is not None or (self.doubtful and self.phase != "running")

    def reach(self, phase: Phase) -> None:
        """Note how far the start has come; it never goes back."""
        if _PHASES.index(phase) > _PHASES.index(self.phase):
            self.phase = phase


def read_log(text: str) -> EngineLog | None:
    """Read a log.

    Args:
        text: any text: whole logs, parts of them, several engines, ranks and starts mixed.

    Returns:
        The start to be explained: the last one that failed of the services whose last start failed, else the last
        that says anything about memory. None where the text holds no line of an engine's log.
    """
    starts = [start for start in _starts(read_lines(text)) if _tells(start)]
    if not starts:
        return None
    last = {start.service: start for start in starts}
    failed = [start for start in last.values() if start.broke]
    chosen = (failed or list(last.values()))[-1]
    others = {name: _held(start) for name, start in last.items() if start is not chosen and name}
    return _finished(chosen, len(starts), {name: held for name, held in others.items() if held})


def tells(text: str) -> bool:
    """Whether a line says something that is read here: a size, an argument, a failure, a function of a traceback."""
    kinds = (*(one for patterns in ENGINES.values() for one in patterns), *(one for _, _, one in FAILURES))
    if any(one.read(text) is not None for one in (*kinds, *SOME_FAILURE, OUT_OF_MEMORY)):
        return True
    return any(word in text for word in (*_PRINTED_ARGUMENTS, *_FRAMES)) or is_command(text.strip())


def _starts(lines: Iterable[Line]) -> Iterator[_Start]:
    """Group the lines by service and start, in the order of the starts."""
    current: dict[str, _Start] = {}
    found: list[_Start] = []
    for line in lines:
        start = current.get(line.service)
        mark = _begins(line.text)
        if start is None or (mark and _fresh(start, mark)):
            if len(found) >= _MAX_STARTS:
                found.pop(0)
            start = current[line.service] = _Start(service=line.service)
            found.append(start)
        if mark:
            start.started.add(mark)
        _take(start, line)
    for start in found:
        _close_oom(start)
        yield start


def _begins(text: str) -> str | None:
    """Return what begins with a line: a ``server`` (once a start) or an ``engine`` (perhaps once a rank)."""
    for one in _BEGINNINGS:
        if one.trigger in text:
            return str(dict(one.marks)["start"])
    return None


def _fresh(start: _Start, mark: str) -> bool:
    """Whether a mark begins another start: the present one has failed or is past its configuration.

    Several ranks may print their configuration; a server that says its version again has been started again.
    """
    again = mark == "server" and mark in start.started
    return again or start.phase not in {"start", "weights"} or start.broke


def _take(start: _Start, line: Line) -> None:
    text = line.text
    low = text[:400].lower()
    if "NVIDIA" in text and "card" not in start.facts:
        named = _CARD.search(text[:400])
        if named:
            start.facts["card"] = named.group(1)
    for engine, words in _NAMED.items():
        if any(word in low for word in words):
            start.named[engine] = start.named.get(engine, 0) + 1
    for engine, patterns in ENGINES.items():
        for one in patterns:
            values = one.read(text) if one.trigger in text else None
            if values is not None:
                start.hits[engine] = start.hits.get(engine, 0) + 1
                _store(start, line.rank, values)
                if one.phase:
                    start.reach(one.phase)
    _take_arguments(start, text)
    _take_failure(start, line)


def _take_arguments(start: _Start, text: str) -> None:
    if any(word in text for word in _PRINTED_ARGUMENTS):
        start.printed.update(printed(text))
    elif start.open_command or is_command(text):
        start.commanded.update({k: v for k, v in commanded(text).items() if k not in start.commanded})
        start.open_command = text.endswith("\\")


def _store(start: _Start, rank: str, values: Mapping[str, Any]) -> None:
    """Put the fields of a line where they belong: memory by rank, arguments and names to the start."""
    device = values.get("device")
    memory = (
        start.ranks.setdefault(device or rank, {}) if len(start.ranks) < _MAX_RANKS else start.ranks[min(start.ranks)]
    )
    adding = values.get("add", False)
    for name, value in values.items():
        if name in _ARGUMENTS:
            if name not in start.said or values.get("final"):
                start.said[name] = value
        elif adding and name in memory and name in MEMORY_FIELDS:
            memory[name] += value
        elif name in MEMORY_FIELDS or name.endswith("_bytes") or name in {"in_use", "in_use_unit"}:
            memory[name] = value
        elif name not in {"add", "start", "device", "final"}:
            start.facts.setdefault(name, value)


def _take_failure(start: _Start, line: Line) -> None:
    text = line.text
    for words, phase in _FRAMES.items():
        if words in text:
            start.frame = start.frame or phase
    if start.oom and len(start.oom) < _OOM_LINES:
        start.oom.append(text)
    if OUT_OF_MEMORY.read(text) and not start.oom:
        start.oom.append(text)
        _fail(start, "oom", 2, {}, line.rank)
    for kind, weight, one in FAILURES:
        values = one.read(text) if one.trigger in text else None
        if values is not None:
            _fail(start, kind, weight, values, line.rank)
    if TRACEBACK in text:
        start.doubtful = True
        start.frame = start.frame if start.failure else None
    start.failed = start.failed or any(one.read(text) is not None for one in SOME_FAILURE)


def _fail(start: _Start, kind: str, weight: int, values: Mapping[str, Any], rank: str) -> None:
    start.failed = True
    named = {name: value for name, value in values.items() if name in MEMORY_FIELDS or name in _ARGUMENTS}
    _store(start, rank, {name: value for name, value in named.items() if name not in {"max_num_seqs"}})
    if values.get("card"):
        start.facts.setdefault("card", values["card"])
    if weight > start.weight:
        start.weight = weight
        start.failure = Failure(kind, start.frame or start.phase, dict(values))


def _close_oom(start: _Start) -> None:
    """Read PyTorch's sizes from the message and the lines after it."""
    if start.oom:
        _store(start, "", read_oom(" ".join(start.oom)))


def _tells(start: _Start) -> bool:
    return bool(start.hits) or start.failure is not None


def _engine(start: _Start) -> str:
    """The engine most of whose lines are there; else the one that is named most."""
    for counts in (start.hits, start.named):
        if counts:
            return max(counts, key=lambda name: counts[name])
    return "transformers" if start.failure and start.failure.kind == "oom" else "vllm"


def _finished(start: _Start, starts: int, neighbours: Mapping[str, int]) -> EngineLog:
    engine = _engine(start)
    arguments = {**start.commanded, **start.said, **start.printed}
    if start.said.get("max_model_len"):
        arguments["max_model_len"] = start.said["max_model_len"]
    model = arguments.pop("model", None) or start.facts.get("model")
    ranks = {name: _memory(values, engine) for name, values in start.ranks.items()}
    ranks = {name: memory for name, memory in ranks.items() if memory != Memory()}
    failure = start.failure or (Failure("unknown", start.phase) if start.broke else None)
    return EngineLog(
        engine=engine,
        version=start.facts.get("version"),
        generation=start.facts.get("generation"),
        model=str(model) if model else None,
        card=start.facts.get("card"),
        arguments={**arguments, **_further(start)},
        memory=_fullest(ranks),
        ranks={name: memory for name, memory in ranks.items() if name and name not in _HOST},
        failure=_with_phase(failure, engine),
        phase=start.phase,
        starts=starts,
        neighbours=neighbours,
        seconds={name: start.facts[f"{name}_s"] for name in _STEPS if f"{name}_s" in start.facts},
    )


def _further(start: _Start) -> dict[str, Any]:
    """Facts about the model and the device that are arguments to whoever computes it again."""
    names = ("drafter", "fixed_pool", "file_type", "model_name", "model_size", "runs_on")
    return {name: start.facts[name] for name in names if name in start.facts}


def _memory(values: Mapping[str, Any], engine: str) -> Memory:
    """Make a rank's Memory, and what follows from its lines."""
    found = dict(values)
    if "peak_torch_bytes" in found and "weights_bytes" in found:
        found.setdefault("activation_bytes", max(0, found["peak_torch_bytes"] - found["weights_bytes"]))
    if "in_use" in found:
        found.setdefault("kv_bytes", size(found["in_use"], found["in_use_unit"]))
    if "k_bytes" in found:
        found.setdefault("kv_bytes", found["k_bytes"] + found["v_bytes"])
    if found.get("activation_with_graphs") and found.get("weights_bytes") and found.get("consumed_bytes"):
        found.setdefault("non_torch_bytes", found["consumed_bytes"] - found["weights_bytes"])
    if engine == "sglang" and "free_bytes" in found and "after_weights_bytes" in found:
        found.setdefault("weights_bytes", found["free_bytes"] - found["after_weights_bytes"])
    return Memory(**{name: value for name, value in found.items() if name in MEMORY_FIELDS})


_HOST = ("CPU", "CUDA_Host", "ROCm_Host", "Vulkan_Host", "SYCL_Host", "CANN_Host", "BLAS")


def _fullest(ranks: Mapping[str, Memory]) -> Memory:
    """Return the rank that has least left, completed by what other ranks or the engine itself print.

    Buffers in the machine's own memory are named as such.
    """
    host = {name: memory for name, memory in ranks.items() if name in _HOST}
    cards = {name: memory for name, memory in ranks.items() if name not in _HOST}
    ordered = sorted(cards.values(), key=_room)
    merged: dict[str, Any] = {}
    for memory in ordered:
        for name in MEMORY_FIELDS:
            value = getattr(memory, name)
            if value is not None and name not in merged:
                merged[name] = value
    for memory in host.values():
        for mine, theirs in (("host_weights_bytes", "weights_bytes"), ("host_kv_bytes", "kv_bytes")):
            size = getattr(memory, theirs)
            if size:
                merged[mine] = merged.get(mine, 0) + size
    return Memory(**merged)


def _room(memory: Memory) -> tuple[bool, float]:
    """Order ranks: with sizes first, the least pool beside the largest weights first."""
    told = memory.weights_bytes is not None or memory.kv_bytes is not None or memory.consumed_bytes is not None
    weights = memory.weights_bytes or memory.consumed_bytes or 0
    return (not told, (memory.kv_bytes or 0) - weights)


def _held(start: _Start) -> int:
    """What another engine of the same text holds of its card: weights, pool and graphs."""
    memory = _fullest({name: _memory(values, _engine(start)) for name, values in start.ranks.items()})
    parts = (memory.consumed_bytes or memory.weights_bytes, memory.kv_bytes, memory.graphs_bytes)
    return 0 if start.broke else sum(part for part in parts if part and part > 0)


def _with_phase(failure: Failure | None, engine: str) -> Failure | None:
    """Name a full card by what was being made when it happened."""
    if failure is None or failure.kind != "oom":
        return failure
    kinds = {"start": "oom_weights", "weights": "oom_weights", "cache": "oom_cache", "graphs": "oom_graphs"}
    kinds |= {"profiling": "oom_profiling", "sampler": "oom_sampler", "running": "oom_running"}
    if engine == "llama.cpp":
        kinds |= {"graphs": "oom_compute", "sampler": "oom_compute"}
    kind = "oom_load" if engine in {"transformers", "exllama"} else kinds[failure.phase]
    return Failure(kind, failure.phase, failure.params)
