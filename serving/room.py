"""Is there room for an engine, by the engine's own rule and before it is started?

vLLM refuses to start where less is free than its share of the card (``request_memory``, vllm/v1/worker/utils.py
0.32.0), also where ``--kv-cache-memory-bytes`` sets the cache. Its CPU build does so with a share of the node's memory
(``CPUWorker``, vllm/v1/worker/cpu_worker.py), unless the cache is set; then it looks only whether the cache is free. It
says so after half a minute of imports; here it is said before.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from serving.card_memory import CardMemory, Holder, card_holders, cards_of, named, ram_holders
from serving.node_memory import NODES_VARIABLE, NodeMemory, node_memory
from serving.spec import PROCESSOR
from tools.domain import Note, note
from tools.launch.preflight import ON_CPU_BYTES
from tools.logs.arguments import commanded
from tools.settings import passed_on
from tools.units import GIB, gib
from tools.vram.engines.vllm import start_check, utilization_of

if TYPE_CHECKING:
    from serving.card_memory import CardProbes
    from serving.spec import EngineSpec

OWN_ON_CPU_BYTES = GIB
"""What vLLM's processes take of the RAM before its CPU build looks: 1.2 GiB (0.32.0, a model of 7 MB); a little less is
counted, so that nobody is refused whom the engine would not refuse."""
KV_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
"""Whole GiB; wins over ``--kv-cache-memory-bytes`` (``CpuPlatform.check_and_update_config``, 0.32.0)."""
LOOK_S = 10.0
"""A driver that takes longer says nothing."""


class Room(Protocol):
    """Who knows whether an engine has room."""

    async def shortage(self, spec: EngineSpec) -> Note | None:
        """Say what an engine lacks now; None where no shortage is known.

        What has just ended may give its memory back some seconds later: ask again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What an engine's command asks for.

    Attributes:
        share: of the card, or of the node's memory.
        flag: how that was said, for people.
        cache_bytes: the cache where it is set outright.
        weights_bytes: what it loads, as predicted.
        elsewhere_bytes: weights that another process holds on the card for it.
    """

    share: float
    flag: str
    cache_bytes: int | None
    weights_bytes: int
    elsewhere_bytes: int = 0


def asked_by(spec: EngineSpec) -> Asked:
    """Read what counts at start from an engine's command and environment."""
    said = commanded(shlex.join(spec.argv[1:]))
    instance = spec.unit.instance
    default = utilization_of(replace(instance.deployment, gpu_memory_utilization=None))
    share, cache = said.get("gpu_memory_utilization"), said.get("kv_cache_memory_bytes")
    footprint = instance.footprint
    if PROCESSOR in spec.cards:
        space = _variable(spec, KV_VARIABLE)
        cache = int(space) * GIB if space.isascii() and space.isdigit() and len(space) < 6 else cache
    return Asked(
        share=share or default,
        flag=f"--gpu-memory-utilization {share or default:g}",
        cache_bytes=cache,
        weights_bytes=footprint.parameter_bytes if PROCESSOR in spec.cards else footprint.weights_bytes,
        elsewhere_bytes=footprint.weights_bytes if instance.deployment.weights_elsewhere else 0,
    )


def _variable(spec: EngineSpec, name: str) -> str:
    """A variable as the engine will see it."""
    return {**passed_on(name), **spec.env}.get(name, "")


def short_on_card(memory: CardMemory, asked: Asked) -> tuple[int, int]:
    """Return what vLLM asks to be free on a card, and how much of it is missing; bytes."""
    start = start_check(memory.total_bytes, memory.free_bytes - memory.context_bytes, asked.share)
    return start.budget_bytes - asked.elsewhere_bytes, max(0, start.shortfall_bytes - asked.elsewhere_bytes)


def short_of_ram(memory: NodeMemory, asked: Asked) -> tuple[str, int, int, int] | None:
    """Apply the CPU build's rules, then that all of it must fit in RAM.

    Returns: the message's name, what is wanted, what is free and of how much; None where nothing is missing.
    """
    available = memory.available_bytes - OWN_ON_CPU_BYTES
    cache = asked.cache_bytes
    if cache is None:
        start = start_check(memory.total_bytes, available, asked.share)
        if not start.ok:
            return "ram_share", start.budget_bytes, memory.available_bytes, memory.total_bytes
        return None
    if cache > available:
        return "ram_cache", cache, memory.available_bytes, memory.total_bytes
    wanted = asked.weights_bytes + cache + ON_CPU_BYTES
    if wanted > memory.spare_bytes:
        return "ram", wanted, memory.spare_bytes, max(memory.total_bytes, memory.spare_bytes)
    return None


class MachineRoom:
    """Asks this machine.

    Args:
        probes: who is asked of cards; by default their drivers.
        node: who is asked of the machine's memory, given the value of ``CPU_VISIBLE_MEMORY_NODES``.
        say: takes a Note, once each, where nothing can be read.
    """

    def __init__(
        self,
        *,
        probes: CardProbes | None = None,
        node: Callable[[str], NodeMemory | None] = node_memory,
        say: Callable[[Note], None] | None = None,
    ) -> None:
        self._probes = probes
        self._node = node
        self._say = say
        self._said: set[str] = set()

    async def shortage(self, spec: EngineSpec) -> Note | None:
        """Say what an engine lacks now; None where no shortage is known."""
        try:
            async with asyncio.timeout(LOOK_S):
                found, unknown = await asyncio.to_thread(self._look, spec)
        except TimeoutError:
            found, unknown = None, dict.fromkeys(spec.cards, "timeout")
        for place, reason in unknown.items():
            if self._say and place not in self._said:
                self._said.add(place)
                self._say(_unread(place, reason))
        return found

    def _look(self, spec: EngineSpec) -> tuple[Note | None, dict[str, str]]:
        asked, unknown = asked_by(spec), dict[str, str]()
        for place in spec.cards:
            found = self._of_ram(spec, asked, unknown) if place == PROCESSOR else self._of(spec, place, asked, unknown)
            if found:
                return found, unknown
        return None, unknown

    def _of_ram(self, spec: EngineSpec, asked: Asked, unknown: dict[str, str]) -> Note | None:
        memory = self._node(_variable(spec, NODES_VARIABLE))
        if memory is None:
            unknown[PROCESSOR] = ""
            return None
        short = short_of_ram(memory, asked)
        if short is None:
            return None
        kind, wanted, free, total = short
        said = {"name": spec.name, "free": gib(free, 2), "total": gib(total, 2), "wanted": gib(wanted, 2)}
        said |= {"node": memory.node, "flag": asked.flag, "own": gib(OWN_ON_CPU_BYTES), "rest": gib(ON_CPU_BYTES)}
        said |= {"weights": gib(asked.weights_bytes, 2), "cache": gib(asked.cache_bytes or 0, 2)}
        return _with_holders(kind, said, ram_holders(total // 20))

    def _of(self, spec: EngineSpec, place: str, asked: Asked, unknown: dict[str, str]) -> Note | None:
        from tools.specs.gpus import GpuCatalogue
        from tools.specs.probes import MachineProbes, ProbeFailed

        vendor, _, number = place.partition(":")
        index, probes = int(number), self._probes or MachineProbes()
        try:
            cards = cards_of(vendor, probes, GpuCatalogue.load())
        except ProbeFailed as failure:
            unknown[place] = str(failure)
            return None
        if cards and index >= len(cards):
            return note("room.no_card", name=spec.name, place=place, count=len(cards))
        memory = cards[index] if cards else None
        if memory is None:
            unknown[place] = ""
            return None
        wanted, missing = short_on_card(memory, asked)
        if not missing:
            return None
        said = {"name": spec.name, "card": memory.name, "place": place, "free": gib(memory.free_bytes, 2)}
        said |= {"total": gib(memory.total_bytes, 2), "wanted": gib(wanted, 2), "flag": asked.flag}
        return _with_holders("card", said, card_holders(vendor, index, probes))


def _unread(place: str, reason: str) -> Note:
    return note("room.unknown", place=place, reason=reason[:200]) if reason else note("room.silent", place=place)


def _with_holders(kind: str, said: Mapping[str, object], holders: tuple[Holder, ...]) -> Note:
    if holders:
        return note(f"room.{kind}_held", **said, holders=named(holders))
    return note(f"room.{kind}", **said)
