"""A small factory of plans: real dataclasses with round numbers, no planner needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tools.domain import (
    Attention,
    Band,
    Checkpoint,
    Costs,
    DenseMlp,
    Deployment,
    Footprint,
    Gpu,
    GpuUse,
    InstancePlan,
    InstanceRequest,
    Layer,
    ModelSpec,
    Option,
    Placement,
    Plan,
    PlanRequest,
    Quantization,
    Rig,
    note,
)
from tools.units import GIB

CARD = Gpu("NVIDIA RTX PRO 6000 Blackwell", "nvidia", 97_887 << 20, 95 * GIB, compute_capability="12.0")


def hub_id(name: str) -> str:
    """A name of the model hub with what such a name may hold of any text."""
    kept = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-") or "model"
    return f"{kept}/{kept}"


def make_checkpoint(repo: str = "Org/Model-8B", **changes: Any) -> Checkpoint:
    return replace(Checkpoint(repo, "bf16", file_bytes=16 * GIB), **changes)


def make_gguf(repo: str = "Org/Model-8B-GGUF", kind: str = "Q4_K_M", **changes: Any) -> Checkpoint:
    """A published GGUF file; ``hypothetical=True`` makes it one that has to be converted."""
    storage = Quantization("gguf", 4.85, None, excluded=(), extra={"type": kind})
    return replace(Checkpoint(repo, f"gguf-{kind}", storage, "float16", file_bytes=5 * GIB), **changes)


def make_model(checkpoint: Checkpoint) -> ModelSpec:
    layer = Layer((Attention(32, 8, 128),), DenseMlp(12_288))
    return ModelSpec(
        name="Model-8B",
        model_type="qwen3",
        architecture="Qwen3ForCausalLM",
        params_total=8_000_000_000,
        params_active=None,
        hidden_size=4096,
        vocab_size=151_936,
        tied_embeddings=False,
        max_context=40_960,
        layers=(layer, layer),
        checkpoints=(checkpoint,),
    )


def make_instance(
    name: str = "a",
    served: tuple[str, ...] = ("model-a",),
    *,
    checkpoint: Checkpoint | None = None,
    gpus: tuple[int, ...] = (0,),
    order: int = 0,
    awake: bool = True,
    **deployment: Any,
) -> InstancePlan:
    checkpoint = checkpoint or make_checkpoint()
    fields: dict[str, Any] = {
        "max_model_len": 8192,
        "max_num_seqs": 4,
        "gpu_memory_utilization": 0.25,
        "kv_cache_memory_bytes": 4 * GIB,
    }
    plan = Deployment(make_model(checkpoint), checkpoint, **(fields | deployment))
    zero = Band(0, 0, 0)
    footprint = Footprint(
        deployment=plan,
        parameter_bytes=16 * GIB,
        weights_bytes=16 * GIB,
        backend="unquantized",
        kv_bytes_per_token=147_456,
        kv_needed_bytes=4 * GIB,
        kv_pool_bytes=Band(4 * GIB, 4 * GIB, 4 * GIB),
        kv_pool_tokens=29_127,
        max_concurrency=3.5,
        activation_bytes=Band(0, GIB // 2, GIB),
        cuda_graph_bytes=Band(0, GIB // 2, GIB),
        context_bytes=zero,
        total_bytes=21 * GIB,
        verdict="fits",
        provenance={},
    )
    return InstancePlan(name, served, plan, footprint, gpus, order, awake)


def make_llama(
    name: str = "a",
    served: tuple[str, ...] = ("model-a",),
    *,
    engine: str = "llama.cpp",
    gpus: tuple[int, ...] = (0,),
    **changes: Any,
) -> InstancePlan:
    """An engine that loads GGUF files, with whole layers on each of its cards."""
    budget = {"gpu_memory_utilization": None, "kv_cache_memory_bytes": None, "pp": len(gpus)}
    checkpoint = changes.pop("checkpoint", None) or make_gguf()
    return make_instance(name, served, checkpoint=checkpoint, gpus=gpus, engine=engine, **(budget | changes))


def make_plan(
    *instances: InstancePlan,
    rig: Rig | None = None,
    fits: bool = True,
    kind: str | None = None,
    needs: tuple[Any, ...] = (),
    **request: Any,
) -> Plan:
    """A plan whose recommended placement holds ``instances``; with ``kind``, as the option ``"chosen"``."""
    rig = rig or Rig((CARD,))
    count = max([len(rig.gpus), *(g + 1 for i in instances for g in i.gpu_indices)])
    used = [sum(i.footprint.total_bytes for i in instances if g in i.gpu_indices and i.awake) for g in range(count)]
    gpus = tuple(GpuUse(g, CARD.name, 95 * GIB, 0, used[g], 95 * GIB - used[g]) for g in range(count))
    placement = Placement("fits" if fits else "does_not_fit", 0 if fits else 7 * GIB, instances, gpus)
    asked = PlanRequest(tuple(InstanceRequest(i.deployment.model) for i in instances), rig, **request)
    reason = note("errors.bad_size", value="reason")
    if kind is None:
        verdict = "fits" if fits else "does_not_fit"
        return Plan(asked, verdict, placement, (), "as_asked", reason)
    refused = Placement("does_not_fit", 9 * GIB, instances, gpus)
    title = note("errors.bad_size", value="title")
    option = Option("chosen", kind, title, placement, needs, Costs())  # pyright: ignore[reportArgumentType]
    return Plan(asked, "fits_with_changes", refused, (option,), "chosen", reason)


@pytest.fixture
def checkpoint() -> Callable[..., Checkpoint]:
    return make_checkpoint


@pytest.fixture
def instance() -> Callable[..., InstancePlan]:
    return make_instance


@pytest.fixture
def plan() -> Callable[..., Plan]:
    return make_plan


@pytest.fixture
def quantization() -> Callable[..., Quantization]:
    return Quantization


@pytest.fixture
def card() -> Gpu:
    return CARD
