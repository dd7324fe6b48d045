"""Config dialects: what a family's config.json leaves unsaid. The only place that knows a ``model_type``.

A ``Dialect`` is data; ``tools.vram.architecture`` turns it and a config into layers. Each row agrees to the byte with
the parameters that vLLM 0.32's model code of that family registers (``vllm/model_executor/models/``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple


class Says(NamedTuple):
    """A fact that the config states in ``field``; ``absent`` holds where it is silent."""

    field: str
    absent: bool = False


Flag = bool | Says


@dataclass(frozen=True, slots=True)
class Experts:
    """How a family says its mixture of experts.

    Attributes:
        experts, active, width: config fields in order of preference.
        shared_width: field with the shared expert's width.
        shared_count: field that counts shared experts of ``width`` each; ``shared_absent`` where it is silent.
        shared_whole: see ``tools.domain.MoeMlp``.
        dense_first: field with the number of leading dense layers.
        every: field with the step between sparse layers (1 = all).
        router_bytes: bytes of a router weight; 4 where vLLM keeps it in float32.
        router_dtype: config field that may ask for a router in float32.
        router_quantised: vLLM hands the checkpoint's format to the router too.
    """

    experts: tuple[str, ...] = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    active: tuple[str, ...] = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k")
    width: tuple[str, ...] = ("moe_intermediate_size", "intermediate_size")
    shared_width: tuple[str, ...] = ()
    shared_count: tuple[str, ...] = ()
    shared_absent: int = 0
    shared_gate: bool = False
    shared_whole: bool = False
    dense_first: str | None = None
    every: str | None = None
    router_bias: Flag = False
    expert_bias: bool = False
    score_bias: Flag = False
    router_bytes: int = 2
    router_dtype: str = ""
    router_quantised: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """What holds for a family whatever its sizes.

    Attributes:
        norms: norm vectors of the hidden size a layer; ``norm_bias`` (LayerNorm) doubles them and the final one.
        qk_norm_span: what one q/k norm vector covers, see ``tools.domain.Attention``.
        gate: outputs a head of a separate attention gate: none, one, or ``head_dim``.
        sliding: which layers slide where the config has no ``layer_types``: none; ``all`` if ``sliding_window`` is set;
            ``pattern``: all but every ``pattern``-th; ``even`` ones; ``switch``: from ``max_window_layers`` on, if
            ``use_sliding_window``.
        window_extra: tokens a window holds beyond the config's number.
        tied: embeddings are tied where the config is silent.
        shared_rotary: sliding and full layers rotate alike and share one table.
        derived_head_dim: the engine divides the hidden size by the heads whatever ``head_dim`` says.
        multi_head: every head has its own keys and values whatever the config says.
        width_factor: feed-forward width over hidden size where the config is silent (0 = it must say).
        dense_width: config fields with the width of dense layers, in order of preference.
        post_norms: two more norms a layer, after attention and after the feed-forward block.
        positions: a table of learned positions has this many rows more than there are positions; None = no table.
        activation_elements: parameters that a feed-forward block's activation learns.
        embedding_norm: a LayerNorm follows the embeddings.
        renamed: config field (a dot leads into an object) to the usual name.
    """

    norms: int = 2
    norm_bias: bool = False
    qk_norm: Flag = False
    qk_norm_span: Literal["head", "rank", "all"] = "head"
    qkv_bias: Flag = False
    o_bias: Flag = False
    gate: Literal["none", "head", "element"] = "none"
    gated: bool = True
    mlp_bias: Flag = False
    sinks: bool = False
    sliding: Literal["none", "all", "pattern", "even", "switch"] = "none"
    pattern: int = 6
    window_extra: int = 0
    tied: bool = False
    head_dim: int | None = None
    derived_head_dim: bool = False
    multi_head: bool = False
    width_factor: int = 0
    final_norm: bool = True
    head_bias: Flag = False
    shared_rotary: bool = True
    moe: Experts | None = None
    dense_width: tuple[str, ...] = ("intermediate_size",)
    post_norms: Flag = False
    positions: int | None = None
    activation_elements: int = 0
    embedding_norm: bool = False
    renamed: tuple[tuple[str, str], ...] = ()


_BIAS = Says("attention_bias")
_USE_BIAS = Says("use_bias")
_WIDTH = ("intermediate_size",)
_GPT2_NAMES = (
    ("n_layer", "num_hidden_layers"),
    ("n_embd", "hidden_size"),
    ("n_embed", "hidden_size"),
    ("n_head", "num_attention_heads"),
    ("n_inner", "intermediate_size"),
    ("n_positions", "max_position_embeddings"),
    ("seq_length", "max_position_embeddings"),
)
_DEEPSEEK_STYLE = Experts(shared_count=("n_shared_experts", "num_shared_experts"), dense_first="first_k_dense_replace")
_LLAMA = Dialect(qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias=Says("mlp_bias"))
_GEMMA = Dialect(tied=True, qkv_bias=_BIAS, o_bias=_BIAS, head_dim=256)
_GEMMA3 = replace(_GEMMA, norms=4, qk_norm=True, sliding="pattern", shared_rotary=False)
_GRANITE_MOE = Dialect(qkv_bias=_BIAS, moe=Experts())
_LAYER_NORM = Dialect(norms=4, norm_bias=True, qkv_bias=True, o_bias=True, mlp_bias=True, gated=False)
_QWEN2 = Dialect(qkv_bias=True, sliding="switch")
_QWEN3 = Dialect(qk_norm=True, qkv_bias=_BIAS, sliding="switch")
_QWEN3_MOE = Dialect(
    qk_norm=True,
    qkv_bias=_BIAS,
    moe=Experts(
        shared_width=("shared_expert_intermediate_size",),
        shared_gate=True,
        every="decoder_sparse_step",
        router_quantised=True,
    ),
)

DIALECTS: dict[str, Dialect] = {
    "llama": _LLAMA,
    "mistral": Dialect(sliding="all"),
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "gemma": _GEMMA,
    "gemma2": replace(_GEMMA, norms=4, sliding="even"),
    "gemma3_text": _GEMMA3,
    "granite": _LLAMA,
    "phi3": Dialect(),
    "smollm3": Dialect(qkv_bias=_BIAS, o_bias=_BIAS, tied=True),
    "seed_oss": Dialect(qkv_bias=Says("attention_bias", absent=True), o_bias=Says("attention_out_bias")),
    "ernie4_5": Dialect(qkv_bias=_USE_BIAS, o_bias=_USE_BIAS, mlp_bias=_USE_BIAS, tied=True),
    "hunyuan_v1_dense": Dialect(qk_norm=Says("use_qk_norm", absent=True), qkv_bias=_BIAS, o_bias=_BIAS),
    "mimo": Dialect(qkv_bias=Says("attention_bias", absent=True)),
    "arcee": Dialect(gated=False, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias=Says("mlp_bias")),
    "glm": Dialect(qkv_bias=_BIAS),
    "glm4": Dialect(norms=4, qkv_bias=_BIAS),
    "olmo": Dialect(norms=0, final_norm=False),
    "olmo2": Dialect(qk_norm=True, qk_norm_span="all"),
    "olmo3": Dialect(qk_norm=True, qk_norm_span="all", sliding="pattern", pattern=4),
    "cohere": Dialect(norms=1, qk_norm=Says("use_qk_norm"), qk_norm_span="rank", tied=True),
    "cohere2": Dialect(norms=1, sliding="pattern", pattern=4, window_extra=1, tied=True),
    "exaone": Dialect(
        renamed=(("num_layers", "num_hidden_layers"),),
    ),
    "exaone4": Dialect(qk_norm=True, sliding="pattern", pattern=4),
    "internlm2": Dialect(
        qkv_bias=Says("bias"),
        o_bias=Says("bias"),
    ),
    "internlm3": Dialect(qkv_bias=Says("qkv_bias"), o_bias=Says("bias"), mlp_bias=Says("bias")),
    "minicpm": Dialect(tied=True),
    "nemotron": Dialect(norms=4, norm_bias=True, gated=False, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias=Says("mlp_bias")),
    "stablelm": Dialect(norms=4, norm_bias=True, qkv_bias=Says("use_qkv_bias")),
    "starcoder2": replace(
        _LAYER_NORM,
        qkv_bias=Says("use_bias", absent=True),
        o_bias=Says("use_bias", absent=True),
        mlp_bias=Says("use_bias", absent=True),
        tied=True,
    ),
    "gpt_neox": replace(_LAYER_NORM, multi_head=True),
    "phi": replace(_LAYER_NORM, norms=2),
    "mixtral": Dialect(sliding="all", moe=Experts()),
    "qwen2_moe": replace(
        _QWEN2,
        derived_head_dim=True,
        moe=Experts(shared_width=("shared_expert_intermediate_size",), shared_gate=True, every="decoder_sparse_step"),
    ),
    "qwen3_moe": _QWEN3_MOE,
    "gpt_oss": Dialect(
        qkv_bias=True,
        o_bias=True,
        sinks=True,
        sliding="even",
        moe=Experts(router_bias=True, expert_bias=True),
    ),
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": replace(_GRANITE_MOE, moe=Experts(shared_width=("shared_intermediate_size",))),
    "olmoe": Dialect(qk_norm=True, qk_norm_span="all", moe=Experts()),
    "flex_olmo": Dialect(qk_norm=True, qk_norm_span="all", moe=Experts()),
    "phimoe": replace(
        _LAYER_NORM, gated=True, qkv_bias=_BIAS, o_bias=_BIAS, moe=Experts(), head_bias=Says("lm_head_bias")
    ),
    "glm4_moe": Dialect(
        qk_norm=Says("use_qk_norm"),
        qkv_bias=Says("attention_bias", absent=True),
        moe=replace(_DEEPSEEK_STYLE, score_bias=True, router_bytes=4),
    ),
    "deepseek": Dialect(qkv_bias=_BIAS, o_bias=_BIAS, moe=replace(_DEEPSEEK_STYLE, shared_whole=True)),
    "dots1": Dialect(qk_norm=True, qkv_bias=_BIAS, moe=_DEEPSEEK_STYLE),
    "minimax_m2": Dialect(qk_norm=True, qk_norm_span="rank", moe=Experts(score_bias=True, router_bytes=4)),
    "ernie4_5_moe": Dialect(
        qkv_bias=_USE_BIAS,
        tied=True,
        moe=Experts(
            shared_count=("moe_num_shared_experts", "n_shared_experts"),
            dense_first="moe_layer_start_index",
            score_bias=Says("moe_use_aux_free", absent=True),
            router_bytes=4,
        ),
    ),
    "exaone_moe": Dialect(qk_norm=True, sliding="pattern", pattern=4, moe=replace(_DEEPSEEK_STYLE, score_bias=True)),
    "afmoe": Dialect(
        norms=4,
        qk_norm=True,
        gate="element",
        sliding="pattern",
        pattern=4,
        moe=Experts(
            shared_count=("num_shared_experts",), dense_first="num_dense_layers", score_bias=True, router_bytes=4
        ),
    ),
    "solar_open": Dialect(qk_norm=Says("use_qk_norm"), moe=_DEEPSEEK_STYLE),
    "hy_v3": Dialect(
        qk_norm=Says("qk_norm"),
        moe=replace(
            _DEEPSEEK_STYLE, width=("expert_hidden_dim", "moe_intermediate_size"), score_bias=True, router_bytes=4
        ),
    ),
    "bailing_moe": Dialect(
        qk_norm=Says("use_qk_norm"),
        qkv_bias=Says("use_qkv_bias"),
        o_bias=_USE_BIAS,
        mlp_bias=_USE_BIAS,
        moe=replace(_DEEPSEEK_STYLE, score_bias=Says("moe_router_enable_expert_bias"), router_dtype="router_dtype"),
    ),
    "hunyuan_v1_moe": Dialect(
        qk_norm=Says("use_qk_norm", absent=True), qkv_bias=_BIAS, o_bias=_BIAS, moe=Experts(shared_width=_WIDTH)
    ),
    "mellum": Dialect(qk_norm=True, qkv_bias=_BIAS, o_bias=_BIAS, moe=Experts()),
    "cohere2_moe": Dialect(
        norms=1,
        sliding="pattern",
        pattern=4,
        window_extra=1,
        tied=True,
        dense_width=("prefix_dense_intermediate_size", *_WIDTH),
        moe=replace(_DEEPSEEK_STYLE, dense_first="first_k_dense_replace"),
    ),
    "granite_swa": replace(_LLAMA, sinks=True, tied=True),
    "granitemoe_swa": replace(_GRANITE_MOE, sinks=True, moe=Experts(shared_width=("shared_intermediate_size",))),
    "apertus": Dialect(
        activation_elements=2, gated=False, qk_norm=True, qkv_bias=_BIAS, o_bias=_BIAS, mlp_bias=Says("mlp_bias")
    ),
    "hyperclovax": replace(_LLAMA, post_norms=Says("use_post_norm")),
    "iquestcoder": _LLAMA,
    "ministral3": Dialect(sliding="all", head_dim=128),
    "internlm": Dialect(qkv_bias=Says("bias", absent=True), o_bias=Says("bias", absent=True)),
    "baichuan": Dialect(),
    "solar": Dialect(),
    "orion": Dialect(norms=4, norm_bias=True),
    "jais2": _LAYER_NORM,
    "vaultgemma": replace(_GEMMA, sliding="even"),
    "gpt2": replace(_LAYER_NORM, multi_head=True, tied=True, width_factor=4, positions=0, renamed=_GPT2_NAMES),
    "gptj": replace(
        _LAYER_NORM,
        norms=2,
        qkv_bias=False,
        o_bias=False,
        multi_head=True,
        head_bias=True,
        width_factor=4,
        renamed=_GPT2_NAMES,
    ),
    "bloom": replace(_LAYER_NORM, multi_head=True, tied=True, width_factor=4, embedding_norm=True, renamed=_GPT2_NAMES),
    "opt": replace(
        _LAYER_NORM,
        qkv_bias=Says("enable_bias", absent=True),
        o_bias=Says("enable_bias", absent=True),
        mlp_bias=Says("enable_bias", absent=True),
        multi_head=True,
        tied=True,
        positions=2,
        renamed=(("ffn_dim", "intermediate_size"),),
    ),
    "chatglm": Dialect(
        qkv_bias=Says("add_qkv_bias", absent=True),
        o_bias=Says("add_bias_linear"),
        mlp_bias=Says("add_bias_linear"),
        renamed=(
            ("num_layers", "num_hidden_layers"),
            ("padded_vocab_size", "vocab_size"),
            ("ffn_hidden_size", "intermediate_size"),
            ("multi_query_group_num", "num_key_value_heads"),
            ("kv_channels", "head_dim"),
            ("seq_length", "max_position_embeddings"),
        ),
    ),
    "dbrx": Dialect(
        moe=Experts(),
        renamed=(
            ("n_layers", "num_hidden_layers"),
            ("d_model", "hidden_size"),
            ("n_heads", "num_attention_heads"),
            ("max_seq_len", "max_position_embeddings"),
            ("attn_config.kv_n_heads", "num_key_value_heads"),
            ("ffn_config.ffn_hidden_size", "intermediate_size"),
            ("ffn_config.moe_num_experts", "num_experts"),
            ("ffn_config.moe_top_k", "num_experts_per_tok"),
        ),
    ),
}

WRAPPERS: dict[str, str] = {
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_omni": "qwen2",
    "qwen3_omni_moe": "qwen3_moe",
    "qwen3_asr": "qwen3",
    "cosmos3_omni": "qwen3",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "bailing_moe_v3_vl": "bailing_hybrid",
    "glm5_next": "glm5_next_text",
    "kimi_k3": "kimi_linear",
    "kimi_vl": "deepseek_v3",
    "lfm2_vl": "lfm2",
    "minicpmv4_6": "qwen3_5_text",
    "qwen3_5": "qwen3_5_text",
    "qwen4_exp": "qwen4_exp_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "mistral3": "mistral",
    "idefics3": "llama",
    "smolvlm": "llama",
    "llava": "llama",
    "dots_ocr": "qwen2",
    "glm_ocr": "glm4",
    "hunyuan_vl": "hunyuan_v1_dense",
    "paddleocr_vl": "ernie4_5",
    "glm4v": "glm4",
    "glm4v_moe": "glm4_moe",
    "cohere2_vision": "cohere2",
    "aya_vision": "cohere2",
    "interns1": "qwen3",
    "exaone4_5": "exaone4",
    "llama4": "llama4_text",
    "minimax_m3_vl": "minimax_m3",
    "phi3_v": "phi3",
    "mllama": "mllama",
    "internvl": "qwen2",
    "llava_next": "llama",
    "llava_onevision": "qwen2",
    "paligemma": "gemma",
    "lighton_ocr": "qwen3",
}
"""Models with vision or audio towers, by the family of their text model (``text_config``)."""

BY_VERSION: dict[str, dict[str, str]] = {
    "minicpmo": {"2.6": "qwen2", "4.5": "qwen3"},
    "minicpmv": {"2.0": "minicpm", "2.5": "llama", "2.6": "qwen2", "4.0": "llama", "4.5": "qwen3"},
}
"""Wrappers whose ``version`` tells the family of their text model (``minicpmv.py``, ``minicpmo.py``: ``init_llm``)."""

ANY_TEXT = frozenset({"interns1", "internvl", "llava", "llava_next", "llava_onevision", "mistral3", "paligemma"})
"""Wrappers around text models of several families: the text model's own ``model_type`` counts where it is stated."""

MXFP4_EXPERTS = frozenset({"kimi_k3"})
"""Families whose MXFP4 checkpoints the engine reads as gpt-oss', experts alone, whoever wrote them (``config.py``)."""

ALWAYS_TIED = frozenset({"lfm2", "lfm2_moe", "zamba2"})
"""Families whose head is the embeddings whatever the config says (``lfm2.py``, ``lfm2_moe.py``, ``zamba2.py``)."""

PLAIN_HEADS = frozenset(
    ("bloom", "falcon_h1", "gpt_oss", "jamba", "mamba", "mamba2", "opt", "plamo3", "qwen3_next", "step3_text", "zamba2")
)
"""Families whose output head the engine never quantises, whatever the checkpoint says, by ``model_type``.

Source: vLLM 0.32 ``model_executor/models/``: the code that makes ``ParallelLMHead`` without ``quant_config``.
"""
