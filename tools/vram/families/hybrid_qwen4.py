"""Qwen3.8-Flash-Next: delta nets and indexed attention between gated residual streams, and embeddings of n-grams.

Source: vLLM 0.32 ``models/qwen4_exp/nvidia/`` (``model.py``, ``qsa.py``, ``hyperconnection.py``, ``ple_layer.py``,
``ngram_embedding.py``); the table of n-grams is kept in the computer's memory (``config/engram.py:cpu_offload``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, Indexer, Layer, Linear, LinearAttention, Mixer, ShortConv
from tools.vram.dialects import Dialect, Experts
from tools.vram.families import hybrid, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_LINEAR, _FULL = "linear_attention", "full_attention"
_KINDS = {_LINEAR: _LINEAR} | dict.fromkeys((_FULL, "indexed_attention", "qwen_sparse_attention"), _FULL)
_QWEN = Dialect(
    qk_norm=True,
    head_dim=256,
    moe=Experts(width=("moe_intermediate_size",), shared_width=("shared_expert_intermediate_size",), shared_gate=True),
)
_AXES = 12
"""Elements of 16 bits that three positions of 64 take (``QSAKeyStateCache``)."""
_ROWS = 16
"""The projection down has a multiple of so many rows (``GatedResidual.pad_size``)."""


def qwen4_exp(config: Config) -> Structure:
    """Describe a Qwen3.8-Flash-Next."""
    kinds = hybrid.kinds_of(config, _KINDS, lambda count: _habit(config, count))
    mixers: dict[str, Mixer] = {_LINEAR: _delta_net(config), _FULL: _attention(config)}
    hashed, streams, mlp = _hashed(config), _streams(config), regular.moe_mlp(config, _QWEN)

    def layer(kind: tuple[str, bool]) -> Layer:
        found = (mixers[kind[0]],)
        if not kind[1]:
            return Layer(found, mlp, norms=0, extras=streams)
        return Layer((*found, _convolution(config)), mlp, norms=0, extras=(*streams, *_embedding(config)))

    marked = [(kind, index + 1 in hashed) for index, kind in enumerate(kinds)]
    return Structure(
        hybrid.layers(marked, layer),
        outer=tuple(_stream(config, "hyper_connection_mixer", injects=False)),
        final_norm=False,
        prefix="model.language_model.layers" if config.get("vision_config") else "model.layers",
    )


def _habit(config: Config, count: int) -> list[str]:
    step = number(config, "full_attention_interval", default=4, maximum=MAX_LAYERS)
    return [_LINEAR if (i + 1) % step else _FULL for i in range(count)]


def _delta_net(config: Config) -> LinearAttention:
    return LinearAttention(
        kind="gdn",
        key_heads=number(config, "linear_num_key_heads"),
        value_heads=number(config, "linear_num_value_heads"),
        key_head_dim=number(config, "linear_key_head_dim"),
        value_head_dim=number(config, "linear_value_head_dim"),
        conv_kernel=number(config, "linear_conv_kernel_dim", default=4),
        state_bytes=hybrid.state_bytes(config, "mamba_ssm_dtype"),
    )


def _attention(config: Config) -> Attention:
    """Attention whose queries bring a gate, over tokens that an indexer chooses in pools."""
    made = replace(regular.attention(config, _QWEN, _FULL), q_gate=True)
    if config.get("indexer_n_heads") is None:
        return made
    size, rope = number(config, "indexer_head_dim"), config.get("rope_parameters")
    axes = _AXES if isinstance(rope, Mapping) and cast("Config", rope).get("mrope_section") else 0
    indexer = Indexer(
        number(config, "indexer_n_heads"),
        size,
        number(config, "indexer_budget"),
        pool=number(config, "indexer_compress_ratio", maximum=1024),
        waiting=-(-size // 4) * 4 + axes if axes else size,
    )
    return replace(made, indexer=indexer, cache_scales=False)


def _width(config: Config) -> int:
    return number(config, "hidden_size") * number(config, "hc_count", default=4, maximum=64)


def _streams(config: Config) -> tuple[Linear, ...]:
    """What mixes the residual streams before attention and before the experts."""
    return (*_stream(config, "attn_hyper_connection"), *_stream(config, "mlp_hyper_connection"))


def _stream(config: Config, name: str, *, injects: bool = True) -> list[Linear]:
    width, rank = _width(config), number(config, "hc_lowrank", default=320)
    count = width // number(config, "hidden_size") if injects else 0
    rows = -(-(rank + count) // _ROWS) * _ROWS if injects else rank
    return [
        Linear(f"{name}.hc_norm", (width,), 1, is_last=True),
        Linear(f"{name}.input_mix_weight_down", (rows,), width, is_last=True),
        Linear(f"{name}.input_mix_weight_up", (width,), rank, is_last=True),
    ]


def _hashed(config: Config) -> frozenset[int]:
    """Numbers of the layers, from one, that add an embedding of the last tokens."""
    said = config.get("ple_layer_ids")
    items = cast("list[Any]", said)[:MAX_LAYERS] if isinstance(said, list) else []
    return frozenset(item for item in items if isinstance(item, int))


def _convolution(config: Config) -> ShortConv:
    kernel, grams = number(config, "ple_conv_kernel_size", default=4), number(config, "ngram_size", default=3)
    return ShortConv(_width(config), kernel, alone=True, reach=(kernel - 1) * grams)


def _embedding(config: Config) -> tuple[Linear, ...]:
    hidden, width = number(config, "hidden_size"), _width(config)
    inner = number(config, "ple_embed_dim", default=hidden)
    heads = (number(config, "ngram_size", default=3) - 1) * number(config, "heads_per_ngram", default=8)
    rows = heads * number(config, "ngram_vocab_size_base", default=20_000_000)
    return (
        Linear("ple.kv_proj", (width, hidden), inner),
        Linear("ple.norms", (3 * width,), 1),
        Linear("ple.ple_embedding.ngram_embedding", (rows,), inner // heads, in_ram=True),
    )


BUILDERS: dict[str, Callable[[Config], Structure]] = {"qwen4_exp_text": qwen4_exp}
