"""Families whose layers differ one by one or hang on switches: Nemotron-NAS, Falcon, Qwen 1, Llama 3.2 Vision.

Source: vLLM 0.32 ``model_executor/models/nemotron_nas.py``, ``falcon.py``; vLLM 0.10 ``qwen.py``, ``mllama.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer
from tools.errors import BadValue
from tools.vram.dialects import DIALECTS, Dialect
from tools.vram.families import regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number

_FULL = "full_attention"


def _nemotron_nas(config: Config) -> Structure:
    """Each layer says by itself how many queries share a key, how wide it is, and which half it lacks."""
    said = config.get("block_configs")
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    if not isinstance(said, list) or len(cast("list[Any]", said)) < count:
        raise BadValue("errors_vram.missing_field", field="block_configs")
    made: dict[tuple[int, int], Layer] = {}
    layers: list[Layer] = []
    for block in cast("list[Any]", said)[:count]:
        attention, mlp = _part(block, "attention"), _part(block, "ffn")
        share = 0 if attention.get("no_op") else number(attention, "n_heads_in_group")
        width = 0 if mlp.get("no_op") else _nas_width(mlp, number(config, "hidden_size"))
        if (share, width) not in made:
            made[share, width] = _nas_layer(config, share, width)
        layers.append(made[share, width])
    return Structure(tuple(layers))


def _part(block: object, name: str) -> Config:
    inner = cast("Config", block).get(name) if isinstance(block, Mapping) else None
    if not isinstance(inner, Mapping):
        raise BadValue("errors_vram.bad_field", field="block_configs", value=name)
    return cast("Config", inner)


def _nas_width(mlp: Config, hidden: int) -> int:
    """Width from a factor: two thirds of it times the hidden size, rounded up to a multiple of 256."""
    factor = mlp.get("ffn_mult")
    if factor is None:
        return number(mlp, "intermediate_size")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1024:
        raise BadValue("errors_vram.bad_field", field="ffn_mult", value=repr(factor)[:80])
    return -(-int(2 * factor * hidden / 3) // 256) * 256


def _nas_layer(config: Config, share: int, width: int) -> Layer:
    mixers: tuple[Attention, ...] = ()
    if share:
        heads = number(config, "num_attention_heads")
        fields = {**config, "num_key_value_heads": max(1, heads // share)}
        mixers = (regular.attention(fields, DIALECTS["llama"], _FULL),)
    return Layer(mixers, DenseMlp(width) if width else None, bool(share) + bool(width))


def _falcon(config: Config) -> Structure:
    """Falcon: one key head or groups of them, feed-forward beside attention or after it."""
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    grouped, stated = bool(config.get("new_decoder_architecture")), config.get("num_key_value_heads")
    if grouped or stated:
        kv_heads = number(config, "num_kv_heads", "num_key_value_heads", default=heads)
    else:
        kv_heads = 1 if config.get("multi_query", True) else heads
    beside = config.get("parallel_attn", True) is not False
    one = beside and (config.get("num_ln_in_parallel_attn") == 1 or not grouped)
    bias = bool(config.get("bias"))
    dialect = Dialect(qkv_bias=bias, o_bias=bias, derived_head_dim=True)
    attention = regular.attention({**config, "num_key_value_heads": kv_heads}, dialect, _FULL)
    mlp = DenseMlp(4 * hidden, gated=False, bias=bias)
    layer = Layer((attention,), mlp, norms=2 if one else 4)
    return Structure(
        (layer,) * number(config, "num_hidden_layers", maximum=MAX_LAYERS),
        tied=True,
        final_norm_bias=True,
        switches=tuple(name for name in ("new_decoder_architecture", "bias") if config.get(name) is None),
    )


def _qwen(config: Config) -> Structure:
    """The first Qwen: its config counts gate and up projections as one width."""
    attention = regular.attention(config, Dialect(qkv_bias=True, multi_head=True), _FULL)
    layer = Layer((attention,), DenseMlp(max(1, number(config, "intermediate_size") // 2)))
    return Structure((layer,) * number(config, "num_hidden_layers", maximum=MAX_LAYERS))


def _mllama(config: Config) -> Structure:
    """Llama 3.2 Vision: some layers attend to the picture; they norm queries and keys and have two gates."""
    count = number(config, "num_hidden_layers", maximum=MAX_LAYERS)
    own = Layer((regular.attention(config, DIALECTS["llama"], _FULL),), regular.dense_mlp(config, DIALECTS["llama"]))
    crossed = replace(own.mixers[0], qk_norm=True) if isinstance(own.mixers[0], Attention) else own.mixers[0]
    cross = replace(own, mixers=(crossed,), extra_elements=2)
    said = config.get("cross_attention_layers")
    where = set(cast("list[Any]", said)) if isinstance(said, list) else set(range(3, count, 5))
    return Structure(tuple(cross if index in where else own for index in range(count)))


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    "falcon": _falcon,
    "mllama": _mllama,
    "nemotron-nas": _nemotron_nas,
    "qwen": _qwen,
}
