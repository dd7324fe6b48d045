"""The words of the field as frozen dataclasses. Everything passes these; nothing passes bare numbers.

Data flows one way: text -> Reading -> PlanRequest -> Plan -> answer, picture, files, processes.
Sizes are ``int`` and end in ``_bytes``; "per GPU" means the fullest rank.
"""

from __future__ import annotations

from tools.domain.deployment import Deployment, EngineOptions, Footprint, Ranks
from tools.domain.hardware import Gpu, Rig
from tools.domain.layers import (
    Attention,
    CompressedAttention,
    DenseMlp,
    Draft,
    Indexer,
    Layer,
    Linear,
    LinearAttention,
    Mamba,
    Mixer,
    MlaAttention,
    MoeMlp,
    ShortConv,
)
from tools.domain.measured import Measured
from tools.domain.model import Checkpoint, Encoder, FormatPart, ModelSpec, Quantization
from tools.domain.plan import Costs, GpuUse, InstancePlan, InstanceRequest, Option, Placement, Plan, PlanRequest
from tools.domain.said import GpuAsk, ModelAsk, Reading
from tools.domain.words import Band, Note, OptionKind, Provenance, Relation, Residency, Verdict, note

__all__ = [
    "Attention",
    "Band",
    "Checkpoint",
    "CompressedAttention",
    "Costs",
    "DenseMlp",
    "Deployment",
    "Draft",
    "Encoder",
    "EngineOptions",
    "Footprint",
    "FormatPart",
    "Gpu",
    "GpuAsk",
    "GpuUse",
    "Indexer",
    "InstancePlan",
    "InstanceRequest",
    "Layer",
    "Linear",
    "LinearAttention",
    "Mamba",
    "Measured",
    "Mixer",
    "MlaAttention",
    "ModelAsk",
    "ModelSpec",
    "MoeMlp",
    "Note",
    "Option",
    "OptionKind",
    "Placement",
    "Plan",
    "PlanRequest",
    "Provenance",
    "Quantization",
    "Ranks",
    "Reading",
    "Relation",
    "Residency",
    "Rig",
    "ShortConv",
    "Verdict",
    "note",
]
