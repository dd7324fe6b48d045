"""Room for an engine: vLLM's own rule, on stated machines and with the numbers of recorded starts."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_specs import CARD, FOLDER, Stated, rtx3090, spec_of, with_flags

from prompts import LANGUAGES, text
from serving.card_memory import LEAST_CONTEXT_BYTES, CardMemory
from serving.node_memory import NodeMemory
from serving.room import OWN_ON_CPU_BYTES, Asked, MachineRoom, asked_by, short_of_ram, short_on_card
from serving.spec import EngineSpec
from tools.domain import Note
from tools.logs.read import read_log
from tools.specs.gpus import GpuCatalogue
from tools.specs.probes import Card, ProbeFailed, Process
from tools.units import GIB, MIB

TINY = "rigfit/tiny-qwen3"
CPU = spec_of(TINY, cpu=True, max_model_len=2048, max_num_seqs=2, kv_cache_memory_bytes=256 * MIB)
SHARED = with_flags(CPU, "--gpu-memory-utilization", "0.9")
"""Like ``CPU``; ``without_cache`` takes its explicit cache away."""


def without_cache(spec: EngineSpec, share: str) -> EngineSpec:
    at = spec.argv.index("--kv-cache-memory-bytes")
    return replace(spec, argv=(*spec.argv[:at], *spec.argv[at + 2 :], "--gpu-memory-utilization", share))


def node(total: float, available: float, spare: float | None = None) -> NodeMemory:
    sizes = (round(size * GIB) for size in (total, available, available if spare is None else spare))
    return NodeMemory(0, *sizes)


def ask(spec: EngineSpec, **machine: Any) -> Note | None:
    return asyncio.run(MachineRoom(**machine).shortage(spec))


def said(found: Note | None) -> str:
    assert found is not None
    for language in LANGUAGES:
        assert text(language, found.code, **found.params)
    return text("en", found.code, **found.params)


# Cards


def test_the_command_says_what_is_asked_for() -> None:
    assert asked_by(spec_of(gpu_memory_utilization=0.45)).share == 0.45
    assert asked_by(spec_of()).share == 0.92
    assert asked_by(spec_of(engine_version="0.11.0")).share == 0.9
    assert asked_by(with_flags(spec_of(gpu_memory_utilization=0.45), "--gpu-memory-utilization=0.6")).share == 0.6
    assert asked_by(with_flags(spec_of(), "--device-memory-utilization", "0.3")).share == 0.3
    assert asked_by(with_flags(spec_of(), "--kv-cache-memory-bytes", "2G")).cache_bytes == 2 * GIB


def test_an_engine_beside_another_is_refused_with_the_engines_numbers() -> None:
    """23.58 GiB in all; another holds 12: 0.45 of the card fits beside it, 0.5 does not."""
    machine = Stated((rtx3090(12 * GIB),), processes=(Process(1, 12 * GIB),))
    assert ask(spec_of(gpu_memory_utilization=0.45), probes=machine) is None
    found = ask(spec_of(gpu_memory_utilization=0.5), probes=machine)
    words = said(found)
    total = CARD.cuda_total_bytes
    assert f"asks for {math.ceil(total * 0.5) / GIB:.2f} GiB" in words
    assert f"{(total - 12 * GIB) / GIB:.2f} GiB is free" in words
    assert f"of {total / GIB:.2f} GiB" in words
    assert "nvidia:0" in words
    assert "--gpu-memory-utilization 0.5" in words
    assert f"{psutil.Process(1).name()} (pid 1) 12.0 GiB" in words


def test_a_set_cache_does_not_lift_the_rule() -> None:
    crowded = Stated((rtx3090(20 * GIB),))
    spec = spec_of(gpu_memory_utilization=0.5, kv_cache_memory_bytes=GIB)
    assert "--kv-cache-memory-bytes" in spec.argv
    assert ask(spec, probes=crowded) is not None


def test_the_whole_card_less_a_context_can_be_asked_for() -> None:
    idle = Stated((rtx3090(),))
    assert ask(spec_of(gpu_memory_utilization=0.98), probes=idle) is None
    assert ask(spec_of(gpu_memory_utilization=0.995), probes=idle) is not None


def test_each_card_of_several_must_have_room_and_counts_by_its_number() -> None:
    spec = spec_of(gpus=(CARD, CARD), gpu_memory_utilization=0.9)
    assert spec.cards == ("nvidia:0", "nvidia:1")
    found = ask(spec, probes=Stated((rtx3090(), rtx3090(10 * GIB))))
    assert "nvidia:1" in said(found)
    assert ask(spec, probes=Stated((rtx3090(), rtx3090()))) is None
    assert ask(replace(spec, cards=("nvidia:0",)), probes=Stated((rtx3090(), rtx3090(10 * GIB)))) is None


def test_weights_that_a_daemon_holds_are_part_of_the_share_and_there_already() -> None:
    held = spec_of(gpu_memory_utilization=0.9, weights_elsewhere=True)
    weights = held.unit.instance.footprint.weights_bytes
    assert ask(held, probes=Stated((rtx3090(weights),))) is None
    assert ask(spec_of(gpu_memory_utilization=0.9), probes=Stated((rtx3090(weights),))) is not None
    assert ask(held, probes=Stated((rtx3090(weights + 4 * GIB),))) is not None


def test_a_split_card_is_judged_by_the_instance_that_the_engine_sees() -> None:
    whole = Card("NVIDIA H100 80GB HBM3", 81559 * MIB, 0, "9.0", mig=True)
    spec = spec_of(gpu_memory_utilization=0.9)
    assert ask(spec, probes=Stated((replace(whole, slice_bytes=(20 * GIB, 100 * MIB)),))) is None
    assert ask(spec, probes=Stated((replace(whole, slice_bytes=(20 * GIB, 10 * GIB)),))) is not None
    notes: list[Note] = []
    assert ask(spec, probes=Stated((whole,)), say=notes.append) is None
    assert [one.code for one in notes] == ["room.silent"]


def test_a_card_that_shares_the_machines_memory_is_judged_by_that() -> None:
    spark = Card("NVIDIA GB10", None, 0, "12.1")
    ram = psutil.virtual_memory()
    machine = Stated((spark,), ram=ram.total)
    assert ask(spec_of(gpu_memory_utilization=0.01), probes=machine) is None
    little = Stated((spark,), ram=100 * ram.total)
    assert ask(spec_of(gpu_memory_utilization=0.9), probes=little) is not None


def test_amd_cards_are_judged_by_what_their_driver_says() -> None:
    found = GpuCatalogue.load().find("MI300X").gpu
    card = Card("", 196592 * MIB, 100 * GIB, "gfx942")
    spec = spec_of(gpus=(found,), gpu_memory_utilization=0.6)
    assert spec.cards == ("amd:0",)
    assert "AMD" in said(ask(spec, probes=Stated(amd_cards=(card,))))
    assert ask(spec, probes=Stated(amd_cards=(replace(card, used_bytes=70 * GIB),))) is None


def test_a_card_that_is_not_there_is_said() -> None:
    spec = replace(spec_of(), cards=("nvidia:3",))
    assert "1" in said(ask(spec, probes=Stated((rtx3090(),))))


class Broken(Stated):
    def nvidia(self) -> tuple[Card, ...]:
        raise ProbeFailed("Driver/library version mismatch")


@pytest.mark.parametrize(("machine", "code"), [(Stated(), "room.silent"), (Broken(), "room.unknown")])
def test_what_can_not_be_read_is_said_once_and_refuses_nobody(machine: Stated, code: str) -> None:
    notes: list[Note] = []
    room = MachineRoom(probes=machine, say=notes.append)
    for _ in range(3):
        assert asyncio.run(room.shortage(spec_of())) is None
    assert [one.code for one in notes] == [code]
    said(notes[0])


def test_this_machine_answers() -> None:
    notes: list[Note] = []
    asyncio.run(MachineRoom(say=notes.append).shortage(spec_of()))
    assert {one.code for one in notes} <= {"room.unknown", "room.silent"}


@given(
    total=st.integers(GIB, 1 << 40),
    used=st.integers(0, 1 << 40),
    share=st.floats(0.01, 1.0),
    elsewhere=st.integers(0, 40 * GIB),
)
def test_the_rule_is_vllms(total: int, used: int, share: float, elsewhere: int) -> None:
    """``request_memory``: refused where free < ceil(total x share) - what others hold for it."""
    free = max(0, total - used)
    wanted, missing = short_on_card(
        CardMemory("x", total, free, LEAST_CONTEXT_BYTES), Asked(share, "", None, 0, elsewhere)
    )
    assert wanted == math.ceil(total * share) - elsewhere
    assert (missing > 0) == (free - LEAST_CONTEXT_BYTES < wanted)
    if missing:
        assert missing == wanted - (free - LEAST_CONTEXT_BYTES)


# The processor


REFUSED = (FOLDER / "starts" / "vllm-0.32-cpu-refused.log").read_text(encoding="utf-8")


def test_the_second_engine_is_refused_with_the_numbers_of_a_real_refusal() -> None:
    """Recorded: one engine ran with 0.3, 10.59 of 16.59 GiB was available, and 0.9 was refused at 9.39."""
    log = read_log(REFUSED)
    assert log is not None
    assert log.failure is not None
    assert log.failure.kind == "free_below_budget"
    machine = node(16.588, 10.594)
    words = said(ask(without_cache(CPU, "0.9"), node=lambda _: machine))
    assert log.memory.budget_bytes is not None
    assert log.memory.total_bytes is not None
    assert f"asks for {log.memory.budget_bytes / GIB:.2f} GiB" in words
    assert f"of {log.memory.total_bytes / GIB:.2f} GiB" in words
    assert re.search(r"\(--gpu-memory-utilization 0\.9 of", words)
    seen = machine.available_bytes - OWN_ON_CPU_BYTES
    assert log.memory.free_bytes is not None
    assert 0 <= seen - log.memory.free_bytes < 0.3 * GIB  # never less than the engine sees, and near it
    assert ask(without_cache(CPU, "0.5"), node=lambda _: machine) is None


def test_with_a_set_cache_the_share_is_not_looked_at_but_the_ram_is() -> None:
    assert ask(SHARED, node=lambda _: node(16, 4)) is None
    assert "256" not in said(ask(SHARED, node=lambda _: node(16, 2)))
    assert "0.25 GiB" in said(ask(SHARED, node=lambda _: node(16, 2)))
    huge = with_flags(CPU, "--kv-cache-memory-bytes", str(8 * GIB))
    assert ask(huge, node=lambda _: node(16, 4)).code.startswith("room.ram_cache")  # type: ignore[union-attr]


def test_memory_that_the_nodes_figures_lack_counts_for_the_machine() -> None:
    assert ask(CPU, node=lambda _: node(9, 2, spare=20)) is None


def test_the_legacy_variable_wins_over_the_flag_as_in_the_engine() -> None:
    spec = replace(CPU, env={**CPU.env, "VLLM_CPU_KVCACHE_SPACE": "12"})
    assert asked_by(spec).cache_bytes == 12 * GIB
    assert ask(spec, node=lambda _: node(16, 10)) is not None
    assert asked_by(replace(CPU, env={"VLLM_CPU_KVCACHE_SPACE": "x"})).cache_bytes == 256 * MIB


def test_a_machine_that_does_not_tell_refuses_nobody() -> None:
    notes: list[Note] = []
    assert ask(CPU, node=lambda _: None, say=notes.append) is None
    assert [one.params["place"] for one in notes] == ["cpu"]


def test_the_visible_nodes_are_the_engines() -> None:
    asked: list[str] = []

    def look(visible: str) -> NodeMemory | None:
        asked.append(visible)
        return node(16, 10)

    ask(replace(CPU, env={"CPU_VISIBLE_MEMORY_NODES": "1"}), node=look)
    assert asked == ["1"]


@given(total=st.integers(GIB, 1 << 42), available=st.integers(0, 1 << 42), share=st.floats(0.01, 1.0))
def test_the_processors_rule_is_vllms_too(total: int, available: int, share: float) -> None:
    memory = NodeMemory(0, total, available, available)
    found = short_of_ram(memory, Asked(share, "", None, 0))
    assert (found is not None) == (math.ceil(total * share) > available - OWN_ON_CPU_BYTES)
    assert found is None or found[1] == math.ceil(total * share)


@given(cache=st.integers(0, 1 << 40), weights=st.integers(0, 1 << 40), available=st.integers(0, 1 << 42))
def test_more_ram_never_makes_a_shortage(cache: int, weights: int, available: int) -> None:
    asked = Asked(0.9, "", cache, weights)
    here = short_of_ram(NodeMemory(0, 1 << 43, available, available), asked)
    more = short_of_ram(NodeMemory(0, 1 << 43, available + GIB, available + GIB), asked)
    assert here is not None or more is None
