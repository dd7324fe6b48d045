"""The words of the field as frozen dataclasses. Everything passes these; nothing passes bare numbers.

Data flows one way: text -> Reading -> PlanRequest -> Plan -> answer, picture, files, processes.
Sizes are ``int`` and end in ``_bytes``; "per GPU" means the fullest rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Provenance = Literal["exact", "measured", "published", "computed", "estimated", "assumed"]
Verdict = Literal["fits", "fits_with_changes", "does_not_fit"]
OptionKind = Literal[
    "share",
    "precision",
    "kv_dtype",
    "context",
    "concurrency",
    "parallel",
    "offload",
    "swap",
    "smaller_model",
    "more_hardware",
]
Residency = Literal["auto", "together", "swap"]
Relation = Literal["together", "alternatives", "separate"]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for a person, as a message code and its parameters; the words live in ``prompts/messages``."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


def note(code: str, **params: Any) -> Note:
    """Build a Note: ``note("plan.assume_context", tokens=8192)``."""
    return Note(code, params)


@dataclass(frozen=True, slots=True)
class Band:
    """An estimate: ``low <= value <= high``, all in the same unit (bytes unless the field says otherwise)."""

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"not a band: {self.low} <= {self.value} <= {self.high}")


# --- what was said ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelAsk:
    """A model as the asker named it. ``None`` = the text does not say; ``copies`` None = it is what is asked."""

    name: str | None = None
    size_b: float | None = None
    variant: str | None = None
    precision: str | None = None
    copies: int | None = 1


@dataclass(frozen=True, slots=True)
class GpuAsk:
    """A card as the asker named it. ``memory_gb`` is per card and only where stated; ``count`` is over all nodes."""

    name: str | None = None
    memory_gb: float | None = None
    count: int | None = 1
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a question says, and only that, plus what must be asked before it can be answered.

    Field meanings are those of the command line's ``rigfit read``.
    """

    language: Literal["en", "ru"] = "en"
    models: tuple[ModelAsk, ...] = ()
    models_relation: Relation | None = None
    gpus: tuple[GpuAsk, ...] = ()
    gpus_relation: Relation | None = None
    ram_gb: float | None = None
    reserved_gb: float | None = None
    context: int | None = None
    users: int | None = None
    nodes: int | None = None
    engine: str | None = None
    kv_cache: str | None = None
    intent: str = "other"
    config_kind: str | None = None
    must_ask: tuple[str, ...] = ()
    expect: Literal["answer", "ask", "correct", "scope"] = "answer"
    wants_search: bool = False
    """The asker said "search" / "поискать": the web is to be searched even if the catalogue knows the answer."""
    wants_this_machine: bool = False
    """The asker means the machine Rigfit runs on ("this machine", "detect my hardware")."""
    same_model: bool | None = None
    """Whether several copies are one model twice (True), different models (False), or it was not said (None)."""


# --- hardware --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card.

    Attributes:
        memory_bytes: what the driver reports (nvidia-smi's MiB).
        cuda_total_bytes: what the engine sees and budgets from; a little less than the driver's figure.
        total_provenance: where ``cuda_total_bytes`` comes from: ``measured``, or ``estimated`` from the driver's.
        reserved_bytes: already in use by others (a desktop, a browser, another process).
        fp16_flops: dense tensor FLOP/s.
        compute_capability: ``"8.6"``, ``"12.0"``, ``"gfx942"``, ``"metal"``.
        unified: memory is shared with the CPU (Apple, Strix Halo, DGX Spark).
        node: index of the machine it sits in.
    """

    name: str
    vendor: str
    memory_bytes: int
    cuda_total_bytes: int
    total_provenance: Provenance = "estimated"
    reserved_bytes: int = 0
    bandwidth_bytes_per_s: float | None = None
    fp16_flops: float | None = None
    compute_capability: str | None = None
    fp8: bool | None = None
    fp4: bool | None = None
    nvlink: bool = False
    unified: bool = False
    node: int = 0
    memory_verified: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Rig:
    """The hardware that is planned for; ``gpus`` spans all nodes, ``notes`` say what detection met."""

    gpus: tuple[Gpu, ...]
    nodes: int = 1
    ram_bytes: int | None = None
    disk_free_bytes: int | None = None
    source: Literal["asked", "detected", "remembered", "panel"] = "asked"
    notes: tuple[Note, ...] = ()


# --- models ----------------------------------------------------------------------------------------------------------


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


# --- a deployment and what it takes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model served by one engine in one way. ``None`` = the engine's own default for that card and version.

    Attributes:
        max_model_len: context a sequence may have, tokens.
        max_num_seqs: sequences at once.
        kv_dtype: ``auto`` (the model's 16-bit type) or ``fp8``.
        gpu_memory_utilization: share of the whole card (vLLM's flag).
        kv_cache_memory_bytes: sets the pool outright (vLLM's flag).
        cpu_offload_bytes: weights held in CPU RAM, per GPU.
    """

    model: ModelSpec
    checkpoint: Checkpoint
    engine: str = "vllm"
    engine_version: str | None = None
    engine_generation: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_dtype: str = "auto"
    tp: int = 1
    pp: int = 1
    ep: bool = False
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool = False
    cpu_offload_bytes: int = 0
    sleep_mode: bool = False
    extra_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a deployment takes on its fullest GPU, by part.

    Attributes:
        parameter_bytes: parameters the engine's model code registers on the fullest rank.
        weights_bytes: what the engine holds after loading with ``backend`` (repacking, buffers).
        kv_bytes_per_token: per GPU; None where caches of several kinds make it no constant.
        kv_needed_bytes: cache for every sequence at its full context, whole blocks.
        kv_pool_bytes: what the engine will reserve; None without a card.
        activation_bytes, cuda_graph_bytes, context_bytes: the other parts of the engine's budget.
        total_bytes: weights + pool (or what is needed, without a card) + activation + graphs + context.
        verdict: ``fits`` where the pool holds at least one sequence of max_model_len; None without a card.
        provenance: by field name.
    """

    deployment: Deployment
    parameter_bytes: int
    weights_bytes: int
    backend: str
    kv_bytes_per_token: int | None
    kv_needed_bytes: int
    kv_pool_bytes: Band | None
    kv_pool_tokens: int | None
    max_concurrency: float | None
    activation_bytes: Band
    cuda_graph_bytes: Band
    context_bytes: Band
    total_bytes: int
    verdict: Verdict | None
    provenance: Mapping[str, Provenance]
    assumptions: tuple[Note, ...] = ()


# --- a plan ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstanceRequest:
    """One model that must run: with which precision (``any`` = not said), context and users, under which name."""

    model: ModelSpec
    precision: str = "any"
    context: int = 8192
    users: int = 4
    said: str = ""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, with every default filled in and listed in ``assumptions``.

    Attributes:
        same_model: several instances of one checkpoint are the same model twice (True), different models that merely
            share a size (False), or it was not said (None: the answer offers sharing and asks).
        kv_dtype: ``auto`` or ``fp8``; ``kv_dtype_stated`` tells whether the asker fixed it.
        near_misses: by what was said, the other names that nearly matched.
        stated: which fields the asker fixed ("context", "users", "precision", "engine", ...); the rest are defaults.
    """

    instances: tuple[InstanceRequest, ...]
    rig: Rig
    engine: str = "vllm"
    engine_version: str | None = None
    kv_dtype: str = "auto"
    residency: Residency = "auto"
    same_model: bool | None = None
    assumptions: tuple[Note, ...] = ()
    near_misses: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    stated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """One engine process: what it serves, where it sits, what it takes.

    Attributes:
        name: short and safe in file names and URLs (``[a-z0-9][a-z0-9.-]*``), unique in the plan.
        served_names: names clients use; several where instances share one engine.
        gpu_indices: cards of the rig, ``tp * pp`` of them.
        start_order: instances on a card start strictly one after the other, lowest first.
        awake: False for an instance that sleeps until it is asked (residency swap).
    """

    name: str
    served_names: tuple[str, ...]
    deployment: Deployment
    footprint: Footprint
    gpu_indices: tuple[int, ...]
    start_order: int = 0
    awake: bool = True


@dataclass(frozen=True, slots=True)
class GpuUse:
    """A card with what the plan puts on it. ``total_bytes`` is what the engine sees. May be over-full (free < 0)."""

    index: int
    name: str
    total_bytes: int
    reserved_bytes: int
    used_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Instances on cards. ``deficit_bytes`` is what is missing in all where it does not fit, else 0."""

    verdict: Verdict
    deficit_bytes: int
    instances: tuple[InstancePlan, ...]
    gpus: tuple[GpuUse, ...]


@dataclass(frozen=True, slots=True)
class Costs:
    """What an option costs. None = unchanged or not known.

    Attributes:
        quality: a Note about loss of quality.
        context_tokens: context a sequence has under this option.
        decode_tokens_per_s: single-sequence decode speed of the slowest instance, a band.
        wake_s: seconds until a sleeping model answers, a band.
        ram_bytes: system RAM needed.
        download_bytes: weight files to fetch.
    """

    quality: Note | None = None
    context_tokens: int | None = None
    decode_tokens_per_s: Band | None = None
    wake_s: Band | None = None
    ram_bytes: int | None = None
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make it work, re-checked by the calculator and the start-order rule before it is shown."""

    id: str
    kind: OptionKind
    title: Note
    placement: Placement
    needs: tuple[Note, ...] = ()
    costs: Costs = Costs()


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to a PlanRequest.

    Attributes:
        verdict: as_asked's if it fits, else ``fits_with_changes`` if an option fits, else ``does_not_fit``.
        recommended: an option's id or ``"as_asked"``; ``reason`` says why.
        rig: the request's rig, or the one an option with more hardware assumes is in its placement's cards.
    """

    request: PlanRequest
    verdict: Verdict
    as_asked: Placement
    options: tuple[Option, ...]
    recommended: str
    reason: Note
    assumptions: tuple[Note, ...] = ()

    def placement(self, option_id: str | None = None) -> Placement:
        """Return the placement of an option's id, of ``"as_asked"``, or (None) of the recommended one.

        Raises:
            KeyError: the plan has no such option.
        """
        wanted = option_id or self.recommended
        if wanted == "as_asked":
            return self.as_asked
        for option in self.options:
            if option.id == wanted:
                return option.placement
        raise KeyError(wanted)
