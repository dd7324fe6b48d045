"""Engines for tests of memory: specs as a plan's launch makes them, and machines whose memory is stated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from serving.spec import EngineSpec, specs
from tools.domain import (
    Deployment,
    Gpu,
    InstancePlan,
    InstanceRequest,
    ModelSpec,
    Placement,
    Plan,
    PlanRequest,
    Rig,
    note,
)
from tools.launch.choices import Choices
from tools.launch.job import prepare
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.specs.probes import Card, Process
from tools.units import GIB, MIB
from tools.vram.architecture import spec_from_config
from tools.vram.estimate import estimate

FOLDER = Path(__file__).parents[2] / "fixtures"
CARD = GpuCatalogue.load().find("RTX 3090").gpu
TINY = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 4096, "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 64, "max_position_embeddings": 4096, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip
"""The model of the recorded start on the processor."""


@cache
def model_of(name: str) -> ModelSpec:
    return spec_from_config(TINY, name=name) if name.startswith("rigfit/") else ModelCatalogue.load().find(name).spec


def spec_of(
    model: str = "Qwen/Qwen3-8B",
    *,
    gpus: tuple[Gpu, ...] = (CARD,),
    cpu: bool = False,
    name: str = "a",
    env: dict[str, str] | None = None,
    **settings: Any,
) -> EngineSpec:
    """One engine on all the cards, with the settings of a Deployment."""
    found = model_of(model)
    checkpoint = found.checkpoints[0]
    settings = {"engine_version": "0.32.0", "max_model_len": 16384, "max_num_seqs": 64, "tp": len(gpus)} | settings
    deployment = Deployment(found, checkpoint, **settings)
    instance = InstancePlan(name, (name,), deployment, estimate(deployment, gpus[0]), tuple(range(len(gpus))))
    placement = Placement("fits", 0, (instance,), ())
    request = PlanRequest((InstanceRequest(found),), Rig(gpus))
    plan = Plan(request, "fits", placement, (), "as_asked", note("plan.fits"))
    job = prepare(plan, "as_asked", "en", choices=Choices(cpu=cpu))[0]
    return specs(job, command=Path("/opt/vllm/bin/vllm"), ports=[8001], env=env)[0]


def with_flags(spec: EngineSpec, *words: str) -> EngineSpec:
    """The engine with other flags: the last of a kind wins, as the engine reads them."""
    names = {word.partition("=")[0] for word in words if word.startswith("--")}
    kept: list[str] = []
    dropping = False
    for word in spec.argv:
        dropping = word in names if word.startswith("--") else dropping
        if not dropping:
            kept.append(word)
    return replace(spec, argv=(*kept, *words))


@dataclass(frozen=True)
class Stated:
    """A machine that says what it is told to."""

    nvidia_cards: tuple[Card, ...] = ()
    amd_cards: tuple[Card, ...] = ()
    ram: int = 64 * GIB
    processes: tuple[Process, ...] = ()

    def nvidia(self) -> tuple[Card, ...]:
        return self.nvidia_cards

    def amd(self) -> tuple[Card, ...]:
        return self.amd_cards

    def ram_bytes(self) -> int | None:
        return self.ram

    def nvidia_processes(self, index: int) -> tuple[Process, ...]:
        return self.processes if index == 0 else ()


def rtx3090(used_bytes: int = 0, **more: Any) -> Card:
    return Card("NVIDIA GeForce RTX 3090", 24576 * MIB, used_bytes, "8.6", **more)
