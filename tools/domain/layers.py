"""A decoder layer by what it declares: mixers (attention of any kind, or a state), a feed-forward block, extras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Linear:
    """A projection that is no part of a mixer or a feed-forward block: a tower's, a per-layer input's, a table.

    Attributes:
        name: module path, inside its layer or from the model's root.
        outputs: rows of each fused output, over all ranks.
        inputs: columns, over all ranks.
        bias: it has a bias of one element a row.
        split: how tensor-parallel ranks share it: rows (``out``), columns (``in``), or every rank has the whole.
        plain: the engine never quantises it.
        element_bytes: bytes of an element where not the model's type (0 = the model's type).
        times: how many equal ones there are.
        is_last: with a pipeline it is on the last stage (else on the first); for a layer's own it has no meaning.
        unit: where not 0, ranks that do not divide this number (of heads) have the whole.
        in_ram: the engine keeps it in the computer's memory.
    """

    name: str
    outputs: tuple[int, ...]
    inputs: int
    bias: bool = False
    split: Literal["out", "in", ""] = ""
    plain: bool = True
    element_bytes: int = 0
    times: int = 1
    is_last: bool = False
    unit: int = 0
    in_ram: bool = False


@dataclass(frozen=True, slots=True)
class Indexer:
    """Sparse attention's indexer (DeepSeek-V3.2, GLM-5): a small key cache of its own chooses ``topk`` tokens.

    Attributes:
        pool: tokens that one key of its cache stands for, 0 = one (GLM-5.3-Flash pools 16).
        waiting: elements kept of a token while its pool is not full, where not a key and its gate.
    """

    heads: int
    head_dim: int
    topk: int
    pool: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Attention:
    """A layer's token mixer as attention with a per-token KV cache.

    Attributes:
        window: tokens kept by a sliding window, or None for full attention.
        chunk: tokens of a chunk of local attention (Llama 4), or None.
        qk_norm: per-head RMSNorm on q and k (two vectors of ``head_dim``).
        bias: on q, k, v (``qkv_bias``) and on o (``o_bias``).
        sinks: one learned logit a head (gpt-oss).
        qk_norm_span: ``head`` (one vector of ``head_dim``), ``rank`` (all heads of the rank) or ``all`` (every head).
        qk_norm_bias: the q and k norms are LayerNorms with a bias.
        gate_width: outputs a head of a separate gate projection: ``head_dim``, 1, or 0 for none.
        v_head_dim: size of a value head where it differs from ``head_dim``.
        shares_kv: keys and values are read from an earlier layer's cache; this layer projects and caches none.
        index_dim: size of the queries, one a KV head, and of the one key that choose blocks of tokens to attend to
            (MiniMax-M3); 0 where every token is attended to.
        k_is_v: keys and values are one projection, published once and held twice by the engine (Gemma 4).
        q_gate: the query projection also makes a gate of the queries' size (Qwen3-Next).
        rotary_dim: elements of a head that rotate where layers differ in that; 0 = nothing does.
        borrowed: its weights are another layer's (Zamba2); only the cache is its own.
        cache_scales: the engine registers scales of the cache beside it where the checkpoint's format has them.
        indexer: chooses among pooled tokens (Qwen3.8-Flash-Next); every rank has its projection, beside the queries'.
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
    chunk: int | None = None
    v_head_dim: int | None = None
    shares_kv: bool = False
    k_is_v: bool = False
    index_dim: int = 0
    q_gate: bool = False
    rotary_dim: int | None = None
    borrowed: bool = False
    cache_scales: bool = True
    indexer: Indexer | None = None


@dataclass(frozen=True, slots=True)
class MlaAttention:
    """Multi-head latent attention: the cache holds one latent and one rotary key a token, on every rank.

    Attributes:
        kv_lora_rank: width of the cached latent.
        nope_head_dim, rope_head_dim: parts of a query head without and with rotary position.
        v_head_dim: size of a value head.
        q_lora_rank: width of the compressed query, or None where queries are projected straight.
        indexer: sparse attention's, or None (also where a layer uses the choice of an earlier one).
        sparse: the layer attends to chosen tokens only, whether it has an indexer of its own or not.
        gate: a projection of the size of all value heads gates the output.
        expanded: the engine caches each head's keys and values, shared among ranks, not the latent (MiniCPM3).
        rotates: the rotary part of heads does rotate (in Kimi Linear and K3 it does not).
    """

    heads: int
    kv_lora_rank: int
    nope_head_dim: int
    rope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None
    indexer: Indexer | None = None
    sparse: bool = False
    gate: bool = False
    expanded: bool = False
    rotates: bool = True


@dataclass(frozen=True, slots=True)
class CompressedAttention:
    """DeepSeek-V4's attention: one key and value for all heads over a window, compressed entries for what lies before.

    Attributes:
        head_dim: size of a head, of which the last part rotates.
        q_lora_rank: width of the compressed query.
        o_lora_rank, o_groups: the output is projected down in groups of heads, then up.
        window: tokens kept as they are.
        ratio: tokens that one compressed entry stands for; 1 = the window is all.
        indexer: chooses among entries (at ratio 4), or None.
    """

    heads: int
    head_dim: int
    q_lora_rank: int
    o_lora_rank: int
    o_groups: int
    window: int
    ratio: int = 1
    indexer: Indexer | None = None


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Linear attention with a fixed state a sequence: gated delta nets, Kimi delta attention, lightning attention.

    Attributes:
        kind: whose layout of projections and states it is: ``gdn`` (Qwen3.5: a projection each for q, k, v and z),
            ``gdn_fused`` (Qwen3-Next: one tensor for all four), ``gdn_olmo``, ``kda``, ``kda_full`` (Kimi K3: a gate of
            full rank), ``kda_ling`` (Ling 3: nothing of low rank), ``kda_plain`` (GLM-5.3-Flash: never
            quantised) or ``lightning`` (no convolution).
        key_heads, value_heads, key_head_dim, value_head_dim: sizes over all ranks.
        conv_kernel: width of the short convolution before it (0 = none).
        state_bytes: bytes of an element of the recurrent state where not the model's type.
        groups: lightning attention's output is normed in so many groups, which ranks share (0 = not so).
        bias: on lightning attention's queries, keys and values.
        qk_norm: lightning attention norms the heads of queries and keys.
    """

    kind: Literal["gdn", "gdn_fused", "gdn_olmo", "kda", "kda_full", "kda_ling", "kda_plain", "lightning"]
    key_heads: int
    value_heads: int
    key_head_dim: int
    value_head_dim: int
    conv_kernel: int = 4
    state_bytes: int = 0
    groups: int = 0
    bias: bool = False
    qk_norm: bool = False


@dataclass(frozen=True, slots=True)
class Mamba:
    """A state-space mixer.

    Attributes:
        version: 1 (selective scan, a time step of low rank) or 2 (heads and groups).
        intermediate: inner width over all ranks.
        state: elements of state a channel.
        heads, head_dim, groups: of version 2.
        time_step_rank: of version 1.
        conv_bias, bias: of the convolution; of the projections in and out.
        norm: version 1: norms on the time step and both projections of the state; 2: one on the gated output.
        state_bytes: bytes of an element of the state where not the model's type.
    """

    version: Literal[1, 2]
    intermediate: int
    state: int
    conv_kernel: int
    heads: int = 0
    head_dim: int = 0
    groups: int = 1
    time_step_rank: int = 0
    conv_bias: bool = True
    bias: bool = False
    norm: bool = True
    state_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ShortConv:
    """A gated short convolution whose state is its last inputs (LFM2).

    Attributes:
        alone: it has no projections of its own and is whole on every rank (an embedding's of Qwen3.8-Flash-Next).
        reach: inputs it looks back on where not ``kernel - 1``.
    """

    width: int
    kernel: int
    bias: bool = False
    alone: bool = False
    reach: int = 0


Mixer = Attention | MlaAttention | CompressedAttention | LinearAttention | Mamba | ShortConv


@dataclass(frozen=True, slots=True)
class DenseMlp:
    """A feed-forward block; ``gated`` has gate, up and down projections, else up and down.

    Attributes:
        whole: it is whole on every rank where ranks run experts on a share of the tokens each, without a pipeline.
    """

    intermediate: int
    gated: bool = True
    bias: bool = False
    whole: bool = False


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
        gated: experts have gate, up and down projections, else up and down.
        shared_name: what the shared expert's module is called.
        shared_whole: the shared expert is whole on every rank where ranks run experts on a share of the tokens each
            (expert parallelism with tensor- and data-parallel ranks).
        shared_unit: ranks hold a multiple of so many columns of the shared expert, the last ones filled up; 0 = equal.
        idle: experts that are only scored: they have a row in the router and no weights (LongCat's zero experts).
        latent: width of tokens as experts see them, where they are projected down first (Nemotron-3).
        least_share: narrower shares of an expert's width are padded to this, where ranks share experts by width.
        beside: experts are modules of the layer itself, beside its ``mlp`` (Gemma 4).
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
    gated: bool = True
    shared_name: str = "shared_expert"
    shared_whole: bool = False
    shared_unit: int = 0
    idle: int = 0
    latent: int = 0
    least_share: int = 0
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer.

    Attributes:
        mixers: what mixes tokens: usually one; two where they run side by side (Falcon-H1); none in a layer that is
            only a feed-forward block (Nemotron-H).
        mlp: the feed-forward block, or None in a layer that is only a mixer.
        norms: vectors of the hidden size.
        extras: projections beside these.
        extra_elements: further elements of the model's type that stay unquantised, on every rank.
    """

    mixers: tuple[Mixer, ...]
    mlp: DenseMlp | MoeMlp | None
    norms: int = 2
    extras: tuple[Linear, ...] = ()
    extra_elements: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A model's own head for predicting further tokens: layers that use the model's embeddings and its output head.

    Attributes:
        layers: in order, with the projections and norms that each has beside.
        outer: projections that its layers have in common.
        norms: vectors of the hidden size that they have in common.
        prefix: module path of its layers, as the engine names them.
        first: the number of its first layer there.
        plain: full names of modules that are never quantised.
    """

    layers: tuple[Layer, ...]
    outer: tuple[Linear, ...] = ()
    norms: int = 0
    prefix: str = "model.layers"
    first: int = 0
    plain: tuple[str, ...] = ()
