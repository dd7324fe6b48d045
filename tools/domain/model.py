"""What is to run: layers, storage formats, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.domain.words import Note, Provenance


@dataclass(frozen=True, slots=True)
class Attention:
    """A layer's token mixer as attention with a per-token KV cache.

    Attributes:
        window: tokens kept by a sliding window, or None for full attention.
        qk_norm: per-head RMSNorm on q and k (two vectors of ``head_dim``).
        bias: on q, k, v (``qkv_bias``) and on o (``o_bias``).
        sinks: one learned logit a head (gpt-oss).
        qk_norm_span: ``head`` (one vector of ``head_dim``), ``rank`` (all heads of the rank) or ``all`` (every head).
        qk_norm_bias: the q and k norms are LayerNorms with a bias.
        gate_width: outputs a head of a separate gate projection: ``head_dim``, 1, or 0 for none.
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    qk_norm: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    sinks: bool = False
    qk_norm_span: Literal["head", "rank", "all"] = "head"
    qk_norm_bias: bool = False
    gate_width: int = 0


@dataclass(frozen=True, slots=True)
class DenseMlp:
    """A feed-forward block; ``gated`` has gate, up and down projections, else up and down."""

    intermediate: int
    gated: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True)
class MoeMlp:
    """A mixture of experts: ``experts`` routed ones of which ``active`` run a token, and a shared one if not 0 wide.

    Attributes:
        shared_gate: a one-row projection weighs the shared expert.
        router_bias: the router projection has a bias.
        expert_bias: the experts' projections have biases (gpt-oss).
        score_bias: one float32 correction an expert, added when choosing (DeepSeek-V3 class).
        router_bytes: bytes of one router weight (4 where the engine keeps the router in float32).
        router_quantised: the engine stores the router in the checkpoint's format unless the checkpoint excludes it.
    """

    experts: int
    active: int
    intermediate: int
    shared_intermediate: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    score_bias: bool = False
    router_bytes: int = 2
    router_quantised: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: a mixer, a feed-forward block and ``norms`` vectors of the hidden size."""

    mixer: Attention
    mlp: DenseMlp | MoeMlp
    norms: int = 2


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a checkpoint stores its linear weights; what it leaves alone is in ``excluded``.

    Attributes:
        method: ``none fp8_block fp8_tensor fp8_channel fp8_online int8 gptq awq w4a16 w8a16 nvfp4 mxfp4 mxfp8
            bnb_nf4 bnb_int8 gguf exl2 exl3 mlx``.
        bits: bits a stored weight (for GGUF and EXL the mean).
        group_size: weights sharing one scale; -1 = a whole channel; None = does not apply.
        block: (rows, columns) of one FP8 block scale.
        excluded: names or patterns of modules kept in the checkpoint's 16-bit type.
    """

    method: str = "none"
    bits: float = 16
    group_size: int | None = None
    symmetric: bool = True
    desc_act: bool = False
    block: tuple[int, int] | None = None
    excluded: tuple[str, ...] = ("lm_head",)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One way to load a model: a published repository, or quantisation in flight of a 16-bit one.

    Attributes:
        repo: hub id whose files are loaded.
        precision: the command line's word (``bf16 fp8 fp8-online gptq-int4 awq w4a16 nvfp4 mxfp4 bnb-4bit ...``).
        in_flight: quantised by the engine while loading; ``repo`` is then the 16-bit repository.
        file_bytes: size of the weight files, with ``file_provenance``.
        sibling_of: set where ``repo`` is not this model but its nearest quantised relative.
        hypothetical: no repository in this format is known; it stands for the format's arithmetic and can't be run.
    """

    repo: str
    precision: str
    quantization: Quantization = Quantization()
    dtype: str = "bfloat16"
    in_flight: bool = False
    file_bytes: int | None = None
    file_provenance: Provenance = "estimated"
    source: str = ""
    downloads: int = 0
    sibling_of: str | None = None
    revision: str | None = None
    hypothetical: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's declared structure and its checkpoints.

    Attributes:
        layers: ordered; empty where the architecture is not yet covered exactly (``not_exact`` says why).
        published_bytes: size of the native weight files as the catalogue or the hub states it.
        status: notes that answers must carry (needs review, estimated bytes, unverified).
        final_norm_bias, head_bias: a bias on the last norm and on the output head.
        shared_rotary: sliding and full layers share one rotary table.
        tower_params: parameters outside the text model (vision or audio towers), kept in 16 bits.
    """

    name: str
    model_type: str
    architecture: str
    params_total: int
    params_active: int | None
    hidden_size: int
    vocab_size: int
    tied_embeddings: bool
    max_context: int
    layers: tuple[Layer, ...]
    checkpoints: tuple[Checkpoint, ...]
    dtype: str = "bfloat16"
    final_norm: bool = True
    published_bytes: int | None = None
    not_exact: Note | None = None
    license: str | None = None
    release_date: str | None = None
    source: str = ""
    status: tuple[Note, ...] = ()
    revision: str | None = None
    final_norm_bias: bool = False
    head_bias: bool = False
    tower_params: int = 0
    shared_rotary: bool = True
