"""What is to run: a model, its storage formats, its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.domain.layers import Draft, Layer, Linear
from tools.domain.words import Note, Provenance


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
        parts: modules stored in a format of their own; the first that names a module decides.
        naming: how the writer's tools mean ``excluded`` and ``parts`` (see ``tools.vram.storage.names``).
        head: the output head is stored in a format too.
        extra: what else the writer's layout depends on (``writer``, ``activation``, ``kv_cache``, ...).
    """

    method: str = "none"
    bits: float = 16
    group_size: int | None = None
    symmetric: bool = True
    desc_act: bool = False
    block: tuple[int, int] | None = None
    excluded: tuple[str, ...] = ("lm_head",)
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parts: tuple[FormatPart, ...] = ()
    naming: Literal["any", "exact", "substring", "regex", "fused", "wildcard"] = "any"
    head: bool = False


@dataclass(frozen=True, slots=True)
class FormatPart:
    """Modules of a mixed checkpoint in a format of their own.

    Attributes:
        names: module names or patterns.
        format: theirs; ``method`` is ``none`` for modules that stay unquantised.
        naming: how ``names`` are meant, where not as the checkpoint's other names are.
    """

    names: tuple[str, ...]
    format: Quantization
    naming: Literal["", "any", "exact", "substring", "regex", "fused", "wildcard"] = ""


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
        config_overrides: fields of its ``config.json`` that differ from the model's (a width padded for packing).
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
    config_overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Encoder:
    """A vision encoder at work.

    Attributes:
        elements_a_token: alive at once for each token it makes for the text model.
        item_tokens: of the largest image it takes.
        each_sequence: cross attention reads its output, so every sequence of a profiling run comes with an image.
    """

    elements_a_token: int
    item_tokens: int
    each_sequence: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's declared structure and its checkpoints.

    Attributes:
        layers: ordered; empty where the architecture is not yet covered exactly (``not_exact`` says why).
        published_bytes: size of the native weight files as the catalogue or the hub states it.
        status: notes that answers must carry (needs review, estimated bytes, unverified).
        final_norm_bias, head_bias: a bias on the last norm and on the output head.
        shared_rotary: sliding and full layers share one rotary table.
        rotary_share: part of a head that rotates, where a mixer does not say it.
        rotary_reach: how many times as far as the context the table reaches (multimodal positions: 4).
        token_buffers: elements of the model's type that are held for every token of a batch (deep vision features).
        pools: an embedding model: it has no output head and samples nothing.
        tower_params: parameters outside the text model (vision or audio towers) whose structure is not known, only
            their count; kept in 16 bits.
        encoder: what its vision encoder takes while it runs, where that is known.
        outer: projections and tables outside the layers beside embeddings, head and last norm (towers, projectors).
        outer_elements: further elements of the model's type outside the layers, on every rank of the first stage.
        masks_images: tokens of an image see each other whatever their order.
        draft: its multi-token-prediction head, counted only where it is used; None where none is known.
        prefix: module path of the layers, as checkpoints name it.
        table_width: width of the embeddings where it is not the hidden size (OPT-350m); 0 = it is.
        every_stage: which of ``embeddings``, ``norm`` and ``head`` the engine keeps on each pipeline stage.
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
    pools: bool = False
    draft: Draft | None = None
    tower_params: int = 0
    encoder: Encoder | None = None
    shared_rotary: bool = True
    rotary_share: float = 1.0
    rotary_reach: int = 1
    token_buffers: int = 0
    outer: tuple[Linear, ...] = ()
    outer_elements: int = 0
    prefix: str = "model.layers"
    masks_images: bool = False
    every_stage: tuple[str, ...] = ()
    table_width: int = 0
