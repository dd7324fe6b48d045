"""DeepSeek-V4: several residual streams, attention over a window and compressed entries, experts at first by hash.

Source: vLLM 0.32 ``models/deepseek_v4/nvidia/model.py`` and ``quant_config.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import CompressedAttention, FormatPart, Indexer, Layer, Linear, MoeMlp, Quantization
from tools.errors import BadValue
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, number
from tools.vram.mixers.compressed import OVERLAPPING, STATE_BLOCK
from tools.vram.readers.fields import pair

HASH_BYTES = 4
"""Bytes of an entry of the table that maps a token to experts (int32)."""


def build(config: Config) -> Structure:
    """Describe a DeepSeek-V4 model.

    Raises:
        BadValue: a field is missing or absurd.
    """
    count, hidden = number(config, "num_hidden_layers", maximum=MAX_LAYERS), number(config, "hidden_size")
    hashed = number(config, "num_hash_layers", default=0, maximum=MAX_LAYERS)
    streams = number(config, "hc_mult", default=4, maximum=64)
    mixing = _mixing(streams, hidden)
    kinds = [(ratio, i < hashed) for i, ratio in enumerate(_ratios(config, count))]
    made: dict[tuple[int, bool], Layer] = {}
    for kind in kinds:
        if kind not in made:
            ratio, is_hashed = kind
            extras = (*mixing, _table(config)) if is_hashed else mixing
            made[kind] = Layer((_attention(config, ratio),), _experts(config, is_hashed=is_hashed), extras=extras)
    return Structure(layers=tuple(made[kind] for kind in kinds), outer=last_mixing(streams, hidden))


def stored(quantization: Quantization, config: Config) -> Quantization:
    """Fill in what a checkpoint's FP8 config leaves unsaid: experts in MXFP4 and scales of one byte, unless in FP8.

    Args:
        quantization: as its ``quantization_config`` says.
        config: the model's, whose ``expert_dtype`` decides (``fp4`` where it is silent).
    """
    if not quantization.method.startswith("fp8") or config.get("expert_dtype", "fp4") != "fp4":
        return quantization
    experts = FormatPart(("experts",), Quantization("mxfp4", 4, 32, excluded=()), "substring")
    return replace(quantization, parts=quantization.parts or (experts,), extra={**quantization.extra, "scale_bytes": 1})


def _ratios(fields: Config, count: int) -> list[int]:
    """Tokens an entry stands for, by layer; a catalogue row gives runs of ``[ratio, layers]``."""
    given = fields.get("compress_ratios")
    if not isinstance(given, list):
        raise BadValue("errors_vram.missing_field", field="compress_ratios")
    ratios: list[Any] = []
    for one in cast("list[Any]", given)[: 2 * MAX_LAYERS]:
        if isinstance(one, list | tuple):
            ratio, times = cast("tuple[Any, Any]", one) if len(cast("list[Any]", one)) == 2 else (None, 0)
            ratios += [ratio] * number({"compress_ratios": times}, "compress_ratios", maximum=MAX_LAYERS)
        else:
            ratios.append(one)
    if len(ratios) < count or any(ratio not in (0, 1, *STATE_BLOCK) for ratio in ratios[:count]):
        raise BadValue("errors_vram.bad_field", field="compress_ratios", value=repr(ratios[:20])[:80])
    return [max(1, ratio) for ratio in ratios[:count]]


def _attention(fields: Config, ratio: int) -> CompressedAttention:
    indexer = None
    if ratio == OVERLAPPING:
        sizes = (number(fields, name) for name in ("index_n_heads", "index_head_dim", "index_topk"))
        indexer = Indexer(*sizes)
    return CompressedAttention(
        heads=number(fields, "num_attention_heads"),
        head_dim=number(fields, "head_dim"),
        q_lora_rank=number(fields, "q_lora_rank"),
        o_lora_rank=number(fields, "o_lora_rank"),
        o_groups=number(fields, "o_groups"),
        window=number(fields, "sliding_window"),
        ratio=ratio,
        indexer=indexer,
    )


def _experts(fields: Config, *, is_hashed: bool) -> MoeMlp:
    width, block = number(fields, "moe_intermediate_size"), _block(fields)
    corrected = fields.get("topk_method", "noaux_tc") == "noaux_tc"
    return MoeMlp(
        experts=number(fields, "n_routed_experts", "num_experts", maximum=1 << 16),
        active=number(fields, "num_experts_per_tok", maximum=1 << 16),
        intermediate=width,
        shared_intermediate=width * number(fields, "n_shared_experts", default=0, maximum=1024),
        score_bias=corrected and not is_hashed,
        shared_name="shared_experts",
        shared_whole=True,
        shared_unit=block[0] if block else 0,
    )


def _block(fields: Config) -> tuple[int, int] | None:
    """The block of FP8 scales, by which the engine rounds a rank's share of the shared expert up."""
    for name in ("quantization_config", "native_quantization"):
        stated = fields.get(name)
        if isinstance(stated, Mapping):
            return pair(cast("Config", stated).get("weight_block_size"))
    return None


def _table(fields: Config) -> Linear:
    """The experts of every token of the vocabulary, in layers that choose by hash."""
    rows, active = number(fields, "vocab_size"), number(fields, "num_experts_per_tok", maximum=1 << 16)
    return Linear("mlp.gate.tid2eid", (rows,), active, element_bytes=HASH_BYTES)


def _mixing(streams: int, hidden: int) -> tuple[Linear, ...]:
    """What mixes the residual streams before attention and before experts, in float32."""
    mixed = (2 + streams) * streams
    return (
        Linear("hc_fn", (mixed,), streams * hidden, element_bytes=4, times=2),
        Linear("hc_base", (mixed + 3,), 1, element_bytes=4, times=2),
    )


def last_mixing(streams: int, hidden: int) -> tuple[Linear, ...]:
    """What makes one residual stream of several before an output head, in float32."""
    return (
        Linear("hc_head_fn", (streams,), streams * hidden, element_bytes=4, is_last=True),
        Linear("hc_head_base", (streams + 1,), 1, element_bytes=4, is_last=True),
    )


BUILDERS: dict[str, Callable[[Config], Structure]] = {"deepseek_v4": build}
"""Builders by ``model_type``."""
